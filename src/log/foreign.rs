//! Log dirs that the metadata store says nothing of, for there is none: a Kafka's, or ours after the store was lost.
//! They are looked at here before anything is locked, made or written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, META_PROPERTIES};
use super::log_dir::{self, LOCK_FILE};
use super::names::FolderName;
use crate::types::NodeId;

/// Why the directories are left alone.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    #[error(
        "log.dirs: {}: holds {found}, but there is no {}: this is the data of a Kafka, or ottla's own without its \
         metadata; nothing was changed; start once with --adopt to take it over", dir.display(), store.display()
    )]
    Foreign { dir: PathBuf, found: String, store: PathBuf },
    #[error(
        "log.dirs: {}: is empty, while {} holds {found}: is its disk mounted? Nothing was changed; if there is to be an \
         empty directory, or what it held is lost, start once with --adopt to take over what the others hold",
        first.display(), dir.display()
    )]
    FirstIsEmpty { first: PathBuf, dir: PathBuf, found: String },
    #[error(
        "log.dirs: there is no {}, but there is {}: name that directory first", missing.display(), there.display()
    )]
    NotFirst { missing: PathBuf, there: PathBuf },
    #[error("log.dirs: {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// To be called where the first of `dirs` has no store, a file of the name `store`: errs if there is anything in them that
/// it should tell of, unless that is to be adopted.
pub fn check(dirs: &[PathBuf], store: &Path, adopt: bool) -> Result<(), ForeignError> {
    let [first, others @ ..] = dirs else { return Ok(()) };
    let missing = first.join(store);
    if let Some(there) = others.iter().map(|other| other.join(store)).find(|store| store.exists()) {
        return Err(ForeignError::NotFirst { missing, there });
    }
    for dir in dirs.iter().filter(|_| !adopt) {
        let io = |source| ForeignError::Io { path: dir.clone(), source };
        let Some(found) = content(dir).map_err(io)? else { continue };
        return Err(match dir != first && log_dir::is_empty(first) {
            true => ForeignError::FirstIsEmpty { first: first.clone(), dir: dir.clone(), found },
            false => ForeignError::Foreign { dir: dir.clone(), found, store: missing },
        });
    }
    Ok(())
}

/// Something of a broker's, if there is anything. An identity alone is ours where the lock is: a first start that was cut
/// short before it made the store. (The lock file of a Kafka is empty.)
fn content(dir: &Path) -> io::Result<Option<String>> {
    if let Some(name) = partition_folder(dir)? {
        return Ok(Some(format!("the partition folder {name}")));
    }
    let is_locked_by_us = fs::metadata(dir.join(LOCK_FILE)).is_ok_and(|lock| lock.len() > 0);
    let has_identity = !is_locked_by_us && dir.join(META_PROPERTIES).exists();
    Ok(has_identity.then(|| META_PROPERTIES.to_owned()))
}

/// A partition's folder, if the directory has any.
pub(super) fn partition_folder(dir: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if FolderName::parse(&name).is_some() && entry.file_type()?.is_dir() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The node id that the directories were given. What cannot be read here is told when they are opened.
pub fn node_id(dirs: &[PathBuf]) -> Option<NodeId> {
    let identity = |dir: &PathBuf| checkpoint::read_meta_properties(&dir.join(META_PROPERTIES)).ok().flatten();
    dirs.iter().find_map(identity).map(|identity| identity.node_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "store/file";

    fn dirs(files: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if file.ends_with("ours/.lock") { "17\n" } else { "" }).unwrap();
        }
        let dirs = ["a", "b", "ours"].map(|dir| root.path().join(dir)).to_vec();
        (root, dirs)
    }

    fn refusal(files: &[&str]) -> Option<String> {
        let (root, dirs) = dirs(files);
        let text = check(&dirs, Path::new(STORE), false).err()?.to_string();
        Some(text.replace(&root.path().display().to_string(), ""))
    }

    #[test]
    fn nothing_and_what_is_no_brokers_is_not_foreign() {
        assert_eq!(refusal(&[]), None);
        assert_eq!(refusal(&["a/lost+found/x", "a/notes.txt", "b/topic-0"]), None, "the last is a file");
    }

    #[test]
    fn partitions_and_an_identity_are_in_whichever_directory() {
        let text = refusal(&["a/meta.properties", "b/my-topic-0/00000000000000000000.log"]).unwrap();
        assert!(text.starts_with("log.dirs: /a: holds meta.properties, but there is no /a/store/file: "), "{text}");
        assert!(text.ends_with("start once with --adopt to take it over"), "{text}");
        for folder in ["a/__cluster_metadata-0/x", "a/t-0.0123-delete/x", "a/t-0.0123-stray/x"] {
            assert!(refusal(&[folder]).is_some(), "{folder}");
        }
        assert!(refusal(&["a/meta.properties", "a/.lock"]).unwrap().contains("holds meta.properties, but"));
    }

    #[test]
    fn an_empty_first_directory_beside_others_may_be_one_that_is_not_mounted() {
        for empty in ["a/lost+found/x", "other"] {
            let text = refusal(&[empty, "b/my-topic-0/00000000000000000000.log"]).unwrap();
            let start = "log.dirs: /a: is empty, while /b holds the partition folder my-topic-0: is its disk mounted?";
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_ours() {
        assert_eq!(refusal(&["ours/.lock", "ours/meta.properties"]), None);
        assert!(refusal(&["ours/.lock", "ours/meta.properties", "ours/t-0/x"]).is_some());
    }

    #[test]
    fn a_store_in_another_directory_is_pointed_out() {
        let (_root, dirs) = dirs(&["a/t-0/x", "b/store/file"]);
        assert!(check(&dirs, Path::new(STORE), true).is_err(), "there would be two of them");
        let text = refusal(&["b/store/file"]).unwrap();
        assert_eq!(text, "log.dirs: there is no /a/store/file, but there is /b/store/file: name that directory first");
    }

    #[test]
    fn the_node_id_is_that_of_the_first_identity_that_can_be_read() {
        let (_root, dirs) = dirs(&["a/meta.properties", "b/x"]);
        assert_eq!(node_id(&dirs), None);
        fs::write(dirs[1].join(META_PROPERTIES), "#\nversion=1\ncluster.id=x\nnode.id=7\n").unwrap();
        assert_eq!(node_id(&dirs), Some(NodeId(7)));
    }
}
