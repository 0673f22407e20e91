//! The batches of a file, one after the other, up to where they cannot be told apart any more.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::log::error::Damage;
use crate::log::scan::{Located, Scan, ScanError};
use crate::protocol::batch::{Batch, BatchError};
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::sys;

/// A file of record batches, opened to read.
#[derive(Debug)]
pub struct BatchFile {
    file: File,
    /// Bytes, as of the opening.
    size: u64,
}

/// A batch whose header makes sense. Where its CRC does not hold, nothing in it is certain, its length included.
#[derive(Debug)]
pub struct Walked {
    pub batch: Located,
    pub crc: Result<(), BatchError>,
}

impl BatchFile {
    pub fn open(path: &Path) -> io::Result<BatchFile> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(BatchFile { file, size })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// All batches, each with its CRC looked at.
    pub fn batches(&self) -> Batches<'_> {
        Batches { scan: Scan::everything(&self.file, 0, self.size), checks_crc: true, ended: false }
    }

    /// All batches' headers; the CRC counts as right.
    pub fn headers(&self) -> Batches<'_> {
        Batches { scan: Scan::headers(&self.file, 0, self.size), checks_crc: false, ended: false }
    }

    /// One batch in memory; `None` if it is larger than what a batch may expand to.
    pub fn read(&self, located: &Located) -> io::Result<Option<Batch>> {
        if located.header.size() > DECOMPRESSED_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; located.header.size()];
        sys::pread_exact(&self.file, &mut bytes, located.position)?;
        Ok(Some(Batch { header: located.header, bytes: bytes.into() }))
    }
}

/// Ends with the file, or after the first error: nothing tells where a batch would start behind it.
#[derive(Debug)]
pub struct Batches<'a> {
    scan: Scan<'a>,
    checks_crc: bool,
    ended: bool,
}

impl Batches<'_> {
    /// Where the next batch starts; after an error, what could not be read.
    pub fn next_position(&self) -> u64 {
        self.scan.position()
    }

    fn step(&mut self) -> Result<Option<Walked>, ScanError> {
        let Some(batch) = self.scan.next()? else { return Ok(None) };
        if !self.checks_crc {
            return Ok(Some(Walked { batch, crc: Ok(()) }));
        }
        let crc = match self.scan.check_crc(&batch) {
            Ok(()) => Ok(()),
            Err(ScanError::Damaged(Damage::Batch(error))) => Err(error),
            Err(error) => return Err(error),
        };
        Ok(Some(Walked { batch, crc }))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Walked, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}
