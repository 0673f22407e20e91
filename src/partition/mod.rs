//! A partition as clients see it: one object, one append lock. Order, offsets, producer state and the log end move
//! together under that lock, and no lock is held across an await.

mod registry;
mod upkeep;
mod waiters;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::config::TopicConfig;
use crate::log::{Appended, LogError, LogReader, LogWriter, ReadLimit, ReadSlice, TimestampedOffset};
use crate::protocol::ErrorCode;
use crate::protocol::batch::Batch;
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::protocol::validate::{self, ProduceRules, Rejected};
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition};

pub use registry::{OpenError, Registry};
pub use upkeep::Upkeep;
pub use waiters::{FetchWait, Waiters};

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset, with the aborted transactions named.
    ReadCommitted,
}

/// The offsets of a partition at one moment: `log_start ≤ last_stable ≤ high_watermark ≤ log_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    pub log_start: Offset,
    pub last_stable: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
}

/// One partition that this broker leads.
#[derive(Debug)]
pub struct Partition {
    pub id: TopicPartition,
    pub topic_id: TopicId,
    writer: Mutex<LogWriter>,
    /// Another one once the log has moved to another log dir.
    reader: RwLock<LogReader>,
    config: RwLock<Arc<TopicConfig>>,
    waiters: Waiters,
    deleted: AtomicBool,
}

impl Offsets {
    /// Offsets from here on are not for a reader of that isolation.
    pub fn visible_to(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable,
        }
    }
}

impl Partition {
    /// The one epoch of a broker that has no peers: it is never taken over from.
    pub const LEADER_EPOCH: LeaderEpoch = LeaderEpoch(0);

    fn new(
        id: TopicPartition,
        topic_id: TopicId,
        config: TopicConfig,
        writer: LogWriter,
        reader: LogReader,
    ) -> Partition {
        Partition {
            id,
            topic_id,
            writer: Mutex::new(writer),
            reader: RwLock::new(reader),
            config: RwLock::new(Arc::new(config)),
            waiters: Waiters::default(),
            deleted: AtomicBool::new(false),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.read().clone()
    }

    /// Appends what a client sent, all of it or nothing. What can be checked without the log is checked before the
    /// append lock is taken.
    pub fn append_client(&self, records: Bytes, produce_version: i16, now: Timestamp) -> Result<Appended, Rejected> {
        let rules = self.produce_rules(produce_version);
        let batch = validate::validate(records, &rules, now)?;
        // No transaction can have been begun: none is coordinated here yet.
        if batch.header.attributes.is_transactional() {
            return Err(ErrorCode::InvalidTxnState.into());
        }
        Ok(self.append_batches(&mut [batch], now)?)
    }

    fn produce_rules(&self, produce_version: i16) -> ProduceRules {
        let config = self.config.read();
        ProduceRules {
            produce_version,
            message_bytes_max: config.max_message_bytes,
            segment_bytes: config.segment_bytes as usize,
            timestamp_type: config.timestamp_type,
            timestamp_before_max_ms: millis(config.timestamp_before_max),
            timestamp_after_max_ms: millis(config.timestamp_after_max),
            compacted: config.compact,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        }
    }

    /// Appends what a coordinator wrote; its batches are trusted and not validated.
    pub fn append_internal(&self, batch: Batch, now: Timestamp) -> Result<Appended, ErrorCode> {
        self.append_batches(&mut [batch], now)
    }

    fn append_batches(&self, batches: &mut [Batch], now: Timestamp) -> Result<Appended, ErrorCode> {
        let appended =
            self.writer.lock().append(batches, Self::LEADER_EPOCH, now).map_err(|error| self.failed(&error))?;
        self.waiters.wake();
        Ok(appended)
    }

    /// Reads whole batches from `offset` on, as far as `isolation` lets a client see.
    pub fn read(
        &self,
        offset: Offset,
        bytes_max: u32,
        at_least_one_batch: bool,
        isolation: Isolation,
    ) -> Result<(Offsets, ReadSlice), ErrorCode> {
        // SeqCst, with `retire` and the waiters: a fetch that registers while the topic is deleted sees the mark or is woken.
        if self.deleted.load(Ordering::SeqCst) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let offsets = self.offsets();
        let limit = ReadLimit { upper: offsets.visible_to(isolation), bytes_max, at_least_one_batch };
        let read = self.reader().read(offset, limit, isolation == Isolation::ReadCommitted);
        Ok((offsets, read.map_err(|error| self.failed(&error))?))
    }

    /// The topic is deleted: from the moment this returns no append brings the folder back, and readers, those who wait
    /// too, learn of it.
    fn retire(&self) {
        self.deleted.store(true, Ordering::SeqCst);
        self.writer.lock().retire();
        self.waiters.wake();
    }

    fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::SeqCst)
    }

    /// The wire's name for a log's error; what only the operator can mend is said in the broker's log.
    fn failed(&self, error: &LogError) -> ErrorCode {
        // A read that was under way while the topic was deleted may find the folder gone.
        if self.deleted.load(Ordering::Acquire) {
            return ErrorCode::UnknownTopicOrPartition;
        }
        let code = error.error_code();
        if code == ErrorCode::KafkaStorageError {
            tracing::error!(partition = %self.id, %error, "storage error");
        }
        code
    }

    pub fn offsets(&self) -> Offsets {
        let (log_start, last_stable, log_end) = self.reader().offsets();
        debug_assert!(log_start <= last_stable && last_stable <= log_end, "{}: offsets out of order", self.id);
        // Without followers everything appended is replicated.
        Offsets { log_start, last_stable, high_watermark: log_end, log_end }
    }

    /// The first record whose timestamp is at or after `timestamp`.
    pub fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<TimestampedOffset>, ErrorCode> {
        self.reader().offset_for_timestamp(timestamp).map_err(|error| self.failed(&error))
    }

    /// The record with the largest timestamp.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>, ErrorCode> {
        self.reader().offset_of_max_timestamp().map_err(|error| self.failed(&error))
    }

    /// The reading half of the log.
    pub fn reader(&self) -> LogReader {
        self.reader.read().clone()
    }

    /// Those who wait for this partition to grow.
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Checks the leader epoch that a client believes in (KIP-320).
    pub fn check_leader_epoch(&self, believed: LeaderEpoch) -> Result<(), ErrorCode> {
        match believed {
            LeaderEpoch::NONE | Self::LEADER_EPOCH => Ok(()),
            older if older < Self::LEADER_EPOCH => Err(ErrorCode::FencedLeaderEpoch),
            _ => Err(ErrorCode::UnknownLeaderEpoch),
        }
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
