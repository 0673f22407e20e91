use proptest::prelude::*;

use super::*;

#[test]
fn a_clean_reopen_reads_the_same_and_goes_on_at_the_end() {
    let fixture = Fixture::new(400);
    let mut model = Vec::new();
    for round in 0..5 {
        let (mut writer, reader) = fixture.open();
        assert_eq!(consume(&reader, Offset(0), UNLIMITED), model, "round {round}");
        for index in 0..round {
            let batch = batch(2, NOW.0 + index, 50);
            model.extend(expected(&batch, model.len() as i64));
            append(&mut writer, batch);
        }
        assert_eq!(writer.close().unwrap(), Offset(model.len() as i64));
    }
}

#[test]
fn a_clean_reopen_reads_a_few_headers_and_not_the_log() {
    let fixture = Fixture::new(1 << 20);
    let (mut writer, _) = fixture.open();
    for index in 0..200 {
        append(&mut writer, batch(1, NOW.0 + index, 100));
    }
    writer.close().unwrap();
    // A byte of damage early on would be met by any scan that passes it.
    let log = &fixture.files("log")[0];
    let mut bytes = std::fs::read(log).unwrap();
    bytes[500..2000].fill(0xff);
    std::fs::write(log, bytes).unwrap();
    let (_writer, reader) = fixture.open();
    assert_eq!(reader.end_offset(), Offset(200));
    assert!(matches!(fixture.open_unclean(), Err(LogError::Damaged { .. })));
}

#[test]
fn a_log_that_was_closed_twice_or_never_written_closes_and_takes_no_more() {
    let fixture = Fixture::new(400);
    let (mut writer, _) = fixture.open();
    assert_eq!(writer.close().unwrap(), Offset(0));
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(1, NOW.0, 10));
    assert_eq!(writer.close().unwrap(), Offset(1));
    assert_eq!(writer.close().unwrap(), Offset(1));
    let late = writer.append(&mut [batch(1, NOW.0, 10)], LeaderEpoch(0), NOW);
    assert!(matches!(late, Err(LogError::Closed)));
}

#[test]
fn once_a_flush_has_failed_the_recovery_point_stays_where_it_is() {
    let fixture = Fixture::new(400);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, batch(1, NOW.0, 10));
    writer.shared.flush().unwrap();
    append(&mut writer, batch(1, NOW.0, 10));
    // A device that cannot be synced.
    let segment = std::sync::Arc::clone(&writer.active.as_ref().unwrap().segment);
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let file = segment.exchange_file(std::sync::Arc::new(device));
    assert!(matches!(writer.close(), Err(LogError::DirFailed { .. })));
    segment.exchange_file(file);
    assert!(matches!(writer.close(), Err(LogError::DirFailed { .. })), "a sync that succeeds now says nothing");
    assert!(matches!(writer.shared.flush(), Err(LogError::DirFailed { .. })));
    assert_eq!(reader.recovery_point(), Offset(1));
}

#[test]
fn a_log_start_beyond_the_end_starts_anew_there() {
    let mut fixture = Fixture::new(400);
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(3, NOW.0, 10));
    writer.close().unwrap();
    fixture.options.log_start_offset = Offset(10);
    let (mut writer, reader) = fixture.open();
    assert_eq!((reader.start_offset(), reader.end_offset()), (Offset(10), Offset(10)));
    fixture.options.recovery_point = writer.close().unwrap();
    (writer, _) = fixture.open();
    assert_eq!(append(&mut writer, batch(1, NOW.0, 10)).base_offset, Offset(10));
    writer.close().unwrap();
    let (_writer, reader) = fixture.open();
    assert_eq!(consume(&reader, Offset(10), UNLIMITED).len(), 1);
}

#[test]
fn leader_epochs_survive_and_the_first_batch_of_each_is_known() {
    let fixture = Fixture::new(400);
    let (mut writer, _) = fixture.open();
    for epoch in [0, 0, 3, 3, 7] {
        writer.append(&mut [batch(2, NOW.0, 10)], LeaderEpoch(epoch), NOW).unwrap();
    }
    writer.close().unwrap();
    let check = |reader: &LogReader| {
        assert_eq!(reader.latest_epoch(), Some(LeaderEpoch(7)));
        assert_eq!([0, 3, 4, 7, 8].map(|at| reader.epoch_at(Offset(at)).unwrap().0), [0, 0, 3, 3, 7]);
        assert_eq!(reader.end_of_epoch(LeaderEpoch(0)), Some((LeaderEpoch(0), Offset(4))));
        assert_eq!(reader.end_of_epoch(LeaderEpoch(5)), Some((LeaderEpoch(3), Offset(8))));
        assert_eq!(reader.end_of_epoch(LeaderEpoch(7)), Some((LeaderEpoch(7), Offset(10))));
        assert_eq!(reader.end_of_epoch(LeaderEpoch(8)), None);
    };
    check(&fixture.open().1);
    let checkpoint = fixture.options.dir.join("leader-epoch-checkpoint");
    for damage in ["", "garbage\n"] {
        std::fs::write(&checkpoint, damage).unwrap();
        check(&fixture.open().1);
        std::fs::write(&checkpoint, damage).unwrap();
        check(&fixture.open_unclean().unwrap().1);
    }
}

#[test]
fn files_that_compaction_had_done_with_are_removed_and_an_unfinished_swap_is_reported() {
    let fixture = Fixture::new(400);
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(1, NOW.0, 10));
    writer.close().unwrap();
    let stray = |suffix: &str| fixture.options.dir.join(format!("00000000000000000000{suffix}"));
    for suffix in [".log.deleted", ".timeindex.cleaned"] {
        std::fs::write(stray(suffix), "x").unwrap();
    }
    fixture.open();
    assert!(!stray(".log.deleted").exists() && !stray(".timeindex.cleaned").exists());
    std::fs::write(stray(".log.swap"), "x").unwrap();
    let error = open(fixture.options.clone()).unwrap_err();
    assert!(error.to_string().contains(".log.swap"), "{error}");
}

#[test]
fn the_folder_names_its_topic() {
    let fixture = Fixture::new(400);
    append(&mut fixture.open().0, batch(1, NOW.0, 10));
    let text = std::fs::read_to_string(fixture.options.dir.join("partition.metadata")).unwrap();
    assert_eq!(text, format!("version: 0\ntopic_id: {}", fixture.options.topic_id));
    assert_eq!(fixture.options.dir.parent(), Some(fixture.root.path()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_log_reopens_as_it_was_cleanly_or_not(
        rounds in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec((1_usize..4, 0_usize..300, 0_i64..50), 0..12)),
            1..5,
        ),
    ) {
        let fixture = Fixture::new(1000);
        let mut model = Vec::new();
        let mut is_clean = true;
        for (closes, appends) in rounds {
            let (mut writer, reader) = if is_clean { fixture.open() } else { fixture.open_unclean().unwrap() };
            prop_assert_eq!(consume(&reader, Offset(0), UNLIMITED), model.clone());
            prop_assert_eq!(reader.end_offset(), Offset(model.len() as i64));
            let on_disk: u64 = if model.is_empty() { 0 } else {
                fixture.files("log").iter().map(|path| path.metadata().unwrap().len()).sum()
            };
            prop_assert_eq!(reader.size_bytes(), on_disk);
            for (count, value_bytes, later) in appends {
                let batch = batch(count, NOW.0 + later, value_bytes);
                model.extend(expected(&batch, model.len() as i64));
                append(&mut writer, batch);
            }
            if closes {
                writer.close().unwrap();
            }
            is_clean = closes;
        }
    }
}
