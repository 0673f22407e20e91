//! Power loss: of what was not flushed, each sector is on the disk as it was after some write, or not at all.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const SECTOR: usize = 512;

/// Of each file's sectors from `flushed` on, one of the versions that the file went through; the file as long as some of
/// them.
fn lose_power(path: &Path, versions: &[Vec<u8>], flushed: usize, pick: &mut impl FnMut(usize) -> usize) {
    let longest = versions.last().unwrap().len();
    let length = flushed + pick(longest - flushed + 1);
    let mut left = vec![0; length];
    left[..flushed].copy_from_slice(&versions.last().unwrap()[..flushed]);
    let mut at = flushed / SECTOR * SECTOR;
    while at < length {
        let end = (at + SECTOR).min(length);
        // The last version most of the time, so that there are batches behind the holes.
        let version = &versions[if pick(3) == 0 { pick(versions.len()) } else { versions.len() - 1 }];
        let from = at.max(flushed);
        for (byte, position) in left[from..end].iter_mut().zip(from..) {
            *byte = version.get(position).copied().unwrap_or(0);
        }
        at = end;
    }
    std::fs::write(path, left).unwrap();
}

fn lengths(fixture: &Fixture) -> std::collections::BTreeMap<PathBuf, usize> {
    let files = std::fs::read_dir(&fixture.options.dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), path.metadata().unwrap().len() as usize)).collect()
}

/// Numbers that look random.
fn noise(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    }
}

/// Such holes are left by a compaction, of which the configuration may know nothing any more.
#[test]
fn a_segment_that_ends_before_the_next_begins_is_whole_where_compaction_was() {
    let mut fixture = Fixture::new(500);
    let (mut writer, _) = fixture.open();
    for _ in 0..6 {
        append(&mut writer, batch(1, NOW.0, 100));
    }
    drop(writer);
    let first = &fixture.files("log")[0];
    let one_batch = std::fs::metadata(first).unwrap().len() / 2;
    std::fs::File::options().write(true).open(first).unwrap().set_len(one_batch).unwrap();
    fixture.options.cleaned = true;
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(reader.end_offset(), Offset(6));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_power_loss_takes_no_partition_offline_and_nothing_that_was_flushed(
        appends in proptest::collection::vec((1_usize..3, 0_usize..900), 1..30),
        flushed_at in 0_usize..30,
        segment_bytes in prop_oneof![Just(3000_u32), Just(100_000)],
        seed in any::<u64>(),
    ) {
        let mut fixture = Fixture::new(segment_bytes);
        let mut pick = noise(seed);
        let (mut writer, reader) = fixture.open();
        let mut model = Vec::new();
        let mut versions: std::collections::BTreeMap<PathBuf, Vec<Vec<u8>>> = Default::default();
        let mut flushed: std::collections::BTreeMap<PathBuf, usize> = Default::default();
        for (index, (count, value_bytes)) in appends.iter().enumerate() {
            let batch = batch(*count, NOW.0 + index as i64 * 10, *value_bytes);
            model.extend(expected(&batch, model.len() as i64));
            append(&mut writer, batch);
            let active = fixture.files("log").pop().unwrap();
            let content = std::fs::read(&active).unwrap();
            versions.entry(active).or_insert_with(|| vec![Vec::new()]).push(content);
            if index == flushed_at {
                writer.shared.flush().unwrap();
                fixture.options.recovery_point = reader.recovery_point();
                flushed = lengths(&fixture);
            }
        }
        drop(writer);
        for (path, versions) in &versions {
            lose_power(path, versions, flushed.get(path).copied().unwrap_or(0), &mut pick);
        }
        for path in lengths(&fixture).into_keys().filter(|path| !versions.contains_key(path)) {
            let written = std::fs::read(&path).unwrap();
            lose_power(&path, &[Vec::new(), written], flushed.get(&path).copied().unwrap_or(0), &mut pick);
        }
        let opened = fixture.open_unclean();
        prop_assert!(opened.is_ok(), "{}", opened.unwrap_err());
        let (mut writer, reader) = opened.unwrap();
        let seen = consume(&reader, Offset(0), UNLIMITED);
        prop_assert_eq!(&seen[..], &model[..seen.len()], "dense, in order, nothing invented");
        prop_assert!(seen.len() as i64 >= fixture.options.recovery_point.0, "what was flushed is there");
        let next = append(&mut writer, batch(1, NOW.0, 10));
        prop_assert_eq!(next.base_offset.0, seen.len() as i64);
    }
}

/// Batches of about 700 bytes, in one segment or a few; where each ends in its file.
fn batches_of_700(fixture: &Fixture, count: i64) -> (Vec<Seen>, Vec<u64>) {
    let (mut writer, reader) = fixture.open();
    let (mut model, mut ends) = (Vec::new(), Vec::new());
    for index in 0..count {
        let batch = batch(1, NOW.0 + index * 10, 620);
        model.extend(expected(&batch, model.len() as i64));
        append(&mut writer, batch);
        ends.push(reader.size_bytes());
    }
    (model, ends)
}

fn zero(path: &Path, range: std::ops::Range<usize>) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[range].fill(0);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_sector_that_was_never_written_ends_the_log_though_whole_batches_follow() {
    let fixture = Fixture::new(100_000);
    let (model, ends) = batches_of_700(&fixture, 8);
    let log = fixture.files("log").remove(0);
    let sector = (ends[1] as usize).next_multiple_of(SECTOR);
    assert!(sector + SECTOR <= ends[2] as usize + SECTOR);
    zero(&log, sector..sector + SECTOR);
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..2]);
    assert_eq!(log.metadata().unwrap().len(), ends[1]);
}

#[test]
fn a_hole_below_the_recovery_point_is_damage() {
    let mut fixture = Fixture::new(100_000);
    let (_, ends) = batches_of_700(&fixture, 8);
    let log = fixture.files("log").remove(0);
    let sector = (ends[1] as usize).next_multiple_of(SECTOR);
    zero(&log, sector..sector + SECTOR);
    for path in fixture.files("index") {
        std::fs::remove_file(path).unwrap();
    }
    fixture.options.recovery_point = Offset(6);
    let error = fixture.open_unclean().unwrap_err();
    assert!(matches!(error, LogError::Damaged { position, .. } if position == ends[1]), "{error}");
}

#[test]
fn less_than_a_sector_of_zeros_is_damage_where_a_batch_follows() {
    let fixture = Fixture::new(100_000);
    let (_, ends) = batches_of_700(&fixture, 8);
    let log = fixture.files("log").remove(0);
    let sector = (ends[1] as usize).next_multiple_of(SECTOR);
    zero(&log, sector + 1..sector + SECTOR);
    let before = std::fs::read(&log).unwrap();
    assert!(matches!(fixture.open_unclean(), Err(LogError::Damaged { .. })));
    assert_eq!(std::fs::read(&log).unwrap(), before);
}

#[test]
fn a_hole_in_an_earlier_segment_sets_the_later_ones_aside() {
    let fixture = Fixture::new(2000);
    let (model, _) = batches_of_700(&fixture, 8);
    let logs = fixture.files("log");
    assert!(logs.len() > 3);
    zero(&logs[1], 512..1024);
    let (_, reader) = fixture.open_unclean().unwrap();
    let base = logs[1].file_stem().unwrap().to_str().unwrap().parse::<usize>().unwrap();
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..base]);
    assert_eq!(fixture.files("log"), logs[..2]);
    let aside = fixture.files("deleted");
    assert!(logs[2..].iter().all(|log| aside.contains(&log.with_added_extension("deleted"))), "{aside:?}");
}

#[test]
fn a_segment_that_lacks_whole_batches_at_its_end_ends_the_log_unless_it_may_be_compacted() {
    let mut fixture = Fixture::new(2000);
    let (model, ends) = batches_of_700(&fixture, 8);
    let logs = fixture.files("log");
    let bytes = std::fs::read(&logs[1]).unwrap();
    let base = logs[1].file_stem().unwrap().to_str().unwrap().parse::<usize>().unwrap();
    std::fs::write(&logs[1], &bytes[..ends[0] as usize]).unwrap();
    fixture.options.config.compact = true;
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(reader.end_offset(), Offset(8));
    fixture.options.config.compact = false;
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..base + 1]);
}

#[test]
fn a_length_that_a_flipped_bit_made_larger_is_no_batch_that_was_cut_short() {
    let fixture = Fixture::new(2000);
    batches_of_700(&fixture, 8);
    let logs = fixture.files("log");
    let mut bytes = std::fs::read(&logs[1]).unwrap();
    let last = bytes.len() / 2;
    bytes[last + 9] ^= 0x10;
    std::fs::write(&logs[1], bytes).unwrap();
    assert!(matches!(fixture.open_unclean(), Err(LogError::Damaged { .. })));
    assert_eq!(fixture.files("log"), logs);
}

#[test]
fn a_sealed_segment_that_is_longer_than_its_batches_by_zeros_keeps_those_behind_it() {
    let fixture = Fixture::new(2000);
    let (model, _) = batches_of_700(&fixture, 8);
    let log = fixture.files("log").remove(1);
    let length = log.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length + 5000).unwrap();
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model);
    assert_eq!(log.metadata().unwrap().len(), length);
}
