//! Reads of what is not in the page cache. The folder must be on a disk: what lies in memory cannot be dropped.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::log::cold;

const MIB: usize = 1 << 20;

/// Writes `mib` batches of one MiB and has the kernel forget them; the log is as after a restart.
fn forgotten(fixture: &Fixture, mib: usize) -> (LogWriter, LogReader) {
    let (mut writer, _) = fixture.open();
    for _ in 0..mib {
        append(&mut writer, batch(1, NOW.0, MIB));
    }
    writer.close().unwrap();
    drop(writer);
    for file in fixture.files("log").into_iter().chain(fixture.files("index")) {
        forget(&file);
    }
    let log = fixture.open();
    // Opening looks at the tail, and the kernel reads ahead of that.
    fixture.files("log").iter().for_each(|file| forget(file));
    log
}

fn forget(path: &std::path::Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    sys::drop_cached(&file, 0, file.metadata().unwrap().size()).unwrap();
}

fn first_mib(reader: &LogReader) -> FileSlice {
    reader.read(Offset(0), ReadLimit { bytes_max: MIB as u32, ..UNLIMITED }, false).unwrap().slice.unwrap()
}

#[test]
fn a_worker_is_told_that_a_read_would_wait_for_the_disk_and_after_a_waiting_one_that_it_would_not() {
    let fixture = Fixture::new(1 << 30);
    let (_writer, reader) = forgotten(&fixture, 4);
    assert!(matches!(reader.read_cached(Offset(0), UNLIMITED, false), Err(LogError::Cold)));
    let waited = reader.read(Offset(0), UNLIMITED, false).unwrap().slice.unwrap();
    let cached = reader.read_cached(Offset(0), UNLIMITED, false).unwrap().slice.unwrap();
    assert_eq!((cached.position, cached.length), (waited.position, waited.length));
}

#[test]
fn a_hole_in_the_page_cache_is_noticed_wherever_it_is() {
    let fixture = Fixture::new(1 << 30);
    let (_writer, reader) = forgotten(&fixture, 2);
    let slice = reader.read(Offset(0), UNLIMITED, false).unwrap().slice.unwrap();
    for hole in [0, u64::from(slice.length) / 2, u64::from(slice.length) - 300_000] {
        cold::wait_for(&slice).unwrap();
        assert!(cold::is_cached(&slice).unwrap());
        sys::drop_cached(&slice.file, hole, 300_000).unwrap();
        assert!(!cold::is_cached(&slice).unwrap(), "hole at {hole}");
    }
}

#[test]
fn what_was_read_ahead_and_pushed_out_again_is_read_as_a_whole() {
    let fixture = Fixture::new(1 << 30);
    let (_writer, reader) = forgotten(&fixture, 40);
    (0..8).for_each(|offset| forgotten_read(&reader, Offset(offset)));
    fixture.files("log").iter().for_each(|file| forget(file));
    let limit = ReadLimit { bytes_max: MIB as u32, ..UNLIMITED };
    let slice = reader.read(Offset(5), limit, false).unwrap().slice.unwrap();
    // Each looked at once: a look has the kernel read the page. The last of them may be on their way.
    let between_samples = (slice.position + (64 << 10)..slice.end()).step_by(128 << 10);
    let cached = between_samples.filter(|at| sys::pread_cached(&slice.file, &mut [0], *at).is_ok()).count();
    assert!(cached > 4, "{cached} of 8");
}

#[test]
fn a_read_is_read_ahead_of() {
    let fixture = Fixture::new(1 << 30);
    let (_writer, reader) = forgotten(&fixture, 4);
    let first = first_mib(&reader);
    let next = FileSlice { position: u64::from(first.length), ..first };
    // The kernel reads ahead on its own time.
    let start = std::time::Instant::now();
    while !cold::is_cached(&next).unwrap() {
        assert!(start.elapsed().as_secs() < 10, "nothing was read ahead");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_reader_far_from_the_tail_has_read_leaves_the_page_cache_behind_it_and_the_tail_stays() {
    let fixture = Fixture::new(1 << 30);
    let (mut writer, reader) = forgotten(&fixture, 100);
    append(&mut writer, batch(1, NOW.0, MIB));
    let tail = reader.read(Offset(100), UNLIMITED, false).unwrap().slice.unwrap();
    assert!(cold::is_cached(&tail).unwrap());
    let first = first_mib(&reader);
    let mut offset = Offset(1);
    while offset < Offset(30) {
        let limit = ReadLimit { bytes_max: MIB as u32, ..UNLIMITED };
        if matches!(reader.read_cached(offset, limit, false), Err(LogError::Cold)) {
            reader.read(offset, limit, false).unwrap();
        }
        offset = offset.plus(1);
    }
    assert!(!cold::is_cached(&first).unwrap());
    assert!(cold::is_cached(&tail).unwrap());
}

#[test]
fn readers_beside_each_other_are_each_cleared_up_behind() {
    let fixture = Fixture::new(1 << 30);
    let (_writer, reader) = forgotten(&fixture, 220);
    let limit = ReadLimit { bytes_max: MIB as u32, ..UNLIMITED };
    let first_of = |offset| reader.read(Offset(offset), limit, false).unwrap().slice.unwrap();
    let firsts = [first_of(0), first_of(80)];
    for offset in 1..40 {
        for start in [0, 80] {
            let offset = Offset(start + offset);
            if matches!(reader.read_cached(offset, limit, false), Err(LogError::Cold)) {
                reader.read(offset, limit, false).unwrap();
            }
        }
    }
    for first in firsts {
        assert!(!cold::is_cached(&first).unwrap());
    }
}

#[test]
fn what_lies_near_the_tail_stays_in_the_page_cache() {
    let fixture = Fixture::new(1 << 30);
    let (_writer, reader) = forgotten(&fixture, 40);
    let first = first_mib(&reader);
    for offset in 1..40 {
        forgotten_read(&reader, Offset(offset));
    }
    assert!(cold::is_cached(&first).unwrap());
}

#[test]
fn a_removed_segments_file_is_not_kept_open_by_what_was_read_of_it() {
    let fixture = Fixture::new(70 * MIB as u32);
    let (mut writer, reader) = forgotten(&fixture, 140);
    let file = std::sync::Arc::downgrade(&first_mib(&reader).file);
    assert_eq!(reader.shared.cold.lock().len(), 1, "it was read far from the tail");
    let start = reader.shared.view().segments.last().unwrap().base_offset;
    writer.advance_start(start).unwrap();
    writer.remove_before(start, std::time::Instant::now()).unwrap();
    assert!(file.upgrade().is_none());
}

fn forgotten_read(reader: &LogReader, offset: Offset) {
    reader.read(offset, ReadLimit { bytes_max: MIB as u32, ..UNLIMITED }, false).unwrap();
}
