//! What the logs of one log dir share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::LogError;
use super::open_files::OpenFiles;
use super::removals::Removals;

/// A log dir's health, and what all of its logs draw on.
#[derive(Debug)]
pub struct DirContext {
    pub(super) path: PathBuf,
    failed: AtomicBool,
    /// Told when a dir fails; shared by all dirs.
    failures: Arc<Notify>,
    pub(super) open_files: Arc<OpenFiles>,
    pub(super) removals: Arc<Removals>,
}

impl DirContext {
    /// Of a log that stands by itself.
    pub fn detached(path: &Path) -> Arc<DirContext> {
        Arc::new(DirContext::new(path, Arc::default(), Arc::new(OpenFiles::up_to(usize::MAX)), Arc::default()))
    }

    pub fn new(path: &Path, failures: Arc<Notify>, open_files: Arc<OpenFiles>, removals: Arc<Removals>) -> DirContext {
        DirContext { path: path.to_owned(), failed: AtomicBool::new(false), failures, open_files, removals }
    }

    /// After a failed write or fsync nothing that the dir holds can be relied on to get to the disk: no later write to it
    /// is acknowledged (`LogDirFailureChannel`). Said once.
    pub(super) fn fail(&self, error: &LogError) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            tracing::error!(dir = %self.path.display(), %error, "log dir failed; its partitions are offline until a restart");
            self.failures.notify_one();
        }
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        if self.has_failed() { Err(LogError::DirFailed { path: self.path.clone() }) } else { Ok(()) }
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}
