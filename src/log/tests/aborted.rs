use super::*;
use crate::log::AbortedTxn;
use crate::protocol::records::EndTxnMarker;
use crate::types::{ProducerEpoch, ProducerId};

fn transactional(producer: i64, sequence: i32) -> Batch {
    BatchBuilder::new(NOW)
        .producer(ProducerId(producer), ProducerEpoch(0), sequence)
        .transactional()
        .record(None, Some(b"a"))
        .build()
        .unwrap()
}

fn marker(producer: i64, committed: bool) -> Batch {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    BatchBuilder::end_txn_marker(NOW, ProducerId(producer), ProducerEpoch(0), marker).build().unwrap()
}

fn aborted(reader: &LogReader, from: i64, bytes_max: u32) -> Vec<(i64, i64)> {
    let limit = ReadLimit { bytes_max, ..UNLIMITED };
    let found = reader.read(Offset(from), limit, true).unwrap().aborted;
    found.iter().map(|AbortedTxn { producer_id, first_offset }| (producer_id.0, first_offset.0)).collect()
}

#[test]
fn the_last_stable_offset_waits_for_the_earliest_open_transaction() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, batch(1, NOW.0, 10));
    append(&mut writer, transactional(1, 0));
    append(&mut writer, transactional(2, 0));
    assert_eq!(reader.last_stable_offset(), Offset(1));
    assert_eq!(fixture.open_unclean().unwrap().1.last_stable_offset(), Offset(1));
    append(&mut writer, marker(1, true));
    assert_eq!(reader.last_stable_offset(), Offset(2));
    append(&mut writer, marker(2, false));
    assert_eq!(reader.last_stable_offset(), Offset(5));
    writer.close().unwrap();
    assert_eq!(fixture.open().1.last_stable_offset(), Offset(5));
}

#[test]
fn a_transaction_that_damage_moves_behind_the_end_does_not_take_the_last_stable_offset_there() {
    let fixture = Fixture::new(200);
    let (mut writer, _) = fixture.open();
    append(&mut writer, transactional(1, 0));
    append(&mut writer, batch(1, NOW.0, 100));
    append(&mut writer, batch(1, NOW.0, 100));
    writer.close().unwrap();
    for snapshot in fixture.files("snapshot") {
        std::fs::remove_file(snapshot).unwrap();
    }
    // The CRC does not cover the base offset.
    let first = &fixture.files("log")[0];
    let mut bytes = std::fs::read(first).unwrap();
    bytes[1] = 0x10;
    std::fs::write(first, bytes).unwrap();
    let (mut writer, reader) = fixture.open();
    assert_eq!((reader.last_stable_offset(), reader.end_offset()), (Offset(3), Offset(3)));
    append(&mut writer, batch(1, NOW.0, 100));
    assert_eq!((reader.last_stable_offset(), reader.end_offset()), (Offset(4), Offset(4)));
}

#[test]
fn a_read_names_the_aborted_transactions_that_it_overlaps_across_segments() {
    // One batch to a segment: a transaction's marker lies in a later one than its records.
    let fixture = Fixture::new(150);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, transactional(1, 0)); // 0
    append(&mut writer, transactional(2, 0)); // 1
    append(&mut writer, marker(1, false)); // 2
    append(&mut writer, transactional(1, 1)); // 3
    append(&mut writer, marker(2, true)); // 4
    append(&mut writer, marker(1, false)); // 5
    append(&mut writer, batch(1, NOW.0, 10)); // 6
    assert_eq!(fixture.files("txnindex").len(), 2, "only segments with an abort have an index");
    let check = |reader: &LogReader| {
        let expected = [(0, vec![(1, 0)]), (1, vec![(1, 0)]), (2, vec![(1, 0)]), (3, vec![(1, 3)]), (6, vec![])];
        for (from, found) in expected {
            assert_eq!(aborted(reader, from, 1), found, "from {from}");
        }
        assert!(reader.read(Offset(0), UNLIMITED, false).unwrap().aborted.is_empty(), "not asked for");
    };
    check(&reader);
    let before: Vec<_> = fixture.files("txnindex").iter().map(|path| std::fs::read(path).unwrap()).collect();
    for path in fixture.files("txnindex") {
        std::fs::write(path, "garbage").unwrap();
    }
    check(&fixture.open_unclean().unwrap().1);
    let after: Vec<_> = fixture.files("txnindex").iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(after, before);
}

#[test]
fn a_failed_marker_changes_neither_the_producers_nor_the_index() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, transactional(1, 0));
    // Where the index should be made there is no room.
    let index = fixture.files("log")[0].with_extension("txnindex");
    std::os::unix::fs::symlink("/dev/full", &index).unwrap();
    assert!(writer.append(&mut [marker(1, false)], EPOCH, NOW).is_err());
    assert_eq!((reader.end_offset(), reader.last_stable_offset()), (Offset(1), Offset(0)));
    std::fs::remove_file(&index).unwrap();
    append(&mut writer, marker(1, false));
    assert_eq!(aborted(&reader, 0, u32::MAX), [(1, 0)]);
    assert_eq!(reader.last_stable_offset(), Offset(2));
}
