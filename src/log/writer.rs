//! Appends: producer checks → roll where due → one `pwritev` → publish.

use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

use super::checkpoint;
use super::error::{IoContext, LogError};
use super::names::FileState;
use super::producer_snapshot;
use super::producer_state::{ProducerState, ProducerStateError, SequenceCheck};
use super::roll::{self, Age, Incoming};
use super::scan::Located;
use super::segment::Segment;
use super::settle::Settling;
use super::shared::Shared;
use super::tail::Tail;
use super::txn_index::TxnEntry;
use super::{Appended, OpenOptions};
use crate::config::TopicConfig;
use crate::protocol::batch::{Batch, BatchHeader, HEADER_LEN};
use crate::protocol::records::EndTxnMarker;
use crate::sys;
use crate::types::{LeaderEpoch, Offset, Timestamp, TimestampType};

/// A marker is a few bytes; a control batch that expands past this holds something else.
const MARKER_BYTES_MAX: usize = 4096;
/// How often idle producers are looked for (`producer.id.expiration.check.interval.ms`).
const EXPIRY_INTERVAL_MS: i64 = 600_000;

/// The appending half.
#[derive(Debug)]
pub struct LogWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) options: OpenOptions,
    pub(super) producers: ProducerState,
    pub(super) active: Option<Active>,
    /// Something is not yet as a clean stop leaves it.
    pub(super) dirty: bool,
    pub(super) settling: Settling,
    pub(super) expired_at: Timestamp,
    /// Why no more appends are taken.
    pub(super) ended: Option<Ended>,
}

/// The end of a log's writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The topic is gone; nothing may bring its folder back.
    Retired,
    /// The broker stops; nothing may follow what the clean-shutdown mark vouches for.
    Closed,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) tail: Tail,
    pub(super) age: Age,
}

impl LogWriter {
    /// Appends validated batches: checks the producers' epochs and sequences, gives the batches their offsets and
    /// `leader_epoch`, rolls where due, writes them with one `pwritev`, and then publishes the new end to the readers.
    /// Either all of the batches are in the log or none. `now` is for rolling by time and producer expiry.
    ///
    /// Of one producer there may be one batch among them, as in a Produce request (KIP-98).
    pub fn append(
        &mut self,
        batches: &mut [Batch],
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, LogError> {
        self.check_writable()?;
        self.expire_producers(now);
        if let Some(duplicate) = self.check_producers(batches)? {
            return Ok(duplicate);
        }
        let base_offset = self.shared.view.read().end_offset;
        let incoming = assign_offsets(batches, base_offset, leader_epoch);
        let segment_bytes = self.options.config.segment_bytes;
        if incoming.bytes > u64::from(segment_bytes) {
            return Err(LogError::TooLarge { bytes: incoming.bytes, segment_bytes });
        }
        if incoming.last_offset == Offset(i64::MAX) {
            return Err(LogError::NoOffsetLeft(base_offset));
        }
        let appended = Appended {
            base_offset,
            last_offset: incoming.last_offset,
            append_time: append_time(batches),
            duplicate: false,
        };
        if batches.is_empty() {
            return Ok(appended);
        }

        self.prepare_and_write(batches, incoming, base_offset, leader_epoch, now)
            .map_err(|error| self.shared.context.write_failed(error))?;
        self.shared.context.written();
        self.publish(batches, incoming);
        Ok(appended)
    }

    pub(super) fn check_writable(&self) -> Result<(), LogError> {
        self.shared.context.check()?;
        match self.ended {
            Some(Ended::Retired) => Err(LogError::Retired),
            Some(Ended::Closed) => Err(LogError::Closed),
            None => Ok(()),
        }
    }

    /// All that can fail comes before the bytes are written, and they before anything is published.
    fn prepare_and_write(
        &mut self,
        batches: &[Batch],
        incoming: Incoming,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<(), LogError> {
        self.make_active(base_offset, incoming, now)?;
        self.assign_epoch(leader_epoch, base_offset)?;
        self.write(batches)
    }

    /// A new configuration takes effect with the next append.
    pub fn set_config(&mut self, config: TopicConfig) {
        self.options.config = config;
    }

    /// Makes everything appended so far durable (log, indexes, producer snapshot at the end) and returns the new
    /// recovery point. Called at a graceful stop; no append is taken after it.
    pub fn close(&mut self) -> Result<Offset, LogError> {
        let end_offset = self.shared.view.read().end_offset;
        let ended = *self.ended.get_or_insert(Ended::Closed);
        if self.dirty && ended == Ended::Closed {
            self.complete_active(end_offset).map_err(|error| self.shared.context.write_failed(error))?;
            self.shared.flush()?;
            self.dirty = false;
        }
        Ok(end_offset)
    }

    /// The topic was deleted: every later append fails, so that the folder does not come back.
    pub fn retire(&mut self) {
        self.ended = Some(Ended::Retired);
    }

    fn expire_producers(&mut self, now: Timestamp) {
        if now.0.saturating_sub(self.expired_at.0) >= EXPIRY_INTERVAL_MS {
            self.producers.remove_expired(now, self.options.expiration_ms());
            self.expired_at = now;
        }
    }

    /// What to answer without writing, if a batch is in the log already.
    fn check_producers(&self, batches: &[Batch]) -> Result<Option<Appended>, ProducerStateError> {
        for batch in batches {
            let check = check_producer(&self.producers, batch)?;
            if let SequenceCheck::Duplicate { base_offset, last_offset, timestamp } = check {
                let is_append_time = batch.header.attributes.timestamp_type() == TimestampType::LogAppendTime;
                let append_time = if is_append_time { timestamp } else { Timestamp::NONE };
                return Ok(Some(Appended { base_offset, last_offset, append_time, duplicate: true }));
            }
        }
        Ok(None)
    }

    /// Sees to it that there is an active segment with room for `incoming`, and places for its index entries.
    fn make_active(&mut self, base_offset: Offset, incoming: Incoming, now: Timestamp) -> Result<(), LogError> {
        self.dirty = true;
        let is_rolled = match &self.active {
            None => {
                self.make_folder()?;
                true
            }
            Some(Active { segment, tail, age }) => {
                roll::is_due(segment, tail, *age, incoming, &self.options.config, now)?
            }
        };
        if is_rolled {
            self.roll(base_offset, now)?;
        }
        if let Some(active) = &self.active {
            active.segment.offset_index.make_room()?;
            active.segment.time_index.make_room()?;
        }
        Ok(())
    }

    fn make_folder(&self) -> Result<(), LogError> {
        let dir = &self.shared.dir;
        sys::create_dir_all(dir).at(dir)?;
        let path = dir.join(checkpoint::PARTITION_METADATA);
        if !path.exists() {
            checkpoint::write_partition_metadata(&path, self.options.topic_id)?;
        }
        Ok(())
    }

    /// Seals the active segment and begins a new one at `base_offset`.
    pub(super) fn roll(&mut self, base_offset: Offset, now: Timestamp) -> Result<(), LogError> {
        self.complete_active(base_offset)?;
        self.settling.rolled();
        // The new file comes last of what can fail: to the next start the last file is where the log ends.
        let TopicConfig { index_interval_bytes, preallocate, segment_bytes, .. } = self.options.config;
        let files = &self.shared.context.open_files;
        let segment =
            Arc::new(Segment::create(FileState::Live, &self.shared.dir, base_offset, index_interval_bytes, files)?);
        if preallocate {
            segment.preallocate(segment_bytes.into())?;
        }
        self.shared.durability.names_appeared();
        if let Some(Active { segment: old, tail, .. }) = &self.active {
            old.seal(Some(tail.max));
        }
        let mut view = self.shared.view.write();
        view.segments.push(Arc::clone(&segment));
        view.active_size = 0;
        view.active_max = None;
        drop(view);
        if self.active.is_some() {
            self.shared.flush_sealed_soon();
        }
        self.active = Some(Active { segment, tail: Tail::default(), age: Age::starting(now, &self.options.config) });
        Ok(())
    }

    /// Writes out what the active segment's indexes lack, and the producers as they are at its end, and cuts off what was
    /// preallocated. Nothing is synced: an append that rolls waits for no disk.
    pub(super) fn complete_active(&mut self, end_offset: Offset) -> Result<(), LogError> {
        let Some(Active { segment, tail, .. }) = &mut self.active else { return Ok(()) };
        if let Some(entry) = tail.last_time_entry(segment) {
            segment.time_index.push(entry);
        }
        segment.offset_index.flush()?;
        segment.time_index.flush()?;
        segment.trim()?;
        Ok(producer_snapshot::write(&self.shared.snapshot_path(end_offset), self.producers.entries())?)
    }

    fn assign_epoch(&self, epoch: LeaderEpoch, start_offset: Offset) -> Result<(), LogError> {
        if self.shared.epochs.read().latest().is_some_and(|latest| latest.epoch == epoch) {
            return Ok(());
        }
        let mut epochs = self.shared.epochs.read().clone();
        if !epochs.assign(epoch, start_offset) {
            return Ok(());
        }
        checkpoint::write_epochs(&self.shared.dir.join(checkpoint::LEADER_EPOCH_CHECKPOINT), epochs.entries())?;
        self.shared.durability.names_appeared();
        *self.shared.epochs.write() = epochs;
        Ok(())
    }

    /// Writes the batches behind the published end. What a failure leaves there is cut off; where it cannot be, the log dir
    /// has failed, and what lies there is for recovery to judge.
    fn write(&mut self, batches: &[Batch]) -> Result<(), LogError> {
        let Some(active) = &self.active else { return Ok(()) };
        let (file, position) = (active.segment.file()?, active.segment.size());
        let written = write_batches(&file, batches, position).at(&active.segment.path);
        active.segment.written();
        let noted = written.and_then(|()| batches.iter().try_for_each(|batch| self.index_aborted(active, batch)));
        if noted.is_err()
            && let Err(error) = sys::set_len(&file, position).at(&active.segment.path)
        {
            self.shared.context.fail(&error);
        }
        noted
    }

    fn index_aborted(&self, active: &Active, batch: &Batch) -> Result<(), LogError> {
        let aborted = marker_of(batch).and_then(|marker| TxnEntry::of_aborted(&self.producers, &batch.header, marker));
        aborted.map_or(Ok(()), |entry| active.segment.txn_index.append(entry))
    }

    fn publish(&mut self, batches: &[Batch], incoming: Incoming) {
        let Some(Active { segment, tail, .. }) = &mut self.active else { return };
        let mut position = segment.size();
        for batch in batches {
            let located = Located { header: batch.header, position };
            let (offset_entry, time_entry) = tail.observe(segment, &located);
            offset_entry.into_iter().for_each(|entry| segment.offset_index.push(entry));
            time_entry.into_iter().for_each(|entry| segment.time_index.push(entry));
            position = located.end();
        }
        batches.iter().for_each(|batch| note_producer(&mut self.producers, batch));
        let end_offset = incoming.last_offset.plus(1);

        let mut view = self.shared.view.write();
        segment.set_size(position);
        view.active_size = position;
        view.active_max = tail.max;
        view.size_bytes += incoming.bytes;
        view.end_offset = end_offset;
        // A transaction may have begun below the log start (`UnifiedLog.maybeIncrementFirstUnstableOffset`).
        let first_undecided = self.producers.first_undecided_offset().unwrap_or(end_offset);
        view.last_stable_offset = first_undecided.max(view.start_offset).min(end_offset);
    }
}

/// A coordinator's batches carry no sequence: end markers, and offsets committed in a transaction.
fn check_producer(producers: &ProducerState, batch: &Batch) -> Result<SequenceCheck, ProducerStateError> {
    let header = &batch.header;
    if header.attributes.is_control() {
        marker_of(batch).map_or(Ok(()), |marker| producers.check_marker(header, marker, 0))?;
        return Ok(SequenceCheck::Append);
    }
    if header.base_sequence < 0 {
        producers.check_epoch(header)?;
        return Ok(SequenceCheck::Append);
    }
    producers.check(header)
}

/// Takes a batch of the log into account.
pub(super) fn note_producer(producers: &mut ProducerState, batch: &Batch) {
    match marker_of(batch) {
        Some(marker) => producers.update_marker(&batch.header, marker),
        None => producers.update(&batch.header),
    }
}

pub(super) fn marker_of(batch: &Batch) -> Option<EndTxnMarker> {
    let is_control = batch.header.attributes.is_control();
    is_control.then(|| EndTxnMarker::of(batch, MARKER_BYTES_MAX)).flatten()
}

fn assign_offsets(batches: &mut [Batch], base_offset: Offset, leader_epoch: LeaderEpoch) -> Incoming {
    let mut next_offset = base_offset;
    let mut incoming = Incoming { bytes: 0, last_offset: base_offset.plus(-1), max_timestamp: Timestamp::NONE };
    for Batch { header, .. } in batches {
        header.base_offset = next_offset;
        header.partition_leader_epoch = leader_epoch;
        next_offset = header.next_offset();
        incoming.bytes += header.size() as u64;
        incoming.last_offset = header.last_offset();
        incoming.max_timestamp = incoming.max_timestamp.max(header.max_timestamp);
    }
    incoming
}

fn append_time(batches: &[Batch]) -> Timestamp {
    let is_append_time = |header: &&BatchHeader| header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    batches.first().map(|batch| &batch.header).filter(is_append_time).map_or(Timestamp::NONE, |h| h.max_timestamp)
}

/// The header as it now is, the rest as it came.
fn write_batches(file: &File, batches: &[Batch], position: u64) -> std::io::Result<()> {
    let headers: Vec<[u8; HEADER_LEN]> = batches.iter().map(|batch| batch.header.encode()).collect();
    let parts = headers.iter().zip(batches);
    let mut parts: Vec<_> =
        parts.flat_map(|(header, batch)| [IoSlice::new(header), IoSlice::new(batch.records())]).collect();
    sys::pwritev_all(file, &mut parts, position).map(|_| ())
}

impl OpenOptions {
    pub(super) fn expiration_ms(&self) -> i64 {
        i64::try_from(self.producer_id_expiration.as_millis()).unwrap_or(i64::MAX)
    }
}
