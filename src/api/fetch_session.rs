//! Incremental fetch sessions (KIP-227): the broker remembers which partitions a client wants, so that a fetch names
//! only what changed, and so does its answer (`FetchSession.scala`).
//!
//! A session also knows which of its partitions are worth a look. One that a fetch has found nothing in is *quiet*: the
//! session is registered with it and is woken by its next append. What a fetch costs depends on the partitions that have
//! news, not on those that are subscribed.

mod session;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;

use self::session::{Session, next_epoch};
use crate::partition::FetchWait;
use crate::protocol::ErrorCode;
use crate::protocol::fetch_wire::{PartitionAnswer, TopicKey};
use crate::types::{LeaderEpoch, Offset, TopicId};

/// The request names every partition and wants a session for the fetches to come.
const INITIAL_EPOCH: i32 = 0;
/// The request names every partition and wants no session, or its session closed.
const FINAL_EPOCH: i32 = -1;
/// No session.
const NO_SESSION: i32 = 0;
/// A session that was used within this time is not evicted for a new one.
const EVICTION_AGE_MIN: Duration = Duration::from_secs(120);
/// Partitions that all sessions together remember at most, some 150 MB. A client beyond it is served without a session.
const REMEMBERED_MAX: usize = 500_000;

/// A partition, as the request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PartitionKey {
    pub(super) topic: TopicKey,
    pub(super) index: i32,
}

/// What a client wants of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) offset: Offset,
    pub(super) bytes_max: u32,
    pub(super) leader_epoch: LeaderEpoch,
}

/// A partition that a fetch looks at.
#[derive(Debug)]
pub(super) struct Looked {
    /// Under which it registers with the partition.
    pub(super) number: usize,
    pub(super) key: PartitionKey,
    pub(super) wanted: Wanted,
}

/// The sessions of all clients: at most `max.incremental.fetch.session.cache.slots`.
#[derive(Debug)]
pub struct FetchSessions {
    slots_max: usize,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
    count: Count,
}

/// The partitions that all sessions remember.
#[derive(Debug, Clone, Default)]
struct Count(Arc<AtomicUsize>);

/// The session that one fetch runs in.
#[derive(Debug)]
pub(super) struct Scope {
    /// `None`: every partition is answered and nothing is remembered.
    session: Option<(i32, Arc<Mutex<Session>>)>,
    /// The answer names only partitions with news.
    incremental: bool,
    /// There are partitions that need no look.
    has_quiet: bool,
    /// The epoch that the session then had: it has another one once a later fetch was opened.
    epoch: i32,
    wait: Arc<FetchWait>,
}

impl FetchSessions {
    pub fn new(slots_max: usize) -> FetchSessions {
        FetchSessions { slots_max, sessions: Mutex::default(), count: Count::default() }
    }

    /// Finds or makes the session that a request belongs to, and lists what is to be looked at.
    pub(super) fn open(
        &self,
        request: FetchRequest,
        by_id: bool,
        now: Instant,
    ) -> Result<(Scope, Vec<Looked>), ErrorCode> {
        let id = request.session_id;
        match request.session_epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                if id != NO_SESSION {
                    self.sessions.lock().remove(&id);
                }
                let keeps = request.session_epoch == INITIAL_EPOCH;
                let wanted = wanted_of(request.topics, by_id);
                let session = keeps.then(|| self.create(&wanted, by_id, request.isolation_level, now)).flatten();
                let wait = session.as_ref().map_or_else(FetchWait::new, |(_, session)| session.lock().wait());
                let look = |(number, (key, wanted))| Looked { number, key, wanted };
                let looked = wanted.into_iter().enumerate().map(look).collect();
                let epoch = next_epoch(INITIAL_EPOCH);
                Ok((Scope { session, incremental: false, has_quiet: false, epoch, wait }, looked))
            }
            epoch => {
                let session = self.sessions.lock().get(&id).cloned().ok_or(ErrorCode::FetchSessionIdNotFound)?;
                let mut opened = session.lock();
                if let Err(error) = opened.go_on(epoch, request, by_id, now) {
                    drop(opened);
                    if error == ErrorCode::FetchSessionIdNotFound {
                        self.sessions.lock().remove(&id);
                    }
                    return Err(error);
                }
                let looked = opened.awake();
                let (has_quiet, epoch, wait) = (looked.len() < opened.len(), opened.epoch(), opened.wait());
                drop(opened);
                Ok((Scope { session: Some((id, session)), incremental: true, has_quiet, epoch, wait }, looked))
            }
        }
    }

    /// Makes a session, where there is room for it or a stale one to take the place of.
    fn create(
        &self,
        wanted: &IndexMap<PartitionKey, Wanted>,
        by_id: bool,
        isolation_level: i8,
        now: Instant,
    ) -> Option<(i32, Arc<Mutex<Session>>)> {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots_max {
            let (used, id) = sessions.iter().map(|(id, session)| (session.lock().used(), *id)).min()?;
            if now.saturating_duration_since(used) < EVICTION_AGE_MIN {
                return None;
            }
            sessions.remove(&id);
        }
        let id = std::iter::repeat_with(random_id).find(|id| *id != NO_SESSION && !sessions.contains_key(id))?;
        if !self.count.claim(wanted.len()) {
            return None;
        }
        let session = Session::new(wanted, by_id, isolation_level, now, self.count.clone());
        let session = Arc::new(Mutex::new(session));
        sessions.insert(id, session.clone());
        Some((id, session))
    }
}

impl Scope {
    /// The session's id for the answer; 0 where there is none.
    pub(super) fn id(&self) -> i32 {
        self.session.as_ref().map_or(NO_SESSION, |(id, _)| *id)
    }

    /// Whom a partition wakes: the session, which waits longer than the fetch.
    pub(super) fn wait(&self) -> &Arc<FetchWait> {
        &self.wait
    }

    /// Whether partitions that answer with nothing are to be registered with in any case, so that the next fetch need not
    /// look at them.
    pub(super) fn goes_on(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the client waits for partitions that the fetch does not look at.
    pub(super) fn has_quiet(&self) -> bool {
        self.has_quiet
    }

    /// A partition has news while the fetch waits. `None` where there is no session, and where it has lost the partition.
    pub(super) fn woken(&self, number: usize) -> Option<Looked> {
        let (_, session) = self.session.as_ref()?;
        session.lock().woken(&self.wait, number)
    }

    /// Leaves out of an incremental answer what the client knows already, and notes which partitions are quiet.
    pub(super) fn without_old_news(&self, mut answers: Vec<PartitionAnswer>) -> Vec<PartitionAnswer> {
        let Some((_, session)) = &self.session else { return answers };
        let mut session = session.lock();
        let is_latest = session.epoch() == self.epoch;
        answers.retain(|answer| session.tell(&self.wait, is_latest, answer) || !self.incremental);
        answers
    }
}

impl Count {
    /// Makes room for `count` more partitions, if there is.
    fn claim(&self, count: usize) -> bool {
        let fits = |now: usize| now.checked_add(count).filter(|sum| *sum <= REMEMBERED_MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }
}

fn forgotten_of(topics: Vec<ForgottenTopic>, by_id: bool) -> HashSet<PartitionKey> {
    let keys = topics.into_iter().flat_map(|forgotten| {
        let topic = topic_key(&forgotten.topic, forgotten.topic_id, by_id);
        forgotten.partitions.into_iter().map(move |index| PartitionKey { topic: topic.clone(), index })
    });
    keys.collect()
}

/// What a request asks for; of a partition named twice the last counts, as in Kafka.
fn wanted_of(topics: Vec<FetchTopic>, by_id: bool) -> IndexMap<PartitionKey, Wanted> {
    let mut wanted = IndexMap::with_capacity(topics.iter().map(|topic| topic.partitions.len()).sum());
    for FetchTopic { topic, topic_id, partitions, .. } in topics {
        let key = topic_key(&topic, topic_id, by_id);
        wanted.extend(
            partitions.iter().map(|partition| {
                (PartitionKey { topic: key.clone(), index: partition.partition }, Wanted::of(partition))
            }),
        );
    }
    wanted
}

impl Wanted {
    fn of(partition: &FetchPartition) -> Wanted {
        Wanted {
            offset: Offset(partition.fetch_offset),
            bytes_max: u32::try_from(partition.partition_max_bytes).unwrap_or(0),
            leader_epoch: LeaderEpoch(partition.current_leader_epoch),
        }
    }
}

/// The name is a copy: a slice would keep the whole frame in memory for as long as the fetch waits or the session lives.
fn topic_key(name: &TopicName, id: uuid::Uuid, by_id: bool) -> TopicKey {
    if by_id { TopicKey::Id(TopicId(id)) } else { TopicKey::Name(StrBytes::from_string(name.to_string())) }
}

/// Random, so that a client that lost its session does not by chance go on with another client's.
fn random_id() -> i32 {
    (uuid::Uuid::new_v4().as_u64_pair().0 >> 33) as i32
}
