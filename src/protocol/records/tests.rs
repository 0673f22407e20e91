use proptest::prelude::*;

use super::*;
use crate::protocol::builder::BatchBuilder;

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);
type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<OwnedHeader>);

fn build(records: &[OwnedRecord], codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new(Timestamp(0));
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        builder = builder.record_at(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &headers);
    }
    builder.build_compressed(codec, None).unwrap().unwrap()
}

fn read(batch: &Batch) -> Vec<OwnedRecord> {
    let records = BatchRecords::open(batch, 1 << 24).unwrap();
    let owned = |record: RecordView<'_>| {
        let headers = record.headers().map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect();
        let timestamp = records.timestamp(&record).0;
        (timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers)
    };
    records.iter().map(|record| owned(record.unwrap())).collect()
}

fn error_of(payload: &[u8], count: i32) -> Option<RecordError> {
    Records::new(payload, count).find_map(Result::err)
}

#[test]
fn duplicate_and_non_utf8_header_keys_and_nulls_are_kept_in_order() {
    let headers = vec![
        (b"twice".to_vec(), Some(b"1".to_vec())),
        (vec![0xff, 0x00, 0xfe], None),
        (b"twice".to_vec(), Some(b"2".to_vec())),
        (Vec::new(), Some(Vec::new())),
    ];
    let records = vec![(5, None, Some(Vec::new()), headers), (3, Some(Vec::new()), None, Vec::new())];
    assert_eq!(read(&build(&records, Codec::None)), records);
}

#[test]
fn an_uncompressed_batch_is_read_without_copying() {
    let batch = build(&[(1, None, Some(vec![7; 100]), Vec::new())], Codec::None);
    let records = BatchRecords::open(&batch, 1 << 20).unwrap();
    let value = records.iter().next().unwrap().unwrap().value.unwrap();
    assert!(batch.bytes.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn varints_are_zigzag_and_bounded_by_their_width() {
    for (bytes, value) in [(&[0x00][..], 0), (&[0x01], -1), (&[0x02], 1), (&[0xac, 0x02], 150)] {
        assert_eq!(read_varint(&mut &bytes[..]), Ok(value));
    }
    assert_eq!(read_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0x0f][..]), Ok(i32::MIN));
    assert_eq!(read_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), Err(RecordErrorKind::BadVarint(32)));
    assert_eq!(read_varint(&mut &[0x80; 6][..]), Err(RecordErrorKind::BadVarint(32)));
    assert_eq!(read_varlong(&mut &[0xff; 10][..]), Err(RecordErrorKind::BadVarint(64)));
    assert_eq!(read_varlong(&mut &[0x80, 0x80][..]), Err(RecordErrorKind::Truncated));
}

#[test]
fn an_error_names_the_record_and_ends_the_walk() {
    let batch =
        build(&[(0, None, Some(vec![1; 10]), Vec::new()), (0, None, Some(vec![2; 10]), Vec::new())], Codec::None);
    let payload = batch.records();
    let cut = &payload[..payload.len() - 1];
    let mut records = Records::new(cut, 2);
    assert!(records.next().unwrap().is_ok());
    assert_eq!(records.next(), Some(Err(RecordError { index: 1, kind: RecordErrorKind::Truncated })));
    assert_eq!(records.next(), None);
}

#[test]
fn more_or_fewer_records_than_announced_are_an_error() {
    let batch = build(&[(0, None, None, Vec::new()), (0, None, None, Vec::new())], Codec::None);
    let expect = |count, index, kind| assert_eq!(error_of(batch.records(), count), Some(RecordError { index, kind }));
    expect(1, 1, RecordErrorKind::TrailingBytes);
    expect(3, 2, RecordErrorKind::Truncated);
    expect(i32::MAX, 2, RecordErrorKind::Truncated);
    assert_eq!(error_of(batch.records(), 2), None);
}

#[test]
fn hostile_counts_and_lengths_inside_a_record_are_refused() {
    let kind_of = |payload: &[u8]| error_of(payload, 1).map(|error| error.kind);
    // length, attributes, timestamp delta, offset delta, key -1, value -1, headers
    assert_eq!(kind_of(&[12, 0, 0, 0, 1, 1, 0]), None);
    assert_eq!(kind_of(&[12, 0, 0, 0, 1, 1, 1]), Some(RecordErrorKind::BadHeadersCount(-1)));
    assert_eq!(kind_of(&[12, 0, 0, 0, 1, 1, 2]), Some(RecordErrorKind::BadHeadersCount(1)));
    assert_eq!(kind_of(&[14, 0, 0, 0, 1, 1, 0, 0]), Some(RecordErrorKind::TrailingBytes));
    assert_eq!(kind_of(&[16, 0, 0, 0, 1, 1, 2, 1, 1]), Some(RecordErrorKind::NullHeaderKey));
    assert_eq!(kind_of(&[12, 0, 0, 0, 100, 1, 0]), Some(RecordErrorKind::Truncated));
    assert_eq!(kind_of(&[1]), Some(RecordErrorKind::BadLength(-1)));
}

#[test]
fn log_append_time_gives_every_record_the_batchs_maximum() {
    let mut batch = build(&[(5, None, None, Vec::new()), (9, None, None, Vec::new())], Codec::None);
    batch.header.attributes = batch.header.attributes.with_log_append_time();
    batch.header.max_timestamp = Timestamp(77);
    assert!(read(&batch).iter().all(|(timestamp, ..)| *timestamp == 77));
}

#[test]
fn control_records_are_told_apart() {
    let types =
        [(0, ControlType::Abort), (1, ControlType::Commit), (2, ControlType::Other(2)), (9, ControlType::Other(9))];
    for (id, control_type) in types {
        assert_eq!(ControlType::parse(&[0, 0, 0, id]), Some(control_type));
        assert_eq!(control_type.id(), i16::from(id));
    }
    assert_eq!(ControlType::parse(&[0, 0, 0]), None);
    assert_eq!(ControlType::parse(&[0xff, 0xff, 0, 0]), None);
}

#[test]
fn an_end_transaction_marker_is_read_back() {
    use crate::types::{ProducerEpoch, ProducerId};
    for committed in [true, false] {
        let marker = EndTxnMarker { committed, coordinator_epoch: 12 };
        let batch =
            BatchBuilder::end_txn_marker(Timestamp(1), ProducerId(4), ProducerEpoch(2), marker).build().unwrap();
        assert!(batch.header.attributes.is_control() && batch.header.attributes.is_transactional());
        assert_eq!(EndTxnMarker::of(&batch, 1 << 10), Some(marker));
    }
    assert_eq!(EndTxnMarker::of(&build(&[(0, None, None, Vec::new())], Codec::None), 1 << 10), None);
}

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    let headers = prop::collection::vec((prop::collection::vec(any::<u8>(), 0..6), bytes()), 0..4);
    (0..i64::MAX / 2, bytes(), bytes(), headers)
}

proptest! {
    #[test]
    fn what_was_built_is_read_back_under_every_codec(records in prop::collection::vec(any_record(), 1..20)) {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            prop_assert_eq!(&read(&build(&records, codec)), &records);
        }
    }

    #[test]
    fn a_cut_payload_never_passes_for_whole(records in prop::collection::vec(any_record(), 1..5), cut in 1usize..200) {
        let batch = build(&records, Codec::None);
        let keep = batch.records().len().saturating_sub(cut);
        prop_assert!(error_of(&batch.records()[..keep], batch.header.records_count).is_some());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_end(payload in prop::collection::vec(any::<u8>(), 0..300), count in any::<i32>()) {
        prop_assert!(Records::new(&payload, count).count() <= payload.len() + 1);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_batch_is_noticed(records in prop::collection::vec(any_record(), 1..5), at in any::<usize>()) {
        let mut bytes = build(&records, Codec::None).bytes.to_vec();
        // The base offset and the leader epoch lie outside the CRC.
        let protected = 16..bytes.len();
        let at = protected.start + at % protected.len();
        bytes[at] ^= 1;
        let noticed = Batch::split_from(&mut Bytes::from(bytes)).and_then(|batch| batch.check_crc());
        prop_assert!(noticed.is_err());
    }
}
