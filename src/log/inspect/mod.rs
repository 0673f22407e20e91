//! Reading a log's files without a broker: what they hold, and what in them is damaged. Nothing is changed: files are
//! opened to read, no lock is taken.
//!
//! `batches` and `entries` walk one file; [`verify_log_dir`] goes through a log dir: `log_dir` → `partition` → `segment`.

mod batches;
mod entries;
mod finding;
mod index_check;
mod log_dir;
mod partition;
mod segment;
mod txn_check;

#[cfg(test)]
mod tests;

pub use super::offset_index::OffsetEntry;
pub use super::scan::{Located, ScanError};
pub use super::time_index::TimeEntry;
pub use super::txn_index::TxnEntry;
pub use batches::{BatchFile, Batches, Walked};
pub use entries::{Entries, EntryError, offset_entries, time_entries, txn_entries};
pub use finding::{Counts, Finding, Severity, Watch};
pub use index_check::{Disagreement, check_offset_index, check_time_index};
pub use log_dir::{Survey, lock_holder, survey, verify_log_dir};

use super::checkpoint::{
    CheckpointError, LEADER_EPOCH_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, META_PROPERTIES, PARTITION_METADATA,
    RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
};
use super::names::{FileKind, FileName};
use crate::types::Offset;

/// Up to where Kafka's cleaner has cleaned each partition.
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// What Kafka's storage tool leaves for the first start.
const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// What a file's name says that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Batches from this offset on.
    Log(Offset),
    /// Batches: a snapshot of KRaft's metadata (`<offset>-<epoch>.checkpoint`), or `bootstrap.checkpoint`.
    KraftSnapshot,
    /// Of the segment with this base offset; so too the other two.
    OffsetIndex(Offset),
    TimeIndex(Offset),
    TxnIndex(Offset),
    /// Producer state before this offset.
    ProducerSnapshot(Offset),
    LeaderEpochs,
    /// Offsets by partition.
    Offsets,
    PartitionMetadata,
    MetaProperties,
}

impl Content {
    /// `None` for a name that says nothing.
    pub fn of(name: &str) -> Option<Content> {
        if let Some(FileName { offset, kind, .. }) = FileName::parse(name) {
            return Some(match kind {
                FileKind::Log => Content::Log(offset),
                FileKind::OffsetIndex => Content::OffsetIndex(offset),
                FileKind::TimeIndex => Content::TimeIndex(offset),
                FileKind::TxnIndex => Content::TxnIndex(offset),
                FileKind::ProducerSnapshot => Content::ProducerSnapshot(offset),
            });
        }
        match name {
            LEADER_EPOCH_CHECKPOINT => Some(Content::LeaderEpochs),
            RECOVERY_POINT_CHECKPOINT
            | LOG_START_OFFSET_CHECKPOINT
            | REPLICATION_OFFSET_CHECKPOINT
            | CLEANER_OFFSET_CHECKPOINT => Some(Content::Offsets),
            PARTITION_METADATA => Some(Content::PartitionMetadata),
            META_PROPERTIES => Some(Content::MetaProperties),
            BOOTSTRAP_CHECKPOINT => Some(Content::KraftSnapshot),
            _ => kraft_snapshot_id(name).map(|_| Content::KraftSnapshot),
        }
    }
}

/// End offset and epoch of `<offset>-<epoch>.checkpoint` (`Snapshots.parse`).
pub fn kraft_snapshot_id(name: &str) -> Option<(i64, i32)> {
    let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(offset, 20) || !is_number(epoch, 10) {
        return None;
    }
    Some((offset.parse().ok()?, epoch.parse().ok()?))
}

/// What is wrong with a text file, without its path.
pub fn problem(error: CheckpointError) -> String {
    match error {
        CheckpointError::Io { source, .. } => source.to_string(),
        CheckpointError::Malformed { problem, .. } => problem,
    }
}
