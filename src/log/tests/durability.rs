//! Group commit, log dirs that fail, and files that are as long as their segment from the start.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;

fn record() -> Batch {
    batch(1, NOW.0, 10)
}

/// Puts a device that cannot be synced in the place of the active segment's file; gives the file back.
fn break_active(writer: &LogWriter) -> Arc<File> {
    let device = File::options().read(true).write(true).open("/dev/full").unwrap();
    writer.active.as_ref().unwrap().segment.exchange_file(Arc::new(device))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sync_acknowledges_every_append_that_it_covers_and_appends_do_not_wait_for_it() {
    const APPENDS: usize = 200;
    let fixture = Fixture::new(1 << 20);
    let (mut writer, reader) = fixture.open();
    let shared = Arc::clone(&reader.shared);
    let mut waits = Vec::new();
    {
        // A sync that takes long: every append goes through meanwhile.
        let _syncing = shared.durability.hold_syncs();
        for _ in 0..APPENDS {
            let appended = append(&mut writer, record());
            waits.push(reader.group_commit(appended.last_offset.plus(1), 1).unwrap());
        }
    }
    for outcome in join_all(waits.into_iter().map(|wait| wait.done())).await {
        outcome.unwrap();
    }
    assert_eq!(shared.durability.syncs(), 1);
    assert!(reader.group_commit(reader.end_offset(), 1).is_none(), "everything is durable");
    assert_eq!(reader.recovery_point(), Offset(0), "indexes and producer state are not");
}

#[tokio::test]
async fn only_the_append_that_makes_enough_records_unflushed_waits() {
    let fixture = Fixture::new(1 << 20);
    let (mut writer, reader) = fixture.open();
    for round in 0..3 {
        for nth in 1..=3 {
            let end = append(&mut writer, batch(2, NOW.0, 10)).last_offset.plus(1);
            let wait = reader.group_commit(end, 6);
            assert_eq!(wait.is_some(), nth == 3, "append {nth} of round {round}");
            if let Some(wait) = wait {
                wait.done().await.unwrap();
            }
        }
    }
    assert_eq!(reader.shared.durability.syncs(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_waits_as_long_as_what_it_repeats() {
    let fixture = Fixture::new(1 << 20);
    let (mut writer, reader) = fixture.open();
    let producer = || {
        let (id, epoch) = (crate::types::ProducerId(7), crate::types::ProducerEpoch(0));
        BatchBuilder::new(NOW).producer(id, epoch, 0).record(None, Some(b"once")).build().unwrap()
    };
    let first = append(&mut writer, producer());
    let (original, mut duplicate) = {
        let _syncing = reader.shared.durability.hold_syncs();
        let original = reader.group_commit(first.last_offset.plus(1), 1).unwrap();
        let again = append(&mut writer, producer());
        assert!(again.duplicate);
        let mut duplicate = Box::pin(reader.group_commit(again.last_offset.plus(1), 1).unwrap().done());
        assert!((&mut duplicate).now_or_never().is_none());
        (original, duplicate)
    };
    (&mut duplicate).await.unwrap();
    original.done().await.unwrap();
    assert!(reader.group_commit(first.last_offset.plus(1), 1).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_is_told_to_all_who_wait_and_fails_the_dir() {
    let fixture = Fixture::new(1 << 20);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, record());
    let file = break_active(&writer);
    let syncing = reader.shared.durability.hold_syncs();
    let wait = || reader.group_commit(reader.end_offset(), 1).unwrap().done();
    let waits = join_all([wait(), wait(), wait()]);
    drop(syncing);
    assert!(waits.await.iter().all(|outcome| matches!(outcome, Err(LogError::Unflushed { .. }))));
    assert!(fixture.options.context.has_failed());
    // A device that works again proves nothing.
    writer.active.as_ref().unwrap().segment.exchange_file(file);
    assert!(matches!(writer.append(&mut [record()], EPOCH, NOW), Err(LogError::DirFailed { .. })));
    assert!(matches!(wait().await, Err(LogError::Unflushed { .. })));
    assert!(matches!(reader.check_dir(), Err(LogError::DirFailed { .. })));
}

#[test]
fn one_log_s_failure_is_every_log_s_of_its_dir_and_of_no_other() {
    let (failing, healthy) = (Fixture::new(1 << 20), Fixture::new(1 << 20));
    let (mut writer, _) = failing.open();
    let dir = failing.root.path().join("topic-1");
    let (mut neighbour, _) = open(OpenOptions { dir, ..failing.options.clone() }).unwrap();
    let (mut other, _) = healthy.open();
    append(&mut writer, record());
    append(&mut neighbour, record());
    break_active(&writer);
    assert!(writer.shared.flush().is_err());
    assert!(matches!(neighbour.append(&mut [record()], EPOCH, NOW), Err(LogError::DirFailed { .. })));
    assert!(matches!(neighbour.close(), Err(LogError::DirFailed { .. })));
    assert_eq!(append(&mut other, record()).base_offset, Offset(0));
}

#[test]
fn flush_ms_syncs_what_has_waited_so_long_and_nothing_else() {
    let fixture = Fixture::new(1 << 20);
    let (mut writer, reader) = fixture.open();
    let interval = Duration::from_secs(10);
    let syncs = || reader.shared.durability.syncs();
    let opened = Instant::now();
    append(&mut writer, record());
    reader.flush_if_due(opened + interval / 2, interval).unwrap();
    assert_eq!(syncs(), 0);
    reader.flush_if_due(opened + 2 * interval, interval).unwrap();
    assert_eq!(syncs(), 1);
    reader.flush_if_due(opened + 9 * interval, interval).unwrap();
    assert_eq!(syncs(), 1, "nothing new");
    append(&mut writer, record());
    reader.flush_if_due(opened + 9 * interval, interval).unwrap();
    assert_eq!((syncs(), reader.recovery_point()), (2, Offset(0)));
}

#[tokio::test]
async fn a_sealed_segment_is_flushed_soon_after_the_roll() {
    let fixture = Fixture::new(200);
    let (mut writer, reader) = fixture.open();
    // Two of them fill a segment.
    for _ in 0..7 {
        append(&mut writer, record());
    }
    let is_flushed = async {
        while reader.recovery_point() < Offset(6) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_flushed).await.expect("nobody flushes it");
}

/// A log whose files are preallocated, with `appends` records of 78 bytes.
fn preallocated(segment_bytes: u32, appends: usize) -> (Fixture, LogWriter, LogReader) {
    let mut fixture = Fixture::new(segment_bytes);
    fixture.options.config.preallocate = true;
    let (mut writer, reader) = fixture.open();
    for _ in 0..appends {
        append(&mut writer, record());
    }
    (fixture, writer, reader)
}

fn lengths(fixture: &Fixture) -> Vec<u64> {
    fixture.files("log").iter().map(|path| path.metadata().unwrap().len()).collect()
}

#[test]
fn a_preallocated_segment_has_its_full_length_until_it_is_sealed_or_closed() {
    let (fixture, mut writer, reader) = preallocated(200, 5);
    let bytes = record().header.size() as u64;
    assert_eq!(lengths(&fixture), [2 * bytes, 2 * bytes, 200]);
    assert_eq!(reader.size_bytes(), 5 * bytes);
    assert_eq!(consume(&reader, Offset(0), UNLIMITED).len(), 5);
    writer.close().unwrap();
    assert_eq!(lengths(&fixture), [2 * bytes, 2 * bytes, bytes]);
    let (mut writer, reader) = fixture.open();
    assert_eq!(append(&mut writer, record()).base_offset, Offset(5));
    assert_eq!(consume(&reader, Offset(0), UNLIMITED).len(), 6);
}

#[test]
fn a_preallocated_segment_that_takes_the_place_of_an_expired_one_is_cut_to_its_length_too() {
    let (fixture, mut writer, reader) = preallocated(200, 1);
    let config = TopicConfig { retention: Some(Duration::ZERO), ..writer.options.config.clone() };
    let expire = |writer: &mut LogWriter| {
        let expired = reader.expired(&config, reader.end_offset(), Timestamp(NOW.0 + 1)).unwrap();
        writer.expire(expired.unwrap(), NOW).unwrap();
    };
    // Settled at its end, before and after the roll; and rolled in the middle of it.
    for is_rolled_under_it in [false, true] {
        append(&mut writer, record());
        writer.settle().unwrap();
        let end = writer.settle().unwrap().unwrap();
        reader.flush().unwrap();
        if is_rolled_under_it {
            expire(&mut writer);
            writer.settled(end);
        } else {
            writer.settled(end);
            expire(&mut writer);
        }
        assert_eq!(lengths(&fixture).last(), Some(&200));
        writer.settle().unwrap();
        assert_eq!(writer.settle().unwrap(), Some(end));
        writer.settled(end);
        assert_eq!(lengths(&fixture).last(), Some(&0));
    }
    writer.close().unwrap();
}

#[test]
fn a_crash_leaves_zeros_behind_a_preallocated_log_that_are_no_damage() {
    for appends in 1..=7 {
        let (fixture, writer, _) = preallocated(1 << 20, appends);
        drop(writer);
        let (mut writer, reader) = fixture.open_unclean().unwrap();
        assert_eq!(consume(&reader, Offset(0), UNLIMITED).len(), appends);
        assert_eq!(lengths(&fixture), [appends as u64 * record().header.size() as u64]);
        assert_eq!(append(&mut writer, record()).base_offset, Offset(appends as i64));
    }
}

#[test]
fn a_crash_between_roll_and_trim_and_one_before_the_first_batch_lose_nothing() {
    let (fixture, writer, _) = preallocated(200, 4);
    drop(writer);
    let logs = fixture.files("log");
    // The older one untrimmed; and a newer one that is empty.
    File::options().write(true).open(&logs[0]).unwrap().set_len(200).unwrap();
    let empty = logs[1].with_file_name("00000000000000000004.log");
    File::create(&empty).unwrap().set_len(200).unwrap();
    let (mut writer, reader) = fixture.open_unclean().unwrap();
    assert!(!empty.exists());
    assert_eq!(consume(&reader, Offset(0), UNLIMITED).len(), 4);
    assert_eq!(append(&mut writer, record()).base_offset, Offset(4));
}
