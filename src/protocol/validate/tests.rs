use proptest::prelude::*;

use super::*;
use crate::protocol::batch::{Attributes, BatchHeader, HEADER_LEN};
use crate::protocol::builder::BatchBuilder;

const NOW: Timestamp = Timestamp(1_000_000);

fn rules() -> ProduceRules {
    ProduceRules {
        produce_version: 12,
        message_bytes_max: 4096,
        segment_bytes: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 1_000,
        compacted: false,
        compression: Compression::Producer,
        decompressed_bytes_max: 1 << 20,
    }
}

fn batch() -> Batch {
    BatchBuilder::new(NOW).record(Some(b"a"), Some(b"1")).record(None, Some(b"2")).build().unwrap()
}

/// The batch with its header changed, and a CRC that agrees.
fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut batch = batch();
    change(&mut batch.header);
    batch.header.crc = batch.header.compute_crc(batch.records());
    Bytes::from([&batch.header.encode(), batch.records()].concat())
}

fn code(records: Bytes, rules: &ProduceRules) -> Option<ErrorCode> {
    validate(records, rules, NOW).err().map(|rejected| rejected.code)
}

#[test]
fn an_ordinary_batch_passes_byte_for_byte() {
    let sent = batch().bytes;
    let validated = validate(sent.clone(), &rules(), NOW).unwrap();
    assert_eq!(validated.bytes, sent);
    assert_eq!(validated.header, batch().header);
}

#[test]
fn exactly_one_whole_batch_is_taken() {
    assert_eq!(code(Bytes::new(), &rules()), Some(ErrorCode::InvalidRecord));
    let twice = Bytes::from([batch().bytes, batch().bytes].concat());
    assert_eq!(code(twice, &rules()), Some(ErrorCode::InvalidRecord));
    let cut = batch().bytes.slice(..HEADER_LEN + 3);
    assert_eq!(code(cut, &rules()), Some(ErrorCode::InvalidRecord));
}

#[test]
fn older_magics_are_refused() {
    for magic in [0, 1, 3, -1] {
        assert_eq!(code(with_header(|header| header.magic = magic), &rules()), Some(ErrorCode::InvalidRecord));
    }
}

#[test]
fn a_wrong_crc_is_a_corrupt_message() {
    let mut bytes = batch().bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(code(bytes.into(), &rules()), Some(ErrorCode::CorruptMessage));
}

#[test]
fn sizes_are_bounded_by_message_and_segment() {
    let size = batch().bytes.len();
    assert_eq!(code(batch().bytes, &ProduceRules { message_bytes_max: size, ..rules() }), None);
    let too_large = ProduceRules { message_bytes_max: size - 1, ..rules() };
    assert_eq!(code(batch().bytes, &too_large), Some(ErrorCode::MessageTooLarge));
    let larger_than_segment = ProduceRules { segment_bytes: size - 1, ..rules() };
    assert_eq!(code(batch().bytes, &larger_than_segment), Some(ErrorCode::RecordListTooLarge));
}

#[test]
fn counts_offsets_and_control_batches_that_no_client_may_send_are_invalid_records() {
    let changes: [fn(&mut BatchHeader); 12] = [
        |header| header.records_count = 0,
        |header| header.records_count = -1,
        |header| header.records_count = i32::MIN,
        |header| header.records_count = 3,
        |header| header.last_offset_delta = -1,
        |header| header.base_offset = Offset(1),
        |header| header.attributes = Attributes(Attributes::CONTROL),
        |header| header.attributes = Attributes(Attributes::TRANSACTIONAL),
        |header| header.producer_id = ProducerId(7),
        |header| (header.producer_id, header.producer_epoch) = (ProducerId(7), ProducerEpoch(0)),
        |header| (header.producer_id, header.base_sequence) = (ProducerId(7), 0),
        |header| header.producer_id = ProducerId(-2),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_eq!(code(with_header(change), &rules()), Some(ErrorCode::InvalidRecord), "change {index}");
    }
}

#[test]
fn an_idempotent_batch_passes() {
    let change = |header: &mut BatchHeader| {
        (header.producer_id, header.producer_epoch, header.base_sequence) = (ProducerId(7), ProducerEpoch(0), 0);
    };
    assert_eq!(code(with_header(change), &rules()), None);
}

#[test]
fn unknown_codecs_are_unsupported_and_so_is_zstd_before_version_7() {
    for id in 5..=7 {
        let records = with_header(|header| header.attributes = Attributes(id));
        assert_eq!(code(records, &rules()), Some(ErrorCode::UnsupportedCompressionType));
    }
    let zstd = BatchBuilder::new(NOW).record(None, None).build_compressed(Codec::Zstd, None).unwrap().unwrap();
    assert_eq!(code(zstd.bytes.clone(), &ProduceRules { produce_version: 7, ..rules() }), None);
    let version_6 = ProduceRules { produce_version: 6, ..rules() };
    assert_eq!(code(zstd.bytes, &version_6), Some(ErrorCode::UnsupportedCompressionType));
}

#[test]
fn append_time_is_stamped_on_the_header_with_a_crc_that_holds() {
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    let late = NOW.0 + 5_000_000;
    let sent = BatchBuilder::new(Timestamp(late)).record(None, Some(b"x")).build().unwrap();
    let stamped = validate(sent.bytes, &rules, NOW).unwrap();
    let mut written = Bytes::from([&stamped.header.encode(), stamped.records()].concat());
    let written = Batch::split_from(&mut written).unwrap();
    assert_eq!(written.check_crc(), Ok(()));
    assert_eq!(written.header.max_timestamp, NOW);
    assert_eq!(written.header.base_timestamp, Timestamp(late));
    assert_eq!(written.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
}

#[test]
fn a_client_may_not_claim_the_append_time() {
    let records = with_header(|header| header.attributes = header.attributes.with_log_append_time());
    assert_eq!(code(records, &rules()), Some(ErrorCode::InvalidTimestamp));
}

#[test]
fn timestamps_too_far_ahead_are_named_by_record() {
    let ahead = Timestamp(NOW.0 + 1_001);
    let sent = BatchBuilder::new(NOW).record(None, None).record_at(ahead, None, None, &[]).build().unwrap();
    let rejected = validate(sent.bytes, &rules(), NOW).unwrap_err();
    assert_eq!(rejected.code, ErrorCode::InvalidTimestamp);
    assert_eq!(
        rejected.record_errors,
        [(1, "timestamp 1001001 is outside [-9223372036853775807, 1001000]".to_owned())]
    );
}

#[test]
fn a_header_that_overstates_its_records_time_is_refused() {
    let records = with_header(|header| header.max_timestamp = Timestamp(i64::MAX));
    assert_eq!(code(records, &rules()), Some(ErrorCode::InvalidTimestamp));
}

#[test]
fn old_timestamps_are_found_behind_a_young_first_record() {
    let rules = ProduceRules { timestamp_before_max_ms: 100, ..rules() };
    let old = Timestamp(NOW.0 - 101);
    let sent = BatchBuilder::new(NOW).record(None, None).record_at(old, None, None, &[]).build().unwrap();
    let rejected = validate(sent.bytes, &rules, NOW).unwrap_err();
    assert_eq!(rejected.code, ErrorCode::InvalidTimestamp);
    assert_eq!(rejected.record_errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1]);
}

#[test]
fn records_without_a_timestamp_pass_any_bound() {
    let rules = ProduceRules { timestamp_before_max_ms: 100, ..rules() };
    let sent = BatchBuilder::new(Timestamp::NONE).record(None, None).build().unwrap();
    assert_eq!(code(sent.bytes, &rules), None);
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key_under_every_codec() {
    let rules = ProduceRules { compacted: true, ..rules() };
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let builder = BatchBuilder::new(NOW).record(Some(b""), None).record(None, None).record(Some(b"k"), None);
        let sent = builder.record(None, None).build_compressed(codec, None).unwrap().unwrap();
        let rejected = validate(sent.bytes, &rules, NOW).unwrap_err();
        assert_eq!(rejected.code, ErrorCode::InvalidRecord);
        assert_eq!(rejected.record_errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3]);
    }
}

#[test]
fn a_batch_that_expands_past_the_cap_is_too_large_when_it_must_be_walked() {
    let rules = ProduceRules { compacted: true, decompressed_bytes_max: 1000, ..rules() };
    let sent = BatchBuilder::new(NOW).record(Some(b"k"), Some(&[0; 5000])).build_compressed(Codec::Gzip, None);
    assert_eq!(code(sent.unwrap().unwrap().bytes, &rules), Some(ErrorCode::MessageTooLarge));
}

#[test]
fn a_walked_batch_whose_records_do_not_parse_names_the_record() {
    let rules = ProduceRules { compacted: true, ..rules() };
    let records = with_header(|header| (header.records_count, header.last_offset_delta) = (9, 8));
    let keyless = validate(records, &rules, NOW).unwrap_err();
    assert_eq!(keyless.code, ErrorCode::InvalidRecord);
    assert_eq!(keyless.record_errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
}

proptest! {
    #[test]
    fn no_bytes_panic(header in prop::collection::vec(any::<u8>(), 0..200), compacted in any::<bool>()) {
        let _ = validate(Bytes::from(header), &ProduceRules { compacted, ..rules() }, NOW);
    }

    #[test]
    fn no_header_panics(raw in prop::array::uniform32(any::<u8>()), attributes in any::<i16>(), count in any::<i32>()) {
        let records = with_header(|header| {
            header.attributes = Attributes(attributes);
            header.records_count = count;
            header.last_offset_delta = i32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]);
            header.max_timestamp = Timestamp(i64::from_be_bytes(raw[4..12].try_into().unwrap()));
            header.base_timestamp = Timestamp(i64::from_be_bytes(raw[12..20].try_into().unwrap()));
        });
        let _ = validate(records, &ProduceRules { compacted: true, timestamp_before_max_ms: 5, ..rules() }, NOW);
    }
}
