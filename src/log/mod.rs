//! One partition's log on disk, in Kafka's own files.
//!
//! [`open`] gives two halves: the [`LogWriter`], one per partition, which the partition keeps under its append lock, and
//! the [`LogReader`], cloned freely, whose reads never wait for an append. `docs/on-disk.md` describes the bytes.
//!
//! From the bottom up:
//! - Files: `names`, `checkpoint`, `producer_snapshot`; `open_files` → `index` (`offset_index`, `time_index`), `txn_index`.
//! - A segment: `scan` (its batches) and `tail` (what is indexed of them) → `segment` → `segments`.
//! - A log: `shared` (what is published) and `flush` (what of it is durable) → `writer` (with `producer_state`,
//!   `epoch_cache`, `roll`, `settle`) and `reader` (with `cold`, `timestamps`) → `retention`, `cleaner`, `relocate`.
//! - Its start: `open`, and `recovery` (with `resume`, `damage`) where it was not stopped cleanly.
//! - Log dirs: `dir_context` (health, `removals`) is what their logs share; `log_dir`, `known_dirs`, `foreign` → `manager`.
//!
//! `inspect` reads files without a broker.

pub mod checkpoint;
pub mod cleaner;
pub mod dir_context;
pub mod epoch_cache;
pub mod error;
pub mod foreign;
pub mod inspect;
pub mod manager;
pub mod names;
pub mod open_files;
pub mod producer_snapshot;
pub mod producer_state;
pub mod removals;

mod cold;
mod damage;
mod flush;
mod index;
mod known_dirs;
mod log_dir;
mod offset_index;
mod open;
mod reader;
mod recovery;
mod relocate;
mod resume;
mod retention;
mod roll;
mod scan;
mod segment;
mod segments;
mod settle;
mod shared;
mod tail;
mod time_index;
mod timestamps;
mod txn_index;
mod writer;

pub use dir_context::{DirContext, Failures};
pub use error::LogError;
pub use flush::FlushWait;
pub use open::open;
pub use reader::LogReader;
#[cfg(test)]
pub(crate) use relocate::at_crash_points;
pub use relocate::{FutureLog, MoveProgress};
pub use retention::Expired;
pub use writer::LogWriter;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::TopicConfig;
use crate::sys::FileSlice;
use crate::types::{LeaderEpoch, Offset, ProducerId, Timestamp, TopicId};

/// What opening a log needs to know.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// `<log.dir>/<topic>-<partition>`; made when the first batch arrives.
    pub dir: PathBuf,
    pub topic_id: TopicId,
    pub config: TopicConfig,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// From `log-start-offset-checkpoint`; ZERO where there is none.
    pub log_start_offset: Offset,
    /// From `recovery-point-offset-checkpoint`: everything before it was flushed.
    pub recovery_point: Offset,
    /// Compaction has been here, whatever the configuration says now: offsets may have holes.
    pub cleaned: bool,
    /// The log dir was stopped cleanly: the files are as the last run left them, nothing is scanned.
    pub clean: bool,
    /// Of the log dir that the folder is in.
    pub context: Arc<DirContext>,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// Set under `message.timestamp.type=LogAppendTime`, else NONE.
    pub append_time: Timestamp,
    /// The batch was already in the log (an idempotent producer's retry); nothing was written.
    pub duplicate: bool,
}

/// A transaction that was aborted, as a read_committed Fetch reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
}

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only what is in the page cache is looked at; anything else is [`LogError::Cold`].
    Cached,
    /// Off the async workers.
    Blocking,
}

/// How far a read may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Offsets from here on are not for this reader (high watermark or last stable offset).
    pub upper: Offset,
    pub bytes_max: u32,
    /// Give the first batch even where it is larger than `bytes_max` (KIP-74).
    pub at_least_one_batch: bool,
}

/// A run of whole batches.
#[derive(Debug, Clone)]
pub struct ReadSlice {
    /// Starts with the batch that contains the offset asked for. `None`: nothing to read there now.
    pub slice: Option<FileSlice>,
    /// Transactions aborted within the slice; empty unless asked for.
    pub aborted: Vec<AbortedTxn>,
}

/// A record's place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampedOffset {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub leader_epoch: LeaderEpoch,
}

#[cfg(test)]
mod tests;
