use std::path::Path;

use super::*;

/// Three batches of two records each, in one segment; the batch ends.
fn three_batches(fixture: &Fixture) -> (Vec<Seen>, Vec<u64>) {
    let (mut writer, reader) = fixture.open();
    let (mut model, mut ends) = (Vec::new(), Vec::new());
    for index in 0..3 {
        let batch = batch(2, NOW.0 + index * 10, 40);
        model.extend(expected(&batch, model.len() as i64));
        append(&mut writer, batch);
        ends.push(reader.size_bytes());
    }
    (model, ends)
}

fn truncate(path: &Path, length: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn flip(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at as usize] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    let fixture = Fixture::new(10_000);
    let (model, ends) = three_batches(&fixture);
    let log = fixture.files("log").remove(0);
    let whole = std::fs::read(&log).unwrap();
    for length in ends[1]..ends[2] {
        std::fs::write(&log, &whole[..length as usize]).unwrap();
        let (mut writer, reader) = fixture.open_unclean().unwrap();
        assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..4], "cut at {length}");
        assert_eq!(reader.size_bytes(), ends[1]);
        assert_eq!(log.metadata().unwrap().len(), ends[1]);
        assert_eq!(append(&mut writer, batch(1, NOW.0, 10)).base_offset, Offset(4));
        assert_eq!(consume(&reader, Offset(4), UNLIMITED).len(), 1);
    }
}

#[test]
fn a_tail_whose_last_bytes_never_reached_the_disk_is_cut() {
    let fixture = Fixture::new(10_000);
    let (model, ends) = three_batches(&fixture);
    let log = fixture.files("log").remove(0);
    let whole = std::fs::read(&log).unwrap();
    for zeros_from in ends[1]..ends[2] - 1 {
        let mut torn = whole.clone();
        torn[zeros_from as usize..].fill(0);
        torn.resize(torn.len() + 5000, 0);
        std::fs::write(&log, &torn).unwrap();
        let (_, reader) = fixture.open_unclean().unwrap();
        assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..4], "zeros from {zeros_from}");
    }
}

#[test]
fn a_flipped_bit_in_front_of_a_valid_batch_is_reported_and_nothing_is_cut() {
    let fixture = Fixture::new(10_000);
    let (_, ends) = three_batches(&fixture);
    let log = fixture.files("log").remove(0);
    let whole = std::fs::read(&log).unwrap();
    // The CRC covers neither the leader epoch nor the base offset; a larger offset looks like a hole, until the next
    // batch goes back.
    for at in (ends[0]..ends[1]).filter(|at| !(12..16).contains(&(at - ends[0]))) {
        flip(&log, at);
        let opened = fixture.open_unclean();
        if at - ends[0] >= 8 {
            let error = opened.unwrap_err();
            let LogError::Damaged { path, position, offset, .. } = &error else { panic!("{error}") };
            assert_eq!((path, *position, *offset), (&log, ends[0], Offset(2)), "flipped {at}");
            assert_eq!(error.error_code(), crate::protocol::ErrorCode::KafkaStorageError);
        } else {
            assert!(matches!(opened, Err(LogError::Damaged { .. })), "flipped {at}");
        }
        assert_eq!(log.metadata().unwrap().len(), ends[2]);
        std::fs::write(&log, &whole).unwrap();
    }
    fixture.open_unclean().unwrap();
}

#[test]
fn a_flipped_bit_in_an_earlier_segment_is_reported() {
    let fixture = Fixture::new(300);
    let (mut writer, _) = fixture.open();
    for index in 0..8 {
        append(&mut writer, batch(2, NOW.0 + index, 40));
    }
    let logs = fixture.files("log");
    assert!(logs.len() > 3);
    let length = logs[1].metadata().unwrap().len();
    flip(&logs[1], length - 1);
    let error = fixture.open_unclean().unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == logs[1]), "{error}");
    assert_eq!(fixture.files("log"), logs);
}

#[test]
fn damage_before_the_recovery_point_is_reported_even_at_the_tail() {
    let mut fixture = Fixture::new(10_000);
    let (_, ends) = three_batches(&fixture);
    let log = fixture.files("log").remove(0);
    truncate(&log, ends[2] - 1);
    fixture.options.recovery_point = Offset(6);
    let error = fixture.open_unclean().unwrap_err();
    assert!(matches!(error, LogError::Damaged { position, .. } if position == ends[1]), "{error}");
    assert_eq!(log.metadata().unwrap().len(), ends[2] - 1, "nothing is cut");
    // Cut at a batch's end, nothing looks torn: yet a flushed batch is gone.
    truncate(&log, ends[1]);
    assert!(matches!(fixture.open_unclean(), Err(LogError::Damaged { .. })));
    assert!(matches!(open(fixture.options.clone()), Err(LogError::Damaged { .. })));
    fixture.options.recovery_point = Offset(4);
    fixture.open_unclean().unwrap();
}

#[test]
fn segments_before_the_recovery_point_are_not_read() {
    let mut fixture = Fixture::new(300);
    let (mut writer, _) = fixture.open();
    for index in 0..8 {
        append(&mut writer, batch(2, NOW.0 + index, 40));
    }
    let logs = fixture.files("log");
    flip(&logs[0], 100);
    assert!(fixture.open_unclean().is_err());
    fixture.options.recovery_point = Offset(8);
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(reader.end_offset(), Offset(16));
}

#[test]
fn a_tail_torn_before_an_empty_new_segment_is_cut() {
    let fixture = Fixture::new(300);
    let (mut writer, reader) = fixture.open();
    let mut model = Vec::new();
    for index in 0..5 {
        let batch = batch(2, NOW.0 + index, 40);
        model.extend(expected(&batch, model.len() as i64));
        append(&mut writer, batch);
    }
    let last = fixture.files("log").pop().unwrap();
    let end = reader.end_offset();
    drop(writer);
    std::fs::write(fixture.options.dir.join(format!("{:020}.log", end.0)), []).unwrap();
    let length = last.metadata().unwrap().len();
    truncate(&last, length - 1);
    let (mut writer, reader) = fixture.open_unclean().unwrap();
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..8]);
    assert_eq!(append(&mut writer, batch(1, NOW.0, 10)).base_offset, Offset(8));
}

#[test]
fn a_clean_mark_that_is_not_true_leads_to_recovery() {
    let fixture = Fixture::new(10_000);
    let (model, ends) = three_batches(&fixture);
    truncate(&fixture.files("log")[0], ends[2] - 1);
    let (_, reader) = fixture.open();
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..4]);
}

#[test]
fn what_a_failed_write_left_behind_is_never_seen() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    let first = batch(2, NOW.0, 40);
    append(&mut writer, first.clone());
    let (end, size) = (reader.end_offset(), reader.size_bytes());

    // A device that takes nothing, not even a cut.
    let segment = std::sync::Arc::clone(&writer.active.as_ref().unwrap().segment);
    let full = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let file = segment.exchange_file(std::sync::Arc::new(full));
    assert!(matches!(writer.append(&mut [batch(1, NOW.0, 10)], EPOCH, NOW), Err(LogError::DiskFull { .. })));
    assert_eq!((reader.end_offset(), reader.size_bytes()), (end, size));

    // The part lies behind the end, where nothing can be put any more: the log dir has failed.
    sys::pwrite_all(&file, &[0xab; 1000], size).unwrap();
    segment.exchange_file(file);
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), expected(&first, 0));
    assert!(matches!(writer.append(&mut [batch(1, NOW.0, 10)], EPOCH, NOW), Err(LogError::DirFailed { .. })));
    assert_eq!(consume(&fixture.open_unclean().unwrap().1, Offset(0), UNLIMITED), expected(&first, 0));
}

#[test]
fn a_batch_length_beyond_the_file_is_not_believed() {
    let fixture = Fixture::new(10_000);
    let (model, ends) = three_batches(&fixture);
    let log = fixture.files("log").remove(0);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[ends[1] as usize + 8..ends[1] as usize + 12].copy_from_slice(&i32::MAX.to_be_bytes());
    std::fs::write(&log, bytes).unwrap();
    let (_, reader) = fixture.open_unclean().unwrap();
    assert_eq!(consume(&reader, Offset(0), UNLIMITED), model[..4]);
}

#[test]
fn a_batch_length_that_damage_made_larger_is_not_a_reason_to_read_so_much() {
    let fixture = Fixture::new(10_000);
    let (_, ends) = three_batches(&fixture);
    let log = fixture.files("log").remove(0);
    // The first batch seems to hold the second one too, and its timestamp is the one that is looked for.
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[8..12].copy_from_slice(&(ends[1] as i32 - 12).to_be_bytes());
    std::fs::write(&log, bytes).unwrap();
    let (_, reader) = fixture.open();
    let error = reader.offset_for_timestamp(NOW).unwrap_err();
    assert!(error.to_string().contains("CRC"), "{error}");
}

#[test]
fn batches_that_go_back_in_offsets_are_damage() {
    let fixture = Fixture::new(10_000);
    let (_, ends) = three_batches(&fixture);
    let log = fixture.files("log").remove(0);
    let bytes = std::fs::read(&log).unwrap();
    let (first, rest) = bytes.split_at(ends[0] as usize);
    std::fs::write(&log, [first, first, rest].concat()).unwrap();
    let error = fixture.open_unclean().unwrap_err();
    assert!(error.to_string().contains("offsets from 0 on where 2 or more must follow"), "{error}");
}

#[test]
fn batches_that_go_back_in_offsets_are_damage_after_a_clean_stop_too() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.config.index_interval_bytes = 10_000;
    let (mut writer, reader) = fixture.open();
    append(&mut writer, batch(2, NOW.0 + 10, 40));
    let second = reader.size_bytes() as usize;
    append(&mut writer, batch(2, NOW.0, 40));
    writer.close().unwrap();
    let log = fixture.files("log").remove(0);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[second + 7] = 1;
    std::fs::write(&log, bytes).unwrap();
    // Indexes or not, the next append would get an offset that the log has passed.
    for _ in 0..2 {
        let error = open(fixture.options.clone()).unwrap_err();
        assert!(error.to_string().contains("offsets from 1 on where 2 or more must follow"), "{error}");
        fixture.files("timeindex").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
}

#[test]
fn a_segment_that_begins_below_the_end_of_the_one_before_it_is_damage() {
    let fixture = Fixture::new(10_000);
    three_batches(&fixture);
    let second = fixture.options.dir.join("00000000000000000004.log");
    std::fs::write(&second, []).unwrap();
    let error = fixture.open_unclean().unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == second), "{error}");
    assert!(error.to_string().contains("offsets from 4 on where 6 or more must follow"), "{error}");
    assert!(second.exists());
}

#[test]
fn an_empty_segment_behind_offsets_that_compaction_took_keeps_the_end_of_the_log() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.config.compact = true;
    let (model, _) = three_batches(&fixture);
    std::fs::write(fixture.options.dir.join("00000000000000000010.log"), [0xff; 30]).unwrap();
    // The first recovery cuts it to nothing, and the second one finds it so.
    for _ in 0..2 {
        let (_, reader) = fixture.open_unclean().unwrap();
        assert_eq!(reader.end_offset(), Offset(10));
        assert_eq!(consume(&reader, Offset(0), UNLIMITED), model);
    }
}

#[test]
fn the_last_offset_there_is_belongs_to_no_batch() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.log_start_offset = Offset(i64::MAX - 3);
    let (mut writer, reader) = fixture.open();
    let refused = writer.append(&mut [batch(4, NOW.0, 10)], EPOCH, NOW);
    assert!(matches!(refused, Err(LogError::NoOffsetLeft(Offset(at))) if at == i64::MAX - 3), "{refused:?}");
    assert_eq!(append(&mut writer, batch(3, NOW.0, 10)).last_offset, Offset(i64::MAX - 1));
    assert!(writer.append(&mut [batch(1, NOW.0, 10)], EPOCH, NOW).is_err());
    assert_eq!(consume(&reader, Offset(i64::MAX - 3), UNLIMITED).len(), 3);

    // One on the disk that had it could not be read past.
    let log = fixture.files("log").remove(0);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[..8].copy_from_slice(&(i64::MAX - 2).to_be_bytes());
    std::fs::write(&log, bytes).unwrap();
    assert!(matches!(fixture.open_unclean(), Err(LogError::Damaged { .. })));
}

#[test]
fn a_log_start_below_zero_is_none() {
    let mut fixture = Fixture::new(10_000);
    fixture.options.log_start_offset = Offset(-5);
    let (mut writer, reader) = fixture.open();
    assert_eq!(append(&mut writer, batch(1, NOW.0, 10)).base_offset, Offset(0));
    assert_eq!(reader.start_offset(), Offset(0));
}

#[test]
fn garbage_of_any_kind_opens_or_is_reported_but_does_not_panic() {
    let fixture = Fixture::new(10_000);
    std::fs::create_dir(&fixture.options.dir).unwrap();
    let path = |suffix: &str| fixture.options.dir.join(format!("00000000000000000000{suffix}"));
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..60 {
        for suffix in [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] {
            let bytes: Vec<u8> = (0..round * 7)
                .map(|_| {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    noise as u8
                })
                .collect();
            std::fs::write(path(suffix), bytes).unwrap();
        }
        let (mut writer, reader) = fixture.open();
        assert_eq!(reader.end_offset(), Offset(0));
        append(&mut writer, batch(1, NOW.0, 10));
        assert_eq!(consume(&reader, Offset(0), UNLIMITED).len(), 1);
        std::fs::remove_dir_all(&fixture.options.dir).unwrap();
        std::fs::create_dir(&fixture.options.dir).unwrap();
    }
}
