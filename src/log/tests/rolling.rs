use super::*;

fn segments_after(fixture: &Fixture, appends: &[(i64, Timestamp)]) -> usize {
    let (mut writer, _) = fixture.open();
    for (timestamp, now) in appends {
        writer.append(&mut [batch(1, *timestamp, 10)], EPOCH, *now).unwrap();
    }
    fixture.files("log").len()
}

#[test]
fn a_segment_takes_no_more_than_segment_bytes() {
    let bytes = batch(1, NOW.0, 10).header.size() as u32;
    assert_eq!(segments_after(&Fixture::new(3 * bytes), &[(NOW.0, NOW); 7]), 3);
    assert_eq!(segments_after(&Fixture::new(3 * bytes - 1), &[(NOW.0, NOW); 6]), 3);
}

#[test]
fn a_set_of_batches_larger_than_a_segment_is_refused() {
    let fixture = Fixture::new(200);
    let (mut writer, reader) = fixture.open();
    let error = writer.append(&mut [batch(1, NOW.0, 300)], EPOCH, NOW).unwrap_err();
    assert_eq!(error.error_code(), crate::protocol::ErrorCode::RecordListTooLarge);
    assert_eq!(reader.end_offset(), Offset(0));
}

#[test]
fn a_segment_rolls_when_timestamps_have_gone_on_by_segment_ms() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.config.segment_ms = Duration::from_millis(100);
    let wall_clock_does_not_count = Timestamp(NOW.0 + 1_000_000);
    assert_eq!(segments_after(&fixture, &[(NOW.0, NOW), (NOW.0 + 100, wall_clock_does_not_count)]), 1);
    assert_eq!(
        segments_after(&fixture, &[(NOW.0 + 101, NOW)]),
        2,
        "measured from the first batch, also after a restart"
    );
}

#[test]
fn the_active_segment_of_a_compacted_log_does_not_outstay_max_compaction_lag() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.config.max_compaction_lag = Duration::from_millis(100);
    assert_eq!(segments_after(&fixture, &[(NOW.0, NOW), (NOW.0 + 101, NOW)]), 1);
    fixture.options.config.compact = true;
    assert_eq!(segments_after(&fixture, &[(NOW.0 + 100, NOW)]), 1);
    assert_eq!(segments_after(&fixture, &[(NOW.0 + 101, NOW)]), 2);
}

#[test]
fn without_timestamps_a_segment_rolls_by_the_wall_clock() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.config.segment_ms = Duration::from_millis(100);
    let later = |ms| Timestamp(NOW.0 + ms);
    assert_eq!(segments_after(&fixture, &[(-1, NOW), (-1, later(100)), (-1, later(101))]), 2);
}

#[test]
fn jitter_is_below_its_bound_and_segment_ms() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.config.segment_ms = Duration::from_millis(100);
    fixture.options.config.segment_jitter_ms = Duration::from_millis(100_000);
    let drawn: Vec<_> = (0..200).map(jitter_of(&fixture)).collect();
    assert!(drawn.iter().all(|jitter| *jitter < Duration::from_millis(100)));
    assert!(drawn.iter().any(|jitter| *jitter != drawn[0]));
    fixture.options.config.segment_jitter_ms = Duration::from_millis(1);
    assert!((0..200).map(jitter_of(&fixture)).all(|jitter| jitter.is_zero()), "below the topic's own bound too");
}

fn jitter_of(fixture: &Fixture) -> impl Fn(u32) -> Duration {
    move |_| crate::log::roll::Age::starting(NOW, &fixture.options.config).jitter
}

#[test]
fn partitions_that_began_together_roll_apart_by_their_jitter() {
    let roll_after_ms = |segment_jitter_ms, ms| {
        let mut fixture = Fixture::new(10_000);
        fixture.options.config.segment_ms = Duration::from_millis(1000);
        fixture.options.config.segment_jitter_ms = Duration::from_millis(segment_jitter_ms);
        segments_after(&fixture, &[(NOW.0, NOW), (NOW.0 + ms, NOW)]) == 2
    };
    let rolled = (0..60).filter(|_| roll_after_ms(1000, 500)).count();
    assert!((1..60).contains(&rolled), "{rolled} of 60 rolled");
    assert!((0..20).all(|_| !roll_after_ms(400, 500)), "none rolls before segment.ms less the bound");
    assert!((0..20).all(|_| roll_after_ms(400, 1001)), "all have rolled after segment.ms");
}

#[test]
fn a_full_index_rolls_the_segment() {
    let mut fixture = Fixture::new(100_000);
    fixture.options.config.index_interval_bytes = 0;
    fixture.options.config.segment_index_bytes = 5 * 12;
    // Room for seven offset entries, but for four and the last one in the time index: the fifth batch adds the fourth.
    assert_eq!(segments_after(&fixture, &(0..5).map(|i| (NOW.0 + i, NOW)).collect::<Vec<_>>()), 1);
    assert_eq!(segments_after(&fixture, &[(NOW.0 + 5, NOW)]), 2);
}

#[test]
fn a_relative_offset_that_does_not_fit_rolls_the_segment() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    let mut wide = batch(1, NOW.0, 10);
    wide.header.last_offset_delta = i32::MAX;
    append(&mut writer, wide);
    append(&mut writer, batch(1, NOW.0, 10));
    assert_eq!(fixture.files("log").len(), 2);
    assert_eq!(reader.end_offset(), Offset(i64::from(i32::MAX) + 2));
}

#[test]
fn a_roll_snapshots_the_producers_and_completes_the_indexes() {
    let fixture = Fixture::new(300);
    let (mut writer, _) = fixture.open();
    for index in 0..4 {
        append(&mut writer, batch(2, NOW.0 + index * 10, 40));
    }
    let bases: Vec<_> = fixture.files("log").iter().skip(1).map(|path| path.with_extension("snapshot")).collect();
    assert!(!bases.is_empty());
    assert_eq!(fixture.files("snapshot"), bases);
    for path in fixture.files("timeindex").iter().rev().skip(1) {
        assert!(!std::fs::read(path).unwrap().is_empty(), "{} ends with its newest timestamp", path.display());
    }
}

#[test]
fn a_roll_that_fails_leaves_the_log_as_it_was() {
    let fixture = Fixture::new(200);
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(1, NOW.0, 10));
    let mut fails_by = |name: &str, obstacle: &str| {
        let path = fixture.options.dir.join(name);
        std::os::unix::fs::symlink(obstacle, &path).unwrap();
        let error = writer.append(&mut [batch(1, NOW.0, 100)], EPOCH, NOW).unwrap_err();
        let _ = std::fs::remove_file(path);
        error
    };
    assert!(matches!(fails_by("00000000000000000001.snapshot.tmp", "/dev/full"), LogError::DiskFull { .. }));
    for name in ["00000000000000000001.timeindex.tmp", "00000000000000000001.log"] {
        assert!(matches!(fails_by(name, "/nowhere/to/be"), LogError::Io { .. }));
    }
    let half_made = std::fs::read_dir(&fixture.options.dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut half_made: Vec<_> = half_made.filter(|name| name.to_str().unwrap().contains("1.")).collect();
    half_made.retain(|name| name != "00000000000000000001.snapshot");
    assert!(half_made.is_empty(), "{half_made:?}");
    // What is small enough still goes into the old segment; none that begins within it may be there at the next start.
    append(&mut writer, batch(1, NOW.0, 10));
    for (_, reader) in [fixture.open(), fixture.open_unclean().unwrap()] {
        assert_eq!(consume(&reader, Offset(0), UNLIMITED).len(), 2);
    }
}

#[test]
fn a_new_configuration_counts_from_the_next_append_on() {
    let fixture = Fixture::new(10_000);
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(1, NOW.0, 10));
    writer.set_config(TopicConfig { segment_bytes: 100, ..fixture.options.config.clone() });
    append(&mut writer, batch(1, NOW.0, 10));
    assert_eq!(fixture.files("log").len(), 2);
}
