//! A partition as clients see it: one object, one append lock. Order, offsets, producer state and the log end move
//! together under that lock, and no lock is held across an await.

mod heavy;
mod recovery;
mod registry;
mod relocate;
mod upkeep;
mod waiters;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::config::TopicConfig;
use crate::log::{Appended, FlushWait, LogError, LogReader, LogWriter, ReadLimit, ReadSlice, TimestampedOffset};
use crate::protocol::ErrorCode;
use crate::protocol::batch::Batch;
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::protocol::validate::{self, ProduceRules, Rejected};
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition};

pub use registry::{OpenError, Registry};
pub use relocate::Move;
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

/// What a client wants of a partition.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    pub offset: Offset,
    pub bytes_max: u32,
    /// The first batch also where it is larger than `bytes_max` (KIP-74).
    pub at_least_one_batch: bool,
    pub isolation: Isolation,
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
    /// The one epoch of a broker that has no peers: it is never taken over from.
    pub leader_epoch: LeaderEpoch,
    /// The same, unless somebody put a folder here that holds a later epoch than its topic's: in a log epochs do not fall.
    append_epoch: LeaderEpoch,
    writer: Mutex<LogWriter>,
    /// Another one once the log has moved to another log dir.
    reader: RwLock<LogReader>,
    config: RwLock<Arc<TopicConfig>>,
    waiters: Waiters,
    /// What is answered instead, once this object serves no more.
    gone: OnceLock<ErrorCode>,
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
    fn new(
        id: TopicPartition,
        topic_id: TopicId,
        leader_epoch: LeaderEpoch,
        config: TopicConfig,
        writer: LogWriter,
        reader: LogReader,
    ) -> Partition {
        Partition {
            id,
            topic_id,
            leader_epoch,
            append_epoch: reader.latest_epoch().map_or(leader_epoch, |latest| latest.max(leader_epoch)),
            writer: Mutex::new(writer),
            reader: RwLock::new(reader),
            config: RwLock::new(Arc::new(config)),
            waiters: Waiters::default(),
            gone: OnceLock::new(),
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
        let batch = match validate::may_take_long(&records, &rules, now) {
            true => heavy::run(|| validate::validate(records, &rules, now))?,
            false => validate::validate(records, &rules, now)?,
        };
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
            compression: config.compression,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        }
    }

    /// Appends what a coordinator wrote; its batches are trusted and not validated.
    pub fn append_internal(&self, batch: Batch, now: Timestamp) -> Result<Appended, ErrorCode> {
        let appended = self.append_batches(&mut [batch], now)?;
        // Begun here; the coordinator waits before it answers.
        drop(self.group_commit(appended.last_offset));
        Ok(appended)
    }

    /// What an append up to `last_offset` waits for before it is acknowledged; `None`: nothing. The append of a duplicate
    /// waits as the one that it repeats.
    pub fn group_commit(&self, last_offset: Offset) -> Option<FlushWait> {
        let flush_messages = self.config.read().flush_messages?;
        self.reader().group_commit(last_offset.plus(1), flush_messages)
    }

    /// Waits until what was appended is on stable storage.
    pub async fn flushed(&self, wait: FlushWait) -> Result<(), ErrorCode> {
        wait.done().await.map_err(|error| self.failed(&error))
    }

    /// Whether the log dir has failed.
    pub fn is_offline(&self) -> bool {
        self.reader.read().check_dir().is_err()
    }

    fn append_batches(&self, batches: &mut [Batch], now: Timestamp) -> Result<Appended, ErrorCode> {
        let appended =
            self.writer.lock().append(batches, self.append_epoch, now).map_err(|error| self.failed(&error))?;
        self.waiters.wake();
        Ok(appended)
    }

    /// Reads whole batches as far as `isolation` lets a client see. Blocking: waits for the disk where it must.
    pub fn read(&self, read: Read) -> Result<(Offsets, ReadSlice), ErrorCode> {
        let (offsets, found) = self.read_by(read, LogReader::read)?;
        Ok((offsets, found.map_err(|error| self.failed(&error))?))
    }

    /// As [`Partition::read`], on an async worker; `None` where the disk would have to be waited for.
    pub fn read_cached(&self, read: Read) -> Result<Option<(Offsets, ReadSlice)>, ErrorCode> {
        let (offsets, found) = self.read_by(read, LogReader::read_cached)?;
        match found {
            Err(LogError::Cold) => Ok(None),
            found => Ok(Some((offsets, found.map_err(|error| self.failed(&error))?))),
        }
    }

    fn read_by(
        &self,
        read: Read,
        by: impl Fn(&LogReader, Offset, ReadLimit, bool) -> Result<ReadSlice, LogError>,
    ) -> Result<(Offsets, Result<ReadSlice, LogError>), ErrorCode> {
        let Read { offset, bytes_max, at_least_one_batch, isolation } = read;
        if let Some(gone) = self.gone.get() {
            return Err(*gone);
        }
        // A fetch that waits has had the partition since before.
        self.reader().check_dir().map_err(|error| self.failed(&error))?;
        let offsets = self.offsets();
        let limit = ReadLimit { upper: offsets.visible_to(isolation), bytes_max, at_least_one_batch };
        let found = self.on_log(|log| by(log, offset, limit, isolation == Isolation::ReadCommitted));
        Ok((offsets, found))
    }

    /// DeleteRecords: moves the log start to `offset`, or to the high watermark. The caller makes it durable.
    pub fn delete_before(&self, offset: Option<Offset>) -> Result<(), ErrorCode> {
        let config = self.config();
        if config.compact && !config.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let high_watermark = self.offsets().high_watermark;
        let offset = offset.unwrap_or(high_watermark);
        if offset < Offset::ZERO || offset > high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        self.writer.lock().advance_start(offset).map_err(|error| self.failed(&error))?;
        self.waiters.wake();
        Ok(())
    }

    /// Moves the log start behind what has expired; gives it if there are segments below it. They go once it is durable.
    fn expire(&self, now: Timestamp) -> Result<Option<Offset>, LogError> {
        let (config, high_watermark) = (self.config(), self.offsets().high_watermark);
        let expired = self.on_log(|log| log.expired(&config, high_watermark, now))?;
        let Some(expired) = expired else { return Ok(None) };
        let start = self.writer.lock().expire(expired, now)?;
        self.waiters.wake();
        Ok(Some(start))
    }

    /// Removes the segments that lie wholly below `start`, which is durable. Blocking.
    fn remove_before(&self, start: Offset, now: Instant) -> Result<(), LogError> {
        let log = self.reader();
        // What took their place has to outlast them: the new segment's name, the producers as they were at its base.
        if log.recovery_point() <= start {
            log.flush_base()?;
        }
        while self.writer.lock().remove_before(start, now)? {}
        tracing::info!(partition = %self.id, log_start = %start, "segments below the log start removed");
        Ok(())
    }

    /// Makes the log durable up to its end if nothing was appended since the last call. Appends wait for no disk meanwhile.
    fn settle(&self) -> Result<(), LogError> {
        let Some(end_offset) = self.writer.lock().settle()? else { return Ok(()) };
        self.reader().flush()?;
        self.writer.lock().settled(end_offset);
        Ok(())
    }

    /// The topic is deleted: from the moment this returns no append brings the folder back, and readers, those who wait
    /// too, learn of it.
    fn retire(&self) {
        self.end(ErrorCode::UnknownTopicOrPartition);
        self.writer.lock().retire();
        self.waiters.close();
    }

    /// Another object takes this one's place at the partition's next use. Those who wait for it look for it again.
    fn supersede(&self) {
        self.end(ErrorCode::NotLeaderOrFollower);
        self.waiters.close();
    }

    fn end(&self, answer: ErrorCode) {
        // What ended it first is what clients are told.
        let _ = self.gone.set(answer);
    }

    fn is_deleted(&self) -> bool {
        self.gone.get() == Some(&ErrorCode::UnknownTopicOrPartition)
    }

    /// The wire's name for a log's error; what only the operator can mend is said in the broker's log.
    fn failed(&self, error: &LogError) -> ErrorCode {
        // A read that was under way while the topic was deleted may find the folder gone.
        if let Some(gone) = self.gone.get() {
            return *gone;
        }
        let code = error.error_code();
        if code == ErrorCode::KafkaStorageError && !error.is_reported() {
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
        self.on_log(|log| log.offset_for_timestamp(timestamp)).map_err(|error| self.failed(&error))
    }

    /// The record with the largest timestamp.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>, ErrorCode> {
        self.on_log(LogReader::offset_of_max_timestamp).map_err(|error| self.failed(&error))
    }

    /// The reading half of the log.
    pub fn reader(&self) -> LogReader {
        self.reader.read().clone()
    }

    /// Those who wait for this partition to grow, or to lose what they are about to read.
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Checks the leader epoch that a client believes in (KIP-320).
    pub fn check_leader_epoch(&self, believed: LeaderEpoch) -> Result<(), ErrorCode> {
        match believed {
            LeaderEpoch::NONE => Ok(()),
            current if current == self.leader_epoch => Ok(()),
            older if older < self.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
            _ => Err(ErrorCode::UnknownLeaderEpoch),
        }
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
