//! Reading a segment batch by batch, no faster than allowed.

use std::cell::Cell;
use std::fs::File;
use std::time::Instant;

use super::{CleanError, Cleaning, PROGRESS_INTERVAL, Plan, Stop, Throttler};
use crate::log::Access;
use crate::log::scan::Scan;
use crate::log::segment::Segment;
use crate::protocol::batch::Batch;
use crate::sys;
use crate::types::Offset;

/// What is left behind in the page cache before it is given back.
const FORGET_BYTES: u64 = 4 << 20;

/// Holds a cleaning to the rate, to the broker's stop, and lets it say how far it is.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    throttler: &'a Throttler,
    stop: &'a Stop,
    buffer_bytes: usize,
    dir: &'a std::path::Path,
    /// About as much has to be read.
    bytes_expected: u64,
    bytes_read: Cell<u64>,
    said_at: Cell<Instant>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(cleaning: &'a Cleaning<'_>, plan: &Plan) -> Pace<'a> {
        Pace {
            throttler: cleaning.throttler,
            stop: cleaning.stop,
            buffer_bytes: cleaning.limits.buffer_bytes,
            dir: &cleaning.log.shared.dir,
            // The dirty part is read twice.
            bytes_expected: plan.clean_bytes.saturating_add(plan.cleanable_bytes.saturating_mul(2)),
            bytes_read: Cell::new(0),
            said_at: Cell::new(Instant::now()),
        }
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn read(&self, bytes: u64) -> Result<(), CleanError> {
        let bytes_read = self.bytes_read.get().saturating_add(bytes);
        self.bytes_read.set(bytes_read);
        if self.said_at.get().elapsed() >= PROGRESS_INTERVAL {
            self.said_at.set(Instant::now());
            tracing::info!(log = %self.dir.display(), bytes_read, of = self.bytes_expected, "cleaning");
        }
        self.pay(bytes)
    }

    /// Waits as long as `bytes` that were read or written are worth.
    pub(super) fn pay(&self, bytes: u64) -> Result<(), CleanError> {
        self.stop.wait(self.throttler.pay(bytes, Instant::now()));
        if self.stop.is_stopped() { Err(CleanError::Stopped) } else { Ok(()) }
    }
}

/// A segment's batches, each checked against its CRC: what is damaged must not be written anew under a good one.
#[derive(Debug)]
pub(super) struct Source<'a> {
    segment: &'a Segment,
    file: &'a File,
    scan: Scan<'a>,
    /// Set where the file goes when it has been read: nothing before this is kept in the page cache on our account.
    forgotten: Option<u64>,
    pace: &'a Pace<'a>,
}

impl<'a> Source<'a> {
    /// The batches from the one with `offset` on, or one before it.
    pub(super) fn from_offset(
        segment: &'a Segment,
        file: &'a File,
        offset: Offset,
        pace: &'a Pace<'a>,
    ) -> Result<Source<'a>, CleanError> {
        let position = segment.scan_to(file, offset, segment.size(), Access::Blocking)?.position();
        let scan = Scan::batches(file, position, segment.size(), pace.buffer_bytes);
        Ok(Source { segment, file, scan, forgotten: None, pace })
    }

    /// All batches, for the last time that anyone should want to read this file. What takes its place is in the page cache
    /// as it is written; the old pages would only push out those of others.
    pub(super) fn whole(segment: &'a Segment, file: &'a File, pace: &'a Pace<'a>) -> Source<'a> {
        let scan = Scan::batches(file, 0, segment.size(), pace.buffer_bytes);
        Source { segment, file, scan, forgotten: Some(0), pace }
    }

    pub(super) fn next(&mut self) -> Result<Option<Batch>, CleanError> {
        let position = self.scan.position();
        let error = |error| self.segment.error(error, position, self.segment.base_offset);
        let Some(located) = self.scan.next().map_err(error)? else {
            self.forget(self.segment.size());
            return Ok(None);
        };
        let offset = located.header.base_offset;
        let batch = self.scan.read(&located).map_err(|error| self.segment.error(error, position, offset))?;
        self.pace.read(located.header.size() as u64)?;
        if self.forgotten.is_some_and(|forgotten| located.end() - forgotten >= FORGET_BYTES) {
            self.forget(located.end());
        }
        Ok(Some(batch))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.scan.position() >= self.segment.size()
    }

    fn forget(&mut self, end: u64) {
        let Some(start) = self.forgotten else { return };
        // Advice: that it is not taken changes nothing but the cache.
        let _ = sys::drop_cached(self.file, start, end.saturating_sub(start));
        self.forgotten = Some(end);
    }
}
