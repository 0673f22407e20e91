//! What the writer publishes and the readers see.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::cold::{self, ColdRuns};
use super::epoch_cache::EpochCache;
use super::error::{IoContext, LogError};
use super::flush::Durability;
use super::names::{FileKind, FileName};
use super::scan::Located;
use super::segment::{MaxTimestamp, Segment};
use super::segments::Segments;
use super::{Access, DirContext};
use crate::sys::{self, FileSlice};
use crate::types::Offset;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) context: Arc<DirContext>,
    /// Replaced in one short step after an append's bytes are written: a reader never sees half of one.
    pub(super) view: RwLock<View>,
    pub(super) epochs: RwLock<EpochCache>,
    pub(super) durability: Durability,
    pub(super) cold: Mutex<ColdRuns>,
    /// The log goes on in another log dir; these files are gone.
    pub(super) moved: AtomicBool,
}

/// The log as of one moment.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) segments: Segments,
    /// Bytes of the last segment; the size of the others no longer changes.
    pub(super) active_size: u64,
    pub(super) active_max: Option<MaxTimestamp>,
    pub(super) size_bytes: u64,
    pub(super) start_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) last_stable_offset: Offset,
}

impl Shared {
    pub(super) fn view(&self) -> View {
        self.view.read().clone()
    }

    /// Looks something up in the segments as they are; once more where one of them went meanwhile.
    pub(super) fn on_view<T>(&self, look: impl Fn(&View) -> Result<T, LogError>) -> Result<T, LogError> {
        loop {
            match look(&self.view()) {
                Err(LogError::Gone) if !self.has_moved() => {}
                found => return found,
            }
        }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.moved.load(Ordering::SeqCst)
    }

    /// Whether a slice may be sent right away: it is in the page cache, and nothing is to be read ahead or cleared up.
    pub(super) fn is_warm(&self, slice: &FileSlice) -> Result<bool, LogError> {
        Ok(cold::is_cached(slice).at(&self.dir)? && !self.cold.lock().is_due(slice))
    }

    /// Brings what a reader is given from `offset` on into the page cache, where it is not. Blocking.
    pub(super) fn warm(&self, slice: &FileSlice, offset: Offset) -> Result<(), LogError> {
        let is_cached = cold::is_cached(slice).at(&self.dir)?;
        if is_cached && !self.cold.lock().is_due(slice) {
            return Ok(());
        }
        let left = self.view().bytes_from(offset).saturating_sub(slice.position);
        // Taken without the lock, which workers take.
        let step = self.cold.lock().step(slice, left);
        step.take().at(&self.dir)?;
        if is_cached { Ok(()) } else { cold::wait_for(slice).at(&self.dir) }
    }

    /// Takes the producer snapshot at a base that is none any more out of the way (`UnifiedLog.deleteProducerSnapshots`).
    pub(super) fn set_snapshot_aside(&self, at: Offset) -> Result<Option<PathBuf>, LogError> {
        let live = FileName::live(at, FileKind::ProducerSnapshot);
        let (from, to) = (self.snapshot_path(at), self.dir.join(live.deleted().to_string()));
        match sys::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            renamed => renamed.at(&from).map(|()| Some(to)),
        }
    }

    pub(super) fn snapshot_path(&self, at: Offset) -> PathBuf {
        self.dir.join(FileName::live(at, FileKind::ProducerSnapshot).to_string())
    }
}

impl View {
    /// The first batch at or after `offset`, with the index of its segment: an offset in a hole, which compaction leaves
    /// also at a segment's end, leads to the next batch.
    pub(super) fn first_batch(&self, offset: Offset, access: Access) -> Result<Option<(usize, Located)>, LogError> {
        let floor = self.segments.floor_index(offset);
        for (index, segment) in
            self.segments.iter_from(floor).enumerate().map(|(index, segment)| (floor + index, segment))
        {
            if let Some(batch) = segment.find(offset, self.size_of(index, segment), access)? {
                return Ok(Some((index, batch)));
            }
        }
        Ok(None)
    }

    /// Bytes of the segments from the one that holds `offset` on.
    pub(super) fn bytes_from(&self, offset: Offset) -> u64 {
        let floor = self.segments.floor_index(offset);
        let sizes = self.segments.iter_from(floor).enumerate();
        sizes.map(|(index, segment)| self.size_of(floor + index, segment)).sum()
    }

    pub(super) fn size_of(&self, index: usize, segment: &Arc<Segment>) -> u64 {
        if index + 1 == self.segments.len() { self.active_size } else { segment.size() }
    }

    /// No batch of the segment reaches this offset.
    pub(super) fn end_of(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.end_offset, |next| next.base_offset)
    }
}
