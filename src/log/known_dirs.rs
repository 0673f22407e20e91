//! Which log dirs there are beside the first, which remembers them.
//!
//! A partition's folder is made when its first batch arrives, so that one without a folder is new, or its log dir is
//! missing: an unmounted disk looks like an empty directory. To begin it anew would give offsets out again. Kafka does not
//! start with a log dir that has not been formatted (`KafkaRaftServer.initializeLogDirs`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, CheckpointError, LOG_DIRS_CHECKPOINT, META_PROPERTIES};
use super::log_dir;
use crate::types::DirectoryId;

/// Log dirs by their ids, each with the path that it had last.
#[derive(Debug, Default)]
pub(super) struct KnownDirs {
    path: PathBuf,
    dirs: BTreeMap<DirectoryId, PathBuf>,
}

impl KnownDirs {
    pub(super) fn read(first: &Path) -> Result<KnownDirs, CheckpointError> {
        let path = first.join(LOG_DIRS_CHECKPOINT);
        let dirs = checkpoint::read_log_dirs(&path)?.into_iter().collect();
        Ok(KnownDirs { path, dirs })
    }

    /// Where those were that are none of `dirs`.
    pub(super) fn missing_among(&self, dirs: &[PathBuf]) -> Vec<PathBuf> {
        let found: Vec<_> = dirs.iter().filter_map(|dir| self.id_of(dir)).collect();
        self.dirs.iter().filter(|(id, _)| !found.contains(id)).map(|(_, dir)| dir.clone()).collect()
    }

    /// What a directory says of itself; of one that has lost it, what it was.
    fn id_of(&self, dir: &Path) -> Option<DirectoryId> {
        let written = checkpoint::read_meta_properties(&dir.join(META_PROPERTIES)).ok()?;
        let written = written.and_then(|properties| properties.directory_id);
        written.or_else(|| self.id_at(dir).filter(|_| !log_dir::is_empty(dir)))
    }

    pub(super) fn id_at(&self, dir: &Path) -> Option<DirectoryId> {
        self.dirs.iter().find(|(_, known)| *known == dir).map(|(id, _)| *id)
    }

    pub(super) fn tell_missing(&self, dir: &Path) {
        let (dir, checkpoint) = (dir.display(), self.path.display());
        tracing::error!(
            %dir, "log dir is missing: partitions that are found nowhere are offline, lest they begin anew; mount it, or, if \
             it is gone for good, remove {checkpoint}"
        );
    }

    /// Remembers these too.
    pub(super) fn learn(&mut self, dirs: impl Iterator<Item = (DirectoryId, PathBuf)>) -> Result<(), CheckpointError> {
        let before = self.dirs.clone();
        self.dirs.extend(dirs);
        if self.dirs == before { Ok(()) } else { checkpoint::write_log_dirs(&self.path, &self.dirs) }
    }
}
