use super::*;

/// Sixty batches in segments of about six; every one but a segment's first has an index entry.
fn indexed_log(fixture: &Fixture) -> Vec<Seen> {
    let (mut writer, _) = fixture.open();
    let mut model = Vec::new();
    for index in 0..60 {
        let batch = batch(2, NOW.0 + index * 10, 40);
        model.extend(expected(&batch, model.len() as i64));
        append(&mut writer, batch);
    }
    writer.close().unwrap();
    assert!(fixture.files("log").len() > 5);
    model
}

/// Every read and every lookup by time gives what the model says.
fn check(reader: &LogReader, model: &[Seen]) {
    for (at, record) in model.iter().enumerate() {
        assert_eq!(consume(reader, Offset(record.offset), UNLIMITED), model[at..]);
        let found = reader.offset_for_timestamp(Timestamp(record.timestamp)).unwrap().unwrap();
        assert_eq!((found.offset.0, found.timestamp.0), (record.offset, record.timestamp));
    }
    let newest = reader.offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!(newest.offset.0, model.last().unwrap().offset);
}

fn contents(fixture: &Fixture) -> Vec<Vec<u8>> {
    ["index", "timeindex"]
        .iter()
        .flat_map(|kind| fixture.files(kind))
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[test]
fn entries_are_as_sparse_as_the_interval_says_and_name_their_batch() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    let bytes = batch(2, NOW.0, 40).header.size() as u32;
    assert!(bytes > 75 && bytes < 300, "two batches make an interval");
    for index in 0..9 {
        append(&mut writer, batch(2, NOW.0 + index * 10, 40));
    }
    writer.close().unwrap();
    let every = 150 / bytes as usize + 1;
    // An entry stands for the first batch after more than an interval's bytes: its last offset, its position.
    let entries = (1..9).filter(|index| index % every == 0);
    let index: Vec<u8> =
        entries.clone().flat_map(|at| [(at * 2 + 1) as u32, at as u32 * bytes]).flat_map(u32::to_be_bytes).collect();
    assert_eq!(std::fs::read(&fixture.files("index")[0]).unwrap(), index);
    // The newest timestamp so far, and at the close the newest of all.
    let mut times: Vec<usize> = entries.collect();
    if times.last() != Some(&8) {
        times.push(8);
    }
    let time_index: Vec<u8> = times
        .iter()
        .flat_map(|at| {
            let timestamp = (NOW.0 + *at as i64 * 10 + 1).to_be_bytes();
            [timestamp.as_slice(), &(*at as u32 * 2 + 1).to_be_bytes()].concat()
        })
        .collect();
    assert_eq!(std::fs::read(&fixture.files("timeindex")[0]).unwrap(), time_index);
    assert_eq!(reader.end_offset(), Offset(18));
}

/// What becomes of an index file's content.
type Damage = dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn indexes_that_are_missing_short_or_garbage_do_no_harm_after_a_clean_stop() {
    let garbage = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 0x5a).collect::<Vec<u8>>();
    let zeros = |bytes: &[u8]| vec![0; bytes.len().max(24)];
    let odd = |bytes: &[u8]| bytes[..bytes.len().saturating_sub(5)].to_vec();
    let half = |bytes: &[u8]| bytes[..bytes.len() / 24 * 12].to_vec();
    let longer = |bytes: &[u8]| [bytes, bytes, &[0xff; 24]].concat();
    let damages: [&Damage; 5] = [&garbage, &zeros, &odd, &half, &longer];
    let fixture = Fixture::new(1000);
    let model = indexed_log(&fixture);
    for kind in ["index", "timeindex"] {
        for damage in damages {
            for path in fixture.files(kind) {
                std::fs::write(&path, damage(&std::fs::read(&path).unwrap())).unwrap();
            }
            check(&fixture.open().1, &model);
        }
        fixture.files(kind).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        check(&fixture.open().1, &model);
    }
}

/// Gives each of an index's entries, but for the last, the second field of the one behind it.
fn shift(content: &[u8], entry_bytes: usize, first_field_bytes: usize) -> Vec<u8> {
    let mut shifted = content.to_vec();
    for at in (0..content.len().saturating_sub(entry_bytes)).step_by(entry_bytes) {
        let (field, next) = (at + first_field_bytes..at + entry_bytes, at + entry_bytes + first_field_bytes);
        shifted[field.clone()].copy_from_slice(&content[next..next + field.len()]);
    }
    shifted
}

#[test]
fn entries_that_name_a_later_batch_than_they_should_are_not_believed() {
    for (kind, entry_bytes, first_field_bytes) in [("index", 8, 4), ("timeindex", 12, 8)] {
        let fixture = Fixture::new(1000);
        let model = indexed_log(&fixture);
        let before = contents(&fixture);
        for path in fixture.files(kind) {
            let content = std::fs::read(&path).unwrap();
            std::fs::write(path, shift(&content, entry_bytes, first_field_bytes)).unwrap();
        }
        assert_ne!(contents(&fixture), before, "the test must damage something");
        check(&fixture.open().1, &model);
        // An entry of the active segment that nothing vouches for stays until the segment is sealed.
        let active = fixture.files(kind).pop().unwrap();
        let rebuilt = fixture.files(kind).into_iter().filter(|path| *path != active);
        assert!(rebuilt.map(|path| std::fs::read(path).unwrap()).all(|content| before.contains(&content)), "{kind}");
    }
}

#[test]
fn a_missing_index_is_there_again_once_it_was_needed() {
    let fixture = Fixture::new(1000);
    let model = indexed_log(&fixture);
    let before = contents(&fixture);
    for kind in ["index", "timeindex"] {
        fixture.files(kind).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
    check(&fixture.open().1, &model);
    assert_eq!(contents(&fixture), before);
}

#[test]
fn recovery_writes_the_same_indexes() {
    let fixture = Fixture::new(1000);
    let model = indexed_log(&fixture);
    let before = contents(&fixture);
    for path in ["index", "timeindex"].iter().flat_map(|kind| fixture.files(kind)) {
        std::fs::write(path, [7; 36]).unwrap();
    }
    check(&fixture.open_unclean().unwrap().1, &model);
    assert_eq!(contents(&fixture), before);
}

#[test]
fn waiting_entries_are_found_before_and_after_they_are_written() {
    let mut fixture = Fixture::new(1 << 20);
    fixture.options.config.index_interval_bytes = 0;
    let (mut writer, reader) = fixture.open();
    let mut model = Vec::new();
    for index in 0..150 {
        let batch = batch(1, NOW.0 + index, 10);
        model.extend(expected(&batch, model.len() as i64));
        append(&mut writer, batch);
        let last = model.len() - 1;
        assert_eq!(consume(&reader, Offset(last as i64), UNLIMITED), model[last..]);
    }
    // 149 entries: twice 64 were written, the rest waits.
    assert_eq!(std::fs::read(&fixture.files("index")[0]).unwrap().len(), 128 * 8);
    check(&reader, &model);
    writer.close().unwrap();
    assert_eq!(std::fs::read(&fixture.files("index")[0]).unwrap().len(), 149 * 8);
    check(&fixture.open().1, &model);
}

#[test]
fn an_index_that_a_long_walk_shows_to_be_thin_is_rebuilt() {
    let fixture = Fixture::new(150_000);
    let (mut writer, _) = fixture.open();
    while !fixture.options.dir.exists() || fixture.files("log").len() < 2 {
        append(&mut writer, batch(1, NOW.0, 1));
    }
    writer.close().unwrap();
    let index = fixture.files("index").remove(0);
    let before = std::fs::read(&index).unwrap();
    std::fs::write(&index, &before[..8]).unwrap();
    let (_writer, reader) = fixture.open();
    let last = Offset(reader.end_offset().0 - 2);
    assert_eq!(consume(&reader, last, UNLIMITED).len(), 2);
    assert_eq!(std::fs::read(&index).unwrap(), before);
}

#[test]
fn indexes_padded_with_zeros_as_kafka_preallocates_them_are_read_to_their_last_entry() {
    const PREALLOCATED_BYTES: u64 = 10 << 20;
    let fixture = Fixture::new(1000);
    let model = indexed_log(&fixture);
    let before = contents(&fixture);
    for path in fixture.files("index").into_iter().chain(fixture.files("timeindex")) {
        let bytes = PREALLOCATED_BYTES - PREALLOCATED_BYTES % 12;
        std::fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
    }
    let (mut writer, reader) = fixture.open();
    let view = reader.shared.view();
    let entries = |bytes: &Vec<u8>, size: usize| (bytes.len() / size) as u64;
    let (offsets, times) = before.split_at(before.len() / 2);
    for (segment, (offsets, times)) in view.segments.iter_from(0).zip(offsets.iter().zip(times)) {
        assert_eq!(segment.offset_index.len().unwrap(), entries(offsets, 8));
        assert_eq!(segment.time_index.len().unwrap(), entries(times, 12));
    }
    check(&reader, &model);
    append(&mut writer, batch(1, NOW.0 + 10_000, 10));
    writer.close().unwrap();
    let last = fixture.files("index").pop().unwrap().metadata().unwrap().len();
    assert!(last < 1000, "the padding is cut off with the next write");
}

#[test]
fn an_index_of_nothing_but_padding_is_empty() {
    let fixture = Fixture::new(10_000);
    let (mut writer, _) = fixture.open();
    append(&mut writer, batch(2, NOW.0, 40));
    writer.close().unwrap();
    for kind in ["index", "timeindex"] {
        std::fs::write(&fixture.files(kind)[0], vec![0; 4800]).unwrap();
    }
    let (_, reader) = fixture.open();
    assert_eq!(reader.shared.view().segments.get(0).unwrap().offset_index.len().unwrap(), 0);
    assert_eq!(consume(&reader, Offset(0), UNLIMITED).len(), 2);
}
