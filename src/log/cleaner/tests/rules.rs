//! Which records and batches stay.

use super::*;
use crate::protocol::compression::Codec;

#[test]
fn of_each_key_the_newest_record_stays_at_its_offset() {
    let mut log = Log::new();
    log.put(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]);
    log.roll();
    log.put(&[("b", Some("4")), ("c", Some("5"))]);
    let before = log.seen();
    log.roll_and_clean();
    let stays: Vec<_> = before.into_iter().filter(|seen| [2, 3, 4].contains(&seen.offset)).collect();
    assert_eq!(log.seen()[..3], stays[..]);
    assert_eq!(log.contents(), ["2 a=3", "3 b=4", "4 c=5", "5 active="]);
    assert_eq!(log.reader.end_offset(), Offset(6));
}

#[test]
fn records_of_the_clean_part_give_way_to_newer_ones_of_the_dirty_part() {
    let mut log = Log::new();
    log.put(&[("a", Some("1")), ("b", Some("2"))]);
    log.roll_and_clean();
    log.put(&[("a", Some("3"))]);
    log.roll_and_clean();
    assert_eq!(log.contents(), ["1 b=2", "2 active=", "3 a=3", "4 active="]);
    assert_eq!(log.cleaned_to, Some(Offset(4)));
}

#[test]
fn the_active_segment_is_not_touched() {
    let mut log = Log::new();
    log.put(&[("a", Some("1"))]);
    log.roll_and_clean();
    log.put(&[("a", Some("2")), ("a", Some("3"))]);
    assert_eq!(log.contents(), ["0 a=1", "1 active=", "2 a=2", "3 a=3"]);
}

#[test]
fn a_tombstone_stays_until_its_horizon_which_the_first_cleaning_sets() {
    let mut log = Log::new();
    log.put(&[("a", Some("1")), ("b", Some("2"))]);
    log.put(&[("a", None), ("c", Some("3"))]);
    let before = log.seen();
    log.roll_and_clean();
    assert_eq!(log.contents(), ["1 b=2", "2 a=-", "3 c=3", "4 active="]);
    let header = log.batches()[1].header;
    let horizon = Timestamp(log.now.0 + DELETE_RETENTION.as_millis() as i64);
    assert_eq!(header.delete_horizon(), Some(horizon));
    assert_eq!(log.seen()[1..3], before[2..4], "the records' timestamps are what they were");

    log.wait(DELETE_RETENTION - Duration::from_millis(2));
    log.roll_and_clean();
    assert_eq!(log.contents()[..3], ["1 b=2", "2 a=-", "3 c=3"]);
    assert_eq!(log.batches()[1].header.delete_horizon(), Some(horizon), "it is not put off");

    log.wait(Duration::from_millis(1));
    log.roll_and_clean();
    assert_eq!(log.contents()[..2], ["1 b=2", "3 c=3"]);
}

#[test]
fn a_tombstone_that_the_map_has_not_reached_gets_no_horizon_yet() {
    let mut log = Log::new();
    log.put(&[("a", Some("1"))]);
    log.put(&[("b", None)]);
    log.limits.keys_max = 1;
    log.roll_and_clean();
    assert_eq!(log.cleaned_to, Some(Offset(1)));
    assert_eq!(log.batches()[1].header.delete_horizon(), None);
    log.clean();
    assert!(log.batches()[1].header.delete_horizon().is_some());
}

#[test]
fn a_record_without_a_key_from_before_the_topic_was_compacted_goes() {
    let mut log = Log::new();
    let keyless = BatchBuilder::new(log.now).record(None, Some(b"1")).record(Some(b"a"), Some(b"2"));
    log.append(keyless.build().unwrap());
    log.roll_and_clean();
    assert_eq!(log.contents(), ["1 a=2", "2 active="]);
}

#[test]
fn what_the_map_has_not_reached_stays_whatever_it_is() {
    let mut log = Log::new();
    log.put(&[("a", Some("1"))]);
    log.append(BatchBuilder::new(log.now).record(Some(b"b"), Some(b"2")).record(None, Some(b"3")).build().unwrap());
    log.limits.keys_max = 1;
    log.roll_and_clean();
    assert_eq!((log.cleaned_to, log.seen().len()), (Some(Offset(1)), 4));
    log.clean();
    assert_eq!(log.contents(), ["0 a=1", "1 b=2", "3 active="]);
}

#[test]
fn a_batch_that_stays_whole_stays_byte_for_byte() {
    let mut log = Log::new();
    let batch = of(BatchBuilder::new(log.now), &[("a", Some("1")), ("b", Some("2"))]);
    log.append(batch.build_compressed(Codec::Gzip, Some(9)).unwrap().unwrap());
    log.put(&[("c", Some("3"))]);
    let before = log.batches();
    log.put(&[("c", Some("4"))]);
    log.roll_and_clean();
    assert_eq!(log.batches()[0].bytes, before[0].bytes);
}

#[test]
fn a_batch_in_part_keeps_its_codec_its_place_and_its_producer() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut log = Log::new();
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1")), (b"h", None), (b"\xff\xfe", Some(b"\xc3"))];
        let batch = BatchBuilder::new(log.now)
            .producer(ProducerId(7), EPOCH, 40)
            .record_at(Timestamp(START.0 - 100), Some(b"a"), Some(b"old"), &[])
            .record_at(Timestamp(START.0 - 900), Some(b"b"), Some(b"kept"), headers)
            .record_at(Timestamp(START.0 - 500), Some(b"a"), Some(b"old"), &[]);
        log.append(batch.build_compressed(codec, None).unwrap().unwrap());
        let (before, seen) = (log.batches()[0].header, log.seen());
        log.put(&[("a", Some("new"))]);
        log.roll_and_clean();

        let after = log.batches()[0].header;
        let expected = crate::protocol::batch::BatchHeader {
            max_timestamp: Timestamp(START.0 - 900),
            records_count: 1,
            batch_length: after.batch_length,
            crc: after.crc,
            ..before
        };
        assert_eq!(after, expected, "{}", codec.name());
        assert_eq!(log.seen()[0], seen[1], "{}", codec.name());
    }
}

#[test]
fn the_time_of_appending_stays_that_of_the_batch() {
    let mut log = Log::new();
    let mut batch = of(BatchBuilder::new(log.now), &[("a", Some("1")), ("b", None)]).build().unwrap();
    batch.header.attributes = batch.header.attributes.with_log_append_time();
    batch.header.max_timestamp = Timestamp(START.0 - 5000);
    batch.header.crc = batch.header.compute_crc(batch.records());
    log.append(batch);
    log.put(&[("a", Some("2"))]);
    log.roll_and_clean();
    assert_eq!(log.contents()[..2], ["1 b=-", "2 a=2"]);
    assert_eq!(log.seen()[0].timestamp, START.0 - 5000);
}

#[test]
fn a_producers_last_batch_stays_as_a_header_and_its_sequence_with_it() {
    let mut log = Log::new();
    let by_producer = |now, sequence, key| {
        of(BatchBuilder::new(now).producer(ProducerId(7), EPOCH, sequence), &[(key, Some("1")), (key, Some("2"))])
    };
    let batch = by_producer(log.now, 0, "a");
    let (base_offset, last_offset) = (Offset(0), Offset(1));
    log.append(batch.clone().build().unwrap());
    log.put(&[("a", Some("3"))]);
    log.roll_and_clean();
    let header = log.batches()[0].header;
    assert_eq!((header.records_count, header.base_offset, header.last_offset()), (0, base_offset, last_offset));
    for clean in [true, false] {
        log.reopen(clean);
        let appended = log.append(batch.clone().build().unwrap());
        assert!(appended.duplicate && appended.base_offset == base_offset && appended.last_offset == last_offset);
        assert!(log.try_append(by_producer(log.now, 5, "a").build().unwrap()).is_err(), "a gap in the sequence");
    }

    let next = by_producer(log.now, 2, "b").build().unwrap();
    log.append(next);
    log.roll_and_clean();
    assert_ne!(log.batches()[0].header.producer_id, ProducerId(7), "a newer batch carries the sequence");
}

#[test]
fn the_last_batch_of_a_segment_stays_as_a_header() {
    let mut log = Log::new();
    log.group_bytes = 1;
    log.put(&[("a", Some("1"))]);
    log.put(&[("a", Some("2"))]);
    log.roll();
    log.put(&[("a", Some("3"))]);
    let shape = |log: &Log| -> Vec<_> {
        log.batches()
            .iter()
            .map(|b| (b.header.base_offset.0, b.header.last_offset().0, b.header.records_count))
            .collect()
    };
    log.roll_and_clean();
    assert_eq!(shape(&log), [(1, 1, 0), (2, 2, 1), (3, 3, 1)]);
    // It goes when it is no longer the last one.
    log.group_bytes = 100_000;
    log.roll_and_clean();
    assert_eq!(shape(&log), [(2, 2, 1), (3, 3, 1), (4, 4, 1)]);
}

#[test]
fn a_batch_that_does_not_decode_stays_as_it_is_and_so_does_what_is_older() {
    let mut log = Log::new();
    log.put(&[("a", Some("1"))]);
    let mut broken = of(BatchBuilder::new(log.now), &[("a", Some("2")), ("b", Some("3"))]).build().unwrap();
    // A good CRC over a record that says it is longer than it is.
    let mut bytes = broken.bytes.to_vec();
    let second = bytes.len() - 9;
    bytes[second] = 0x7e;
    broken.bytes = bytes.into();
    broken.header.crc = broken.header.compute_crc(broken.records());
    let expected = broken.records().to_vec();
    log.append(broken);
    log.roll_and_clean();
    assert_eq!(records(&log.batches()[0]).len(), 1);
    assert_eq!(log.batches()[1].records(), expected);
}
