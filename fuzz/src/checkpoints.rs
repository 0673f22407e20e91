//! The text files of a log dir and a partition's folder: any bytes are read or refused, and what was read is written and
//! read again as it was.

use std::path::Path;

use ottla::log::checkpoint::*;
use ottla::log::epoch_cache::{EpochCache, EpochEntry};
use ottla::types::{LeaderEpoch, Offset};

use super::input::Input;

/// A byte that says which file, and its bytes.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let which = input.u8();
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let path = dir.path().join("file");
    std::fs::write(&path, input.0).expect("room for a temporary file");
    match which % 4 {
        0 => offsets(&path),
        1 => epochs(&path),
        2 => partition_metadata(&path),
        _ => meta_properties(&path),
    }
}

fn offsets(path: &Path) {
    let Ok(offsets) = read_offsets(path) else { return };
    write_offsets(path, offsets.iter().map(|(at, offset)| (at, *offset))).expect("writable");
    assert_eq!(read_offsets(path).expect("written so"), offsets);
}

fn epochs(path: &Path) {
    let Ok(entries) = read_epochs(path) else { return };
    let mut epochs = EpochCache::from_entries(entries);
    write_epochs(path, epochs.entries()).expect("writable");
    assert_eq!(read_epochs(path).expect("written so"), epochs.entries());

    entries_rise(&epochs);
    let Some(EpochEntry { epoch, start_offset }) = epochs.latest() else { return };
    assert_eq!(epochs.epoch_for(start_offset), Some(epoch));
    assert_eq!(epochs.end_offset_for(epoch, Offset(i64::MAX)), Some((epoch, Offset(i64::MAX))));
    let _ = epochs.end_offset_for(LeaderEpoch(epoch.0.saturating_sub(1)), Offset(i64::MAX));
    epochs.truncate_from_start(Offset(start_offset.0 / 2));
    entries_rise(&epochs);
    epochs.truncate_from_end(Offset(start_offset.0));
    entries_rise(&epochs);
}

fn entries_rise(epochs: &EpochCache) {
    for pair in epochs.entries().windows(2) {
        assert!(pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset, "{pair:?}");
    }
}

fn partition_metadata(path: &Path) {
    let Ok(topic_id) = read_partition_metadata(path) else { return };
    let topic_id = topic_id.expect("the file is there");
    write_partition_metadata(path, topic_id).expect("writable");
    assert_eq!(read_partition_metadata(path).expect("written so"), Some(topic_id));
}

fn meta_properties(path: &Path) {
    let Ok(properties) = read_meta_properties(path) else { return };
    let properties = properties.expect("the file is there");
    write_meta_properties(path, &properties).expect("writable");
    assert_eq!(read_meta_properties(path).expect("written so"), Some(properties));
}
