use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn readers_beside_an_appender_and_a_flush_see_whole_batches_in_order_and_nothing_unpublished() {
    const APPENDS: i64 = 2000;
    let fixture = Fixture::new(4000);
    let (mut writer, reader) = fixture.open();
    let is_done = AtomicBool::new(false);
    let is_done = &is_done;
    std::thread::scope(|scope| {
        for bytes_max in [1, 700, u32::MAX] {
            let reader = reader.clone();
            scope.spawn(move || follow(&reader, bytes_max, is_done));
        }
        let newest = reader.clone();
        scope.spawn(move || {
            while !is_done.load(Ordering::Acquire) {
                let end = newest.end_offset();
                if let Some(found) = newest.offset_of_max_timestamp().unwrap() {
                    assert!(found.offset.plus(1) >= end, "the newest of {end} or more is at {}", found.offset);
                }
            }
        });
        let housekeeper = reader.clone();
        scope.spawn(move || {
            while !is_done.load(Ordering::Acquire) {
                housekeeper.flush_sealed().unwrap();
                housekeeper.shared.view().segments.iter_from(0).for_each(|segment| segment.release_files());
            }
        });
        for index in 0..APPENDS {
            append(&mut writer, batch(1, NOW.0 + index, (index % 90) as usize));
        }
        is_done.store(true, Ordering::Release);
    });
    assert_eq!(reader.end_offset(), Offset(APPENDS));
}

/// Consumes to the end, which it must reach.
fn follow(reader: &LogReader, bytes_max: u32, is_done: &AtomicBool) {
    let mut offset = Offset(0);
    loop {
        let was_done = is_done.load(Ordering::Acquire);
        // As the partition does it: the high watermark is taken before the read.
        let upper = reader.end_offset();
        let limit = ReadLimit { upper, bytes_max, at_least_one_batch: true };
        let Some(slice) = reader.read(offset, limit, false).unwrap().slice else {
            if was_done {
                return assert_eq!(offset, reader.end_offset());
            }
            std::thread::yield_now();
            continue;
        };
        for batch in batches(&slice) {
            assert_eq!(batch.header.base_offset, offset);
            offset = batch.header.next_offset();
            assert!(offset <= upper, "a batch beyond what was published");
        }
    }
}
