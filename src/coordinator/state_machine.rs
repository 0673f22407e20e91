//! What the runtime drives: a state machine, the records it writes and reads, and the time it is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::ErrorCode;
use crate::types::{Offset, ProducerId, Timestamp};

/// The time of an operation: one reading for deadlines and for what is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall: Timestamp,
}

impl Now {
    pub(super) fn read() -> Now {
        Now { instant: Instant::now(), wall: Timestamp::now() }
    }

    /// A deadline beyond what the clock can tell is put a year from now, and then again.
    pub(super) fn after(&self, timeout: Duration) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.instant.checked_add(timeout).unwrap_or(self.instant + YEAR)
    }

    /// The deadline that a timeout from a client sets; a negative one is due at once.
    pub(super) fn after_ms(&self, timeout_ms: i32) -> Instant {
        self.after(Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)))
    }
}

/// A record to be appended; without a value it is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
}

impl Record {
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// What an operation wants written.
#[derive(Debug)]
#[must_use]
pub(super) struct Write<T> {
    pub(super) records: Vec<Record>,
    /// What happens when the records are in the log, or could not be put there. `None`: they are replayed; what could not
    /// be appended changes nothing.
    pub(super) then: Option<T>,
}

impl<T> Write<T> {
    pub(super) fn nothing() -> Write<T> {
        Write { records: Vec::new(), then: None }
    }

    pub(super) fn replayed(records: Vec<Record>) -> Write<T> {
        Write { records, then: None }
    }

    pub(super) fn then(record: Record, then: T) -> Write<T> {
        Write { records: vec![record], then: Some(then) }
    }
}

/// A record as it stands in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) offset: Offset,
    /// `ProducerId::NONE` outside a transaction.
    pub(super) producer_id: ProducerId,
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

/// The state of one shard.
pub(super) trait StateMachine: fmt::Debug + Send + 'static {
    type Config: fmt::Debug + Send + Sync + 'static;
    type Then: Send;

    fn new(config: &Arc<Self::Config>) -> Self;

    /// Makes a record's change, while loading and after an append alike. The error says what is wrong with the record.
    fn replay(&mut self, record: Stored<'_>) -> Result<(), String>;

    /// A producer's transaction ended in this shard's log.
    fn end_transaction(&mut self, producer_id: ProducerId, committed: bool);

    /// Everything is replayed: clocks start to run.
    fn loaded(&mut self, now: Now);

    /// The outcome of a write that asked for it; what follows from it may have to be written in turn.
    fn complete(&mut self, then: Self::Then, outcome: Result<(), ErrorCode>, now: Now) -> Write<Self::Then>;

    fn next_deadline(&self) -> Option<Instant>;

    /// Handles one timer that is due; `None` when none is.
    fn fire(&mut self, now: Now) -> Option<Write<Self::Then>>;

    /// This broker no longer answers for the shard: everything parked is answered NOT_COORDINATOR.
    fn unload(&mut self);
}
