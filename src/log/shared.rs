//! What the writer publishes and the readers see.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::checkpoint::{LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use super::epoch_cache::EpochCache;
use super::error::{IoContext, LogError};
use super::names::{FileKind, FileName};
use super::producer_state::ProducerState;
use super::scan::Located;
use super::segment::{MaxTimestamp, Segment};
use super::segments::Segments;
use crate::sys;
use crate::types::Offset;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    /// Replaced in one short step after an append's bytes are written: a reader never sees half of one.
    pub(super) view: RwLock<View>,
    pub(super) epochs: RwLock<EpochCache>,
    pub(super) durability: Durability,
}

#[derive(Debug)]
pub(super) struct Durability {
    /// Everything before it is on stable storage.
    recovery_point: Mutex<Offset>,
    /// Whether a flush has failed; held while flushing. What the kernel could not write it counts as written afterwards: that
    /// a later fsync succeeds says nothing.
    flush_failed: Mutex<bool>,
}

impl Durability {
    pub(super) fn up_to(recovery_point: Offset) -> Durability {
        Durability { recovery_point: Mutex::new(recovery_point), flush_failed: Mutex::new(false) }
    }
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

/// Where the first open transaction begins, else the end. One that began below the log start holds back what is left of
/// it (`UnifiedLog.maybeIncrementFirstUnstableOffset`).
pub(super) fn last_stable_offset(start: Offset, end: Offset, producers: &ProducerState) -> Offset {
    producers.first_undecided_offset().map_or(end, |first| first.max(start).min(end))
}

impl Shared {
    pub(super) fn view(&self) -> View {
        self.view.read().clone()
    }

    pub(super) fn recovery_point(&self) -> Offset {
        *self.durability.recovery_point.lock()
    }

    pub(super) fn snapshot_path(&self, at: Offset) -> PathBuf {
        self.dir.join(FileName::live(at, FileKind::ProducerSnapshot).to_string())
    }

    /// Makes everything written so far durable.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        let view = self.view();
        self.flush_to(&view, view.end_offset)
    }

    /// Makes the segments durable that are no longer appended to.
    pub(super) fn flush_sealed(&self) -> Result<(), LogError> {
        let view = self.view();
        let active = view.segments.last().map(|active| active.base_offset);
        active.map_or(Ok(()), |end| self.flush_to(&view, end))
    }

    /// Moves the recovery point to `end`, where a producer snapshot was taken. Takes no part in the append lock: appends go
    /// on meanwhile.
    fn flush_to(&self, view: &View, end: Offset) -> Result<(), LogError> {
        let mut flush_failed = self.durability.flush_failed.lock();
        let recovery_point = self.recovery_point();
        if recovery_point >= end {
            return Ok(());
        }
        if *flush_failed {
            return Err(io::Error::other("an earlier flush failed")).at(&self.dir);
        }
        let synced = self.sync(view, recovery_point, end);
        *flush_failed = synced.is_err();
        synced?;
        *self.durability.recovery_point.lock() = end;
        Ok(())
    }

    fn sync(&self, view: &View, from: Offset, end: Offset) -> Result<(), LogError> {
        let unsynced = view.segments.iter_from(view.segments.floor_index(from));
        for segment in unsynced.take_while(|segment| segment.base_offset < end) {
            segment.sync()?;
        }
        for path in [self.snapshot_path(end), self.dir.join(LEADER_EPOCH_CHECKPOINT), self.dir.join(PARTITION_METADATA)]
        {
            sys::sync_if_exists(&path).at(&path)?;
        }
        sys::sync_dir(&self.dir).at(&self.dir)?;
        self.dir.parent().map_or(Ok(()), |log_dir| sys::sync_dir(log_dir).at(log_dir))
    }
}

impl View {
    /// The first batch at or after `offset`, with the index of its segment: an offset in a hole, which compaction leaves
    /// also at a segment's end, leads to the next batch.
    pub(super) fn first_batch(&self, offset: Offset) -> Result<Option<(usize, Located)>, LogError> {
        let floor = self.segments.floor_index(offset);
        for (index, segment) in
            self.segments.iter_from(floor).enumerate().map(|(index, segment)| (floor + index, segment))
        {
            if let Some(batch) = segment.find(offset, self.size_of(index, segment))? {
                return Ok(Some((index, batch)));
            }
        }
        Ok(None)
    }

    pub(super) fn size_of(&self, index: usize, segment: &Arc<Segment>) -> u64 {
        if index + 1 == self.segments.len() { self.active_size } else { segment.size() }
    }

    /// No batch of the segment reaches this offset.
    pub(super) fn end_of(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.end_offset, |next| next.base_offset)
    }
}
