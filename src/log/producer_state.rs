//! What a partition remembers of its idempotent and transactional producers (KIP-98), by the rules of Kafka's
//! `ProducerStateManager`, `ProducerAppendInfo` and `ProducerStateEntry`.
//!
//! Checking and updating are apart: a batch is checked before it is written, and noted once it is.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::protocol::ErrorCode;
use crate::protocol::batch::BatchHeader;
use crate::protocol::records::EndTxnMarker;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// Batches remembered per producer: as many as a client may have in flight.
pub const BATCHES_MAX: usize = 5;
/// Producers remembered per partition; at the limit the longest idle ones are forgotten. Kafka knows no such limit.
pub const PRODUCERS_MAX: usize = 65_536;
/// At the limit one in so many is forgotten at once, so that looking for them is not paid for by every new producer.
const EVICTED_FRACTION: usize = 16;

/// A batch that a producer appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMetadata {
    pub last_sequence: i32,
    pub last_offset: Offset,
    /// Offsets, and sequences, from the batch's first record to its last.
    pub offset_delta: i32,
    pub timestamp: Timestamp,
}

impl BatchMetadata {
    /// Sequences wrap from `i32::MAX` to 0 (`DefaultRecordBatch.decrementSequence`).
    pub fn first_sequence(&self) -> i32 {
        ((i64::from(self.last_sequence) - i64::from(self.offset_delta)) & i64::from(i32::MAX)) as i32
    }

    pub fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    pub epoch: ProducerEpoch,
    /// Of the coordinator that wrote the last end marker; -1 before the first.
    pub coordinator_epoch: i32,
    pub last_timestamp: Timestamp,
    /// Where the open transaction starts in this partition.
    pub current_txn_first_offset: Option<Offset>,
    /// Oldest first, [`BATCHES_MAX`] at most, all of `epoch`.
    pub batches: VecDeque<BatchMetadata>,
}

impl ProducerEntry {
    fn empty() -> ProducerEntry {
        ProducerEntry {
            epoch: ProducerEpoch::NONE,
            coordinator_epoch: -1,
            last_timestamp: Timestamp::NONE,
            current_txn_first_offset: None,
            batches: VecDeque::new(),
        }
    }

    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn add_batch(&mut self, batch: BatchMetadata) {
        if self.batches.len() >= BATCHES_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<&BatchMetadata> {
        let same = |batch: &&BatchMetadata| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        self.batches.iter().find(same).filter(|_| self.epoch == header.producer_epoch)
    }

    fn is_expired(&self, now: Timestamp, expiration_ms: i64) -> bool {
        self.current_txn_first_offset.is_none() && now.0.saturating_sub(self.last_timestamp.0) >= expiration_ms
    }
}

/// What to do with a client's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    Append,
    /// It is in the log already: answer with these, write nothing.
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: Timestamp,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerStateError {
    #[error("producer {id}: sequence {sequence} where {expected} is next", id = .producer_id.0)]
    OutOfOrderSequence { producer_id: ProducerId, sequence: i32, expected: i32 },
    #[error("producer {id}: epoch {} is older than {}", .epoch.0, .current.0, id = .producer_id.0)]
    InvalidProducerEpoch { producer_id: ProducerId, epoch: ProducerEpoch, current: ProducerEpoch },
    #[error("producer {id}: a batch outside of its open transaction", id = .0.0)]
    NotTransactional(ProducerId),
    #[error("producer {id}: coordinator epoch {epoch} is older than {current}", id = .producer_id.0)]
    CoordinatorFenced { producer_id: ProducerId, epoch: i32, current: i32 },
    #[error("{0} producers have a transaction open in this partition; no other one is taken")]
    TooManyTransactions(usize),
}

impl ProducerStateError {
    pub fn code(&self) -> ErrorCode {
        match self {
            ProducerStateError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            ProducerStateError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            ProducerStateError::NotTransactional(_) => ErrorCode::InvalidTxnState,
            ProducerStateError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            ProducerStateError::TooManyTransactions(_) => ErrorCode::ThrottlingQuotaExceeded,
        }
    }
}

/// A transaction that a marker ended; the caller writes the aborted ones into `.txnindex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The marker's.
    pub last_offset: Offset,
    /// Where the last stable offset stands with this transaction decided, replication aside.
    pub last_stable_offset: Offset,
    pub aborted: bool,
}

#[derive(Debug, Clone)]
pub struct ProducerState {
    producers: HashMap<ProducerId, ProducerEntry>,
    /// Undecided transactions by their first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    producers_max: usize,
}

impl Default for ProducerState {
    fn default() -> ProducerState {
        ProducerState::new(PRODUCERS_MAX)
    }
}

impl ProducerState {
    pub fn new(producers_max: usize) -> ProducerState {
        ProducerState { producers: HashMap::new(), ongoing: BTreeMap::new(), producers_max: producers_max.max(1) }
    }

    /// Takes over what a snapshot holds, without what has expired since.
    pub fn load(
        &mut self,
        entries: impl IntoIterator<Item = (ProducerId, ProducerEntry)>,
        now: Timestamp,
        expiration_ms: i64,
    ) {
        for (producer_id, entry) in entries {
            if entry.is_expired(now, expiration_ms) {
                continue;
            }
            self.make_room_for(producer_id);
            if let Some(first_offset) = entry.current_txn_first_offset {
                self.ongoing.insert(first_offset, producer_id);
            }
            self.producers.insert(producer_id, entry);
        }
    }

    /// By producer id, as a snapshot lists them.
    pub fn entries(&self) -> Vec<(ProducerId, &ProducerEntry)> {
        let mut entries: Vec<_> = self.producers.iter().map(|(id, entry)| (*id, entry)).collect();
        entries.sort_unstable_by_key(|(id, _)| *id);
        entries
    }

    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Checks a client's data batch: duplicate, epoch, transaction, sequence. A batch without a producer id passes.
    ///
    /// A producer of which nothing is known may start at any sequence (KIP-360): its state may have expired, or its
    /// records been deleted. A known one must go on in sequence, and start a new epoch at 0.
    pub fn check(&self, header: &BatchHeader) -> Result<SequenceCheck, ProducerStateError> {
        if !header.has_producer_id() {
            return Ok(SequenceCheck::Append);
        }
        if let Some(batch) = self.producers.get(&header.producer_id).and_then(|entry| entry.duplicate_of(header)) {
            return Ok(SequenceCheck::Duplicate {
                base_offset: batch.first_offset(),
                last_offset: batch.last_offset,
                timestamp: batch.timestamp,
            });
        }
        self.check_epoch(header)?;
        let Some(entry) = self.producers.get(&header.producer_id) else { return Ok(SequenceCheck::Append) };
        let expected = match entry.batches.back() {
            _ if entry.epoch == ProducerEpoch::NONE => return Ok(SequenceCheck::Append),
            Some(last) if entry.epoch == header.producer_epoch => last.last_sequence.checked_add(1).unwrap_or(0),
            Some(_) | None => 0,
        };
        if header.base_sequence != expected {
            let (producer_id, sequence) = (header.producer_id, header.base_sequence);
            return Err(ProducerStateError::OutOfOrderSequence { producer_id, sequence, expected });
        }
        Ok(SequenceCheck::Append)
    }

    /// Checks a data batch as a coordinator writes it, offsets committed in a transaction: these have no sequences.
    pub fn check_epoch(&self, header: &BatchHeader) -> Result<(), ProducerStateError> {
        if !header.has_producer_id() {
            return Ok(());
        }
        let Some(entry) = self.producers.get(&header.producer_id) else {
            return self.check_room();
        };
        if header.producer_epoch < entry.epoch {
            return Err(ProducerStateError::InvalidProducerEpoch {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: entry.epoch,
            });
        }
        if entry.current_txn_first_offset.is_some() && !header.attributes.is_transactional() {
            return Err(ProducerStateError::NotTransactional(header.producer_id));
        }
        Ok(())
    }

    /// Checks an end marker. Under transaction version 2 (KIP-890) the coordinator raises the epoch before it writes
    /// the marker, so one of the current epoch is late, unless it repeats one that is written already.
    pub fn check_marker(
        &self,
        header: &BatchHeader,
        marker: EndTxnMarker,
        transaction_version: i16,
    ) -> Result<(), ProducerStateError> {
        let producer_id = header.producer_id;
        let Some(entry) = self.producers.get(&producer_id) else { return self.check_room() };
        let late = header.producer_epoch == entry.epoch
            && transaction_version >= 2
            && entry.current_txn_first_offset.is_some();
        if header.producer_epoch < entry.epoch || late {
            let (epoch, current) = (header.producer_epoch, entry.epoch);
            return Err(ProducerStateError::InvalidProducerEpoch { producer_id, epoch, current });
        }
        if marker.coordinator_epoch < entry.coordinator_epoch {
            let (epoch, current) = (marker.coordinator_epoch, entry.coordinator_epoch);
            return Err(ProducerStateError::CoordinatorFenced { producer_id, epoch, current });
        }
        Ok(())
    }

    /// Notes a data batch that is in the log now; the header carries its final offsets.
    pub fn update(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() || header.attributes.is_control() {
            return;
        }
        let entry = self.entry(header.producer_id);
        entry.set_epoch(header.producer_epoch);
        entry.last_timestamp = header.max_timestamp;
        entry.add_batch(BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if header.attributes.is_transactional() && entry.current_txn_first_offset.is_none() {
            entry.current_txn_first_offset = Some(header.base_offset);
            self.ongoing.insert(header.base_offset, header.producer_id);
        }
    }

    /// What an end marker at `header`'s offset ends; `None` where its producer has no transaction open here.
    pub fn completed_by(&self, header: &BatchHeader, marker: EndTxnMarker) -> Option<CompletedTxn> {
        let first_offset = self.producers.get(&header.producer_id)?.current_txn_first_offset?;
        let last_offset = header.base_offset;
        let still_open = self.ongoing.keys().find(|open| **open != first_offset).copied();
        Some(CompletedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset,
            last_stable_offset: still_open.unwrap_or_else(|| last_offset.plus(1)),
            aborted: !marker.committed,
        })
    }

    /// Notes an end marker that is in the log now.
    pub fn update_marker(&mut self, header: &BatchHeader, marker: EndTxnMarker) {
        if !header.has_producer_id() {
            return;
        }
        let entry = self.entry(header.producer_id);
        entry.set_epoch(header.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = header.max_timestamp;
        if let Some(first_offset) = entry.current_txn_first_offset.take() {
            self.ongoing.remove(&first_offset);
        }
    }

    /// The first offset of the earliest transaction that has no marker yet.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing.keys().next().copied()
    }

    /// Forgets producers that were idle for `producer.id.expiration.ms`, unless they have a transaction open.
    pub fn remove_expired(&mut self, now: Timestamp, expiration_ms: i64) {
        self.producers.retain(|_, entry| !entry.is_expired(now, expiration_ms));
    }

    /// The log was truncated: forget everything, before a snapshot is loaded and the rest replayed.
    pub fn clear(&mut self) {
        self.producers.clear();
        self.ongoing.clear();
    }

    fn entry(&mut self, producer_id: ProducerId) -> &mut ProducerEntry {
        self.make_room_for(producer_id);
        self.producers.entry(producer_id).or_insert_with(ProducerEntry::empty)
    }

    /// Producers with an open transaction are never forgotten, so they alone can fill the table.
    fn check_room(&self) -> Result<(), ProducerStateError> {
        if self.ongoing.len() < self.producers_max {
            return Ok(());
        }
        Err(ProducerStateError::TooManyTransactions(self.ongoing.len()))
    }

    fn make_room_for(&mut self, producer_id: ProducerId) {
        if self.producers.len() < self.producers_max || self.producers.contains_key(&producer_id) {
            return;
        }
        let idle = |(id, entry): (&ProducerId, &ProducerEntry)| {
            entry.current_txn_first_offset.is_none().then_some((entry.last_timestamp, *id))
        };
        let mut evicted: Vec<_> = self.producers.iter().filter_map(idle).collect();
        let count = (self.producers_max / EVICTED_FRACTION).max(1);
        if count < evicted.len() {
            evicted.select_nth_unstable(count);
            evicted.truncate(count);
        }
        for (_, id) in evicted {
            self.producers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
