//! Reads: offset → file slice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::Damage;
use super::segment::Cut;
use super::shared::{Shared, View};
use super::{AbortedTxn, Access, FlushWait, LogError, ReadLimit, ReadSlice};
use crate::sys::FileSlice;
use crate::types::{LeaderEpoch, Offset};

/// The reading half: cheap to clone, `Send + Sync`.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) shared: Arc<Shared>,
}

/// Nothing to read now.
const NOTHING: ReadSlice = ReadSlice { slice: None, aborted: Vec::new() };

impl LogReader {
    pub fn start_offset(&self) -> Offset {
        self.shared.view.read().start_offset
    }

    /// The offset that the next record will get.
    pub fn end_offset(&self) -> Offset {
        self.shared.view.read().end_offset
    }

    /// First offset of the earliest transaction still open, else the end.
    pub fn last_stable_offset(&self) -> Offset {
        self.shared.view.read().last_stable_offset
    }

    /// Start, last stable offset and end, of one moment.
    pub fn offsets(&self) -> (Offset, Offset, Offset) {
        let view = self.shared.view.read();
        (view.start_offset, view.last_stable_offset, view.end_offset)
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.shared.view.read().size_bytes
    }

    /// Batches from the one that contains `offset`, within one segment, cut at a batch's end; `OffsetOutOfRange`
    /// outside `start_offset..=end_offset`. Blocking: what is given has been brought into the page cache.
    pub fn read(&self, offset: Offset, limit: ReadLimit, with_aborted: bool) -> Result<ReadSlice, LogError> {
        let found = self.shared.on_view(|view| find(view, offset, limit, with_aborted, Access::Blocking))?;
        if let Some(slice) = &found.slice {
            self.shared.warm(slice, offset)?;
        }
        Ok(found)
    }

    /// As [`LogReader::read`], on an async worker: [`LogError::Cold`] where the disk would have to be waited for.
    pub fn read_cached(&self, offset: Offset, limit: ReadLimit, with_aborted: bool) -> Result<ReadSlice, LogError> {
        let found = self.shared.on_view(|view| find(view, offset, limit, with_aborted, Access::Cached))?;
        match &found.slice {
            Some(slice) if !self.shared.is_warm(slice)? => Err(LogError::Cold),
            Some(_) | None => Ok(found),
        }
    }

    /// The same log in the same folder.
    pub fn is_same(&self, other: &LogReader) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Everything before it is on stable storage.
    pub fn recovery_point(&self) -> Offset {
        self.shared.recovery_point()
    }

    /// Moves the recovery point to the segment that is appended to. Blocking; appends and reads go on meanwhile.
    pub fn flush_sealed(&self) -> Result<(), LogError> {
        self.shared.flush_sealed()
    }

    /// As [`LogReader::flush_sealed`], and what the active segment starts from: before the segments below it go. Blocking.
    pub fn flush_base(&self) -> Result<(), LogError> {
        self.shared.flush_base()
    }

    /// What an append that ends at `through` waits for before it is acknowledged, where `flush.messages` is this;
    /// `None`: nothing. The sync is begun in any case.
    pub fn group_commit(&self, through: Offset, flush_messages: u64) -> Option<FlushWait> {
        self.shared.group_commit(through, flush_messages)
    }

    /// Makes batches durable that have waited for `flush.ms`. Blocking; appends and reads go on meanwhile.
    pub fn flush_if_due(&self, now: Instant, flush_interval: Duration) -> Result<(), LogError> {
        self.shared.flush_if_due(now, flush_interval)
    }

    /// An error where the log dir has failed: nothing in it is relied on any more.
    pub fn check_dir(&self) -> Result<(), LogError> {
        self.shared.context.check()
    }

    /// Moves the recovery point to the end. Blocking; appends and reads go on meanwhile.
    pub fn flush(&self) -> Result<(), LogError> {
        self.shared.flush()
    }

    /// The epoch of the newest batch, `None` in an empty log.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.shared.epochs.read().latest().map(|latest| latest.epoch)
    }

    /// The epoch that began at or before `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.shared.epochs.read().epoch_for(offset)
    }

    /// `OffsetForLeaderEpoch`: the largest known epoch not above `epoch`, and where it ended
    /// (`LeaderEpochFileCache.endOffsetFor`); `None` where nothing is known.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let end = self.end_offset();
        self.shared.epochs.read().end_offset_for(epoch, end)
    }
}

fn find(
    view: &View,
    offset: Offset,
    limit: ReadLimit,
    with_aborted: bool,
    access: Access,
) -> Result<ReadSlice, LogError> {
    if offset < view.start_offset || offset > view.end_offset {
        return Err(LogError::OffsetOutOfRange { offset, start: view.start_offset, end: view.end_offset });
    }
    let upper = limit.upper.min(view.end_offset);
    if offset >= upper {
        return Ok(NOTHING);
    }
    let Some((index, first)) = view.first_batch(offset, access)? else { return Ok(NOTHING) };
    let Some(segment) = view.segments.get(index) else { return Ok(NOTHING) };
    let segment_end = view.end_of(index);
    if first.header.next_offset() > segment_end {
        let damage = Damage::BeyondSegment { last: first.header.last_offset(), end: segment_end };
        return Err(segment.damaged(damage, first.position, offset));
    }
    let bytes_max = u64::from(limit.bytes_max);
    let first_fits = first.header.size() as u64 <= bytes_max;
    if first.header.last_offset() >= upper || !(first_fits || limit.at_least_one_batch) {
        return Ok(NOTHING);
    }

    // Where the batches that this reader may see end: at the batch that holds `upper`, or with the segment.
    let size = view.size_of(index, segment);
    let visible = if upper < segment_end {
        segment.find(upper, size, access)?.map_or(size, |batch| batch.position)
    } else {
        size
    };
    let byte_limit = first.position.saturating_add(bytes_max).max(first.end());
    let end = if visible <= byte_limit {
        Cut { position: visible, next_offset: upper.min(segment_end) }
    } else {
        segment.cut(&first, byte_limit, visible, access)?
    };
    segment.remember(end);
    // Not above `bytes_max` or one batch's length: both fit.
    let length = u32::try_from(end.position - first.position).unwrap_or(u32::MAX);
    let slice = Some(FileSlice { file: segment.file_for(access)?, position: first.position, length });
    let aborted = if with_aborted { aborted(view, index, offset, end.next_offset, access)? } else { Vec::new() };
    Ok(ReadSlice { slice, aborted })
}

/// Transactions that overlap `from..upper`. A transaction is indexed where its marker lies: from the read's segment on
/// (`UnifiedLog.collectAbortedTransactions`).
fn aborted(
    view: &View,
    index: usize,
    from: Offset,
    upper: Offset,
    access: Access,
) -> Result<Vec<AbortedTxn>, LogError> {
    let mut found = Vec::new();
    for segment in view.segments.iter_from(index) {
        if segment.txn_index.collect(access, from, upper, &mut found)? {
            break;
        }
    }
    Ok(found)
}
