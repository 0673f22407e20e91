use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::coordinator::testing::MemoryJournal;
use crate::protocol::builder::BatchBuilder;
use crate::types::{ProducerEpoch, Timestamp};

/// Counts what is replayed and fires timers that write.
#[derive(Debug)]
struct Counter {
    replayed: Vec<(Offset, ProducerId, Bytes)>,
    ended: Vec<(ProducerId, bool)>,
    completed: Vec<Result<(), ErrorCode>>,
    deadlines: Vec<Instant>,
    unloaded: bool,
}

impl StateMachine for Counter {
    type Config = ();
    type Then = ();

    fn new(_: &Arc<()>) -> Counter {
        Counter { replayed: vec![], ended: vec![], completed: vec![], deadlines: vec![], unloaded: false }
    }

    fn replay(&mut self, record: Stored<'_>) -> Result<(), String> {
        if record.key == b"bad" {
            return Err("bad record".to_owned());
        }
        self.replayed.push((record.offset, record.producer_id, Bytes::copy_from_slice(record.key)));
        Ok(())
    }

    fn end_transaction(&mut self, producer_id: ProducerId, committed: bool) {
        self.ended.push((producer_id, committed));
    }

    fn loaded(&mut self, _: Now) {}

    fn complete(&mut self, (): (), outcome: Result<(), ErrorCode>, _: Now) -> Write<()> {
        self.completed.push(outcome);
        Write::replayed(vec![record("follow-up")])
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.iter().min().copied()
    }

    fn fire(&mut self, now: Now) -> Option<Write<()>> {
        let due = self.deadlines.iter().position(|deadline| *deadline <= now.instant)?;
        self.deadlines.remove(due);
        Some(Write::replayed(vec![record("timer")]))
    }

    fn unload(&mut self) {
        self.unloaded = true;
    }
}

fn record(key: &'static str) -> Record {
    Record { key: Bytes::from_static(key.as_bytes()), value: Some(Bytes::from_static(b"value")) }
}

fn runtime(journal: &MemoryJournal) -> Runtime<Counter, MemoryJournal> {
    Runtime::new((), journal.clone())
}

fn keys(runtime: &Runtime<Counter, MemoryJournal>) -> Vec<String> {
    let keys = |state: &Counter| {
        state.replayed.iter().map(|(_, _, key)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    runtime.on("key", Now::read(), |session| keys(session.state)).unwrap()
}

#[test]
fn keys_go_to_the_partitions_that_java_gives_them() {
    // Where Kafka 4.3.1 put these groups among three partitions.
    for (group, partition) in [("classic-group", 0), ("exp", 0), ("txn-group", 1), ("new-group", 2)] {
        assert_eq!(partition_for(group, 3), partition, "{group}");
    }
    assert_eq!(partition_for("", 50), 0);
    // "polygenelubricants".hashCode() is Integer.MIN_VALUE, which Utils.abs makes 0.
    assert_eq!(partition_for("polygenelubricants", 50), 0);
    // Outside the first plane of Unicode, Java counts two units: "𝄞".hashCode() is 1772394.
    assert_eq!(partition_for("\u{1d11e}", 1_000_000), 772_394);
}

#[test]
fn what_is_written_is_appended_as_one_batch_and_takes_effect_with_its_offsets() {
    let journal = MemoryJournal::new(1);
    let runtime = runtime(&journal);
    let write = |records| runtime.on("key", Now::read(), |session| session.write(Write::replayed(records))).unwrap();
    write(vec![record("a")]).unwrap();
    write(vec![record("b"), record("c")]).unwrap();
    assert_eq!(journal.batches(0).iter().map(|batch| batch.header.records_count).collect::<Vec<_>>(), [1, 2]);
    let offsets = runtime.on("key", Now::read(), |session| session.state.replayed.clone()).unwrap();
    let expected =
        [(0, "a"), (1, "b"), (2, "c")].map(|(offset, key)| (Offset(offset), ProducerId::NONE, Bytes::from(key)));
    assert_eq!(offsets, expected);
}

#[test]
fn what_is_too_much_for_one_batch_is_written_as_several() {
    let journal = MemoryJournal::new(1);
    let runtime = runtime(&journal);
    let large = |bytes| Record { key: Bytes::from_static(b"k"), value: Some(vec![0; bytes].into()) };
    let half = || large(BATCH_BYTES_MAX / 2);
    let records = vec![record("a"), half(), half(), record("b"), large(2 * BATCH_BYTES_MAX), record("c")];
    runtime.on("key", Now::read(), |session| session.write(Write::replayed(records))).unwrap().unwrap();
    assert_eq!(journal.batches(0).iter().map(|batch| batch.header.records_count).collect::<Vec<_>>(), [2, 2, 1, 1]);
    assert_eq!(keys(&runtime), ["a", "k", "k", "b", "k", "c"]);
    let offsets = runtime.on("key", Now::read(), |session| {
        session.state.replayed.iter().map(|(offset, _, _)| offset.0).collect::<Vec<_>>()
    });
    assert_eq!(offsets.unwrap(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn an_append_that_fails_changes_nothing_and_says_what_clients_understand() {
    let journal = MemoryJournal::new(1);
    let runtime = runtime(&journal);
    for (failure, told) in [
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::UnknownTopicOrPartition, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::RecordListTooLarge, ErrorCode::UnknownServerError),
    ] {
        journal.fail_with(Some(failure));
        let write = runtime.on("key", Now::read(), |session| session.write(Write::replayed(vec![record("a")])));
        assert_eq!(write, Ok(Err(told)));
    }
    assert_eq!(keys(&runtime), [""; 0]);
}

#[test]
fn a_write_with_a_consequence_is_told_its_outcome_instead_of_being_replayed() {
    let journal = MemoryJournal::new(1);
    let runtime = runtime(&journal);
    let write = || runtime.on("key", Now::read(), |session| session.write(Write::then(record("a"), ()))).unwrap();
    assert_eq!(write(), Ok(()));
    assert_eq!(keys(&runtime), ["follow-up"]);
    journal.fail_with(Some(ErrorCode::KafkaStorageError));
    assert_eq!(write(), Err(ErrorCode::NotCoordinator));
    let completed = runtime.on("key", Now::read(), |session| session.state.completed.clone()).unwrap();
    assert_eq!(completed, [Ok(()), Err(ErrorCode::NotCoordinator)]);
}

#[test]
fn loading_replays_records_and_the_ends_of_transactions_in_their_order() {
    let journal = MemoryJournal::new(1);
    let producer = ProducerId(7);
    let in_transaction = BatchBuilder::new(Timestamp(1)).producer(producer, ProducerEpoch(0), 0).transactional();
    journal.push(0, in_transaction.record(Some(b"in"), Some(b"v")).build().unwrap());
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    journal.push(0, BatchBuilder::end_txn_marker(Timestamp(2), producer, ProducerEpoch(0), marker).build().unwrap());
    // An idempotent producer has an id as well, but no transaction to wait for.
    let idempotent = BatchBuilder::new(Timestamp(3)).producer(producer, ProducerEpoch(0), 1);
    journal.push(0, idempotent.record(Some(b"out"), None).build().unwrap());
    let runtime = runtime(&journal);
    runtime.load(Now::read());
    runtime
        .on("key", Now::read(), |session| {
            let producers: Vec<_> = session.state.replayed.iter().map(|(_, id, _)| *id).collect();
            assert_eq!(producers, [producer, ProducerId::NONE]);
            assert_eq!(session.state.ended, [(producer, true)]);
        })
        .unwrap();
    assert_eq!(keys(&runtime), ["in", "out"]);
}

#[test]
fn a_compressed_batch_is_loaded() {
    use crate::protocol::compression::Codec;
    let journal = MemoryJournal::new(1);
    let batch = BatchBuilder::new(Timestamp(1)).record(Some(b"zipped"), Some(b"v"));
    journal.push(0, batch.build_compressed(Codec::Zstd, None).unwrap().unwrap());
    let runtime = runtime(&journal);
    runtime.load(Now::read());
    assert_eq!(keys(&runtime), ["zipped"]);
}

#[test]
fn a_damaged_shard_refuses_and_the_others_serve() {
    let journal = MemoryJournal::new(3);
    journal.damage(0);
    journal.push(2, BatchBuilder::new(Timestamp(1)).record(Some(b"bad"), None).build().unwrap());
    let runtime = runtime(&journal);
    runtime.load(Now::read());
    let on = |group| runtime.on(group, Now::read(), |_| ());
    assert_eq!(on("classic-group"), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(on("txn-group"), Ok(()));
    // A record that cannot be read is damage, too.
    assert_eq!(on("new-group"), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(runtime.on_all(Now::read(), |_| ()).len(), 1);
}

#[test]
fn without_its_topic_nothing_is_coordinated_and_with_it_everything_is() {
    let journal = MemoryJournal::without_topic();
    let runtime = runtime(&journal);
    runtime.load(Now::read());
    assert_eq!(runtime.on("key", Now::read(), |_| ()), Err(ErrorCode::NotCoordinator));
    journal.create_topic(5);
    assert_eq!(runtime.on("key", Now::read(), |_| ()), Ok(()));
    assert_eq!(runtime.on_all(Now::read(), |_| ()).len(), 5);
}

#[test]
fn after_a_shut_down_nothing_is_coordinated_even_if_the_topic_comes_later() {
    let journal = MemoryJournal::without_topic();
    let runtime = runtime(&journal);
    runtime.shut_down();
    journal.create_topic(1);
    assert_eq!(runtime.on("key", Now::read(), |_| ()), Err(ErrorCode::NotCoordinator));
}

#[test]
fn a_topic_made_anew_starts_with_nothing() {
    let journal = MemoryJournal::new(1);
    let runtime = runtime(&journal);
    runtime.on("key", Now::read(), |session| session.write(Write::replayed(vec![record("a")]))).unwrap().unwrap();
    runtime.topic_deleted();
    assert_eq!(keys(&runtime), [""; 0]);
}

#[test]
fn an_operation_that_only_waits_for_the_lock_of_a_shard_that_goes_is_refused() {
    let runtime = runtime(&MemoryJournal::new(1));
    let held = runtime.shards(Now::read()).unwrap();
    runtime.topic_deleted();
    assert_eq!(runtime.run_on(0, &held[0], Now::read(), |_| ()), Err(ErrorCode::NotCoordinator));
}

#[test]
fn a_deadline_beyond_the_clock_is_far_away_and_no_panic() {
    let now = Now::read();
    assert!(now.after(Duration::MAX) > now.after(Duration::from_secs(3600)));
    assert_eq!(now.after_ms(-5), now.instant);
}

#[test]
fn a_timer_that_is_due_already_fires_before_its_operation_ends() {
    let runtime = runtime(&MemoryJournal::new(1));
    let now = Now::read();
    runtime.on("key", now, |session| session.state.deadlines.push(now.instant)).unwrap();
    let fired = runtime.on("key", now, |session| session.state.replayed.len()).unwrap();
    assert_eq!(fired, 1);
}

#[tokio::test(start_paused = true)]
async fn the_timer_task_sleeps_until_the_earliest_deadline_also_one_set_later() {
    let runtime = Arc::new(runtime(&MemoryJournal::new(1)));
    let start = Instant::now();
    let task = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.run().await }
    });
    let set = |ms| {
        let deadline = start + Duration::from_millis(ms);
        runtime.on("key", Now::read(), |session| session.state.deadlines.push(deadline)).unwrap();
    };
    set(60_000);
    tokio::time::sleep(Duration::from_millis(10)).await;
    set(20_000);
    tokio::time::sleep(Duration::from_millis(19_980)).await;
    assert_eq!(keys(&runtime), [""; 0]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(keys(&runtime), ["timer"]);
    tokio::time::sleep_until(start + Duration::from_millis(60_001)).await;
    assert_eq!(keys(&runtime), ["timer"; 2]);
    task.abort();
}
