//! Incremental fetch sessions (KIP-227): the broker remembers which partitions a client wants, so that a fetch names
//! only what changed, and so does its answer (`FetchSession.scala`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;

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
/// Partitions that all sessions together remember at most, some 100 MB. A client beyond it is served without a session.
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

/// A session's view of a partition.
#[derive(Debug)]
struct Remembered {
    wanted: Wanted,
    /// High watermark and log start offset that the client was told last.
    told: Option<(Offset, Offset)>,
}

#[derive(Debug)]
struct Session {
    /// The epoch that the next request must carry.
    epoch: i32,
    /// Its requests name topics by id.
    by_id: bool,
    partitions: IndexMap<PartitionKey, Remembered>,
    /// Where the next fetch begins to read, so that partitions with much data do not starve those behind them.
    first: usize,
    used: Instant,
    remembered: Arc<AtomicUsize>,
}

/// The sessions of all clients: at most `max.incremental.fetch.session.cache.slots`.
#[derive(Debug)]
pub struct FetchSessions {
    slots_max: usize,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
    /// The partitions of all sessions.
    remembered: Arc<AtomicUsize>,
}

/// The session that one fetch runs in.
#[derive(Debug)]
pub(super) struct Scope {
    /// `None`: every partition is answered and nothing is remembered.
    session: Option<(i32, Arc<Mutex<Session>>)>,
    /// The answer names only partitions with news.
    incremental: bool,
}

impl FetchSessions {
    pub fn new(slots_max: usize) -> FetchSessions {
        FetchSessions { slots_max, sessions: Mutex::default(), remembered: Arc::default() }
    }

    /// Finds or makes the session that a request belongs to, and lists what is to be fetched.
    pub(super) fn open(
        &self,
        request: FetchRequest,
        by_id: bool,
        now: Instant,
    ) -> Result<(Scope, Vec<(PartitionKey, Wanted)>), ErrorCode> {
        let id = request.session_id;
        match request.session_epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                if id != NO_SESSION {
                    self.sessions.lock().remove(&id);
                }
                let wanted: Vec<_> = wanted_of(request.topics, by_id).into_iter().collect();
                let session =
                    (request.session_epoch == INITIAL_EPOCH).then(|| self.create(&wanted, by_id, now)).flatten();
                Ok((Scope { session, incremental: false }, wanted))
            }
            epoch => {
                let session = self.sessions.lock().get(&id).cloned().ok_or(ErrorCode::FetchSessionIdNotFound)?;
                let wanted = session.lock().go_on(epoch, request, by_id, now);
                if wanted.as_ref().is_err_and(|error| *error == ErrorCode::FetchSessionIdNotFound) {
                    self.sessions.lock().remove(&id);
                }
                Ok((Scope { session: Some((id, session)), incremental: true }, wanted?))
            }
        }
    }

    /// Makes a session, where there is room for it or a stale one to take the place of.
    fn create(
        &self,
        wanted: &[(PartitionKey, Wanted)],
        by_id: bool,
        now: Instant,
    ) -> Option<(i32, Arc<Mutex<Session>>)> {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots_max {
            let (used, id) = sessions.iter().map(|(id, session)| (session.lock().used, *id)).min()?;
            if now.saturating_duration_since(used) < EVICTION_AGE_MIN {
                return None;
            }
            sessions.remove(&id);
        }
        let id = std::iter::repeat_with(random_id).find(|id| *id != NO_SESSION && !sessions.contains_key(id))?;
        if !claim(&self.remembered, wanted.len()) {
            return None;
        }
        let remember =
            |(key, wanted): &(PartitionKey, Wanted)| (key.clone(), Remembered { wanted: *wanted, told: None });
        let session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            partitions: wanted.iter().map(remember).collect(),
            first: 0,
            used: now,
            remembered: self.remembered.clone(),
        };
        let session = Arc::new(Mutex::new(session));
        sessions.insert(id, session.clone());
        Some((id, session))
    }
}

impl Session {
    /// Takes over what an incremental request changes; lists everything that the session now wants.
    fn go_on(
        &mut self,
        epoch: i32,
        request: FetchRequest,
        by_id: bool,
        now: Instant,
    ) -> Result<Vec<(PartitionKey, Wanted)>, ErrorCode> {
        if epoch != self.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if by_id != self.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        self.epoch = next_epoch(epoch);
        self.used = now;
        for (key, wanted) in wanted_of(request.topics, by_id) {
            match self.partitions.get_mut(&key) {
                Some(known) => known.wanted = wanted,
                // The client begins anew with all of its partitions, and then without a session.
                None if !claim(&self.remembered, 1) => return Err(ErrorCode::FetchSessionIdNotFound),
                None => {
                    self.partitions.insert(key, Remembered { wanted, told: None });
                }
            }
        }
        self.forget(&forgotten_of(request.forgotten_topics_data, by_id));
        let split = if self.first < self.partitions.len() { self.first } else { 0 };
        let (front, back) = (self.partitions.iter().take(split), self.partitions.iter().skip(split));
        Ok(back.chain(front).map(|(key, known)| (key.clone(), known.wanted)).collect())
    }

    /// Keeps the order of the others, so that the place to begin at stays meaningful.
    fn forget(&mut self, forgotten: &HashSet<PartitionKey>) {
        if forgotten.is_empty() {
            return;
        }
        let before = self.partitions.len();
        self.partitions.retain(|key, _| !forgotten.contains(key));
        self.remembered.fetch_sub(before - self.partitions.len(), Ordering::Relaxed);
    }

    /// Whether the client has to hear of this partition; from now on it has.
    fn tell(&mut self, answer: &PartitionAnswer) -> bool {
        let key = PartitionKey { topic: answer.topic.clone(), index: answer.index };
        let Some((place, _, known)) = self.partitions.get_full_mut(&key) else { return true };
        if answer.records_len() > 0 {
            self.first = place + 1;
        }
        // An error is told again with each answer, and what follows it is told anew.
        let telling = answer.error.is_none().then_some((answer.high_watermark, answer.log_start));
        let news = answer.records_len() > 0 || telling.is_none() || known.told != telling;
        known.told = telling;
        news
    }
}

impl Scope {
    /// The session's id for the answer; 0 where there is none.
    pub(super) fn id(&self) -> i32 {
        self.session.as_ref().map_or(NO_SESSION, |(id, _)| *id)
    }

    /// Leaves out of an incremental answer what the client knows already.
    pub(super) fn without_old_news(&self, mut answers: Vec<PartitionAnswer>) -> Vec<PartitionAnswer> {
        let Some((_, session)) = &self.session else { return answers };
        let mut session = session.lock();
        answers.retain(|answer| session.tell(answer) || !self.incremental);
        answers
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.remembered.fetch_sub(self.partitions.len(), Ordering::Relaxed);
    }
}

/// Makes room for `count` more partitions, if there is.
fn claim(remembered: &AtomicUsize, count: usize) -> bool {
    let fits = |now: usize| now.checked_add(count).filter(|sum| *sum <= REMEMBERED_MAX);
    remembered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
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

/// Epochs of a session go from 1 up, and round again (`FetchMetadata.nextEpoch`).
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// Random, so that a client that lost its session does not by chance go on with another client's.
fn random_id() -> i32 {
    (uuid::Uuid::new_v4().as_u64_pair().0 >> 33) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: i32, epoch: i32, offsets: &[(i32, i64)]) -> FetchRequest {
        let partition = |&(index, offset): &(i32, i64)| {
            FetchPartition::default().with_partition(index).with_fetch_offset(offset).with_partition_max_bytes(100)
        };
        let topic = FetchTopic::default()
            .with_topic(StrBytes::from_static_str("t").into())
            .with_partitions(offsets.iter().map(partition).collect());
        FetchRequest::default().with_session_id(id).with_session_epoch(epoch).with_topics(vec![topic])
    }

    fn answer(index: i32, high_watermark: i64) -> PartitionAnswer {
        PartitionAnswer {
            error: None,
            high_watermark: Offset(high_watermark),
            log_start: Offset(0),
            ..PartitionAnswer::error(
                TopicKey::Name(StrBytes::from_static_str("t")),
                index,
                ErrorCode::UnknownServerError,
            )
        }
    }

    fn indexes(wanted: &[(PartitionKey, Wanted)]) -> Vec<(i32, i64)> {
        wanted.iter().map(|(key, wanted)| (key.index, wanted.offset.0)).collect()
    }

    fn open(sessions: &FetchSessions, request: FetchRequest) -> (Scope, Vec<(i32, i64)>) {
        let (scope, wanted) = sessions.open(request, false, Instant::now()).unwrap();
        let wanted = indexes(&wanted);
        (scope, wanted)
    }

    #[test]
    fn an_incremental_fetch_names_changes_and_gets_everything() {
        let sessions = FetchSessions::new(10);
        let (scope, wanted) = open(&sessions, request(0, 0, &[(0, 5), (1, 6), (2, 7)]));
        assert_eq!(wanted, [(0, 5), (1, 6), (2, 7)]);
        let id = scope.id();
        assert_ne!(id, NO_SESSION);
        let (_, wanted) = open(&sessions, request(id, 1, &[(1, 60), (3, 8)]));
        assert_eq!(wanted, [(0, 5), (1, 60), (2, 7), (3, 8)]);
        let forgotten =
            ForgottenTopic::default().with_topic(StrBytes::from_static_str("t").into()).with_partitions(vec![0, 3]);
        let (_, wanted) = open(&sessions, request(id, 2, &[]).with_forgotten_topics_data(vec![forgotten]));
        assert_eq!(wanted, [(1, 60), (2, 7)]);
    }

    #[test]
    fn a_partition_named_twice_is_fetched_once() {
        let sessions = FetchSessions::new(10);
        for epoch in [INITIAL_EPOCH, FINAL_EPOCH] {
            let (_, wanted) = open(&sessions, request(0, epoch, &[(0, 5), (1, 6), (0, 7)]));
            assert_eq!(wanted, [(0, 7), (1, 6)]);
        }
    }

    #[test]
    fn an_incremental_answer_leaves_out_what_the_client_knows() {
        let sessions = FetchSessions::new(10);
        let (scope, _) = open(&sessions, request(0, 0, &[(0, 5), (1, 6)]));
        assert_eq!(scope.without_old_news(vec![answer(0, 5), answer(1, 6)]).len(), 2);
        let (scope, _) = open(&sessions, request(scope.id(), 1, &[]));
        let told = scope.without_old_news(vec![answer(0, 5), answer(1, 7)]);
        assert_eq!(told.iter().map(|answer| answer.index).collect::<Vec<_>>(), [1]);
        let error = || PartitionAnswer::error(answer(0, 0).topic, 0, ErrorCode::OffsetOutOfRange);
        for epoch in 2..4 {
            let (scope, _) = open(&sessions, request(scope.id(), epoch, &[]));
            assert_eq!(scope.without_old_news(vec![error()]).len(), 1, "an error is told each time");
        }
        let (scope, _) = open(&sessions, request(scope.id(), 4, &[]));
        assert_eq!(scope.without_old_news(vec![answer(0, 5)]).len(), 1, "and what follows it is told anew");
    }

    #[test]
    fn a_wrong_epoch_an_unknown_session_and_a_change_to_topic_ids_are_refused() {
        let sessions = FetchSessions::new(10);
        let (scope, _) = open(&sessions, request(0, 0, &[(0, 5)]));
        let refused = |request, by_id| sessions.open(request, by_id, Instant::now()).unwrap_err();
        assert_eq!(refused(request(scope.id(), 2, &[]), false), ErrorCode::InvalidFetchSessionEpoch);
        assert_eq!(refused(request(scope.id() ^ 1, 1, &[]), false), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(refused(request(scope.id(), 1, &[]), true), ErrorCode::FetchSessionTopicIdError);
        let (closed, wanted) = open(&sessions, request(scope.id(), FINAL_EPOCH, &[(0, 9)]));
        assert_eq!((closed.id(), wanted), (NO_SESSION, vec![(0, 9)]));
        assert_eq!(refused(request(scope.id(), 1, &[]), false), ErrorCode::FetchSessionIdNotFound);
    }

    #[test]
    fn a_full_cache_gives_up_only_a_session_that_has_gone_stale() {
        let sessions = FetchSessions::new(2);
        let start = Instant::now();
        let create = |at| sessions.open(request(0, 0, &[(0, 5)]), false, at).unwrap().0.id();
        let (first, second) = (create(start), create(start + Duration::from_secs(1)));
        assert_eq!(create(start + EVICTION_AGE_MIN / 2), NO_SESSION);
        assert_ne!(create(start + EVICTION_AGE_MIN + Duration::from_secs(1)), NO_SESSION);
        let alive = |id| sessions.sessions.lock().contains_key(&id);
        assert!(!alive(first) && alive(second));
    }

    #[test]
    fn what_all_sessions_remember_is_bounded_and_given_back() {
        let sessions = FetchSessions::new(10);
        let half: Vec<(i32, i64)> = (0..REMEMBERED_MAX as i32 / 2).map(|index| (index, 0)).collect();
        let (first, _) = open(&sessions, request(0, 0, &half));
        let (second, _) = open(&sessions, request(0, 0, &half[1..]));
        assert!(first.id() != NO_SESSION && second.id() != NO_SESSION);
        assert_eq!(open(&sessions, request(0, 0, &[(0, 0), (1, 0)])).0.id(), NO_SESSION, "there is room for one");
        open(&sessions, request(second.id(), 1, &[(-1, 0)]));
        let growing = sessions.open(request(second.id(), 2, &[(-2, 0)]), false, Instant::now());
        assert_eq!(growing.unwrap_err(), ErrorCode::FetchSessionIdNotFound);
        drop(second);
        assert_ne!(open(&sessions, request(0, 0, &half[1..])).0.id(), NO_SESSION);
        open(&sessions, request(first.id(), FINAL_EPOCH, &[]));
        drop(first);
        assert!(sessions.remembered.load(Ordering::Relaxed) < REMEMBERED_MAX / 2);
    }

    #[test]
    fn the_next_fetch_begins_behind_the_last_partition_that_had_data() {
        let sessions = FetchSessions::new(10);
        let (scope, _) = open(&sessions, request(0, 0, &[(0, 0), (1, 0), (2, 0)]));
        let file = std::sync::Arc::new(tempfile::tempfile().unwrap());
        let slice = crate::sys::FileSlice { file, position: 0, length: 10 };
        scope.without_old_news(vec![PartitionAnswer { records: Some(slice), ..answer(1, 1) }]);
        let (_, wanted) = open(&sessions, request(scope.id(), 1, &[]));
        assert_eq!(wanted.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 0, 1]);
    }
}
