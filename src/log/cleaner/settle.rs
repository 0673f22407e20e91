//! What a crash left of a cleaning, settled when the log is opened (`LogLoader.removeTempFilesAndCollectSwapFiles`): what had
//! got as far as `.swap` is finished, the rest removed.

use std::path::Path;
use std::sync::Arc;

use super::swap::{self, crash_point};
use crate::log::error::{IoContext, LogError};
use crate::log::names::{FileKind, FileName, FileState};
use crate::log::open_files::OpenFiles;
use crate::log::scan::Scan;
use crate::log::segment::Segment;
use crate::sys;
use crate::types::Offset;

/// Whether anything has changed. `names` are the files of the folder. Where a `.swap` is damaged nothing is touched.
pub(in crate::log) fn settle(dir: &Path, names: &[FileName]) -> Result<bool, LogError> {
    let of_state = |state| names.iter().filter(move |name| name.state == state);
    if of_state(FileState::Cleaned).chain(of_state(FileState::Swap)).next().is_none() {
        return Ok(false);
    }
    // A `.swap` beside a `.cleaned` of its own or a lower base was still being renamed, or is part of a split of Kafka's that
    // was (KAFKA-6264).
    let first_cleaned = of_state(FileState::Cleaned).map(|name| name.offset).min();
    let is_complete = |name: &&FileName| first_cleaned.is_none_or(|first| name.offset < first);
    let mut finished = Vec::new();
    for name in of_state(FileState::Swap).filter(is_complete).filter(|name| name.kind == FileKind::Log) {
        finished.push((name.offset, end_of(dir, name.offset)?));
    }
    for name in of_state(FileState::Swap).filter(|name| !is_complete(name)) {
        remove(dir, name)?;
    }
    for name in of_state(FileState::Cleaned) {
        remove(dir, name)?;
    }
    for (base_offset, end_offset) in finished {
        tracing::info!(dir = %dir.display(), %base_offset, %end_offset, "finishing a cleaning that was interrupted");
        let replaced = |name: &&FileName| base_offset < name.offset && name.offset < end_offset;
        for name in of_state(FileState::Live).filter(replaced) {
            remove(dir, name)?;
        }
        sys::sync_dir(dir).at(dir)?;
        swap::rename(dir, base_offset, FileState::Swap, FileState::Live)?;
    }
    for name in of_state(FileState::Swap).filter(is_complete).filter(|name| name.kind != FileKind::Log) {
        settle_index(dir, name)?;
    }
    sys::sync_dir(dir).at(dir)?;
    Ok(true)
}

/// An index that is still `.swap`: its log has its own name already, or was being removed again.
fn settle_index(dir: &Path, name: &FileName) -> Result<(), LogError> {
    if !path(dir, &FileName::live(name.offset, FileKind::Log)).exists() {
        return remove(dir, name);
    }
    let (from, to) = (path(dir, name), path(dir, &FileName { state: FileState::Live, ..*name }));
    match sys::rename(&from, &to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        renamed => renamed.at(&from)?,
    }
    crash_point(dir);
    Ok(())
}

/// Where the `.swap` of that base ends, every batch of it checked: what it replaces may be gone, or is about to be.
fn end_of(dir: &Path, base_offset: Offset) -> Result<Offset, LogError> {
    let name = FileName { offset: base_offset, kind: FileKind::Log, state: FileState::Swap };
    let path = path(dir, &name);
    let size = path.metadata().at(&path)?.len();
    let files = Arc::new(OpenFiles::up_to(1));
    let segment = Segment::existing(FileState::Swap, dir, base_offset, size, 0, &files);
    let file = segment.file()?;
    let mut scan = Scan::everything(&file, 0, size);
    let mut end_offset = base_offset;
    loop {
        let position = scan.position();
        let batch = scan.next().and_then(|batch| batch.map(|batch| scan.check_crc(&batch).map(|()| batch)).transpose());
        match batch.map_err(|error| segment.error(error, position, end_offset))? {
            Some(batch) => end_offset = batch.header.next_offset(),
            None => return Ok(end_offset),
        }
    }
}

fn path(dir: &Path, name: &FileName) -> std::path::PathBuf {
    dir.join(name.to_string())
}

fn remove(dir: &Path, name: &FileName) -> Result<(), LogError> {
    let path = path(dir, name);
    sys::remove_file_if_exists(&path).at(&path)?;
    crash_point(dir);
    Ok(())
}
