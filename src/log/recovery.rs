//! After an unclean stop: read the log from the recovery point on, rebuild what is derived from it, and cut off what an
//! interrupted write or a power loss left undone. Anything else that is wrong is reported and left as it is;
//! `docs/on-disk.md` says why.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use super::damage::{self, Behind};
use super::error::{Damage, IoContext, LogError};
use super::open::{Loading, note_epoch};
use super::resume::Resumed;
use super::scan::{Located, Scan, ScanError};
use super::segment::Segment;
use super::txn_index::TxnEntry;
use super::writer::{marker_of, note_producer};
use crate::sys;
use crate::types::Offset;

impl Loading {
    /// Recovers segment number `first`, from the recovery point on, and those after it.
    pub(super) fn recover_from(&mut self, first: usize) -> Result<(), LogError> {
        let Some(segment) = self.segments.get(first).map(Arc::clone) else { return Ok(()) };
        let recovery_point = self.options.recovery_point;
        let is_within = recovery_point > segment.base_offset;
        let resumed = if is_within { segment.resume_at(recovery_point)? } else { None };
        self.end_offset = if resumed.is_some() { recovery_point } else { segment.base_offset };
        let mut start = resumed.unwrap_or_default();
        self.producers.clear();
        let from = self.load_snapshot(self.end_offset);
        self.replay_producers(from, first, start.position)?;
        let last = self.last_written(first)?;
        let mut index = first;
        while index < self.segments.len() {
            if index > first {
                self.check_order(index)?;
                if self.lacks_the_end_of(index - 1) {
                    self.set_aside_after(index - 1)?;
                    break;
                }
            }
            if index > last && self.remove_if_idle(index)? {
                continue;
            }
            self.recover_segment(index, last, std::mem::take(&mut start))?;
            if index == last {
                self.check_recovery_point()?;
            }
            index += 1;
        }
        self.check_recovery_point()
    }

    /// The last segment, from number `first` on, with anything in it. A roll just before the stop left empty ones behind it,
    /// preallocated ones of zeros: it is where the torn tail may be.
    fn last_written(&self, first: usize) -> Result<usize, LogError> {
        for (index, segment) in self.segments.iter().enumerate().skip(first).rev() {
            if !damage::is_zero_from(segment, segment.file()?.as_ref(), 0).at(&segment.path)? {
                return Ok(index);
            }
        }
        Ok(first)
    }

    /// Takes empty segment number `index` away, unless it tells where the log ends: compaction may have left none of the
    /// offsets before it.
    fn remove_if_idle(&mut self, index: usize) -> Result<bool, LogError> {
        let Some(empty) = self.segments.get(index).filter(|segment| segment.base_offset == self.end_offset) else {
            return Ok(false);
        };
        sys::remove_file(&empty.path).at(&empty.path)?;
        self.segments.remove(index);
        self.make_names_durable()?;
        Ok(true)
    }

    /// No segment begins below the end of the one before it.
    fn check_order(&self, index: usize) -> Result<(), LogError> {
        let expected = self.end_offset;
        match self.segments.get(index) {
            Some(segment) if segment.base_offset < expected => {
                let order = Damage::OffsetOrder { found: segment.base_offset, expected };
                Err(segment.damaged(order, 0, expected))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the file of segment number `index` is shorter than what was written to it, by whole batches, as power loss
    /// leaves it: the next one does not begin where it ends. In a compacted log that says nothing.
    fn lacks_the_end_of(&self, index: usize) -> bool {
        let (Some(segment), Some(next)) = (self.segments.get(index), self.segments.get(index + 1)) else {
            return false;
        };
        let options = &self.options;
        let (end, begin) = (self.end_offset, next.base_offset);
        let is_short = begin > end.max(options.log_start_offset) && end >= options.recovery_point;
        if !is_short || options.config.compact || options.cleaned || !self.is_dense {
            return false;
        }
        let (path, segments) = (segment.path.display(), self.segments.len() - index - 1);
        tracing::warn!(
            %path, %end, %begin,
            "the log's end was never written, by a loss of power; the {segments} later segments go with it: none of it had \
             been flushed"
        );
        true
    }

    fn recover_segment(&mut self, index: usize, last: usize, start: Resumed) -> Result<(), LogError> {
        let Some(segment) = self.segments.get(index).map(Arc::clone) else { return Ok(()) };
        if start.position == 0 {
            segment.offset_index.keep_while(|_, _| false)?;
            segment.time_index.keep_while(|_, _| false)?;
            segment.txn_index.remove()?;
        }
        let (file, context) = (segment.file()?, Arc::clone(&self.options.context));
        let mut tail = start.tail;
        self.end_offset = self.end_offset.max(segment.base_offset);
        let mut scan = Scan::everything(&file, start.position, segment.size()).counting(&context.recovery_bytes);
        loop {
            let position = scan.position();
            match next_valid(&mut scan, &segment, self.end_offset) {
                Ok(None) => break,
                Ok(Some(batch)) => {
                    segment.note(&mut tail, &batch)?;
                    self.recover_batch(&segment, &batch)?;
                }
                Err(ScanError::Damaged(damage)) => {
                    self.cut(index, last, &segment, &file, damage, position)?;
                    break;
                }
                Err(error) => return Err(segment.error(error, position, self.end_offset)),
            }
        }
        if let Some(entry) = tail.last_time_entry(&segment) {
            segment.time_index.push(entry);
        }
        segment.offset_index.flush()?;
        segment.time_index.flush()?;
        self.tail = tail;
        Ok(())
    }

    fn recover_batch(&mut self, segment: &Segment, batch: &Located) -> Result<(), LogError> {
        self.is_dense &= batch.header.base_offset <= self.end_offset;
        self.end_offset = batch.header.next_offset();
        if self.epochs_known {
            note_epoch(&mut self.epochs, &batch.header);
        }
        if !batch.header.has_producer_id() {
            return Ok(());
        }
        let batch = segment.with_marker(batch)?;
        let aborted = marker_of(&batch).and_then(|marker| TxnEntry::of_aborted(&self.producers, &batch.header, marker));
        note_producer(&mut self.producers, &batch);
        aborted.map_or(Ok(()), |entry| segment.txn_index.append(entry))
    }

    /// Ends the log at `position` of segment number `index`, if nothing but writes that were never finished can lie from
    /// there on. Nothing of it was flushed.
    fn cut(
        &mut self,
        index: usize,
        last: usize,
        segment: &Segment,
        file: &File,
        damage: Damage,
        position: u64,
    ) -> Result<(), LogError> {
        let offset = self.end_offset;
        if offset < self.options.recovery_point {
            return Err(segment.damaged(damage, position, offset));
        }
        let behind = damage::behind(segment, file, position, offset).at(&segment.path)?;
        let is_last = index >= last;
        // A whole batch in the wrong place is no torn write.
        let is_torn = is_last && behind == Behind::default() && matches!(damage, Damage::Batch(_));
        if !is_torn && !damage::is_unwritten(segment, file, position, offset, behind).at(&segment.path)? {
            return Err(segment.damaged(damage, position, offset));
        }
        // A segment that was made as long as it may get, and not cut to its length in time: the log goes on behind it.
        let goes_on = self.segments.get(index + 1).is_some_and(|next| next.base_offset == offset);
        let (path, reason) = (segment.path.display(), damage);
        let bytes_cut = segment.size() - position;
        let is_preallocated =
            self.options.config.preallocate && damage::is_zero_from(segment, file, position).at(&segment.path)?;
        if is_preallocated {
            tracing::debug!(%path, position, bytes_cut, "what was preallocated is cut off");
        } else if is_torn || goes_on {
            tracing::warn!(%path, position, bytes_cut, %offset, %reason, "torn tail of a segment cut off");
        } else {
            let (batches, segments) = (behind.batches, self.segments.len() - index - 1);
            tracing::warn!(
                %path, position, bytes_cut, %offset, %reason,
                "blocks of the log were never written, by a loss of power; cut off there, with {batches} whole batches behind \
                 it and {segments} later segments: none of it had been flushed"
            );
        }
        sys::set_len(file, position).at(&segment.path)?;
        segment.set_size(position);
        if goes_on { Ok(()) } else { self.set_aside_after(index) }
    }

    fn set_aside_after(&mut self, index: usize) -> Result<(), LogError> {
        if index + 1 == self.segments.len() {
            return Ok(());
        }
        for segment in self.segments.drain(index + 1..) {
            let delay = self.options.config.file_delete_delay;
            self.options.context.removals.schedule(segment.set_aside()?, Instant::now(), delay);
        }
        self.make_names_durable()
    }

    /// What recovery took out of the way must not come back with a loss of power, when the log has grown past it.
    fn make_names_durable(&self) -> Result<(), LogError> {
        let dir = &self.options.dir;
        sys::sync_dir(dir).at(dir).map_err(|error| self.options.context.sync_failed(error))
    }
}

/// The next batch, if its bytes are as they were written and its offsets follow `expected`.
pub(super) fn next_valid(
    scan: &mut Scan<'_>,
    segment: &Segment,
    expected: Offset,
) -> Result<Option<Located>, ScanError> {
    let Some(batch) = scan.next()? else { return Ok(None) };
    scan.check_crc(&batch)?;
    segment.check_offsets(&batch.header, expected)?;
    Ok(Some(batch))
}
