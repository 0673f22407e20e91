use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::protocol::ErrorCode;
use crate::protocol::batch::TimestampType;
use crate::protocol::builder::{BatchBuilder, Header};
use crate::protocol::records::RecordView;
use crate::protocol::validate::{Rejected, may_take_long, validate};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const SOURCES: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const TARGETS: [(Compression, Codec); 5] = [
    (Compression::Uncompressed, Codec::None),
    (Compression::Gzip { level: None }, Codec::Gzip),
    (Compression::Snappy, Codec::Snappy),
    (Compression::Lz4, Codec::Lz4),
    (Compression::Zstd { level: 3 }, Codec::Zstd),
];
const BINARY_HEADERS: [Header<'static>; 4] =
    [(b"dup", Some(b"a")), (b"\xff\x00\xfe", None), (b"dup", Some(b"b")), (b"", Some(b""))];

fn rules(compression: Compression) -> ProduceRules {
    ProduceRules {
        produce_version: 9,
        message_bytes_max: 1 << 20,
        segment_bytes: 1 << 30,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compacted: false,
        compression,
        decompressed_bytes_max: 1 << 20,
    }
}

fn at(later_ms: i64) -> Timestamp {
    Timestamp(NOW.0 + later_ms)
}

/// The newest record is neither the first nor the last.
fn builder() -> BatchBuilder {
    BatchBuilder::new(NOW)
        .producer(ProducerId(7), ProducerEpoch(2), 41)
        .record_at(at(5), None, Some(&[7; 3000]), &BINARY_HEADERS)
        .record_at(at(90), Some(b""), None, &[])
        .record_at(at(0), Some(b"key"), Some(b"value"), &BINARY_HEADERS[..1])
}

fn compressed(builder: BatchBuilder, codec: Codec) -> Bytes {
    builder.build_compressed(codec, None).unwrap().unwrap().bytes
}

fn stored(sent: Bytes, compression: Compression) -> Batch {
    let batch = validate(sent, &rules(compression), NOW).unwrap();
    batch.check_crc().unwrap();
    assert_eq!(BatchHeader::parse(&batch.bytes).unwrap(), batch.header);
    batch
}

fn refused(sent: Bytes, rules: &ProduceRules) -> Rejected {
    validate(sent, rules, NOW).unwrap_err()
}

fn payload(batch: &Batch) -> Bytes {
    Bytes::copy_from_slice(BatchRecords::open(batch, 1 << 20).unwrap().payload())
}

fn codec_of(batch: &Batch) -> Codec {
    Codec::from_id(batch.header.attributes.codec_id()).unwrap()
}

#[test]
fn every_codec_becomes_every_other_with_the_same_bytes_of_records() {
    let uncompressed = builder().build().unwrap();
    for source in SOURCES {
        for (compression, target) in TARGETS {
            let batch = stored(compressed(builder(), source), compression);
            assert_eq!(codec_of(&batch), target);
            assert_eq!(payload(&batch), uncompressed.records(), "{} to {}", source.name(), target.name());
        }
    }
}

#[test]
fn what_the_header_says_of_times_and_producer_stays() {
    let sent = builder().transactional().build().unwrap();
    for (compression, target) in TARGETS {
        let header = stored(sent.bytes.clone(), compression).header;
        let attributes = sent.header.attributes.with_codec_id(target.id());
        let (batch_length, crc) = (header.batch_length, header.crc);
        assert_eq!(header, BatchHeader { attributes, batch_length, crc, ..sent.header });
        assert!(header.attributes.is_transactional());
    }
}

#[test]
fn a_batch_in_the_topics_codec_already_is_not_touched_whatever_the_level() {
    for (target, (_, codec)) in [
        Compression::Uncompressed,
        Compression::Gzip { level: Some(1) },
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd { level: 22 },
    ]
    .into_iter()
    .zip(TARGETS)
    {
        let sent = compressed(builder(), codec);
        assert_eq!(stored(sent.clone(), target).bytes, sent);
        assert_eq!(stored(sent.clone(), Compression::Producer).bytes, sent);
    }
}

#[test]
fn the_level_is_the_topics() {
    let text: Vec<u8> = (0..5_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
    let sent = BatchBuilder::new(NOW).record(None, Some(&text)).build().unwrap();
    let at_level = |codec, level| compression::compress(codec, level, sent.records()).unwrap();
    assert_ne!(at_level(Codec::Gzip, Some(1)), at_level(Codec::Gzip, Some(9)));
    assert_ne!(at_level(Codec::Zstd, Some(-5)), at_level(Codec::Zstd, Some(19)));
    for (compression, codec, level) in [
        (Compression::Gzip { level: None }, Codec::Gzip, None),
        (Compression::Gzip { level: Some(1) }, Codec::Gzip, Some(1)),
        (Compression::Gzip { level: Some(9) }, Codec::Gzip, Some(9)),
        (Compression::Zstd { level: -5 }, Codec::Zstd, Some(-5)),
        (Compression::Zstd { level: 19 }, Codec::Zstd, Some(19)),
    ] {
        assert_eq!(stored(sent.bytes.clone(), compression).records(), at_level(codec, level));
    }
}

#[test]
fn offset_deltas_that_do_not_run_from_0_are_counted_anew_and_nothing_else_changes() {
    let many = (0..200).fold(builder(), |builder, _| builder.record(Some(b"k"), None)).build().unwrap();
    for offset_delta in [0, 7, 70_000, -1] {
        let odd = with_offset_deltas(&many, Codec::None, offset_delta);
        assert_eq!(payload(&stored(odd.bytes, Compression::Lz4)), many.records(), "{offset_delta}");
    }
}

#[test]
fn the_newest_record_decides_over_what_the_header_says() {
    let mut sent = builder().build().unwrap();
    sent.header.max_timestamp = at(1_000);
    let sent = Batch::assemble(sent.header, sent.records()).unwrap();
    assert_eq!(stored(sent.bytes, Compression::Snappy).header.max_timestamp, at(90));
}

#[test]
fn append_time_goes_over_a_batch_that_was_compressed_anew() {
    let rules =
        ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules(Compression::Gzip { level: None }) };
    let batch = validate(compressed(builder(), Codec::Lz4), &rules, at(5_000)).unwrap();
    assert_eq!((codec_of(&batch), batch.header.max_timestamp), (Codec::Gzip, at(5_000)));
    assert_eq!(batch.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(batch.header.crc, batch.header.compute_crc(batch.records()));
}

#[test]
fn a_batch_must_fit_as_it_was_sent_and_as_it_is_stored() {
    let zeros = || BatchBuilder::new(NOW).record(None, Some(&[0; 10_000]));
    let small = ProduceRules { message_bytes_max: 5_000, ..rules(Compression::Uncompressed) };
    assert_eq!(refused(compressed(zeros(), Codec::Zstd), &small).code, ErrorCode::MessageTooLarge);
    let small = ProduceRules { message_bytes_max: 5_000, ..rules(Compression::Zstd { level: 3 }) };
    assert_eq!(refused(compressed(zeros(), Codec::None), &small).code, ErrorCode::MessageTooLarge);

    // A few random bytes are longer under a codec.
    let random = BatchBuilder::new(NOW).record(None, Some(b"\x8f\x01\xd3\x44"));
    let sent = random.build().unwrap().bytes;
    let as_sent = ProduceRules { message_bytes_max: sent.len(), ..rules(Compression::Gzip { level: None }) };
    assert_eq!(refused(sent, &as_sent).code, ErrorCode::MessageTooLarge);
}

#[test]
fn a_segment_must_hold_what_is_stored_not_what_was_sent() {
    let zeros = || BatchBuilder::new(NOW).record(None, Some(&[0; 10_000]));
    let segment = |compression| ProduceRules { segment_bytes: 5_000, ..rules(compression) };
    let sent = compressed(zeros(), Codec::None);
    assert!(validate(sent, &segment(Compression::Zstd { level: 3 }), NOW).is_ok());
    let sent = compressed(zeros(), Codec::Zstd);
    assert_eq!(refused(sent, &segment(Compression::Uncompressed)).code, ErrorCode::RecordListTooLarge);
}

#[test]
fn a_bomb_is_too_large_under_every_codec() {
    for source in SOURCES.into_iter().skip(1) {
        let bomb = compressed(BatchBuilder::new(NOW).record(None, Some(&[0; 60_000])), source);
        for (compression, _) in TARGETS.into_iter().filter(|(_, target)| *target != source) {
            let rules = ProduceRules { decompressed_bytes_max: 50_000, ..rules(compression) };
            assert_eq!(refused(bomb.clone(), &rules).code, ErrorCode::MessageTooLarge, "{}", source.name());
        }
    }
}

#[test]
fn records_are_checked_on_the_way_and_those_at_fault_named() {
    let indexes = |rejected: &Rejected| rejected.record_errors.iter().map(|(index, _)| *index).collect::<Vec<_>>();
    let gzip = rules(Compression::Gzip { level: None });

    let keyless = refused(compressed(builder(), Codec::Snappy), &ProduceRules { compacted: true, ..gzip });
    assert_eq!((keyless.code, indexes(&keyless)), (ErrorCode::InvalidRecord, vec![0]));

    // The header claims that all is well.
    let mut early = builder().build().unwrap();
    early.header.max_timestamp = NOW;
    let early = Batch::assemble(early.header, early.records()).unwrap();
    let early = refused(early.bytes, &ProduceRules { timestamp_after_max_ms: 50, ..gzip });
    assert_eq!((early.code, indexes(&early)), (ErrorCode::InvalidTimestamp, vec![1]));

    let built = builder().build().unwrap();
    let cut = Batch::assemble(built.header, &built.records()[..built.records().len() - 1]).unwrap();
    let cut = refused(cut.bytes, &gzip);
    assert_eq!((cut.code, indexes(&cut)), (ErrorCode::InvalidRecord, vec![2]));
    let more = Batch::assemble(built.header, &[built.records(), b"\0"].concat()).unwrap();
    let more = refused(more.bytes, &gzip);
    assert_eq!((more.code, indexes(&more)), (ErrorCode::InvalidRecord, vec![3]));
}

#[test]
fn records_that_are_not_in_the_codec_that_they_claim_are_invalid() {
    let mut header = builder().build().unwrap().header;
    for source in SOURCES.into_iter().skip(1) {
        header.attributes = header.attributes.with_codec_id(source.id());
        let sent = Batch::assemble(header, b"\x82 these are no records").unwrap().bytes;
        let rejected = refused(sent, &rules(Compression::Uncompressed));
        assert_eq!(rejected.code, ErrorCode::InvalidRecord, "{}", source.name());
    }
}

#[test]
fn what_has_to_be_expanded_or_is_long_to_compress_is_said_to_take_long() {
    let large = || BatchBuilder::new(NOW).record(Some(b"k"), Some(&[0; 100_000]));
    let gzip = Compression::Gzip { level: None };
    let takes_long = |sent: Bytes, rules: ProduceRules| may_take_long(&sent, &rules, NOW);
    assert!(!takes_long(compressed(builder(), Codec::None), rules(gzip)), "a few thousand bytes");
    assert!(takes_long(compressed(large(), Codec::None), rules(gzip)));
    assert!(!takes_long(compressed(large(), Codec::None), rules(Compression::Producer)));
    assert!(takes_long(compressed(builder(), Codec::Lz4), rules(gzip)), "it may expand to anything");
    assert!(!takes_long(compressed(builder(), Codec::Gzip), rules(gzip)));
    let compacted = ProduceRules { compacted: true, ..rules(Compression::Producer) };
    assert!(takes_long(compressed(builder(), Codec::Gzip), compacted), "its keys are looked at");
    let early = ProduceRules { timestamp_after_max_ms: 50, ..rules(Compression::Producer) };
    assert!(takes_long(compressed(builder(), Codec::Gzip), early), "the early record is looked for");
    assert!(!takes_long(Bytes::from_static(b"short"), rules(gzip)));
}

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);
type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<OwnedHeader>);

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4);
    (-1000..1000_i64, prop::option::of(bytes()), prop::option::of(bytes()), headers)
}

fn owned(records: &BatchRecords, record: RecordView<'_>) -> OwnedRecord {
    let headers = record.headers().map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect();
    let later_ms = records.timestamp(&record).0 - NOW.0;
    (later_ms, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers)
}

proptest! {
    #[test]
    fn any_records_come_through_unharmed(
        sent in prop::collection::vec(any_record(), 1..20),
        source in prop::sample::select(SOURCES.to_vec()),
        (compression, target) in prop::sample::select(TARGETS.to_vec()),
        odd_offset_delta in prop::option::of(any::<i32>()),
    ) {
        let mut builder = BatchBuilder::new(NOW);
        for (later_ms, key, value, headers) in &sent {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
            builder = builder.record_at(at(*later_ms), key.as_deref(), value.as_deref(), &headers);
        }
        let mut batch = builder.build_compressed(source, None).unwrap().unwrap();
        if let Some(offset_delta) = odd_offset_delta {
            batch = with_offset_deltas(&batch, source, offset_delta.into());
        }
        let stored = stored(batch.bytes, compression);
        prop_assert_eq!(codec_of(&stored), target);
        prop_assert_eq!(stored.header.max_timestamp, batch.header.max_timestamp);
        let records = BatchRecords::open(&stored, 1 << 20).unwrap();
        let found: Vec<_> = records.iter().map(|record| owned(&records, record.unwrap())).collect();
        prop_assert_eq!(found, sent);
        if source != target {
            let deltas: Vec<_> = records.iter().map(|record| record.unwrap().offset_delta).collect();
            prop_assert_eq!(deltas, (0..stored.header.records_count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_payload_panics(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        source in prop::sample::select(SOURCES.to_vec()),
        (compression, _) in prop::sample::select(TARGETS.to_vec()),
        is_really_compressed in any::<bool>(),
    ) {
        let mut header = builder().build().unwrap().header;
        header.attributes = header.attributes.with_codec_id(source.id());
        let payload = if is_really_compressed {
            compression::compress(source, None, &payload).unwrap()
        } else {
            payload.into()
        };
        let sent = Batch::assemble(header, &payload).unwrap();
        let _ = validate(sent.bytes, &rules(compression), NOW);
    }
}

/// The batch with each record claiming this offset.
fn with_offset_deltas(batch: &Batch, codec: Codec, offset_delta: i64) -> Batch {
    let records = BatchRecords::open(batch, 1 << 20).unwrap();
    let mut payload = Vec::new();
    for record in records.iter().map(Result::unwrap) {
        let mut body = vec![0];
        put_varlong(&mut body, record.timestamp_delta);
        put_varlong(&mut body, offset_delta);
        body.extend_from_slice(record.contents);
        put_varlong(&mut payload, body.len() as i64);
        payload.extend_from_slice(&body);
    }
    Batch::assemble(batch.header, &compression::compress(codec, None, &payload).unwrap()).unwrap()
}
