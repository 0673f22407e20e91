//! What the logs of one log dir share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::LogError;
use super::open_files::OpenFiles;
use super::removals::Removals;

/// Tells how many log dirs have failed.
pub type Failures = watch::Sender<usize>;

/// A full disk that has refused nothing for so long is full no more. Small writes may still find room in between.
const OUTAGE_QUIET: Duration = Duration::from_secs(1);

/// A log dir's health, and what all of its logs draw on.
#[derive(Debug)]
pub struct DirContext {
    pub(super) path: PathBuf,
    failed: AtomicBool,
    /// Told when a dir fails; shared by all dirs.
    failures: Arc<Failures>,
    full: AtomicBool,
    /// When a write last found no room.
    refused_at: Mutex<Option<Instant>>,
    pub(super) open_files: Arc<OpenFiles>,
    pub(super) removals: Arc<Removals>,
    /// Bytes of logs that recovery has read.
    pub(super) recovery_bytes: AtomicU64,
}

impl DirContext {
    /// Of a log that stands by itself.
    pub fn detached(path: &Path) -> Arc<DirContext> {
        Arc::new(DirContext::new(path, Arc::default(), Arc::new(OpenFiles::up_to(usize::MAX)), Arc::default()))
    }

    pub fn new(
        path: &Path,
        failures: Arc<Failures>,
        open_files: Arc<OpenFiles>,
        removals: Arc<Removals>,
    ) -> DirContext {
        DirContext {
            path: path.to_owned(),
            failed: AtomicBool::new(false),
            failures,
            full: AtomicBool::new(false),
            refused_at: Mutex::new(None),
            open_files,
            removals,
            recovery_bytes: AtomicU64::new(0),
        }
    }

    /// After a failed write or fsync nothing that the dir holds can be relied on to get to the disk: no later write to it
    /// is acknowledged (`LogDirFailureChannel`). Said once.
    pub fn fail(&self, error: &LogError) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            let dir = self.path.display();
            tracing::error!(%dir, %error, "log dir failed; its partitions are offline until a restart");
            self.failures.send_modify(|failed| *failed += 1);
        }
    }

    /// Judges the failure of a write. Kafka takes the dir offline for a full disk, too; here it is refused until there is
    /// room again, for what is on the disk is as good as before.
    pub fn write_failed(&self, error: LogError) -> LogError {
        if error.is_disk_full() {
            self.note_full(&error);
            return LogError::DiskFull { path: self.path.clone() };
        }
        if !error.is_of_device() {
            return error;
        }
        self.fail(&error);
        LogError::DirFailed { path: self.path.clone() }
    }

    /// Judges the failure of a sync. Whatever its reason: the kernel counts the pages as written afterwards, so that
    /// trying again would prove nothing.
    pub fn sync_failed(&self, error: LogError) -> LogError {
        if !error.is_failed_sync() {
            return error;
        }
        self.fail(&error);
        LogError::DirFailed { path: self.path.clone() }
    }

    /// A write found room.
    pub fn written(&self) {
        if self.full.load(Ordering::Relaxed) {
            self.note_room(Instant::now());
        }
    }

    pub fn check(&self) -> Result<(), LogError> {
        if self.has_failed() { Err(LogError::DirFailed { path: self.path.clone() }) } else { Ok(()) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of logs that recovery has read so far.
    pub fn recovery_bytes(&self) -> u64 {
        self.recovery_bytes.load(Ordering::Relaxed)
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    fn note_full(&self, error: &LogError) {
        *self.refused_at.lock() = Some(Instant::now());
        if !self.full.swap(true, Ordering::Relaxed) {
            let dir = self.path.display();
            tracing::error!(%dir, %error, "log dir is full: produce is refused until there is room; reads go on");
        }
    }

    fn note_room(&self, now: Instant) {
        let mut refused_at = self.refused_at.lock();
        let Some(at) = *refused_at else { return };
        if now.saturating_duration_since(at) >= OUTAGE_QUIET {
            *refused_at = None;
            self.full.store(false, Ordering::Relaxed);
            tracing::info!(dir = %self.path.display(), "log dir has room again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;

    fn error(errno: i32) -> LogError {
        LogError::Io { path: "/data/t-0/x.log".into(), source: io::Error::from_raw_os_error(errno) }
    }

    #[test]
    fn a_failing_device_fails_the_dir_and_a_shortage_does_not() {
        const EMFILE: i32 = 24;
        for (errno, by_write, by_sync) in [(EIO, true, true), (ENOSPC, false, true), (EMFILE, false, false)] {
            let context = DirContext::detached(Path::new("/data"));
            context.write_failed(error(errno));
            assert_eq!(context.has_failed(), by_write, "write: {errno}");
            let context = DirContext::detached(Path::new("/data"));
            context.sync_failed(error(errno));
            assert_eq!(context.has_failed(), by_sync, "sync: {errno}");
        }
    }

    #[test]
    fn a_failure_is_told_once_to_all_who_watch() {
        let failures = Arc::new(Failures::default());
        let open_files = Arc::new(OpenFiles::up_to(1));
        let context = DirContext::new(Path::new("/data"), failures.clone(), open_files, Arc::default());
        let mut watching = failures.subscribe();
        for _ in 0..2 {
            context.fail(&error(EIO));
        }
        assert!(watching.has_changed().unwrap());
        assert_eq!(*watching.borrow_and_update(), 1);
        assert!(matches!(context.check(), Err(LogError::DirFailed { .. })));
    }

    #[test]
    fn an_outage_lasts_until_nothing_was_refused_for_a_while() {
        let context = DirContext::detached(Path::new("/data"));
        context.write_failed(error(ENOSPC));
        let refused_at = context.refused_at.lock().unwrap();
        context.note_room(refused_at + OUTAGE_QUIET / 2);
        assert!(context.full.load(Ordering::Relaxed), "a small write that fits ends nothing");
        context.note_room(refused_at + OUTAGE_QUIET);
        assert!(!context.full.load(Ordering::Relaxed));
    }
}
