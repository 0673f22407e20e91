//! One log directory: its lock, `meta.properties`, the clean-shutdown mark, and the folders in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::checkpoint::{self, META_PROPERTIES, MetaProperties};
use super::known_dirs::KnownDirs;
use super::manager::ManagerError;
use super::names::{FolderName, FolderState};
use super::{DirContext, foreign};
use crate::sys::{self, FileLock};
use crate::types::{DirectoryId, NodeId, TopicId, TopicPartition};

pub(super) const LOCK_FILE: &str = ".lock";
pub(super) const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
/// The longest is 47 bytes.
const CLEAN_SHUTDOWN_BYTES_MAX: u64 = 64;
/// A process id has fewer digits.
const PID_BYTES_MAX: u64 = 20;

#[derive(Debug)]
pub(super) struct LogDir {
    pub(super) path: PathBuf,
    pub(super) context: Arc<DirContext>,
    pub(super) was_clean: bool,
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// Folders of deleted partitions, and what moves have copied that were not finished.
    pub(super) leftovers: Vec<PathBuf>,
    /// Held by whoever writes its checkpoints; taken before the manager's state.
    pub(super) checkpoints: Mutex<()>,
    /// Given by a Kafka's controllers, and by the mark of its stop proven to them (KIP-966): kept for a Kafka that gets the
    /// directory back. -1 where there was none.
    broker_epoch: i64,
    /// Held as long as this lives.
    _lock: FileLock,
}

impl LogDir {
    /// Lists the folders and looks for the clean-shutdown mark. Changes nothing.
    pub(super) fn open(path: &Path, lock: FileLock, context: Arc<DirContext>) -> Result<LogDir, ManagerError> {
        let (mut partitions, mut leftovers) = (BTreeSet::new(), Vec::new());
        for entry in fs::read_dir(path).map_err(io(path))? {
            let name = entry.map_err(io(path))?.file_name();
            let Some(folder) = name.to_str().and_then(FolderName::parse) else { continue };
            match folder.state {
                FolderState::Live => drop(partitions.insert(folder.partition)),
                FolderState::Delete | FolderState::Future => leftovers.push(path.join(&name)),
                FolderState::Stray => {}
            }
        }
        let mark = path.join(CLEAN_SHUTDOWN_FILE);
        let was_clean = mark.exists() || partitions.is_empty();
        let broker_epoch = broker_epoch(&mark).unwrap_or(-1);
        let (path, checkpoints) = (path.to_owned(), Mutex::default());
        Ok(LogDir { path, context, was_clean, partitions, leftovers, checkpoints, broker_epoch, _lock: lock })
    }

    /// Takes the clean-shutdown mark away: from now on only the next clean stop makes it true.
    pub(super) fn unmark(&self) -> Result<(), ManagerError> {
        let mark = self.path.join(CLEAN_SHUTDOWN_FILE);
        match sys::remove_file(&mark) {
            Ok(()) => sys::sync_dir(&self.path).map_err(io(&self.path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io(&mark)(error)),
        }
    }

    pub(super) fn mark_clean(&self) -> std::io::Result<()> {
        let mark = sys::create(&self.path.join(CLEAN_SHUTDOWN_FILE))?;
        sys::pwrite_all(&mark, mark_of(self.broker_epoch).as_bytes(), 0)?;
        sys::fsync(&mark)?;
        sys::sync_dir(&self.path)
    }
}

/// Directories, with their locks, and those that cannot be read or written, or are not there.
#[derive(Debug, Default)]
pub(super) struct Locked {
    pub(super) dirs: Vec<PathBuf>,
    pub(super) locks: Vec<FileLock>,
    pub(super) known: KnownDirs,
    pub(super) unopened: Vec<PathBuf>,
}

/// The first of the directories must be there to be used, and there must not be another broker in any. As long as one is
/// missing that there was, an empty one is not begun: the missing one may belong there, and not be mounted.
pub(super) fn lock_all(dirs: &[PathBuf]) -> Result<Locked, ManagerError> {
    let Some((first, others)) = dirs.split_first() else { return Ok(Locked::default()) };
    let (dirs, locks) = (vec![first.clone()], vec![lock(first)?]);
    let mut locked = Locked { dirs, locks, known: KnownDirs::read(first)?, unopened: Vec::new() };
    let missing = locked.known.missing_among(others);
    for dir in others {
        if !missing.is_empty() && is_empty(dir) {
            tracing::error!(dir = %dir.display(), "log dir is offline: it is empty, and one that may belong there is missing");
            locked.unopened.push(dir.clone());
            continue;
        }
        match lock(dir) {
            Ok(lock) => {
                locked.dirs.push(dir.clone());
                locked.locks.push(lock);
            }
            Err(error @ ManagerError::Io { .. }) => {
                tracing::error!(dir = %dir.display(), %error, "log dir is offline; its partitions are until a restart");
                locked.unopened.push(dir.clone());
            }
            Err(error) => return Err(error),
        }
    }
    for dir in missing {
        locked.known.tell_missing(&dir);
        if !locked.unopened.contains(&dir) {
            locked.unopened.push(dir);
        }
    }
    Ok(locked)
}

/// Whether nothing of a broker's is in the directory, or there is none.
pub(super) fn is_empty(dir: &Path) -> bool {
    !dir.join(META_PROPERTIES).exists() && matches!(foreign::partition_folder(dir), Ok(None))
}

/// Kafka's form of the mark (`CleanShutdownFileHandler`).
fn mark_of(broker_epoch: i64) -> String {
    format!(r#"{{"version":0,"brokerEpoch":{broker_epoch}}}"#)
}

/// What a mark of that form says; before Kafka 3.7 it was an empty file.
fn broker_epoch(mark: &Path) -> Option<i64> {
    let mut text = String::new();
    fs::File::open(mark).ok()?.take(CLEAN_SHUTDOWN_BYTES_MAX).read_to_string(&mut text).ok()?;
    let epoch = text.strip_suffix('}')?.rsplit_once(':')?.1.parse().ok()?;
    (text == mark_of(epoch)).then_some(epoch)
}

/// Makes the directory where it is missing and takes its lock; the lock file names the process that holds it.
fn lock(dir: &Path) -> Result<FileLock, ManagerError> {
    sys::create_dir_all(dir).map_err(io(dir))?;
    let path = dir.join(LOCK_FILE);
    let open = || sys::open_or_create(&path);
    let Some(mut lock) = sys::try_lock_exclusive(open().map_err(io(&path))?).map_err(io(&path))? else {
        let mut pid = String::new();
        let holder = open().map_err(io(&path))?;
        holder.take(PID_BYTES_MAX).read_to_string(&mut pid).map_err(io(&path))?;
        // Kafka does not write its own there.
        let pid = pid.trim().parse().ok().or_else(|| sys::lock_holder(&path).ok().flatten()).unwrap_or(0);
        return Err(ManagerError::InUse { path: dir.to_owned(), pid });
    };
    lock.set_len(0).map_err(io(&path))?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(io(&path))?;
    Ok(lock)
}

/// Checks `meta.properties` of every directory against this broker, writes it where it is missing, and gives the id of
/// the cluster: the one found, else the one configured, else a fresh one. From then on the directories are `known`.
pub(super) fn settle_identity(
    dirs: &[PathBuf],
    node_id: NodeId,
    configured: Option<&str>,
    mut known: KnownDirs,
) -> Result<String, ManagerError> {
    let paths: Vec<PathBuf> = dirs.iter().map(|dir| dir.join(META_PROPERTIES)).collect();
    let found = paths.iter().map(|path| checkpoint::read_meta_properties(path)).collect::<Result<Vec<_>, _>>()?;
    let there = found.iter().flatten().map(|properties| properties.cluster_id.clone()).next();
    let cluster_id = configured.map(str::to_owned).or(there).unwrap_or_else(|| TopicId::random().to_string());
    for (path, found) in paths.iter().zip(&found) {
        let wrong = |key, found: &str, expected: &str| {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            Err(ManagerError::WrongIdentity { path: path.clone(), key, found, expected })
        };
        match found {
            Some(found) if found.cluster_id != cluster_id => {
                return wrong("cluster.id", &found.cluster_id, &cluster_id);
            }
            Some(found) if found.node_id != node_id => {
                return wrong("node.id", &found.node_id.0.to_string(), &node_id.0.to_string());
            }
            Some(_) | None => {}
        }
    }
    // Nothing is written before every directory has been found to be ours.
    let mut ids = Vec::with_capacity(dirs.len());
    for ((dir, path), found) in dirs.iter().zip(&paths).zip(found) {
        let written = found.and_then(|found| found.directory_id);
        let id = written.or_else(|| known.id_at(dir)).unwrap_or_else(DirectoryId::random);
        if written.is_none() {
            let properties = MetaProperties { cluster_id: cluster_id.clone(), node_id, directory_id: Some(id) };
            checkpoint::write_meta_properties(path, &properties)?;
        }
        ids.push(id);
    }
    known.learn(ids.into_iter().zip(dirs.iter().cloned()).skip(1))?;
    Ok(cluster_id)
}

/// Removes folders off the start-up path. One that resists is left for the next start.
pub(super) fn remove_in_background(folders: Vec<PathBuf>) {
    if folders.is_empty() {
        return;
    }
    std::thread::spawn(move || {
        for folder in folders {
            if let Err(error) = sys::remove_dir_all(&folder) {
                tracing::warn!(path = %folder.display(), %error, "a deleted partition's folder stays");
            }
        }
    });
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ManagerError + '_ {
    move |source| ManagerError::Io { path: path.to_owned(), source }
}
