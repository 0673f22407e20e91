//! After an unclean stop only what lies behind the recovery point is read.

use std::sync::atomic::Ordering;

use super::*;
use crate::log::producer_snapshot;
use crate::protocol::records::EndTxnMarker;
use crate::types::{ProducerEpoch, ProducerId};

/// In the order of their ids.
fn snapshot(writer: &LogWriter) -> Vec<u8> {
    let mut entries: Vec<_> = writer.producers.entries().into_iter().collect();
    entries.sort_by_key(|(id, _)| *id);
    producer_snapshot::encode(entries)
}

fn bytes_read(fixture: &Fixture) -> u64 {
    fixture.options.context.recovery_bytes.swap(0, Ordering::Relaxed)
}

/// Twenty batches, of which the first twelve are settled and flushed.
fn half_flushed(fixture: &mut Fixture) -> Vec<Seen> {
    let (mut writer, reader) = fixture.open();
    let mut model = Vec::new();
    for index in 0..20 {
        if index == 12 {
            assert_eq!(writer.settle().unwrap(), None, "appended to since the last time");
            let end = writer.settle().unwrap().unwrap();
            reader.flush().unwrap();
            writer.settled(end);
            assert_eq!(writer.settle().unwrap(), None, "nothing is left to be done");
            fixture.options.recovery_point = reader.recovery_point();
        }
        let batch = batch(2, NOW.0 + index * 10, 40);
        model.extend(expected(&batch, model.len() as i64));
        append(&mut writer, batch);
    }
    assert_eq!(fixture.options.recovery_point, Offset(24));
    model
}

#[test]
fn recovery_reads_from_the_recovery_point_on_and_the_log_is_as_it_was() {
    let mut fixture = Fixture::new(100_000);
    let model = half_flushed(&mut fixture);
    let size = fixture.files("log")[0].metadata().unwrap().len();
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(bytes_read(&fixture), size / 20 * 8);
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model);
    let indexes = || ["index", "timeindex"].map(|kind| std::fs::read(&fixture.files(kind)[0]).unwrap());
    let resumed = indexes();
    fixture.options.recovery_point = Offset(0);
    fixture.open_unclean().unwrap();
    assert_eq!(bytes_read(&fixture), size);
    assert_eq!(resumed[0], ["index", "timeindex"].map(|kind| std::fs::read(&fixture.files(kind)[0]).unwrap())[0]);
    for record in &model {
        let found = reader.offset_for_timestamp(Timestamp(record.timestamp)).unwrap().unwrap();
        assert_eq!((found.offset.0, found.timestamp.0), (record.offset, record.timestamp));
    }
}

#[test]
fn damage_before_the_recovery_point_is_left_for_a_read_to_name() {
    let mut fixture = Fixture::new(100_000);
    half_flushed(&mut fixture);
    let log = fixture.files("log").remove(0);
    let mut bytes = std::fs::read(&log).unwrap();
    let batch_bytes = bytes.len() / 20;
    // The magic of the fourth batch.
    bytes[3 * batch_bytes + 16] = 9;
    std::fs::write(&log, bytes).unwrap();
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(reader.end_offset(), Offset(40));
    let error = reader.read(Offset(6), UNLIMITED, false).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { position, .. } if *position == 3 * batch_bytes as u64), "{error}");
}

#[test]
fn index_entries_that_were_not_flushed_may_be_anything() {
    for garbage in [[0_u8; 240], [0xff; 240], [0x11; 240]] {
        let mut fixture = Fixture::new(100_000);
        let model = half_flushed(&mut fixture);
        for path in ["index", "timeindex"].iter().flat_map(|kind| fixture.files(kind)) {
            let flushed = std::fs::read(&path).unwrap();
            std::fs::write(&path, [&flushed[..], &garbage[..]].concat()).unwrap();
        }
        let (_, reader) = fixture.open_unclean().unwrap();
        assert!(bytes_read(&fixture) < reader.size_bytes() / 2);
        for record in &model {
            assert_eq!(consume(&reader, Offset(record.offset), UNLIMITED), model[record.offset as usize..]);
            let found = reader.offset_for_timestamp(Timestamp(record.timestamp)).unwrap().unwrap();
            assert_eq!(found.offset.0, record.offset);
        }
    }
}

#[test]
fn where_anything_is_odd_the_whole_segment_is_read() {
    type Oddity = fn(&Fixture);
    let no_index: Oddity = |fixture| std::fs::remove_file(&fixture.files("index")[0]).unwrap();
    let no_times: Oddity = |fixture| std::fs::remove_file(&fixture.files("timeindex")[0]).unwrap();
    let wrong_place: Oddity = |fixture| {
        let path = &fixture.files("index")[0];
        let mut bytes = std::fs::read(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    for make_odd in [no_index, no_times, wrong_place] {
        let mut fixture = Fixture::new(100_000);
        let model = half_flushed(&mut fixture);
        make_odd(&fixture);
        let (_, reader) = fixture.open_unclean().unwrap();
        assert_eq!(bytes_read(&fixture), reader.size_bytes());
        assert_eq!(consume(&reader, Offset(0), UNLIMITED), model);
    }
    // Within a batch: nothing was ever flushed up to there.
    let mut fixture = Fixture::new(100_000);
    half_flushed(&mut fixture);
    fixture.options.recovery_point = Offset(23);
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(bytes_read(&fixture), reader.size_bytes());
}

#[test]
fn producers_and_aborted_transactions_are_as_after_reading_everything() {
    let mut fixture = Fixture::new(100_000);
    fixture.options.producer_id_expiration = Duration::MAX;
    let (mut writer, reader) = fixture.open();
    let in_txn = |id: i64, sequence: i32| {
        BatchBuilder::new(NOW)
            .producer(ProducerId(id), ProducerEpoch(0), sequence)
            .transactional()
            .record(None, Some(b"v"))
            .build()
            .unwrap()
    };
    let abort = |id: i64| {
        let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
        BatchBuilder::end_txn_marker(NOW, ProducerId(id), ProducerEpoch(0), marker).build().unwrap()
    };
    append(&mut writer, in_txn(1, 0));
    append(&mut writer, abort(1));
    append(&mut writer, in_txn(2, 0));
    writer.settle().unwrap();
    writer.settle().unwrap().unwrap();
    reader.flush().unwrap();
    fixture.options.recovery_point = reader.recovery_point();
    append(&mut writer, in_txn(1, 1));
    append(&mut writer, abort(2));
    append(&mut writer, in_txn(3, 0));
    let (producers, stable) = (snapshot(&writer), reader.last_stable_offset());
    let aborted = reader.read(Offset(0), UNLIMITED, true).unwrap().aborted;
    assert_eq!(aborted.len(), 2);
    drop(writer);

    let (writer, reader) = fixture.open_unclean().unwrap();
    assert!(bytes_read(&fixture) < reader.size_bytes());
    assert_eq!(reader.last_stable_offset(), stable);
    assert_eq!(reader.read(Offset(0), UNLIMITED, true).unwrap().aborted, aborted);
    assert_eq!(snapshot(&writer), producers);
}

#[test]
fn snapshots_of_idle_times_do_not_pile_up() {
    let fixture = Fixture::new(100_000);
    let (mut writer, reader) = fixture.open();
    for index in 0..10 {
        append(&mut writer, batch(1, NOW.0 + index, 10));
        writer.settle().unwrap();
        let end = writer.settle().unwrap().unwrap();
        reader.flush().unwrap();
        writer.settled(end);
        assert_eq!(reader.recovery_point(), end);
    }
    let names: Vec<_> = fixture.files("snapshot").iter().map(|path| path.file_stem().unwrap().to_owned()).collect();
    assert_eq!(names, ["00000000000000000009", "00000000000000000010"]);
    // A settled log has nothing left to close.
    assert!(!writer.dirty);
}
