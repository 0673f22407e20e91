//! Walking the batches of a segment file, header by header.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::Access;
use super::error::Damage;
use crate::protocol::batch::{Batch, BatchError, BatchHeader, CRC_START, HEADER_LEN};
use crate::sys;

/// Looking for a place: reads are this long where batches are small, and only as long as a header where they are not.
pub(super) const LOOKUP_WINDOW: usize = 4096;
/// Reading everything.
pub(super) const RECOVERY_WINDOW: usize = 256 * 1024;

/// A batch in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    pub header: BatchHeader,
    pub position: u64,
}

impl Located {
    /// The position after the batch.
    pub fn end(&self) -> u64 {
        self.position + self.header.size() as u64
    }
}

/// Why a walk cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Damaged(Damage),
}

impl From<BatchError> for ScanError {
    fn from(error: BatchError) -> ScanError {
        ScanError::Damaged(Damage::Batch(error))
    }
}

/// A walk from a batch's first byte to `end`.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    window_max: usize,
    access: Access,
    /// Bytes of the next read: one header until a batch turns out to be small.
    read_bytes: usize,
    window: Vec<u8>,
    window_position: u64,
    /// Bytes read from the file are added to it.
    counter: Option<&'a AtomicU64>,
}

impl<'a> Scan<'a> {
    /// For a lookup: touches record bytes only of batches below [`LOOKUP_WINDOW`].
    pub(super) fn headers(file: &'a File, position: u64, end: u64) -> Scan<'a> {
        Scan::new(file, position, end, LOOKUP_WINDOW, HEADER_LEN)
    }

    /// For a walk that checks every byte.
    pub(super) fn everything(file: &'a File, position: u64, end: u64) -> Scan<'a> {
        Scan::new(file, position, end, RECOVERY_WINDOW, RECOVERY_WINDOW)
    }

    /// Counts what is read.
    pub(super) fn counting(self, counter: &'a AtomicU64) -> Scan<'a> {
        Scan { counter: Some(counter), ..self }
    }

    /// For a walk that takes the batches into memory, `window` bytes of the file at once.
    pub(super) fn batches(file: &'a File, position: u64, end: u64, window: usize) -> Scan<'a> {
        Scan::new(file, position, end, window.max(HEADER_LEN), window.max(HEADER_LEN))
    }

    fn new(file: &'a File, position: u64, end: u64, window_max: usize, read_bytes: usize) -> Scan<'a> {
        Scan {
            file,
            position,
            end,
            window_max,
            access: Access::Blocking,
            read_bytes,
            window: Vec::new(),
            window_position: position,
            counter: None,
        }
    }

    /// Reads no more than `access` allows.
    pub(super) fn within(self, access: Access) -> Scan<'a> {
        Scan { access, ..self }
    }

    /// Where the next batch starts, or the one that is in the way.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch, which lies whole before the end.
    pub(super) fn next(&mut self) -> Result<Option<Located>, ScanError> {
        let next = self.peek()?;
        if let Some(batch) = &next {
            self.position = batch.end();
            if self.window_max == LOOKUP_WINDOW {
                self.read_bytes = if batch.header.size() < LOOKUP_WINDOW { LOOKUP_WINDOW } else { HEADER_LEN };
            }
        }
        Ok(next)
    }

    /// As [`Scan::next`], without going on.
    pub(super) fn peek(&mut self) -> Result<Option<Located>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let header = BatchHeader::parse(self.bytes(self.position, HEADER_LEN).map_err(ScanError::Io)?)?;
        let left = self.end - self.position;
        if header.size() as u64 > left {
            return Err(BatchError::Truncated { have: left as usize, need: header.size() }.into());
        }
        Ok(Some(Located { header, position: self.position }))
    }

    /// Compares the CRC of the batch just found, in pieces: its length is not a reason to hold it in memory.
    pub(super) fn check_crc(&mut self, batch: &Located) -> Result<(), ScanError> {
        self.check_crc_to(&batch.header, batch.position, batch.end())
    }

    /// As [`Scan::check_crc`], of a batch that ends at `end` whatever its header says.
    pub(super) fn check_crc_to(&mut self, header: &BatchHeader, position: u64, end: u64) -> Result<(), ScanError> {
        let mut computed = 0;
        let mut at = position + CRC_START as u64;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.window_max);
            let piece = self.bytes(at, want).map_err(ScanError::Io)?;
            if piece.is_empty() {
                return Err(ScanError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            computed = crc32c::crc32c_append(computed, piece);
            at += piece.len() as u64;
        }
        if computed != header.crc {
            return Err(BatchError::BadCrc { stored: header.crc, computed }.into());
        }
        Ok(())
    }

    /// The batch just found, all of it. One that is longer than the window is given memory once its CRC was found right.
    pub(super) fn read(&mut self, batch: &Located) -> Result<Batch, ScanError> {
        let size = batch.header.size();
        let bytes = if size <= self.window_max {
            Bytes::copy_from_slice(self.bytes(batch.position, size).map_err(ScanError::Io)?)
        } else {
            self.check_crc(batch)?;
            let mut bytes = vec![0; size];
            sys::pread_exact(self.file, &mut bytes, batch.position).map_err(ScanError::Io)?;
            bytes.into()
        };
        if bytes.len() < size {
            return Err(BatchError::Truncated { have: bytes.len(), need: size }.into());
        }
        let batch = Batch { header: batch.header, bytes };
        batch.check_crc()?;
        Ok(batch)
    }

    /// Up to `want` bytes from `position`: fewer only where the file or the walk ends.
    fn bytes(&mut self, position: u64, want: usize) -> io::Result<&[u8]> {
        let want = want.min(usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX));
        let offset = position.checked_sub(self.window_position).and_then(|offset| usize::try_from(offset).ok());
        if let Some(offset) = offset.filter(|offset| offset.saturating_add(want) <= self.window.len()) {
            return Ok(self.window.get(offset..offset + want).unwrap_or_default());
        }
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        self.window.resize(self.read_bytes.max(want).min(left), 0);
        let pread = match self.access {
            Access::Cached => sys::pread_cached,
            Access::Blocking => sys::pread_up_to,
        };
        let read = pread(self.file, &mut self.window, position)?;
        self.window.truncate(read);
        if let Some(counter) = self.counter {
            counter.fetch_add(read as u64, Ordering::Relaxed);
        }
        self.window_position = position;
        Ok(self.window.get(..want.min(read)).unwrap_or_default())
    }
}
