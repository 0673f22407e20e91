//! One client's session.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::FetchRequest;

use super::{INITIAL_EPOCH, Looked, PartitionKey, Remembered, Wanted, forgotten_of, wanted_of};
use crate::partition::FetchWait;
use crate::protocol::ErrorCode;
use crate::protocol::fetch_wire::PartitionAnswer;
use crate::types::Offset;

#[derive(Debug)]
pub(super) struct Session {
    /// The epoch that the next request must carry.
    epoch: i32,
    /// Its requests name topics by id.
    by_id: bool,
    /// What is quiet at one isolation level need not be so at the other.
    isolation_level: i8,
    /// A partition's number is its place here.
    partitions: IndexMap<PartitionKey, View>,
    /// The partitions that the next fetch looks at: all but the quiet ones.
    awake: BTreeSet<usize>,
    /// Registered with the quiet ones. Numbers mean other partitions after some were forgotten: then another one takes its
    /// place.
    wait: Arc<FetchWait>,
    /// Where the next fetch begins to read, so that partitions with much data do not starve those behind them.
    first: usize,
    used: Instant,
    remembered: Remembered,
}

/// A session's view of a partition.
#[derive(Debug)]
struct View {
    wanted: Wanted,
    /// High watermark and log start offset that the client was told last.
    told: Option<(Offset, Offset)>,
}

impl Session {
    pub(super) fn new(
        wanted: &IndexMap<PartitionKey, Wanted>,
        by_id: bool,
        isolation_level: i8,
        now: Instant,
        remembered: Remembered,
    ) -> Session {
        let view = |(key, wanted): (&PartitionKey, &Wanted)| (key.clone(), View { wanted: *wanted, told: None });
        Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            isolation_level,
            partitions: wanted.iter().map(view).collect(),
            awake: (0..wanted.len()).collect(),
            wait: FetchWait::new(),
            first: 0,
            used: now,
            remembered,
        }
    }

    pub(super) fn used(&self) -> Instant {
        self.used
    }

    pub(super) fn wait(&self) -> Arc<FetchWait> {
        self.wait.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Takes over what an incremental request changes.
    pub(super) fn go_on(
        &mut self,
        epoch: i32,
        request: FetchRequest,
        by_id: bool,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if epoch != self.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if by_id != self.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        self.epoch = next_epoch(epoch);
        self.used = now;
        for (key, wanted) in wanted_of(request.topics, by_id) {
            let number = match self.partitions.get_full_mut(&key) {
                Some((number, _, known)) => {
                    known.wanted = wanted;
                    number
                }
                // The client begins anew with all of its partitions, and then without a session.
                None if !self.remembered.claim(1) => return Err(ErrorCode::FetchSessionIdNotFound),
                None => self.partitions.insert_full(key, View { wanted, told: None }).0,
            };
            self.awake.insert(number);
        }
        self.forget(&forgotten_of(request.forgotten_topics_data, by_id));
        if std::mem::replace(&mut self.isolation_level, request.isolation_level) != request.isolation_level {
            self.awake.extend(0..self.partitions.len());
        }
        self.awake.extend(self.wait.take_news());
        Ok(())
    }

    /// Keeps the order of the others, so that the place to begin at stays meaningful.
    fn forget(&mut self, forgotten: &HashSet<PartitionKey>) {
        if forgotten.is_empty() {
            return;
        }
        let before = self.partitions.len();
        self.partitions.retain(|key, _| !forgotten.contains(key));
        self.remembered.give_back(before - self.partitions.len());
        self.wait = FetchWait::new();
        self.awake = (0..self.partitions.len()).collect();
    }

    /// What a fetch looks at, in the order in which it reads.
    pub(super) fn awake(&self) -> Vec<Looked> {
        let first = if self.first < self.partitions.len() { self.first } else { 0 };
        let rotated = self.awake.range(first..).chain(self.awake.range(..first));
        rotated.filter_map(|number| self.looked(*number)).collect()
    }

    fn looked(&self, number: usize) -> Option<Looked> {
        let (key, view) = self.partitions.get_index(number)?;
        Some(Looked { number, key: key.clone(), wanted: view.wanted })
    }

    /// A partition has news for who waits by `wait`.
    pub(super) fn woken(&mut self, wait: &Arc<FetchWait>, number: usize) -> Option<Looked> {
        if !Arc::ptr_eq(wait, &self.wait) {
            return None;
        }
        self.awake.insert(number);
        self.looked(number)
    }

    /// Whether the client has to hear of this partition; from now on it has. A partition that had nothing to read, and with
    /// which `wait` was registered before that was seen, is quiet.
    pub(super) fn tell(&mut self, wait: &Arc<FetchWait>, answer: &PartitionAnswer) -> bool {
        let key = PartitionKey { topic: answer.topic.clone(), index: answer.index };
        let Some((number, _, known)) = self.partitions.get_full_mut(&key) else { return true };
        if answer.records_len() > 0 {
            self.first = number + 1;
        }
        // An error is told again with each answer, and what follows it is told anew.
        let telling = answer.error.is_none().then_some((answer.high_watermark, answer.log_start));
        let news = answer.records_len() > 0 || telling.is_none() || known.told != telling;
        known.told = telling;
        if answer.leaves_nothing_at(known.wanted.offset) && Arc::ptr_eq(wait, &self.wait) {
            self.awake.remove(&number);
        } else {
            self.awake.insert(number);
        }
        news
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.remembered.give_back(self.partitions.len());
    }
}

/// Epochs of a session go from 1 up, and round again (`FetchMetadata.nextEpoch`).
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}
