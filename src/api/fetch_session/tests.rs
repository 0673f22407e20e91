use super::*;
use crate::partition::Waiters;

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
        ..PartitionAnswer::error(TopicKey::Name(StrBytes::from_static_str("t")), index, ErrorCode::UnknownServerError)
    }
}

/// The scope, and which partitions are looked at, from which offset on.
fn open(sessions: &FetchSessions, request: FetchRequest) -> (Scope, Vec<(i32, i64)>) {
    let (scope, looked) = sessions.open(request, false, Instant::now()).unwrap();
    let looked = looked.iter().map(|looked| (looked.key.index, looked.wanted.offset.0)).collect();
    (scope, looked)
}

/// A session of partitions that have been read to their ends, which are these offsets; its next epoch is 1.
fn quiet(sessions: &FetchSessions, offsets: &[(i32, i64)]) -> Scope {
    let (scope, _) = open(sessions, request(0, 0, offsets));
    scope.without_old_news(offsets.iter().map(|(index, end)| answer(*index, *end)).collect());
    scope
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
    assert!(sessions.count.0.load(Ordering::Relaxed) < REMEMBERED_MAX / 2);
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

#[test]
fn a_quiet_partition_is_looked_at_when_it_has_news_or_the_client_wants_something_else_of_it() {
    let sessions = FetchSessions::new(10);
    let id = quiet(&sessions, &[(0, 5), (1, 6), (2, 7)]).id();
    let (scope, looked) = open(&sessions, request(id, 1, &[]));
    assert_eq!((looked, scope.has_quiet()), (vec![], true));
    let partition = Waiters::default();
    partition.register(scope.wait(), 1);
    partition.wake();
    assert_eq!(open(&sessions, request(id, 2, &[(2, 0)])).1, [(1, 6), (2, 0)]);
    assert_eq!(open(&sessions, request(id, 3, &[])).1, [(1, 6), (2, 0)], "until it is told that they are quiet again");
}

#[test]
fn news_that_a_fetch_took_are_not_lost_with_it() {
    let sessions = FetchSessions::new(10);
    let id = quiet(&sessions, &[(0, 5), (1, 6)]).id();
    let (scope, _) = open(&sessions, request(id, 1, &[]));
    let partition = Waiters::default();
    partition.register(scope.wait(), 1);
    partition.wake();
    let woken: Vec<_> = scope.wait().take_news().into_iter().filter_map(|number| scope.woken(number)).collect();
    assert_eq!((woken.len(), woken[0].key.index, woken[0].wanted.offset), (1, 1, Offset(6)));
    drop(scope);
    assert_eq!(open(&sessions, request(id, 2, &[])).1, [(1, 6)]);
}

#[test]
fn a_partition_with_something_left_to_read_or_with_an_error_is_not_quiet() {
    let sessions = FetchSessions::new(10);
    let (scope, _) = open(&sessions, request(0, 0, &[(0, 5), (1, 6), (2, 7), (3, 8)]));
    let error = PartitionAnswer::error(answer(1, 0).topic, 1, ErrorCode::OffsetOutOfRange);
    let committed = |index, last_stable| PartitionAnswer {
        aborted: Some(vec![]),
        last_stable: Offset(last_stable),
        ..answer(index, 100)
    };
    scope.without_old_news(vec![answer(0, 9), error, committed(2, 8), committed(3, 8)]);
    let (_, looked) = open(&sessions, request(scope.id(), 1, &[]));
    assert_eq!(looked, [(0, 5), (1, 6), (2, 7)], "the last is quiet: it has no more that is committed");
}

#[test]
fn nothing_is_quiet_at_another_isolation_level() {
    let sessions = FetchSessions::new(10);
    let id = quiet(&sessions, &[(0, 5), (1, 6)]).id();
    let (_, looked) = open(&sessions, request(id, 1, &[]).with_isolation_level(1));
    assert_eq!(looked, [(0, 5), (1, 6)]);
}

fn forgetting(id: i32, epoch: i32, partitions: Vec<i32>) -> FetchRequest {
    let forgotten =
        ForgottenTopic::default().with_topic(StrBytes::from_static_str("t").into()).with_partitions(partitions);
    request(id, epoch, &[]).with_forgotten_topics_data(vec![forgotten])
}

#[test]
fn forgetting_some_partitions_wakes_no_others_and_one_that_comes_back_is_registered_once() {
    let sessions = FetchSessions::new(10);
    let id = quiet(&sessions, &[(0, 5), (1, 6), (2, 7)]).id();
    let partition = Waiters::default();
    let (scope, _) = open(&sessions, request(id, 1, &[]));
    partition.register(scope.wait(), 1);
    assert_eq!(open(&sessions, forgetting(id, 2, vec![1])).1, []);
    let (scope, looked) = sessions.open(request(id, 3, &[(1, 6)]), false, Instant::now()).unwrap();
    assert_eq!(looked.iter().map(|it| (it.number, it.key.index)).collect::<Vec<_>>(), [(1, 1)], "by its old number");
    partition.register(scope.wait(), 1);
    partition.wake();
    assert_eq!(scope.wait().take_news(), [1]);
}

#[test]
fn news_of_a_forgotten_partition_are_none() {
    let sessions = FetchSessions::new(10);
    let id = quiet(&sessions, &[(0, 5), (1, 6)]).id();
    let partition = Waiters::default();
    let (scope, _) = open(&sessions, request(id, 1, &[]));
    partition.register(scope.wait(), 1);
    open(&sessions, forgetting(id, 2, vec![1]));
    partition.wake();
    assert!(scope.woken(1).is_none());
    assert_eq!(open(&sessions, request(id, 3, &[])).1, []);
}

#[test]
fn numbers_of_many_forgotten_partitions_are_given_up_and_then_all_are_looked_at() {
    let sessions = FetchSessions::new(10);
    let many: Vec<(i32, i64)> = (0..200).map(|index| (index, 5)).collect();
    let id = quiet(&sessions, &many).id();
    let (before, _) = open(&sessions, request(id, 1, &[]));
    let (after, looked) = open(&sessions, forgetting(id, 2, (1..200).collect()));
    assert_eq!(looked, [(0, 5)]);
    assert!(before.woken(0).is_none(), "it no longer waits for the session");
    after.without_old_news(vec![answer(0, 5)]);
    assert_eq!(open(&sessions, request(id, 3, &[])).1, []);
}

#[test]
fn an_answer_that_is_late_makes_nothing_quiet() {
    let sessions = FetchSessions::new(10);
    let id = quiet(&sessions, &[(0, 5)]).id();
    let (late, _) = open(&sessions, request(id, 1, &[(0, 5)]));
    let (latest, _) = open(&sessions, request(id, 2, &[]));
    late.without_old_news(vec![answer(0, 5)]);
    assert_eq!(open(&sessions, request(id, 3, &[])).1, [(0, 5)]);
    drop(latest);
}
