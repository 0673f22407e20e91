//! A new segment in the place of old ones, so that a crash at any moment leaves the one or the others
//! (`LocalLog.replaceSegments`).
//!
//! 1. The new segment's files are durable as `.cleaned`. A crash before the next step is over: `settle` removes them.
//! 2. They are renamed to `.swap`, the log last, durably. From here on a crash leaves the new segment.
//! 3. Readers are given the new segment, under those names; the old ones' files are set aside as `.deleted`, durably: with
//!    one of them left under its name and no `.swap` to tell, the next start would find both.
//! 4. The new files get their own names, and the readers the segment that has them.
//!
//! Each step is taken under the append lock, after a look whether the log is still there and the segments are: a deleted
//! topic's folder may belong to another one by now. Nothing is synced under a lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::rewrite::Rewritten;
use super::{CleanError, Cleaning};
use crate::log::error::{IoContext, LogError};
use crate::log::names::{FileKind, FileName, FileState};
use crate::log::segment::Segment;
use crate::log::shared::{Shared, View};
use crate::sys;
use crate::types::Offset;

/// A segment's files in the order in which they are renamed. Once the log has its new name all of them have.
const LOG_LAST: [FileKind; 4] = [FileKind::TxnIndex, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::Log];
/// An append waits for the renaming of no more segments than these.
const SET_ASIDE_AT_ONCE: usize = 16;

pub(super) fn swap(cleaning: &Cleaning<'_>, old: &[Arc<Segment>], new: &Rewritten) -> Result<(), CleanError> {
    let swap = Swap { cleaning, shared: &cleaning.log.shared };
    let (dir, base_offset) = (&swap.shared.dir, new.base_offset);
    let segment = |state| Arc::new(new.segment(state, swap.shared));
    crash_point(dir);
    // Their names have to be there before they can change.
    swap.sync_dir()?;
    cleaning.locked(|| {
        swap.shared.view.read().position_of(old).ok_or(LogError::Gone)?;
        let renamed = rename(dir, base_offset, FileState::Cleaned, FileState::Swap);
        if renamed.is_err() {
            remove(dir, base_offset, FileState::Swap)?;
        }
        renamed.map_err(|error| swap.shared.context.write_failed(error))
    })?;
    swap.sync_dir()?;
    let swapped = segment(FileState::Swap);
    cleaning.locked(|| {
        let exchanged = swap.shared.view.write().exchange(old, &swapped);
        if exchanged.is_err() {
            // Some of what it stands for was deleted.
            remove(dir, base_offset, FileState::Swap)?;
        }
        exchanged
    })?;
    let aside = swap.set_aside(old)?;
    swap.sync_dir()?;
    let live = segment(FileState::Live);
    cleaning.locked(|| swap.give_final_names(&swapped, &live))?;
    if !new.has_aborted {
        // Readers need not look into it; that it is gone needs not be durable.
        cleaning.locked(|| live.txn_index.remove())?;
    }
    swap.sync_dir()?;
    let delay = cleaning.config.file_delete_delay;
    swap.shared.context.removals.schedule(aside, Instant::now(), delay);
    Ok(())
}

struct Swap<'a> {
    cleaning: &'a Cleaning<'a>,
    shared: &'a Arc<Shared>,
}

impl Swap<'_> {
    fn sync_dir(&self) -> Result<(), LogError> {
        let synced = sys::sync_dir(&self.shared.dir).at(&self.shared.dir);
        synced.map_err(|error| self.shared.context.sync_failed(error))
    }

    /// The old segments' files out of the way, and the producer snapshots at bases that are no longer any
    /// (`UnifiedLog.deleteProducerSnapshots`).
    fn set_aside(&self, old: &[Arc<Segment>]) -> Result<Vec<PathBuf>, CleanError> {
        let mut aside = Vec::new();
        let kept_base = old.first().map(|first| first.base_offset);
        for some in old.chunks(SET_ASIDE_AT_ONCE) {
            self.cleaning.locked(|| {
                let gone = some.iter().try_for_each(|segment| {
                    aside.extend(segment.set_aside()?);
                    crash_point(&self.shared.dir);
                    if Some(segment.base_offset) != kept_base {
                        aside.extend(self.shared.set_snapshot_aside(segment.base_offset)?);
                        crash_point(&self.shared.dir);
                    }
                    Ok(())
                });
                // Readers have the new segment by its `.swap` name, which another cleaning would take for its own.
                gone.inspect_err(|error| self.shared.context.fail(error))
            })?;
        }
        Ok(aside)
    }

    /// Readers wait for a few renames: no one may open a name while it changes what it stands for.
    fn give_final_names(&self, swapped: &Arc<Segment>, live: &Arc<Segment>) -> Result<(), LogError> {
        let mut view = self.shared.view.write();
        view.position_of(std::slice::from_ref(swapped)).ok_or(LogError::Gone)?;
        swapped.retire();
        let renamed = rename(&self.shared.dir, live.base_offset, FileState::Swap, FileState::Live);
        if let Err(error) = &renamed {
            // Its files now have names of both kinds. The next start finds them all.
            self.shared.context.fail(error);
        }
        let exchanged = view.exchange(std::slice::from_ref(swapped), live);
        renamed.and(exchanged)
    }
}

impl Rewritten {
    fn segment(&self, state: FileState, log: &Shared) -> Segment {
        let files = &log.context.open_files;
        let segment = Segment::existing(state, &log.dir, self.base_offset, self.size, self.index_interval_bytes, files);
        segment.seal(Some(self.max));
        segment
    }
}

impl View {
    /// Where these segments stand, if they all still do.
    fn position_of(&self, segments: &[Arc<Segment>]) -> Option<usize> {
        let first = self.segments.floor_index(segments.first()?.base_offset);
        let mut here = self.segments.iter_from(first);
        segments.iter().all(|segment| here.next().is_some_and(|here| Arc::ptr_eq(here, segment))).then_some(first)
    }

    fn exchange(&mut self, old: &[Arc<Segment>], new: &Arc<Segment>) -> Result<(), LogError> {
        let first = self.position_of(old).ok_or(LogError::Gone)?;
        let bytes: u64 = old.iter().map(|segment| segment.size()).sum();
        self.size_bytes = self.size_bytes.saturating_sub(bytes).saturating_add(new.size());
        self.segments.replace(first..first + old.len(), vec![Arc::clone(new)]);
        Ok(())
    }
}

pub(super) fn rename(dir: &Path, base_offset: Offset, from: FileState, to: FileState) -> Result<(), LogError> {
    for kind in LOG_LAST {
        let path = |state| dir.join(FileName { offset: base_offset, kind, state }.to_string());
        let from = path(from);
        match sys::rename(&from, &path(to)) {
            // The log is always there; an index may have been renamed before a crash.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && kind != FileKind::Log => {}
            renamed => renamed.at(&from)?,
        }
        crash_point(dir);
    }
    Ok(())
}

/// What a cleaning that came to nothing has written. Where that fails the next start does it.
pub(super) fn remove_cleaned(cleaning: &Cleaning<'_>, base_offset: Offset) {
    let _ = cleaning.locked(|| remove(&cleaning.shared().dir, base_offset, FileState::Cleaned));
}

/// The log first: indexes alone stand for nothing.
fn remove(dir: &Path, base_offset: Offset, state: FileState) -> Result<(), LogError> {
    for kind in LOG_LAST.into_iter().rev() {
        let path = dir.join(FileName { offset: base_offset, kind, state }.to_string());
        sys::remove_file_if_exists(&path).at(&path)?;
        crash_point(dir);
    }
    Ok(())
}

/// Here a test looks at what a crash would leave.
#[cfg(not(test))]
pub(super) fn crash_point(_dir: &Path) {}

#[cfg(test)]
pub(super) use super::tests::crash_point;
