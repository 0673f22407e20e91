//! A group of segments → one new segment, `.cleaned` (`Cleaner.cleanSegments`).

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::filter::{Fate, Filter};
use super::source::{Pace, Source};
use super::{CleanError, Cleaning, swap};
use crate::log::LogError;
use crate::log::error::IoContext;
use crate::log::names::FileState;
use crate::log::scan::Located;
use crate::log::segment::{MaxTimestamp, Segment};
use crate::log::shared::View;
use crate::log::tail::Tail;
use crate::log::txn_index::TxnEntry;
use crate::protocol::batch::Batch;
use crate::sys;
use crate::types::Offset;

/// Segments that become one.
#[derive(Debug)]
pub(super) struct Group<'a> {
    view: &'a View,
    range: Range<usize>,
    pub(super) segments: Vec<Arc<Segment>>,
}

/// A new segment, written and durable.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) base_offset: Offset,
    pub(super) index_interval_bytes: u32,
    pub(super) size: u64,
    pub(super) max: Option<MaxTimestamp>,
    pub(super) has_aborted: bool,
}

impl<'a> Group<'a> {
    pub(super) fn of(view: &'a View, range: Range<usize>) -> Group<'a> {
        let segments = view.segments.iter_from(range.start).take(range.len()).cloned().collect();
        Group { view, range, segments }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size()).sum()
    }

    /// Puts what stays of the segments in their place; gives its bytes.
    pub(super) fn clean(
        &self,
        cleaning: &Cleaning<'_>,
        filter: Filter<'_>,
        pace: &Pace<'_>,
    ) -> Result<u64, CleanError> {
        let Some(first) = self.segments.first() else { return Ok(0) };
        let rewritten = self.rewrite(cleaning, first, filter, pace);
        let swapped = rewritten.and_then(|new| swap::swap(cleaning, &self.segments, &new).map(|()| new.size));
        if swapped.is_err() {
            swap::remove_cleaned(cleaning, first.base_offset);
        }
        swapped
    }

    fn rewrite(
        &self,
        cleaning: &Cleaning<'_>,
        first: &Segment,
        mut filter: Filter<'_>,
        pace: &Pace<'_>,
    ) -> Result<Rewritten, CleanError> {
        let interval = cleaning.config.index_interval_bytes;
        let mut output = Output::create(cleaning, first.base_offset, interval, pace)?;
        // Kept, if only as a header: where the new segment ends tells how far the old ones reach that it stands for.
        let last_with_batches = self.segments.iter().rposition(|segment| segment.size() > 0);
        let mut modified = None;
        for (at, segment) in self.segments.iter().enumerate() {
            let index = self.range.start + at;
            filter.transactions.look_ahead(self.view, index, self.view.end_of(index))?;
            let file = segment.file()?;
            let mut source = Source::whole(segment, &file, pace);
            while let Some(batch) = source.next()? {
                let is_last = Some(at) == last_with_batches && source.is_at_end();
                let (fate, aborted) = filter.judge(&batch, is_last)?;
                match fate {
                    Fate::Kept => output.push(&batch)?,
                    Fate::Rewritten(batch) => output.push(&batch)?,
                    Fate::Dropped => {}
                }
                aborted.map_or(Ok(()), |entry| output.push_aborted(entry))?;
            }
            modified = Some(file.metadata().and_then(|metadata| metadata.modified()).at(&segment.path)?);
        }
        output.finish(modified)
    }
}

/// The new segment while it is written.
#[derive(Debug)]
struct Output<'a> {
    segment: Segment,
    file: Arc<File>,
    tail: Tail,
    /// Bytes in the file; what waits in the buffer comes behind them.
    written: u64,
    buffer: Vec<u8>,
    has_aborted: bool,
    cleaning: &'a Cleaning<'a>,
    pace: &'a Pace<'a>,
}

impl<'a> Output<'a> {
    fn create(
        cleaning: &'a Cleaning<'a>,
        base_offset: Offset,
        interval: u32,
        pace: &'a Pace<'a>,
    ) -> Result<Output<'a>, CleanError> {
        let log = cleaning.shared();
        let files = &log.context.open_files;
        let (segment, file) = cleaning.locked(|| {
            let make = || {
                let segment = Segment::create(FileState::Cleaned, &log.dir, base_offset, interval, files)?;
                // Also without entries: that it has its final name tells `settle` that it is not the old segment's.
                segment.txn_index.make()?;
                let file = segment.file()?;
                Ok((segment, file))
            };
            make().map_err(|error| log.context.write_failed(error))
        })?;
        let tail = Tail::default();
        Ok(Output { segment, file, tail, written: 0, buffer: Vec::new(), has_aborted: false, cleaning, pace })
    }

    fn push(&mut self, batch: &Batch) -> Result<(), CleanError> {
        let located = Located { header: batch.header, position: self.written + self.buffer.len() as u64 };
        // A delete horizon or another compressor can make batches longer than they were.
        if located.end() > u64::from(i32::MAX as u32) {
            return Err(LogError::TooLarge { bytes: located.end(), segment_bytes: i32::MAX as u32 }.into());
        }
        let noted = self.segment.note(&mut self.tail, &located);
        noted.map_err(|error| self.cleaning.shared().context.write_failed(error))?;
        self.buffer.extend_from_slice(&batch.bytes);
        if self.buffer.len() >= self.pace.buffer_bytes() { self.flush() } else { Ok(()) }
    }

    fn push_aborted(&mut self, entry: TxnEntry) -> Result<(), CleanError> {
        self.has_aborted = true;
        // Opened by its name for each.
        self.cleaning.locked(|| {
            let appended = self.segment.txn_index.append(entry);
            appended.map_err(|error| self.cleaning.shared().context.write_failed(error))
        })
    }

    fn flush(&mut self) -> Result<(), CleanError> {
        let written = sys::pwrite_all(&self.file, &self.buffer, self.written).at(&self.segment.path);
        written.map_err(|error| self.cleaning.shared().context.write_failed(error))?;
        let bytes = self.buffer.len() as u64;
        self.written += bytes;
        self.buffer.clear();
        // One batch may have made it large.
        self.buffer.shrink_to(self.pace.buffer_bytes());
        self.pace.pay(bytes)
    }

    /// All of it durable; as old as the newest of the segments that it is made of, for retention may go by that.
    fn finish(mut self, modified: Option<SystemTime>) -> Result<Rewritten, CleanError> {
        self.flush()?;
        // Nothing was acknowledged that is in it alone: a full disk is no more than that, also when it shows in the sync.
        self.make_durable(modified).map_err(|error| self.cleaning.shared().context.write_failed(error))?;
        Ok(Rewritten {
            base_offset: self.segment.base_offset,
            index_interval_bytes: self.segment.index_interval_bytes,
            size: self.written,
            max: self.tail.max,
            has_aborted: self.has_aborted,
        })
    }

    fn make_durable(&mut self, modified: Option<SystemTime>) -> Result<(), LogError> {
        if let Some(entry) = self.tail.last_time_entry(&self.segment) {
            self.segment.time_index.push(entry);
        }
        self.segment.offset_index.flush()?;
        self.segment.time_index.flush()?;
        if let Some(modified) = modified {
            sys::set_modified(&self.file, modified).at(&self.segment.path)?;
        }
        sys::fsync(&self.file).at(&self.segment.path)?;
        self.segment.sync_log()?;
        self.segment.sync_indexes()
    }
}
