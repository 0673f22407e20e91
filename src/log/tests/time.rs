use proptest::prelude::*;

use super::*;
use crate::protocol::batch::Attributes;
use crate::protocol::compression::Codec;

fn check(reader: &LogReader, model: &[Seen], start: i64) {
    let model: Vec<_> = model.iter().filter(|record| record.offset >= start).collect();
    let (oldest, newest) = (NOW.0 - 5, model.iter().map(|record| record.timestamp).max().unwrap_or(NOW.0) + 5);
    for target in oldest..=newest {
        let expected = model.iter().find(|record| record.timestamp >= target);
        let found = reader.offset_for_timestamp(Timestamp(target)).unwrap();
        assert_eq!(
            found.map(|found| (found.offset.0, found.timestamp.0)),
            expected.map(|record| (record.offset, record.timestamp)),
            "at {target}"
        );
    }
}

#[test]
fn the_newest_record_is_the_first_of_those_with_its_timestamp() {
    let fixture = Fixture::new(300);
    let (mut writer, reader) = fixture.open();
    assert_eq!(reader.offset_of_max_timestamp().unwrap(), None);
    for timestamp in [5, 90, 20, 90, 90, 7] {
        append(&mut writer, batch(1, NOW.0 + timestamp, 60));
    }
    for reader in [reader, fixture.open_unclean().unwrap().1] {
        let newest = reader.offset_of_max_timestamp().unwrap().unwrap();
        assert_eq!((newest.offset, newest.timestamp.0 - NOW.0, newest.leader_epoch), (Offset(1), 90, EPOCH));
    }
}

#[test]
fn a_compressed_batch_is_looked_into() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    let mut builder = BatchBuilder::new(NOW);
    for later in [0, 3, 9] {
        builder = builder.record_at(Timestamp(NOW.0 + later), None, Some(b"v"), &[]);
    }
    append(&mut writer, builder.build_compressed(Codec::Zstd, None).unwrap().unwrap());
    let found = reader.offset_for_timestamp(Timestamp(NOW.0 + 4)).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp.0), (Offset(2), NOW.0 + 9));
}

#[test]
fn records_below_the_log_start_are_not_found() {
    let mut fixture = Fixture::new(10_000);
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(5, NOW.0, 10));
    writer.close().unwrap();
    fixture.options.log_start_offset = Offset(3);
    let (_writer, reader) = fixture.open();
    let found = reader.offset_for_timestamp(NOW).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp.0), (Offset(3), NOW.0 + 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_timestamps_are_found_as_the_model_finds_them(
        batches in proptest::collection::vec((1_usize..4, 0_i64..60), 1..30),
        reopens in 0..3,
        start in 0_i64..20,
    ) {
        let mut fixture = Fixture::new(1000);
        let (mut writer, mut reader) = fixture.open();
        let mut model = Vec::new();
        for (count, later) in batches {
            let batch = batch(count, NOW.0 + later, 30);
            model.extend(expected(&batch, model.len() as i64));
            append(&mut writer, batch);
        }
        if reopens == 0 {
            check(&reader, &model, 0);
            return Ok(());
        }
        fixture.options.log_start_offset = Offset(start.min(model.len() as i64));
        if reopens == 1 {
            writer.close().unwrap();
            reader = fixture.open().1;
        } else {
            reader = fixture.open_unclean().unwrap().1;
        }
        check(&reader, &model, reader.start_offset().0);
    }
}

#[test]
fn a_batch_whose_producer_wrote_no_readable_records_is_found_by_its_header() {
    let fixture = Fixture::new(400);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, batch(1, 100, 10));
    let mut unreadable = batch(2, 200, 10);
    unreadable.header.attributes = Attributes(Codec::Zstd.id());
    unreadable.header.crc = unreadable.header.compute_crc(unreadable.records());
    append(&mut writer, unreadable);
    append(&mut writer, batch(1, 300, 10));
    let at = |timestamp| reader.offset_for_timestamp(Timestamp(timestamp)).unwrap().unwrap().offset;
    assert_eq!([at(50), at(150), at(250)], [0, 1, 3].map(Offset));
}
