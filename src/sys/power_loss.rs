//! What a machine that loses its power may leave on its disk, for tests: everything that this layer does below a root is
//! noted beside being done, and [`Disk::after_power_loss`] builds a tree of what was synced and a random part of the rest.
//!
//! As POSIX allows: written bytes are durable after an fsync of their file, names after one of their folder. Until then any
//! of their 512-byte sectors may have got there, in any order, and of the names any number of the first ones (a file
//! system keeps their order in its journal) or, harder, any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

const SECTOR: usize = 512;

static DISKS: Mutex<Vec<Disk>> = Mutex::new(Vec::new());

/// As long as this is held nothing that is written or synced gets done.
pub(crate) fn stalled() -> impl Drop {
    DISKS.lock()
}

type Inode = u64;

/// What is under a root.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    root: PathBuf,
    files: BTreeMap<Inode, Content>,
    /// Names that a power loss leaves; folders have no inode.
    durable: BTreeMap<PathBuf, Option<Inode>>,
    pending: Vec<NameChange>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Clone)]
enum NameChange {
    Made(PathBuf, Option<Inode>),
    Moved(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            NameChange::Made(path, _) | NameChange::Moved(path, _) | NameChange::Removed(path) => path.parent(),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Option<Inode>>) {
        match self {
            NameChange::Made(path, inode) => drop(names.insert(path, inode)),
            NameChange::Removed(path) => names.retain(|name, _| !name.starts_with(&path)),
            NameChange::Moved(from, to) => {
                let moved: Vec<_> = names.keys().filter(|name| name.starts_with(&from)).cloned().collect();
                for name in moved {
                    let inode = names.remove(&name).flatten();
                    let rest = name.strip_prefix(&from).unwrap();
                    names.insert(if rest == Path::new("") { to.clone() } else { to.join(rest) }, inode);
                }
            }
        }
    }
}

impl Content {
    /// Applies a change as far as `reaches` says of each sector by its number; the length by none.
    fn apply(&mut self, change: &Change, mut reaches: impl FnMut(Option<usize>) -> bool) {
        match change {
            Change::Length(length) => {
                if reaches(None) {
                    self.durable.resize(*length as usize, 0);
                }
            }
            Change::Write(at, bytes) => {
                let (mut at, mut rest) = (*at as usize, bytes.as_slice());
                while !rest.is_empty() {
                    let (sector, behind) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                    if reaches(Some(at / SECTOR)) {
                        let end = at + sector.len();
                        self.durable.resize(self.durable.len().max(end), 0);
                        self.durable[at..end].copy_from_slice(sector);
                    }
                    (at, rest) = (at + sector.len(), behind);
                }
            }
        }
    }
}

/// Notes what happens below `root` from now on; what is there already is durable.
pub(crate) fn watch(root: &Path) {
    let mut disk = Disk { root: root.to_owned(), ..Disk::default() };
    disk.find(root);
    DISKS.lock().push(disk);
}

/// Ends the watch and builds under `to`, which must not exist, what a power loss now may leave of `root`.
pub(crate) fn lose_power(root: &Path, to: &Path, random: &mut fastrand::Rng) {
    let disk = {
        let mut disks = DISKS.lock();
        let index = disks.iter().position(|disk| disk.root == root).unwrap();
        disks.swap_remove(index)
    };
    disk.after_power_loss(to, random);
}

impl Disk {
    fn find(&mut self, folder: &Path) {
        self.durable.insert(folder.to_owned(), None);
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            if metadata.is_dir() {
                self.find(&path);
                continue;
            }
            self.files.insert(metadata.ino(), Content { durable: fs::read(&path).unwrap(), pending: Vec::new() });
            self.durable.insert(path, Some(metadata.ino()));
        }
    }

    fn after_power_loss(mut self, to: &Path, random: &mut fastrand::Rng) {
        let mut names = std::mem::take(&mut self.durable);
        let (first, any) = (random.usize(..=self.pending.len()), random.u8(..4) == 0);
        for (number, change) in self.pending.into_iter().enumerate() {
            if if any { random.bool() } else { number < first } {
                change.apply(&mut names);
            }
        }
        // How much of what was not synced gets there: all, nothing, or something between.
        let reaching = [0, 50, 90, 100][random.usize(..4)];
        for (name, inode) in
            names.iter().filter(|(name, _)| name.ancestors().all(|above| is_there(above, &names, &self.root)))
        {
            let path = to.join(name.strip_prefix(&self.root).unwrap());
            let Some(inode) = inode else {
                fs::create_dir_all(&path).unwrap();
                continue;
            };
            let mut content = self.files[inode].clone();
            // A sector is written as it is at some time: with all that was written to it before.
            let mut stale = BTreeSet::new();
            for change in std::mem::take(&mut content.pending) {
                content.apply(&change, |sector| {
                    let reaches = !stale.contains(&sector) && random.u32(..100) < reaching;
                    if !reaches && sector.is_some() {
                        stale.insert(sector);
                    }
                    reaches
                });
            }
            fs::write(&path, &content.durable).unwrap();
        }
    }

    fn knows(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }
}

fn is_there(name: &Path, names: &BTreeMap<PathBuf, Option<Inode>>, root: &Path) -> bool {
    !name.starts_with(root) || names.contains_key(name)
}

pub(super) fn made(path: &Path, file: Option<&File>) {
    let inode = file.map(|file| file.metadata().unwrap().ino());
    on_path(path, |disk| {
        if let Some(inode) = inode {
            disk.files.entry(inode).or_default();
        }
        disk.pending.push(NameChange::Made(path.to_owned(), inode));
    });
}

/// As an inode's number is given out again, so is its content new.
pub(super) fn made_anew(path: &Path, file: &File) {
    let inode = file.metadata().unwrap().ino();
    on_path(path, |disk| drop(disk.files.insert(inode, Content::default())));
    made(path, Some(file));
}

pub(super) fn moved(from: &Path, to: &Path) {
    on_path(from, |disk| disk.pending.push(NameChange::Moved(from.to_owned(), to.to_owned())));
}

pub(super) fn removed(path: &Path) {
    on_path(path, |disk| disk.pending.push(NameChange::Removed(path.to_owned())));
}

pub(super) fn dir_synced(dir: &Path) {
    on_path(dir, |disk| {
        let pending = std::mem::take(&mut disk.pending);
        let (synced, rest) = pending.into_iter().partition(|change| change.folder() == Some(dir));
        disk.pending = rest;
        let synced: Vec<NameChange> = synced;
        synced.into_iter().for_each(|change| change.apply(&mut disk.durable));
    });
}

pub(super) fn written<'a>(file: &File, parts: impl IntoIterator<Item = &'a [u8]>, at: u64) {
    let bytes: Vec<u8> = parts.into_iter().flatten().copied().collect();
    on_file(file, |content| content.pending.push(Change::Write(at, bytes.clone())));
}

pub(super) fn length_set(file: &File, length: u64) {
    on_file(file, |content| content.pending.push(Change::Length(length)));
}

pub(super) fn synced(file: &File) {
    on_file(file, |content| {
        for change in std::mem::take(&mut content.pending) {
            content.apply(&change, |_| true);
        }
    });
}

fn on_path(path: &Path, note: impl FnOnce(&mut Disk)) {
    if let Some(disk) = DISKS.lock().iter_mut().find(|disk| disk.knows(path)) {
        note(disk);
    }
}

fn on_file(file: &File, mut note: impl FnMut(&mut Content)) {
    let mut disks = DISKS.lock();
    if disks.is_empty() {
        return;
    }
    let inode = file.metadata().unwrap().ino();
    disks.iter_mut().filter_map(|disk| disk.files.get_mut(&inode)).for_each(&mut note);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    /// What `work` may leave under its root, over many power losses: each content of `file`, `None` where it is not there.
    fn outcomes(work: impl Fn(&Path), file: &str) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        let mut random = fastrand::Rng::with_seed(1);
        let outcome = |_| {
            let dir = tempfile::tempdir().unwrap();
            let (root, left) = (dir.path().join("root"), dir.path().join("left"));
            fs::create_dir(&root).unwrap();
            watch(&root);
            work(&root);
            lose_power(&root, &left, &mut random);
            fs::read(left.join(file)).ok()
        };
        (0..200).map(outcome).collect()
    }

    #[test]
    fn what_was_not_synced_may_be_there_or_not_and_what_was_synced_is() {
        let one_name = |synced: bool| {
            outcomes(
                |root| {
                    let file = sys::create(&root.join("a")).unwrap();
                    sys::pwrite_all(&file, &[1; 2], 0).unwrap();
                    sys::sync_dir(root).unwrap();
                    if synced {
                        sys::fdatasync(&file).unwrap();
                    }
                },
                "a",
            )
        };
        assert_eq!(one_name(true).into_iter().collect::<Vec<_>>(), [Some(vec![1; 2])]);
        assert_eq!(one_name(false).into_iter().collect::<Vec<_>>(), [Some(vec![]), Some(vec![1; 2])]);
    }

    #[test]
    fn sectors_get_there_in_any_order_and_names_only_with_their_folder() {
        let sectors = outcomes(
            |root| {
                let file = sys::create(&root.join("a")).unwrap();
                sys::sync_dir(root).unwrap();
                sys::pwrite_all(&file, &[1; 2 * SECTOR], 0).unwrap();
            },
            "a",
        );
        let second_alone = [vec![0; SECTOR], vec![1; SECTOR]].concat();
        assert!(sectors.contains(&Some(second_alone)));
        assert_eq!(sectors.len(), 4);

        let renamed = outcomes(
            |root| {
                let file = sys::create(&root.join("a.tmp")).unwrap();
                sys::pwrite_all(&file, b"x", 0).unwrap();
                sys::fsync(&file).unwrap();
                sys::rename(&root.join("a.tmp"), &root.join("a")).unwrap();
            },
            "a",
        );
        assert_eq!(renamed.into_iter().collect::<Vec<_>>(), [None, Some(b"x".to_vec())]);
    }
}
