//! One client's session.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::FetchRequest;

use super::{Count, INITIAL_EPOCH, Looked, PartitionKey, Wanted, forgotten_of, wanted_of};
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
    /// By number, which is the order in which they came.
    partitions: BTreeMap<usize, Remembered>,
    /// The numbers, also of partitions that were forgotten, as the Java consumer does with those it has data of: when they
    /// come back they may still be registered.
    numbers: HashMap<PartitionKey, usize>,
    next_number: usize,
    /// The partitions that the next fetch looks at: all but the quiet ones.
    awake: BTreeSet<usize>,
    /// Registered with the quiet ones.
    wait: Arc<FetchWait>,
    /// Where the next fetch begins to read, so that partitions with much data do not starve those behind them.
    first: usize,
    used: Instant,
    count: Count,
}

/// Numbers of forgotten partitions that are kept, beside as many as there are partitions.
const FORGOTTEN_MAX: usize = 64;

/// What a session remembers of a partition.
#[derive(Debug)]
struct Remembered {
    key: PartitionKey,
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
        count: Count,
    ) -> Session {
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            isolation_level,
            partitions: BTreeMap::new(),
            numbers: HashMap::with_capacity(wanted.len()),
            next_number: 0,
            awake: BTreeSet::new(),
            wait: FetchWait::new(),
            first: 0,
            used: now,
            count,
        };
        wanted.iter().for_each(|(key, wanted)| session.remember(key.clone(), *wanted));
        session
    }

    pub(super) fn epoch(&self) -> i32 {
        self.epoch
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
            match self.numbers.get(&key).and_then(|number| Some((*number, self.partitions.get_mut(number)?))) {
                Some((number, known)) => {
                    known.wanted = wanted;
                    self.awake.insert(number);
                }
                // The client begins anew with all of its partitions, and then without a session.
                None if !self.count.claim(1) => return Err(ErrorCode::FetchSessionIdNotFound),
                None => self.remember(key, wanted),
            }
        }
        forgotten_of(request.forgotten_topics_data, by_id).iter().for_each(|key| self.forget(key));
        self.drop_numbers();
        if std::mem::replace(&mut self.isolation_level, request.isolation_level) != request.isolation_level {
            self.awake.extend(self.partitions.keys());
        }
        for number in self.wait.take_news() {
            self.wake(number);
        }
        Ok(())
    }

    fn remember(&mut self, key: PartitionKey, wanted: Wanted) {
        let number = *self.numbers.entry(key.clone()).or_insert(self.next_number);
        self.next_number = self.next_number.max(number + 1);
        self.partitions.insert(number, Remembered { key, wanted, told: None });
        self.awake.insert(number);
    }

    fn forget(&mut self, key: &PartitionKey) {
        let Some(number) = self.numbers.get(key) else { return };
        self.awake.remove(number);
        if self.partitions.remove(number).is_some() {
            self.count.give_back(1);
        }
    }

    /// Does away with the numbers of forgotten partitions when there are many; what they are registered with, too.
    fn drop_numbers(&mut self) {
        if self.numbers.len() <= 2 * self.partitions.len() + FORGOTTEN_MAX {
            return;
        }
        self.numbers.retain(|_, number| self.partitions.contains_key(number));
        self.wait = FetchWait::new();
        self.awake.extend(self.partitions.keys());
    }

    fn wake(&mut self, number: usize) {
        if self.partitions.contains_key(&number) {
            self.awake.insert(number);
        }
    }

    /// What a fetch looks at, in the order in which it reads.
    pub(super) fn awake(&self) -> Vec<Looked> {
        let rotated = self.awake.range(self.first..).chain(self.awake.range(..self.first));
        rotated.filter_map(|number| self.looked(*number)).collect()
    }

    fn looked(&self, number: usize) -> Option<Looked> {
        let Remembered { key, wanted, .. } = self.partitions.get(&number)?;
        Some(Looked { number, key: key.clone(), wanted: *wanted })
    }

    /// A partition has news for who waits by `wait`.
    pub(super) fn woken(&mut self, wait: &Arc<FetchWait>, number: usize) -> Option<Looked> {
        if !Arc::ptr_eq(wait, &self.wait) {
            return None;
        }
        self.wake(number);
        self.looked(number)
    }

    /// Whether the client has to hear of this partition; from now on it has. `may_be_quiet`: `wait` was registered with it
    /// before it was read, and no other fetch has looked at it since.
    pub(super) fn tell(&mut self, wait: &Arc<FetchWait>, may_be_quiet: bool, answer: &PartitionAnswer) -> bool {
        let key = PartitionKey { topic: answer.topic.clone(), index: answer.index };
        let Some(&number) = self.numbers.get(&key) else { return true };
        let Some(known) = self.partitions.get_mut(&number) else { return true };
        if answer.records_len() > 0 {
            self.first = number + 1;
        }
        // An error is told again with each answer, and what follows it is told anew.
        let telling = answer.error.is_none().then_some((answer.high_watermark, answer.log_start));
        let news = answer.records_len() > 0 || telling.is_none() || known.told != telling;
        known.told = telling;
        if may_be_quiet && answer.leaves_nothing_at(known.wanted.offset) && Arc::ptr_eq(wait, &self.wait) {
            self.awake.remove(&number);
        } else {
            self.awake.insert(number);
        }
        news
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.count.give_back(self.partitions.len());
    }
}

/// Epochs of a session go from 1 up, and round again (`FetchMetadata.nextEpoch`).
pub(super) fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}
