//! What can go wrong in a log, and what the wire calls it.

use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::CheckpointError;
use super::producer_snapshot::SnapshotError;
use super::producer_state::ProducerStateError;
use crate::protocol::ErrorCode;
use crate::protocol::batch::BatchError;
use crate::sys;
use crate::types::{Offset, TopicId};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("offset {offset} is outside {start}..={end}")]
    OffsetOutOfRange { offset: Offset, start: Offset, end: Offset },
    /// Damage that recovery may not cut away: it lies before the torn tail.
    #[error("{path}: damaged batch at byte {position} (offset {offset}): {source}")]
    Damaged { path: PathBuf, position: u64, offset: Offset, source: Damage },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The process has no file descriptor left. Nothing is wrong with the file, and the next try may succeed.
    #[error("{path}: {source}")]
    NoDescriptor { path: PathBuf, source: io::Error },
    #[error("batch set of {bytes} bytes is larger than a segment of {segment_bytes}")]
    TooLarge { bytes: u64, segment_bytes: u32 },
    /// `InconsistentTopicIdException`.
    #[error("{path}: holds the topic with the id {found}, not that with {topic_id}")]
    WrongTopic { path: PathBuf, found: TopicId, topic_id: TopicId },
    /// The log dir failed before: nothing in it is relied on any more.
    #[error("log dir {path} has failed")]
    DirFailed { path: PathBuf },
    /// As long as it lasts; nothing was written.
    #[error("log dir {path} is full")]
    DiskFull { path: PathBuf },
    /// What was appended may not be on stable storage.
    #[error("{path}: could not be flushed")]
    Unflushed { path: PathBuf },
    /// A segment was removed or replaced while it was read: the log's present segments have the answer.
    #[error("the segment was removed or replaced")]
    Gone,
    /// The disk would have to be waited for, where that is not allowed.
    #[error("not in the page cache")]
    Cold,
    #[error("no offset is left for a batch behind {0}")]
    NoOffsetLeft(Offset),
    #[error("the topic was deleted")]
    Retired,
    #[error("the broker is stopping")]
    Closed,
    /// Another log dir was asked for, or none.
    #[error("the move to another log dir was cancelled")]
    MoveCancelled,
    #[error(transparent)]
    Producer(#[from] ProducerStateError),
}

/// What is wrong with stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("offsets from {found} on where {expected} or more must follow")]
    OffsetOrder { found: Offset, expected: Offset },
    #[error("offsets up to {last}, where the next segment or the end of the log is at {end}")]
    BeyondSegment { last: Offset, end: Offset },
    #[error("the segment is shorter than the recovery point says was flushed")]
    BeforeRecoveryPoint,
}

impl LogError {
    /// There was no file where one was looked for: the log may have other ones by now.
    pub fn is_no_file(&self) -> bool {
        match self {
            LogError::Gone => true,
            LogError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    pub(super) fn io(path: PathBuf, source: io::Error) -> LogError {
        match source.kind() {
            // No file that may be waited for answers so.
            io::ErrorKind::WouldBlock => LogError::Cold,
            _ if sys::is_out_of_descriptors(&source) => LogError::NoDescriptor { path, source },
            _ => LogError::Io { path, source },
        }
    }

    pub fn error_code(&self) -> ErrorCode {
        match self {
            LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            LogError::Damaged { .. }
            | LogError::Io { .. }
            | LogError::NoDescriptor { .. }
            | LogError::WrongTopic { .. }
            | LogError::NoOffsetLeft(_)
            | LogError::DirFailed { .. }
            | LogError::DiskFull { .. }
            | LogError::Unflushed { .. }
            | LogError::Gone
            | LogError::Cold
            | LogError::MoveCancelled => ErrorCode::KafkaStorageError,
            LogError::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            LogError::Retired => ErrorCode::UnknownTopicOrPartition,
            // A client looks for the leader again, and finds it after the restart.
            LogError::Closed => ErrorCode::NotLeaderOrFollower,
            LogError::Producer(error) => error.code(),
        }
    }

    /// Whether the broker's log has it already, once for all that it happens to.
    pub fn is_reported(&self) -> bool {
        matches!(
            self,
            LogError::DirFailed { .. }
                | LogError::DiskFull { .. }
                | LogError::Unflushed { .. }
                | LogError::NoDescriptor { .. }
        )
    }

    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if sys::is_disk_full(source))
    }

    /// Whether an operation on a file failed, and for a reason that speaks against the disk.
    pub(super) fn is_of_device(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if sys::is_of_device(source))
    }
}

impl From<CheckpointError> for LogError {
    fn from(error: CheckpointError) -> LogError {
        match error {
            CheckpointError::Io { path, source } => LogError::io(path, source),
            CheckpointError::Malformed { path, problem } => {
                LogError::Io { path, source: io::Error::new(io::ErrorKind::InvalidData, problem) }
            }
        }
    }
}

impl From<SnapshotError> for LogError {
    fn from(error: SnapshotError) -> LogError {
        match error {
            SnapshotError::File(error) => error.into(),
            // Only reading a snapshot gives the others, and then an older one is taken.
            other => LogError::Io { path: PathBuf::new(), source: io::Error::other(other) },
        }
    }
}

/// Names the file in an I/O error.
pub(super) trait IoContext<T> {
    fn at(self, path: &Path) -> Result<T, LogError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, LogError> {
        self.map_err(|source| LogError::io(path.to_owned(), source))
    }
}
