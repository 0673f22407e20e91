//! After an unclean stop: read the segments from the recovery point on, rebuild what is derived from them, and cut the
//! torn tail of the last one. Anything else that is wrong is reported and left as it is; `docs/on-disk.md` says why.

use std::fs::File;
use std::sync::Arc;

use super::error::{Damage, IoContext, LogError};
use super::open::{Loading, note_epoch};
use super::scan::{Located, Scan, ScanError};
use super::segment::Segment;
use super::tail::Tail;
use super::txn_index::TxnEntry;
use super::writer::{marker_of, note_producer};
use crate::protocol::batch::{BatchError, BatchHeader, HEADER_LEN, MAGIC};
use crate::sys;
use crate::types::Offset;

/// Bytes looked at in one go in search of a batch.
const SEARCH_BLOCK: usize = 256 * 1024;
/// Where the magic stands in a batch.
const MAGIC_POSITION: usize = 16;

impl Loading {
    /// Recovers segment number `first` and those after it.
    pub(super) fn recover_from(&mut self, first: usize) -> Result<(), LogError> {
        let Some(base_offset) = self.segments.get(first).map(|segment| segment.base_offset) else { return Ok(()) };
        self.producers.clear();
        let from = self.load_snapshot(base_offset);
        self.replay_producers(from, first)?;
        self.end_offset = base_offset;
        for index in first..self.segments.len() {
            let Some(segment) = self.segments.get(index).map(Arc::clone) else { break };
            // A roll just before the stop left empty segments: the one before them is where the torn tail may be.
            let is_last = self.segments.iter().skip(index + 1).all(|later| later.size() == 0);
            let size = segment.size();
            self.recover_segment(&segment, is_last)?;
            if is_last {
                self.check_recovery_point()?;
            }
            if segment.size() < size {
                self.remove_behind(index)?;
            }
        }
        Ok(())
    }

    /// Empty segments go where the one before them was cut, for their offsets are free again; else they are where the log
    /// ends, also where compaction has left none of the offsets before them.
    fn remove_behind(&mut self, index: usize) -> Result<(), LogError> {
        while self.segments.len() > index + 1
            && let Some(empty) = self.segments.pop()
        {
            sys::remove_file(&empty.path).at(&empty.path)?;
        }
        Ok(())
    }

    fn recover_segment(&mut self, segment: &Arc<Segment>, is_last: bool) -> Result<(), LogError> {
        let file = segment.file()?;
        let mut tail = Tail::default();
        let (mut offset_entries, mut time_entries) = (Vec::new(), Vec::new());
        if self.end_offset > segment.base_offset {
            let source = Damage::OffsetOrder { found: segment.base_offset, expected: self.end_offset };
            return Err(segment.damaged(source, 0, self.end_offset));
        }
        segment.txn_index.remove()?;
        self.end_offset = segment.base_offset;
        let mut scan = Scan::everything(&file, 0, segment.size());
        loop {
            let position = scan.position();
            match next_valid(&mut scan, segment, self.end_offset) {
                Ok(None) => break,
                Ok(Some(batch)) => {
                    let (offset_entry, time_entry) = tail.observe(segment, &batch);
                    offset_entries.extend(offset_entry);
                    time_entries.extend(time_entry);
                    self.recover_batch(segment, &batch)?;
                }
                // A whole batch in the wrong place is no torn write.
                Err(ScanError::Damaged(Damage::Batch(source))) if is_last => {
                    self.cut_torn_tail(segment, &file, source, position)?;
                    break;
                }
                Err(error) => return Err(segment.error(error, position, self.end_offset)),
            }
        }
        time_entries.extend(tail.last_time_entry(segment));
        segment.offset_index.replace(offset_entries)?;
        segment.time_index.replace(time_entries)?;
        self.tail = tail;
        Ok(())
    }

    fn recover_batch(&mut self, segment: &Segment, batch: &Located) -> Result<(), LogError> {
        self.end_offset = batch.header.next_offset();
        note_epoch(&mut self.epochs, &batch.header);
        if !batch.header.has_producer_id() {
            return Ok(());
        }
        let batch = segment.with_marker(batch)?;
        let aborted = marker_of(&batch).and_then(|marker| TxnEntry::of_aborted(&self.producers, &batch.header, marker));
        note_producer(&mut self.producers, &batch);
        aborted.map_or(Ok(()), |entry| segment.txn_index.append(entry))
    }

    /// Cuts the last segment at `position`, if nothing but a torn write can lie there.
    fn cut_torn_tail(&self, segment: &Segment, file: &File, source: BatchError, position: u64) -> Result<(), LogError> {
        let offset = self.end_offset;
        let is_flushed = offset < self.options.recovery_point;
        if is_flushed || batch_follows(segment, file, position + 1, offset).at(&segment.path)? {
            return Err(segment.damaged(source.into(), position, offset));
        }
        let bytes_cut = segment.size() - position;
        let path = segment.path.display();
        tracing::warn!(%path, position, bytes_cut, %offset, reason = %source, "torn tail of the log cut off");
        sys::set_len(file, position).at(&segment.path)?;
        segment.set_size(position);
        Ok(())
    }
}

/// The next batch, if its bytes are as they were written and its offsets follow `expected`.
fn next_valid(scan: &mut Scan<'_>, segment: &Segment, expected: Offset) -> Result<Option<Located>, ScanError> {
    let Some(batch) = scan.next()? else { return Ok(None) };
    scan.check_crc(&batch)?;
    segment.check_offsets(&batch.header, expected)?;
    Ok(Some(batch))
}

/// Whether a whole, valid batch lies somewhere from `position` on. A write that was cut short leaves none: then what is
/// in front of it is damage, and cutting would throw records away.
pub(super) fn batch_follows(segment: &Segment, file: &File, position: u64, expected: Offset) -> std::io::Result<bool> {
    let mut block = vec![0; SEARCH_BLOCK];
    let mut position = position;
    while position + HEADER_LEN as u64 <= segment.size() {
        let read = sys::pread_up_to(file, &mut block, position)?;
        let bytes = block.get(..read).unwrap_or_default();
        if bytes.len() < HEADER_LEN {
            return Ok(false);
        }
        for (at, candidate) in bytes.windows(HEADER_LEN).enumerate() {
            if candidate.get(MAGIC_POSITION).is_some_and(|magic| *magic == MAGIC as u8)
                && BatchHeader::parse(candidate).is_ok_and(|header| segment.check_offsets(&header, expected).is_ok())
                && is_batch(segment, file, position + at as u64)?
            {
                return Ok(true);
            }
        }
        position += (bytes.len() - HEADER_LEN + 1) as u64;
    }
    Ok(false)
}

fn is_batch(segment: &Segment, file: &File, position: u64) -> std::io::Result<bool> {
    let mut scan = Scan::everything(file, position, segment.size());
    let checked = scan.next().and_then(|batch| batch.map(|batch| scan.check_crc(&batch)).transpose());
    match checked {
        Ok(found) => Ok(found.is_some()),
        Err(ScanError::Damaged(_)) => Ok(false),
        Err(ScanError::Io(error)) => Err(error),
    }
}
