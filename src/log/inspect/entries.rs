//! The entries of an index file, one after the other.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::log::index::Entry;
use crate::log::offset_index::OffsetEntry;
use crate::log::time_index::TimeEntry;
use crate::log::txn_index::{self, TxnEntry};

const READ_BYTES: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0} bytes behind the last entry are no entry")]
    LeftOver(usize),
    #[error("an entry of an unknown version")]
    UnknownVersion,
}

/// Ends with the file, with the zeros that pad it (as Kafka preallocates indexes), or after the first error.
#[derive(Debug)]
pub struct Entries<E> {
    file: BufReader<File>,
    /// Room for one entry.
    buffer: Vec<u8>,
    decode: fn(&[u8]) -> Option<E>,
    is_padded: bool,
    position: u64,
    ended: bool,
}

pub fn offset_entries(path: &Path) -> io::Result<Entries<OffsetEntry>> {
    Entries::open(path, OffsetEntry::BYTES, |bytes| Some(OffsetEntry::decode(bytes)), true)
}

pub fn time_entries(path: &Path) -> io::Result<Entries<TimeEntry>> {
    Entries::open(path, TimeEntry::BYTES, |bytes| Some(TimeEntry::decode(bytes)), true)
}

pub fn txn_entries(path: &Path) -> io::Result<Entries<TxnEntry>> {
    Entries::open(path, txn_index::ENTRY_BYTES, TxnEntry::decode, false)
}

impl<E> Entries<E> {
    fn open(path: &Path, bytes: usize, decode: fn(&[u8]) -> Option<E>, is_padded: bool) -> io::Result<Entries<E>> {
        let file = BufReader::with_capacity(READ_BYTES, File::open(path)?);
        Ok(Entries { file, buffer: vec![0; bytes], decode, is_padded, position: 0, ended: false })
    }

    /// Where the next entry starts; after an error, the one at fault.
    pub fn next_position(&self) -> u64 {
        self.position
    }

    fn step(&mut self) -> Result<Option<E>, EntryError> {
        let read = read_up_to(&mut self.file, &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        if read < self.buffer.len() {
            return Err(EntryError::LeftOver(read));
        }
        if self.is_padded && is_zero(&self.buffer) && self.rest_is_zero()? {
            return Ok(None);
        }
        let entry = (self.decode)(&self.buffer).ok_or(EntryError::UnknownVersion)?;
        self.position += self.buffer.len() as u64;
        Ok(Some(entry))
    }

    /// Asked once: if not, a zero entry counts as one from then on.
    fn rest_is_zero(&mut self) -> io::Result<bool> {
        self.is_padded = false;
        let here = self.file.stream_position()?;
        let mut block = vec![0; READ_BYTES];
        loop {
            let read = read_up_to(&mut self.file, &mut block)?;
            if read == 0 {
                return Ok(true);
            }
            if !is_zero(block.get(..read).unwrap_or_default()) {
                self.file.seek(SeekFrom::Start(here))?;
                return Ok(false);
            }
        }
    }
}

impl<E> Iterator for Entries<E> {
    type Item = Result<E, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
