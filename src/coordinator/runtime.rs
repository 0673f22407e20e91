//! Runs a coordinator's shards: write → append → apply, load by replaying the same records, timers.
//!
//! A shard is a pure, synchronous state machine under one lock (Kafka's `CoordinatorRuntime`). An operation says which
//! records it wants to write; they are appended while the lock is held, so that the order of the log is the order of the
//! state, and only then take effect. Answers wait until what was appended is committed ([`Runtime::committed`]); a wait
//! for replicas belongs there, too.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::journal::{Journal, LoadError};
use super::state_machine::{Now, Record, StateMachine, Stored, Write};
use crate::protocol::ErrorCode;
use crate::protocol::batch::Batch;
use crate::protocol::builder::BatchBuilder;
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::protocol::records::{BatchRecords, EndTxnMarker};
use crate::types::{Offset, ProducerId};

/// Records that are replayed go into batches of this many bytes: far below a segment, which a batch has to fit into.
pub(super) const BATCH_BYTES_MAX: usize = 512 << 10;

#[derive(Debug)]
enum Shard<M> {
    Active(M),
    /// Not served; every operation gets this error.
    Refusing(ErrorCode),
}

type Shards<M> = Arc<[Mutex<Shard<M>>]>;

/// All shards of one coordinator.
#[derive(Debug)]
pub(super) struct Runtime<M: StateMachine, J> {
    config: Arc<M::Config>,
    journal: J,
    /// `None` while the topic does not exist.
    shards: RwLock<Option<Shards<M>>>,
    /// What the timer task sleeps for. `None`: any deadline is news to it.
    armed: Mutex<Option<Instant>>,
    rearm: Notify,
}

/// One shard, locked, for the time of one operation.
#[derive(Debug)]
pub(super) struct Session<'a, M, J> {
    pub(super) state: &'a mut M,
    pub(super) now: Now,
    journal: &'a J,
    shard: i32,
}

impl<M: StateMachine, J: Journal> Runtime<M, J> {
    pub(super) fn new(config: M::Config, journal: J) -> Runtime<M, J> {
        Runtime {
            config: Arc::new(config),
            journal,
            shards: RwLock::default(),
            armed: Mutex::default(),
            rearm: Notify::new(),
        }
    }

    pub(super) fn config(&self) -> &M::Config {
        &self.config
    }

    pub(super) fn journal(&self) -> &J {
        &self.journal
    }

    /// Replays every shard. One that cannot be replayed refuses from then on; the others serve.
    pub(super) fn load(&self, now: Now) {
        let Some(count) = self.journal.shards() else { return };
        let mut failures = Vec::new();
        let load = |shard| match self.load_shard(shard, now) {
            Ok(state) => Shard::Active(state),
            Err(error) => {
                failures.push((shard, error));
                Shard::Refusing(ErrorCode::CoordinatorNotAvailable)
            }
        };
        *self.shards.write() = Some((0..count).map(load).map(Mutex::new).collect());
        // In one line: of a log dir that is missing, all have the same to say.
        if let Some((shard, error)) = failures.first() {
            let shards = failures.len();
            tracing::error!(shards, first = shard, %error, "coordinator shards could not be loaded and are not served");
        }
    }

    fn load_shard(&self, shard: i32, now: Now) -> Result<M, LoadError> {
        let mut state = M::new(&self.config);
        self.journal.replay(shard, &mut |batch| replay_batch(&mut state, &batch))?;
        state.loaded(now);
        Ok(state)
    }

    /// Runs one operation on the shard that `key` belongs to.
    pub(super) fn on<R>(
        &self,
        key: &str,
        now: Now,
        operation: impl FnOnce(&mut Session<'_, M, J>) -> R,
    ) -> Result<R, ErrorCode> {
        let shards = self.shards(now).ok_or(ErrorCode::NotCoordinator)?;
        let index = partition_for(key, shards.len());
        let shard = shards.get(index).ok_or(ErrorCode::NotCoordinator)?;
        self.run_on(index, shard, now, operation)
    }

    /// Waits until everything that was written so far to the shard of `key` is committed: what an answer rests on must not
    /// be lost when it is given.
    pub(super) async fn committed(&self, key: &str) -> Result<(), ErrorCode> {
        let Some(shard) = self.shard_of(key) else { return Ok(()) };
        match self.journal.uncommitted(shard) {
            None => Ok(()),
            Some(committing) => committing.await.map_err(append_error),
        }
    }

    /// Whether the log behind `key` is lost to this broker.
    pub(super) fn is_offline(&self, key: &str) -> bool {
        self.shard_of(key).is_some_and(|shard| self.journal.is_offline(shard))
    }

    fn shard_of(&self, key: &str) -> Option<i32> {
        let shards = usize::try_from(self.journal.shards()?).ok()?;
        i32::try_from(partition_for(key, shards)).ok()
    }

    /// Runs an operation on every shard that is served, and collects what they give.
    pub(super) fn on_all<R>(&self, now: Now, mut operation: impl FnMut(&mut Session<'_, M, J>) -> R) -> Vec<R> {
        let shards = self.shards(now);
        let shards = shards.iter().flat_map(|shards| shards.iter().enumerate());
        shards.filter_map(|(index, shard)| self.run_on(index, shard, now, &mut operation).ok()).collect()
    }

    fn run_on<R>(
        &self,
        index: usize,
        shard: &Mutex<Shard<M>>,
        now: Now,
        operation: impl FnOnce(&mut Session<'_, M, J>) -> R,
    ) -> Result<R, ErrorCode> {
        let mut shard = shard.lock();
        let state = match &mut *shard {
            Shard::Active(state) => state,
            Shard::Refusing(error) => return Err(*error),
        };
        // An i32 of partitions made them.
        let mut session = Session { state, now, journal: &self.journal, shard: index as i32 };
        let result = operation(&mut session);
        session.fire_due();
        let deadline = session.state.next_deadline();
        drop(shard);
        self.arm(deadline);
        Ok(result)
    }

    /// The shards, made empty when the topic has just been created.
    fn shards(&self, now: Now) -> Option<Shards<M>> {
        if let Some(shards) = &*self.shards.read() {
            return Some(shards.clone());
        }
        let count = self.journal.shards()?;
        let mut slot = self.shards.write();
        let shards = slot.get_or_insert_with(|| {
            let empty = || {
                let mut state = M::new(&self.config);
                state.loaded(now);
                Mutex::new(Shard::Active(state))
            };
            (0..count).map(|_| empty()).collect()
        });
        Some(shards.clone())
    }

    /// Fires timers as they come due, until dropped: one task for all shards, asleep until the earliest deadline.
    pub(super) async fn run(&self) {
        loop {
            // Deadlines set while we look around must wake us: nothing is armed meanwhile.
            *self.armed.lock() = None;
            let earliest = self.earliest_deadline();
            *self.armed.lock() = earliest;
            match earliest {
                None => self.rearm.notified().await,
                Some(deadline) => tokio::select! {
                    () = self.rearm.notified() => {}
                    () = tokio::time::sleep_until(deadline) => {}
                },
            }
            self.fire_due(Now::read());
        }
    }

    fn earliest_deadline(&self) -> Option<Instant> {
        let shards = self.shards.read().clone()?;
        let deadline = |shard: &Mutex<Shard<M>>| match &*shard.lock() {
            Shard::Active(state) => state.next_deadline(),
            Shard::Refusing(_) => None,
        };
        shards.iter().filter_map(deadline).min()
    }

    /// Every operation ends with the timers that are due, so an empty one does.
    pub(super) fn fire_due(&self, now: Now) {
        self.on_all(now, |_| ());
    }

    fn arm(&self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.armed.lock().is_none_or(|armed| deadline < armed) {
            self.rearm.notify_one();
        }
    }

    /// Shards whose log is lost are not served any more (`GroupCoordinator.onResignation`).
    pub(super) fn log_dir_failed(&self) {
        let Some(shards) = self.shards.read().clone() else { return };
        for (shard, index) in shards.iter().zip(0..) {
            if self.journal.is_offline(index) {
                unload(std::slice::from_ref(shard));
            }
        }
    }

    /// No shard is served any more.
    pub(super) fn shut_down(&self) {
        // A topic that is created only now gets no shards.
        let shards = self.shards.write().get_or_insert_with(|| Arc::new([])).clone();
        unload(&shards);
    }

    /// The internal topic was deleted: what it held is gone, and a new topic starts with nothing.
    pub(super) fn topic_deleted(&self) {
        if let Some(shards) = self.shards.write().take() {
            unload(&shards);
        }
    }
}

/// Refuses also those who hold the shards already and only wait for a lock: what they parked here, nobody would answer.
fn unload<M: StateMachine>(shards: &[Mutex<Shard<M>>]) {
    for shard in shards {
        let mut shard = shard.lock();
        if let Shard::Active(state) = &mut *shard {
            state.unload();
        }
        *shard = Shard::Refusing(ErrorCode::NotCoordinator);
    }
}

impl<M: StateMachine, J: Journal> Session<'_, M, J> {
    /// Appends the records, then lets them take effect. The error is that of the append, as Kafka's coordinators give it
    /// to clients.
    pub(super) fn write(&mut self, write: Write<M::Then>) -> Result<(), ErrorCode> {
        match write.then {
            None => batches(&write.records).try_for_each(|records| {
                let base = self.append(records)?;
                self.replay(base, records)
            }),
            Some(then) => {
                let outcome = self.append(&write.records).map(drop);
                let follow_up = self.state.complete(then, outcome, self.now);
                // It has been told of its own outcome.
                let _ = self.write(follow_up);
                outcome
            }
        }
    }

    fn append(&self, records: &[Record]) -> Result<Offset, ErrorCode> {
        let batch = records
            .iter()
            .fold(BatchBuilder::new(self.now.wall), |batch, record| {
                batch.record(Some(&record.key), record.value.as_deref())
            })
            .build()
            .ok_or(ErrorCode::UnknownServerError)?;
        self.journal.append(self.shard, batch).map_err(append_error)
    }

    fn replay(&mut self, base: Offset, records: &[Record]) -> Result<(), ErrorCode> {
        for (delta, record) in (0..).zip(records) {
            let stored = Stored {
                offset: base.plus(delta),
                producer_id: ProducerId::NONE,
                key: &record.key,
                value: record.value.as_deref(),
            };
            self.state.replay(stored).map_err(|reason| {
                tracing::error!(shard = self.shard, reason, "coordinator cannot read its own record");
                ErrorCode::UnknownServerError
            })?;
        }
        Ok(())
    }

    fn fire_due(&mut self) {
        while let Some(write) = self.state.fire(self.now) {
            if let Err(error) = self.write(write) {
                tracing::warn!(shard = self.shard, %error, "coordinator could not store what a timer changed");
            }
        }
    }
}

/// Cuts records into runs that fit a batch each; a record that is larger than that goes alone.
fn batches(mut rest: &[Record]) -> impl Iterator<Item = &[Record]> {
    std::iter::from_fn(move || {
        let mut bytes = 0usize;
        let fits = |record: &&Record| {
            bytes = bytes.saturating_add(record.size());
            bytes <= BATCH_BYTES_MAX
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (batch, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(batch)
    })
}

/// What an append's failure is to a client (`GroupMetadataManager.appendGroupMetadataErrorToResponseError`): errors of
/// the internal partition are not the client's, it retries or looks for the coordinator again.
fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}

/// Replays a stored batch: records, or the end of a transaction.
fn replay_batch<M: StateMachine>(state: &mut M, batch: &Batch) -> Result<(), LoadError> {
    let header = &batch.header;
    if header.attributes.is_control() {
        if let Some(marker) = EndTxnMarker::of(batch, DECOMPRESSED_BYTES_MAX) {
            state.end_transaction(header.producer_id, marker.committed);
        }
        return Ok(());
    }
    let producer_id = if header.attributes.is_transactional() { header.producer_id } else { ProducerId::NONE };
    let records = BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX)
        .map_err(|source| LoadError::Compression { offset: header.base_offset, source })?;
    for record in &records {
        let record = record.map_err(|source| LoadError::Record { offset: header.base_offset, source })?;
        let offset = records.offset(&record);
        // Nothing can be known of a record without a key.
        let Some(key) = record.key else { continue };
        state
            .replay(Stored { offset, producer_id, key, value: record.value })
            .map_err(|reason| LoadError::Malformed { offset, reason })?;
    }
    Ok(())
}

/// The shard of a key: `Utils.abs(key.hashCode()) % shards`, as Kafka's coordinators place theirs.
pub(super) fn partition_for(key: &str, shards: usize) -> usize {
    let hash = key.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // `Utils.abs` makes 0 of the one value that has no positive counterpart.
    let positive = hash.checked_abs().unwrap_or(0);
    (positive as usize).checked_rem(shards).unwrap_or(0)
}

#[cfg(test)]
mod tests;
