use proptest::prelude::*;

use super::*;

/// A log of twelve batches in several segments, and its records.
fn small_log(fixture: &Fixture) -> (LogWriter, LogReader, Vec<Seen>) {
    let (mut writer, reader) = fixture.open();
    let mut model = Vec::new();
    for index in 0..12 {
        let batch = batch(index % 3 + 1, NOW.0 + index as i64 * 10, 20 + index);
        model.extend(expected(&batch, model.len() as i64));
        append(&mut writer, batch);
    }
    (writer, reader, model)
}

#[test]
fn a_log_without_records_has_no_folder_and_nothing_to_read() {
    let fixture = Fixture::new(1000);
    let (_writer, reader) = fixture.open();
    assert!(!fixture.options.dir.exists());
    assert!(reader.read(Offset(0), UNLIMITED, false).unwrap().slice.is_none());
    assert!(matches!(reader.read(Offset(1), UNLIMITED, false), Err(LogError::OffsetOutOfRange { .. })));
    assert_eq!((reader.end_offset(), reader.size_bytes(), reader.latest_epoch()), (Offset(0), 0, None));
}

#[test]
fn records_are_read_back_from_every_offset() {
    let fixture = Fixture::new(400);
    let (_writer, reader, model) = small_log(&fixture);
    assert!(fixture.files("log").len() > 3, "the log must roll for this test");
    for from in 0..model.len() {
        assert_eq!(consume(&reader, Offset(from as i64), UNLIMITED), model[from..]);
    }
}

#[test]
fn every_byte_budget_gives_each_record_once() {
    let fixture = Fixture::new(400);
    let (_writer, reader, model) = small_log(&fixture);
    for bytes_max in 0..500 {
        let limit = ReadLimit { bytes_max, ..UNLIMITED };
        assert_eq!(consume(&reader, Offset(0), limit), model, "under {bytes_max} bytes");
    }
}

#[test]
fn a_batch_that_does_not_fit_ends_the_read_and_is_not_passed_over() {
    let fixture = Fixture::new(1000);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, batch(1, NOW.0, 10));
    let second = batch(1, NOW.0, 500);
    let first_bytes = reader.size_bytes() as u32;
    append(&mut writer, second);
    append(&mut writer, batch(1, NOW.0, 600));
    assert_eq!(fixture.files("log").len(), 2);

    let strict = |bytes_max| ReadLimit { bytes_max, at_least_one_batch: false, ..UNLIMITED };
    let slice = reader.read(Offset(0), strict(first_bytes + 100), false).unwrap().slice.unwrap();
    assert_eq!(slice.length, first_bytes);
    assert!(reader.read(Offset(1), strict(100), false).unwrap().slice.is_none());
    let slice = reader.read(Offset(1), ReadLimit { bytes_max: 100, ..UNLIMITED }, false).unwrap().slice.unwrap();
    assert_eq!(batches(&slice)[0].header.base_offset, Offset(1));
}

#[test]
fn a_read_stops_before_the_batch_that_holds_the_upper_bound() {
    let fixture = Fixture::new(400);
    let (_writer, reader, model) = small_log(&fixture);
    for upper in 0..=model.len() as i64 {
        let seen = consume(&reader, Offset(0), ReadLimit { upper: Offset(upper), ..UNLIMITED });
        let whole = model.iter().filter(|record| last_of_batch(record.offset) < upper).count();
        assert_eq!(seen, model[..whole], "below {upper}");
    }
}

/// Batches of `small_log` hold 1, 2, 3, 1, 2, 3, … records.
fn last_of_batch(offset: i64) -> i64 {
    let (round, within) = (offset / 6, offset % 6);
    round * 6 + [0, 2, 2, 5, 5, 5][within as usize]
}

#[test]
fn an_offset_outside_the_log_is_refused() {
    let fixture = Fixture::new(400);
    let (_writer, reader, model) = small_log(&fixture);
    let end = Offset(model.len() as i64);
    assert!(reader.read(end, UNLIMITED, false).unwrap().slice.is_none());
    for offset in [Offset(-1), end.plus(1)] {
        let error = reader.read(offset, UNLIMITED, false).unwrap_err();
        assert!(matches!(error, LogError::OffsetOutOfRange { .. }));
        assert_eq!(error.error_code(), crate::protocol::ErrorCode::OffsetOutOfRange);
    }
}

#[test]
fn offsets_below_the_log_start_are_refused_and_those_above_are_served() {
    let mut fixture = Fixture::new(400);
    let (mut writer, _, model) = small_log(&fixture);
    writer.close().unwrap();
    fixture.options.log_start_offset = Offset(7);
    let (_writer, reader) = fixture.open();
    assert_eq!(reader.start_offset(), Offset(7));
    assert!(reader.read(Offset(6), UNLIMITED, false).is_err());
    assert_eq!(consume(&reader, Offset(7), UNLIMITED), model[7..]);
}

#[test]
fn an_offset_in_a_hole_leads_to_the_next_batch_also_of_a_later_segment() {
    let fixture = Fixture::new(10_000);
    let dir = &fixture.options.dir;
    std::fs::create_dir(dir).unwrap();
    // As the cleaner leaves them: offsets 0, 5..=6 and, after an empty segment, 40.
    let at = |base_offset: i64, count| {
        let mut batch = batch(count, NOW.0, 10);
        batch.header.base_offset = Offset(base_offset);
        [batch.header.encode().as_slice(), batch.records()].concat()
    };
    std::fs::write(dir.join("00000000000000000000.log"), [at(0, 1), at(5, 2)].concat()).unwrap();
    std::fs::write(dir.join("00000000000000000020.log"), []).unwrap();
    std::fs::write(dir.join("00000000000000000030.log"), at(40, 1)).unwrap();
    for (_writer, reader) in [fixture.open(), fixture.open_unclean().unwrap()] {
        let offsets = |from| consume(&reader, Offset(from), UNLIMITED).iter().map(|r| r.offset).collect::<Vec<_>>();
        assert_eq!(offsets(0), [0, 5, 6, 40]);
        assert_eq!(offsets(3), [5, 6, 40]);
        assert_eq!(offsets(7), [40]);
        assert_eq!(offsets(25), [40]);
        assert_eq!(reader.end_offset(), Offset(41));
    }
}

#[test]
fn a_batch_is_stored_as_it_came_but_for_its_offset_and_epoch() {
    let fixture = Fixture::new(1000);
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(2, NOW.0, 10));
    let sent = batch(3, NOW.0, 30);
    writer.append(&mut [sent.clone()], LeaderEpoch(4), NOW).unwrap();
    let stored = std::fs::read(&fixture.files("log")[0]).unwrap();
    let stored = &stored[stored.len() - sent.bytes.len()..];
    assert_eq!(stored[..8], 2_i64.to_be_bytes());
    assert_eq!(stored[12..16], 4_i32.to_be_bytes());
    assert_eq!(stored[8..12], sent.bytes[8..12]);
    assert_eq!(stored[16..], sent.bytes[16..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_batches_under_any_budgets_are_each_read_once(
        sizes in proptest::collection::vec((1_usize..5, 0_usize..200), 1..40),
        budgets in proptest::collection::vec(0_u32..2000, 1..8),
        segment_bytes in 1000_u32..3000,
    ) {
        let fixture = Fixture::new(segment_bytes);
        let (mut writer, reader) = fixture.open();
        let mut model = Vec::new();
        for (index, (count, value_bytes)) in sizes.into_iter().enumerate() {
            let batch = batch(count, NOW.0 + index as i64, value_bytes);
            model.extend(expected(&batch, model.len() as i64));
            append(&mut writer, batch);
        }
        // Each read under the next budget.
        let (mut offset, mut seen, mut budgets) = (Offset(0), Vec::new(), budgets.iter().cycle());
        while offset < reader.end_offset() {
            let limit = ReadLimit { bytes_max: *budgets.next().unwrap(), ..UNLIMITED };
            let slice = reader.read(offset, limit, false).unwrap().slice.unwrap();
            for batch in batches(&slice) {
                seen.extend(records(&batch));
                offset = batch.header.next_offset();
            }
        }
        prop_assert_eq!(seen, model);
    }
}
