//! What stays of a batch (`Cleaner.cleanInto`, `Cleaner.shouldRetainRecord`).

use std::collections::HashMap;
use std::time::Duration;

use super::CleanError;
use super::offset_map::OffsetMap;
use super::transactions::Transactions;
use crate::log::txn_index::TxnEntry;
use crate::log::writer::LogWriter;
use crate::protocol::batch::{Batch, BatchHeader};
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::protocol::records::{BatchRecords, RecordView};
use crate::protocol::retained::{self, RetainError, Retained};
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// By which batch a producer's sequence, or at least its epoch, is known to whoever reads the log again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastRecord {
    data_offset: Option<Offset>,
    epoch: ProducerEpoch,
}

pub(super) type LastRecords = HashMap<ProducerId, LastRecord>;

impl LogWriter {
    /// `UnifiedLog.lastRecordsOfActiveProducers`.
    pub(super) fn last_records(&self) -> LastRecords {
        let last = |entry: &crate::log::producer_state::ProducerEntry| LastRecord {
            data_offset: entry.batches.back().map(|batch| batch.last_offset),
            epoch: entry.epoch,
        };
        self.producers.entries().into_iter().map(|(id, entry)| (id, last(entry))).collect()
    }
}

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Fate {
    /// It stays, byte for byte.
    Kept,
    Rewritten(Batch),
    Dropped,
}

#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) transactions: &'a mut Transactions,
    pub(super) last_records: &'a LastRecords,
    pub(super) now: Timestamp,
    /// `delete.retention.ms`.
    pub(super) delete_retention: Duration,
}

/// Whether a batch's records go or stay as one.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    discards_records: bool,
    /// A marker that nothing in the log needs any more.
    is_spent_marker: bool,
    /// The batch stays, if only its header.
    stays_empty: bool,
}

impl Filter<'_> {
    /// What becomes of the next batch; and what the transaction index is to say of it. `stays` keeps its header at least.
    pub(super) fn judge(&mut self, batch: &Batch, stays: bool) -> Result<(Fate, Option<TxnEntry>), CleanError> {
        let (verdict, aborted) = self.verdict(batch, stays);
        let fate = self.fate(batch, verdict).map_err(|source| CleanError::rewrite(&batch.header, source))?;
        Ok((fate, aborted))
    }

    fn fate(&self, batch: &Batch, verdict: Verdict) -> Result<Fate, RetainError> {
        let header = &batch.header;
        if verdict.discards_records {
            return without_records(header, verdict.stays_empty);
        }
        let Some((retained, has_tombstones)) = self.retain(batch) else { return Ok(Fate::Kept) };
        if retained.count() == 0 {
            return without_records(header, verdict.stays_empty);
        }
        // The time that tombstones and markers stay is counted from the first cleaning that meets them (KIP-534).
        let starts_horizon = (has_tombstones || verdict.is_spent_marker) && header.delete_horizon().is_none();
        if retained.count() == header.records_count && !starts_horizon {
            return Ok(Fate::Kept);
        }
        Ok(Fate::Rewritten(retained.build(starts_horizon.then(|| self.new_horizon()))?))
    }

    fn verdict(&mut self, batch: &Batch, stays: bool) -> (Verdict, Option<TxnEntry>) {
        let header = &batch.header;
        let stays_empty = stays || self.is_last_of_producer(header);
        if !header.attributes.is_control() {
            let discards_records = self.transactions.on_data(header);
            return (Verdict { discards_records, is_spent_marker: false, stays_empty }, None);
        }
        let marked = self.transactions.on_control(batch);
        let is_expired = header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        let discards_records = marked.is_empty && is_expired;
        (Verdict { discards_records, is_spent_marker: marked.is_empty, stays_empty }, marked.aborted)
    }

    /// A producer's last batch carries its sequence; where none is known, its last marker carries the epoch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let Some(last) = self.last_records.get(&header.producer_id) else { return false };
        match last.data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.attributes.is_control() && header.producer_epoch == last.epoch,
        }
    }

    /// The records that stay, and whether there are tombstones among them. `None` where they do not decode, though the CRC
    /// holds: their producer made them so, and they stay as they are.
    fn retain(&self, batch: &Batch) -> Option<(Retained, bool)> {
        let records = BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX).ok()?;
        let mut retained = Retained::of(batch.header);
        let mut has_tombstones = false;
        for record in &records {
            let record = record.ok()?;
            let offset = records.offset(&record);
            if batch.header.attributes.is_control() || self.stays(&batch.header, &record, offset) {
                // What the map has not got to is not cleaned yet: its time begins later.
                has_tombstones |= record.value.is_none() && offset <= self.map.latest_offset();
                retained.push(&record, records.timestamp(&record));
            }
        }
        Some((retained, has_tombstones))
    }

    /// A record stays if no newer one has its key; a tombstone only until its batch's horizon. One without a key, from the
    /// time before the topic was compacted, goes.
    fn stays(&self, header: &BatchHeader, record: &RecordView<'_>, offset: Offset) -> bool {
        if offset > self.map.latest_offset() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_newest = self.map.get(key).is_none_or(|newest| offset >= newest);
        let is_dead = record.value.is_none() && header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        is_newest && !is_dead
    }

    fn new_horizon(&self) -> Timestamp {
        let retention_ms = i64::try_from(self.delete_retention.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.now.0.saturating_add(retention_ms))
    }
}

fn without_records(header: &BatchHeader, stays_empty: bool) -> Result<Fate, RetainError> {
    match header.records_count {
        _ if !stays_empty => Ok(Fate::Dropped),
        0 => Ok(Fate::Kept),
        _ => Ok(Fate::Rewritten(retained::emptied(header)?)),
    }
}
