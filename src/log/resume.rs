//! Recovery from the middle of a segment: what lies before the recovery point was flushed, and is taken as a clean stop would
//! have left it.

use super::Access;
use super::error::LogError;
use super::scan::Scan;
use super::segment::{MaxTimestamp, Segment};
use super::tail::Tail;
use super::time_index::TimeEntry;
use crate::types::Offset;

/// Where the recovery of a segment starts, and what is known of the batches before.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    pub(super) position: u64,
    pub(super) tail: Tail,
}

impl Segment {
    /// Goes on at `offset`, below which all was flushed: index entries from there on are cut off, and those before must agree
    /// with the log where they end, as after a clean stop ([`Segment::resume`]). Only what lies between them and `offset` is
    /// read. `None` where anything is odd: then the whole segment is to be read.
    pub(super) fn resume_at(&self, offset: Offset) -> Result<Option<Resumed>, LogError> {
        match self.try_resume_at(offset) {
            // Whoever reads the whole segment meets it again, and can say what is lost by it.
            Err(LogError::Damaged { .. }) => Ok(None),
            outcome => outcome,
        }
    }

    fn try_resume_at(&self, offset: Offset) -> Result<Option<Resumed>, LogError> {
        let Some(end) = self.relative(offset) else { return Ok(None) };
        if !self.offset_index.exists(Access::Blocking)? || !self.time_index.exists(Access::Blocking)? {
            return Ok(None);
        }
        // What was not flushed may have become anything, zeros too: nothing is taken from a search before the entries have
        // been seen to rise.
        let last = self.offset_index.keep_while(|last, entry| {
            entry.relative_offset < end
                && entry.position > last.map_or(0, |last| last.position)
                && last.is_none_or(|last| entry.relative_offset > last.relative_offset)
        })?;
        let last_time = self.time_index.keep_while(|last, entry| {
            entry.relative_offset < end
                && last
                    .is_none_or(|last| entry.timestamp > last.timestamp && entry.relative_offset > last.relative_offset)
        })?;
        self.txn_index.keep_before(offset)?;
        let (file, size) = (self.file()?, self.size());
        let front = || Ok(Some(Scan::headers(&file, 0, size)));
        let Some(mut scan) = last.map_or_else(front, |entry| self.scan_at(&file, entry, size, Access::Blocking))?
        else {
            return Ok(None);
        };
        let Some(mut tail) = self.tail_before(scan.position(), last_time)? else { return Ok(None) };
        while tail.next_offset.unwrap_or(self.base_offset) < offset {
            let position = scan.position();
            let damaged = |error| self.error(error, position, self.base_offset);
            match scan.peek().map_err(damaged)? {
                // Compaction left a hole there.
                Some(batch) if batch.header.base_offset >= offset => break,
                Some(batch) if batch.header.last_offset() < offset => self.note(&mut tail, &batch)?,
                Some(_) | None => return Ok(None),
            }
            scan.next().map_err(damaged)?;
        }
        Ok(Some(Resumed { position: scan.position(), tail }))
    }

    /// What is known of the batches before `position`, where the time index ends with `last`.
    fn tail_before(&self, position: u64, last: Option<TimeEntry>) -> Result<Option<Tail>, LogError> {
        let (file, size) = (self.file()?, self.size());
        if let Some(entry) = last
            && !self.time_agrees(entry, size)?
        {
            return Ok(None);
        }
        let offset_of = |entry: TimeEntry| self.base_offset.plus(i64::from(entry.relative_offset));
        let max = last.map(|entry| MaxTimestamp { timestamp: entry.timestamp, offset: offset_of(entry) });
        let first = Scan::headers(&file, 0, size).next().map_err(|error| self.error(error, 0, self.base_offset))?;
        let mut tail = Tail::resumed(max, first.map(|batch| batch.header.max_timestamp));
        let mut scan = self.scan_to(&file, max.map_or(self.base_offset, |max| max.offset), size, Access::Blocking)?;
        while scan.position() < position {
            let at = scan.position();
            let Some(batch) = scan.next().map_err(|error| self.error(error, at, self.base_offset))? else { break };
            tail.note_time(&batch.header);
        }
        Ok(Some(tail))
    }
}
