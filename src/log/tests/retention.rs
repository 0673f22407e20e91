use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;
use crate::log::retention::may_be_due;
use crate::types::{ProducerEpoch, ProducerId};

const HOUR_MS: i64 = 3_600_000;
const NO_DELAY: Duration = Duration::ZERO;

/// A batch to a segment, `timestamps` in order; `retention.ms` is an hour, and nothing is kept for its size.
fn one_a_segment(timestamps: &[i64]) -> (Fixture, LogWriter, LogReader) {
    let mut fixture = Fixture::new(150);
    fixture.options.config.retention = Some(Duration::from_millis(HOUR_MS as u64));
    fixture.options.config.file_delete_delay = NO_DELAY;
    let (mut writer, reader) = fixture.open();
    for timestamp in timestamps {
        append(&mut writer, batch(1, *timestamp, 40));
    }
    assert_eq!(fixture.files("log").len(), timestamps.len());
    (fixture, writer, reader)
}

fn at(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

/// A round as retention makes it, the checkpoint of the log start apart.
fn round(writer: &mut LogWriter, reader: &LogReader, now: Timestamp) -> Offset {
    let config = writer.options.config.clone();
    if let Some(expired) = reader.expired(&config, reader.end_offset(), now).unwrap() {
        let start = writer.expire(expired, now).unwrap();
        while writer.remove_before(start, Instant::now()).unwrap() {}
    }
    reader.start_offset()
}

#[test]
fn a_segment_goes_when_its_largest_timestamp_is_older_than_retention_ms_and_those_before_it_are_gone() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0 + 5, NOW.0, NOW.0 + 90, NOW.0 + 20, NOW.0 + 100]);
    let mut start_at = |ms| round(&mut writer, &reader, at(HOUR_MS + ms)).0;
    assert_eq!([start_at(0), start_at(5), start_at(6)], [0, 0, 2]);
    assert_eq!([start_at(90), start_at(91)], [2, 4]);
    assert_eq!(fixture.files("log").len(), 1);
    assert_eq!(consume(&reader, Offset(4), UNLIMITED).len(), 1);
}

#[test]
fn the_active_segment_is_rolled_when_it_has_expired_and_an_empty_one_stays() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0, NOW.0]);
    let later = at(HOUR_MS + 1);
    assert_eq!(round(&mut writer, &reader, later), Offset(2));
    assert_eq!((reader.offsets(), reader.size_bytes()), ((Offset(2), Offset(2), Offset(2)), 0));
    let logs = fixture.files("log");
    assert_eq!(logs, [fixture.options.dir.join("00000000000000000002.log")]);
    assert_eq!(round(&mut writer, &reader, at(99 * HOUR_MS)), Offset(2));
    assert_eq!(fixture.files("log"), logs);
    assert_eq!(append(&mut writer, batch(1, later.0, 10)).base_offset, Offset(2));
    assert_eq!(consume(&reader, Offset(2), UNLIMITED).len(), 1);
}

#[test]
fn an_append_behind_the_decision_keeps_the_active_segment() {
    let (_fixture, mut writer, reader) = one_a_segment(&[NOW.0, NOW.0]);
    let expired = reader.expired(&writer.options.config, Offset(2), at(HOUR_MS + 1)).unwrap().unwrap();
    writer.options.config.segment_bytes = 1000;
    append(&mut writer, batch(1, at(HOUR_MS).0, 10));
    assert_eq!(writer.expire(expired, at(HOUR_MS + 1)).unwrap(), Offset(1));

    // One that rolls takes nothing from it.
    let (_fixture, mut writer, reader) = one_a_segment(&[NOW.0, NOW.0]);
    let expired = reader.expired(&writer.options.config, Offset(2), at(HOUR_MS + 1)).unwrap().unwrap();
    append(&mut writer, batch(1, at(HOUR_MS).0, 40));
    assert_eq!(writer.expire(expired, at(HOUR_MS + 1)).unwrap(), Offset(2));
}

#[test]
fn a_timestamp_of_the_future_keeps_its_segment_and_those_behind_it() {
    let (_fixture, mut writer, reader) = one_a_segment(&[NOW.0, at(9 * HOUR_MS).0, NOW.0, NOW.0]);
    assert_eq!(round(&mut writer, &reader, at(2 * HOUR_MS)), Offset(1));
    assert_eq!(round(&mut writer, &reader, at(10 * HOUR_MS + 1)), Offset(4));
}

#[test]
fn where_no_record_has_a_timestamp_the_files_age_counts() {
    let (fixture, mut writer, reader) = one_a_segment(&[-1, -1, -1]);
    for (index, path) in fixture.files("log").iter().enumerate() {
        let modified = std::time::UNIX_EPOCH + Duration::from_millis((NOW.0 + index as i64 * 10) as u64);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    }
    let mut start_at = |ms| round(&mut writer, &reader, at(HOUR_MS + ms)).0;
    assert_eq!([start_at(0), start_at(1), start_at(10), start_at(11), start_at(21)], [0, 1, 1, 2, 3]);
}

#[test]
fn a_segment_goes_for_its_size_if_the_rest_still_has_retention_bytes() {
    let bytes = batch(1, NOW.0, 40).header.size() as u64;
    for (limit, start) in [(3 * bytes + 1, 0), (3 * bytes, 1), (2 * bytes + 1, 1), (bytes, 3), (1, 3), (0, 4)] {
        let (_fixture, mut writer, reader) = one_a_segment(&[NOW.0; 4]);
        writer.options.config.retention_bytes = Some(limit);
        assert_eq!(round(&mut writer, &reader, NOW), Offset(start), "limit {limit}");
        assert_eq!(reader.size_bytes(), (4 - start as u64) * bytes);
    }
}

#[test]
fn what_lies_below_the_log_start_does_not_count_for_the_size() {
    let bytes = batch(1, NOW.0, 40).header.size() as u64;
    let (_fixture, mut writer, reader) = one_a_segment(&[NOW.0; 4]);
    writer.options.config.retention_bytes = Some(2 * bytes);
    writer.advance_start(Offset(2)).unwrap();
    assert_eq!(round(&mut writer, &reader, NOW), Offset(2));
}

#[test]
fn nothing_at_or_above_the_high_watermark_goes() {
    let (_fixture, writer, reader) = one_a_segment(&[NOW.0; 4]);
    let mut by_size = writer.options.config.clone();
    by_size.retention_bytes = Some(0);
    for config in [&writer.options.config, &by_size] {
        let start = |high_watermark| {
            let mut expired = reader.expired(config, Offset(high_watermark), at(HOUR_MS + 1)).unwrap();
            expired.take().map(|expired| expired.start)
        };
        assert_eq!([start(0), start(1), start(4)], [None, Some(Offset(1)), Some(Offset(4))]);
    }
}

#[test]
fn a_log_that_is_only_compacted_loses_what_lies_below_its_start_and_no_more() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0; 4]);
    writer.options.config.retention_bytes = Some(0);
    (writer.options.config.compact, writer.options.config.delete) = (true, false);
    assert_eq!(round(&mut writer, &reader, at(9 * HOUR_MS)), Offset(0));
    writer.advance_start(Offset(2)).unwrap();
    assert_eq!(round(&mut writer, &reader, at(9 * HOUR_MS)), Offset(2));
    assert_eq!(fixture.files("log").len(), 2);
    // The last one stays though all of it lies below.
    writer.advance_start(Offset(4)).unwrap();
    assert_eq!(round(&mut writer, &reader, at(9 * HOUR_MS)), Offset(4));
    assert_eq!(fixture.files("log").len(), 1);
}

#[test]
fn the_log_start_moves_up_only_and_not_behind_the_end() {
    let (_fixture, mut writer, reader) = one_a_segment(&[NOW.0; 4]);
    assert_eq!(writer.advance_start(Offset(3)).unwrap(), Offset(3));
    assert_eq!(writer.advance_start(Offset(1)).unwrap(), Offset(3));
    assert!(matches!(writer.advance_start(Offset(5)), Err(LogError::OffsetOutOfRange { .. })));
    let read = |offset| reader.read(Offset(offset), UNLIMITED, false);
    assert!(matches!(read(2), Err(LogError::OffsetOutOfRange { start: Offset(3), .. })));
    assert!(read(3).unwrap().slice.is_some());
}

#[test]
fn files_wait_for_their_delay_and_whoever_holds_a_slice_reads_it_to_the_end() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0; 3]);
    writer.options.config.file_delete_delay = Duration::from_secs(60);
    let slice = reader.read(Offset(0), UNLIMITED, false).unwrap().slice.unwrap();
    round(&mut writer, &reader, at(HOUR_MS + 1));
    // Each of them had a log, two indexes, and all but the first a snapshot.
    assert_eq!(fixture.files("deleted").len(), 3 * 3 + 2);
    assert_eq!(fixture.files("snapshot"), [fixture.options.dir.join("00000000000000000003.snapshot")]);
    let removals = &fixture.options.context.removals;
    removals.run(Instant::now());
    assert_eq!(fixture.files("deleted").len(), 3 * 3 + 2);
    removals.run(Instant::now() + Duration::from_secs(61));
    assert!(fixture.files("deleted").is_empty());
    assert_eq!(batches(&slice)[0].header.base_offset, Offset(0));
}

#[test]
fn leader_epochs_below_the_start_go() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0]);
    writer.append(&mut [batch(1, NOW.0, 40)], LeaderEpoch(3), NOW).unwrap();
    writer.append(&mut [batch(1, at(HOUR_MS).0, 40)], LeaderEpoch(3), NOW).unwrap();
    round(&mut writer, &reader, at(HOUR_MS + 1));
    assert_eq!(reader.end_of_epoch(LeaderEpoch(0)), Some((LeaderEpoch(0), Offset(2))));
    let checkpoint = std::fs::read_to_string(fixture.options.dir.join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(checkpoint, "0\n1\n3 2\n");
}

fn transactional(producer: i64, sequence: i32) -> Batch {
    let builder = BatchBuilder::new(NOW).producer(ProducerId(producer), ProducerEpoch(0), sequence);
    builder.transactional().record(None, Some(&[0; 40])).build().unwrap()
}

#[test]
fn producers_stay_known_and_a_transaction_begun_below_the_start_holds_readers_there() {
    let (mut fixture, mut writer, reader) = one_a_segment(&[NOW.0]);
    fixture.options.producer_id_expiration = Duration::MAX;
    append(&mut writer, transactional(7, 0));
    append(&mut writer, transactional(7, 1));
    assert_eq!(writer.advance_start(Offset(2)).unwrap(), Offset(2));
    assert_eq!(round(&mut writer, &reader, NOW), Offset(2));
    assert_eq!(reader.offsets(), (Offset(2), Offset(2), Offset(3)));
    append(&mut writer, transactional(7, 2));
    assert_eq!(reader.offsets(), (Offset(2), Offset(2), Offset(4)));
    assert!(append(&mut writer, transactional(7, 2)).duplicate);
    fixture.options.log_start_offset = Offset(2);
    for (mut writer, reader) in [fixture.open_unclean().unwrap(), fixture.open()] {
        assert_eq!(reader.offsets(), (Offset(2), Offset(2), Offset(4)));
        assert!(append(&mut writer, transactional(7, 2)).duplicate);
    }
}

#[test]
fn a_log_that_is_closed_or_retired_is_left_alone() {
    for end in [|writer: &mut LogWriter| drop(writer.close()), LogWriter::retire] {
        let (fixture, mut writer, reader) = one_a_segment(&[NOW.0; 3]);
        let expired = reader.expired(&writer.options.config, Offset(3), at(HOUR_MS + 1)).unwrap().unwrap();
        end(&mut writer);
        assert!(matches!(writer.expire(expired, NOW), Err(LogError::Closed | LogError::Retired)));
        assert!(matches!(writer.remove_before(Offset(2), Instant::now()), Err(LogError::Closed | LogError::Retired)));
        assert_eq!((reader.start_offset(), fixture.files("log").len()), (Offset(0), 3));
    }
}

/// The log as a crash leaves it, opened as after one. Twice: what the first start does must be right for the second.
fn survivors(fixture: &Fixture, start: i64) -> Vec<i64> {
    let options = OpenOptions { log_start_offset: Offset(start), ..fixture.options.clone() };
    let mut seen = Vec::new();
    for clean in [false, true] {
        let (mut writer, reader) = open(OpenOptions { clean, ..options.clone() }).unwrap();
        assert_eq!((reader.start_offset(), reader.end_offset()), (Offset(start), Offset(4)));
        assert_eq!(reader.latest_epoch(), Some(EPOCH));
        seen = consume(&reader, Offset(start), UNLIMITED).iter().map(|record| record.offset).collect();
        assert_eq!(round(&mut writer, &reader, NOW), Offset(start), "what is left below goes with the next round");
        assert_eq!(reader.start_offset(), Offset(start));
        writer.close().unwrap();
    }
    seen
}

#[test]
fn a_crash_before_the_checkpoint_brings_the_records_back() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0; 4]);
    let expired = reader.expired(&writer.options.config, Offset(4), at(HOUR_MS + 1)).unwrap().unwrap();
    assert_eq!(writer.expire(expired, at(HOUR_MS + 1)).unwrap(), Offset(4));
    assert_eq!(survivors(&fixture, 0), [0, 1, 2, 3]);
}

#[test]
fn a_crash_between_the_checkpoint_and_the_files_keeps_the_new_log_start() {
    let (fixture, mut writer, _) = one_a_segment(&[NOW.0; 4]);
    writer.advance_start(Offset(2)).unwrap();
    assert_eq!(survivors(&fixture, 2), [2, 3]);
    assert_eq!(fixture.files("log").len(), 2);
}

#[test]
fn a_crash_among_the_files_leaves_nothing_behind_of_what_was_removed() {
    let kinds = ["log", "index", "timeindex"];
    // Every part of the three files of the first two segments, in any order.
    for mask in 0_u32..1 << 6 {
        let (fixture, mut writer, _) = one_a_segment(&[NOW.0; 4]);
        writer.advance_start(Offset(2)).unwrap();
        let file = |segment: u32, kind| fixture.options.dir.join(format!("{segment:020}.{kind}"));
        let files = (0..2).flat_map(|segment| kinds.map(|kind| file(segment, kind)));
        for (_, file) in files.enumerate().filter(|(index, _)| mask & (1 << index) != 0) {
            std::fs::rename(&file, file.with_added_extension("deleted")).unwrap();
        }
        drop(writer);
        assert_eq!(survivors(&fixture, 2), [2, 3], "mask {mask:#b}");
        for extension in kinds {
            assert_eq!(fixture.files(extension).len(), 2, "mask {mask:#b}: .{extension}");
        }
    }
}

#[test]
fn a_crash_after_everything_expired_goes_on_at_the_same_offset_even_without_the_checkpoint() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0; 4]);
    assert_eq!(round(&mut writer, &reader, at(HOUR_MS + 1)), Offset(4));
    for start in [4, 0] {
        let options = OpenOptions { log_start_offset: Offset(start), ..fixture.options.clone() };
        for clean in [false, true] {
            let (_, reader) = open(OpenOptions { clean, ..options.clone() }).unwrap();
            assert_eq!((reader.start_offset(), reader.end_offset()), (Offset(4), Offset(4)));
        }
    }
}

#[test]
fn a_flush_that_meets_removed_segments_is_no_failed_one() {
    let (_fixture, mut writer, reader) = one_a_segment(&[NOW.0; 4]);
    let older = reader.shared.view();
    writer.advance_start(Offset(3)).unwrap();
    while writer.remove_before(Offset(3), Instant::now()).unwrap() {}
    older.segments.iter_from(0).take(3).for_each(|segment| assert!(matches!(segment.sync_log(), Err(LogError::Gone))));
    reader.shared.flush_sealed().unwrap();
    assert_eq!(reader.recovery_point(), Offset(3));
    writer.close().unwrap();
}

#[test]
fn more_segments_than_go_at_once_go_in_turns() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0; 40]);
    writer.advance_start(Offset(39)).unwrap();
    assert!(writer.remove_before(Offset(39), Instant::now()).unwrap());
    assert_eq!(fixture.files("log").len(), 24);
    assert_eq!(round(&mut writer, &reader, NOW), Offset(39));
    assert_eq!(fixture.files("log").len(), 1);
}

#[test]
fn a_folder_tells_whether_it_is_worth_opening() {
    let (fixture, mut writer, _) = one_a_segment(&[NOW.0, NOW.0 + 10, NOW.0 + 20]);
    let bytes = batch(1, NOW.0, 40).header.size() as u64;
    writer.close().unwrap();
    let due =
        |start, ms, config: &TopicConfig| may_be_due(&fixture.options.dir, Offset(start), config, at(ms)).unwrap();
    let config = &fixture.options.config;
    assert!(!due(0, HOUR_MS, config));
    assert!(due(0, HOUR_MS + 1, config), "by the time index, though the file is younger");
    assert!(due(1, 0, config) && !due(0, 0, config), "by the log start");
    let forever = TopicConfig { retention: None, ..config.clone() };
    assert!(!due(0, i64::MAX / 2, &forever));
    let sized = |bytes| TopicConfig { retention_bytes: Some(bytes), ..forever.clone() };
    assert!(due(0, 0, &sized(2 * bytes)) && !due(0, 0, &sized(2 * bytes + 1)));
    let compacted = TopicConfig { delete: false, compact: true, ..sized(0) };
    assert!(due(1, HOUR_MS + 1, &compacted) && !due(0, HOUR_MS + 1, &compacted));
    // An index that tells of the future is not believed for longer than the file is young.
    let index = &fixture.files("timeindex")[0];
    std::fs::write(index, [&i64::MAX.to_be_bytes()[..], &[0; 4]].concat()).unwrap();
    let written_ms = Timestamp::now().0 - NOW.0;
    assert!(!due(0, written_ms, config) && due(0, written_ms + HOUR_MS + 60_000, config));
}

#[test]
fn an_empty_folder_or_none_is_not_worth_opening() {
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0]);
    round(&mut writer, &reader, at(HOUR_MS + 1));
    writer.close().unwrap();
    let config = TopicConfig { retention_bytes: Some(0), ..fixture.options.config.clone() };
    let set_aside = fixture.files("deleted");
    assert!(may_be_due(&fixture.options.dir, Offset(0), &config, NOW).unwrap(), "opening removes what was set aside");
    set_aside.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    for dir in [&fixture.options.dir, &fixture.root.path().join("none")] {
        assert!(!may_be_due(dir, Offset(0), &config, Timestamp(i64::MAX)).unwrap());
    }
}

#[test]
fn readers_beside_retention_see_whole_batches_in_order_or_are_told_that_they_are_too_late() {
    const APPENDS: i64 = 1000;
    let (fixture, mut writer, reader) = one_a_segment(&[NOW.0]);
    writer.options.config.retention_bytes = Some(400);
    let is_done = AtomicBool::new(false);
    let is_done = &is_done;
    let late = std::thread::scope(|scope| {
        let followers = [1, u32::MAX].map(|bytes_max| {
            let reader = reader.clone();
            scope.spawn(move || follow(&reader, bytes_max, is_done))
        });
        let (housekeeper, newest) = (reader.clone(), reader.clone());
        scope.spawn(move || {
            while !is_done.load(Ordering::Acquire) {
                housekeeper.flush_sealed().unwrap();
                housekeeper.shared.context.open_files.close_idle();
            }
        });
        scope.spawn(move || {
            while !is_done.load(Ordering::Acquire) {
                newest.offset_of_max_timestamp().unwrap();
                newest.offset_for_timestamp(NOW).unwrap();
            }
        });
        for index in 1..APPENDS {
            append(&mut writer, batch(1, NOW.0 + index, 40));
            if index % 5 == 0 {
                round(&mut writer, &reader, NOW);
                fixture.options.context.removals.run(Instant::now());
            }
        }
        is_done.store(true, Ordering::Release);
        followers.into_iter().map(|follower| follower.join().unwrap()).sum::<usize>()
    });
    assert!(late > 0, "no reader ever met retention");
    assert_eq!(reader.end_offset(), Offset(APPENDS));
}

/// Consumes to the end, ever again from the start of the log; how often it was told that it is too late.
fn follow(reader: &LogReader, bytes_max: u32, is_done: &AtomicBool) -> usize {
    let (mut offset, mut late) = (Offset(0), 0);
    loop {
        let was_done = is_done.load(Ordering::Acquire);
        let upper = reader.end_offset();
        match reader.read(offset, ReadLimit { upper, bytes_max, at_least_one_batch: true }, true) {
            Ok(read) => {
                for batch in read.slice.iter().flat_map(batches) {
                    assert_eq!(batch.header.base_offset, offset);
                    offset = batch.header.next_offset();
                }
                match offset == upper {
                    true if was_done => return late,
                    true => offset = reader.start_offset(),
                    false => {}
                }
            }
            Err(LogError::OffsetOutOfRange { start, .. }) => {
                assert!(offset < start);
                (offset, late) = (start, late + 1);
            }
            Err(error) => panic!("{error}"),
        }
    }
}
