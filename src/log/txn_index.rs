//! `.txnindex`: the transactions aborted by a marker in this segment (`TransactionIndex`). Entries of 34 bytes: version
//! i16 (0), producer id i64, first offset i64, last offset i64 (the marker's), last stable offset i64 after the abort.
//! Most segments have none, and then there is no file.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use parking_lot::Mutex;

use super::error::{IoContext, LogError};
use super::open_files::OpenFiles;
use super::producer_state::{CompletedTxn, ProducerState};
use super::{AbortedTxn, Access};
use crate::protocol::batch::BatchHeader;
use crate::protocol::records::EndTxnMarker;
use crate::sys;
use crate::types::{Offset, ProducerId};

pub(super) const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;
/// Entries read at once.
const BLOCK_ENTRIES: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnEntry {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub last_stable_offset: Offset,
}

impl TxnEntry {
    /// What a marker adds, before it is applied to the producers: nothing, unless it aborts a transaction.
    pub(super) fn of_aborted(
        producers: &ProducerState,
        header: &BatchHeader,
        marker: EndTxnMarker,
    ) -> Option<TxnEntry> {
        let completed = producers.completed_by(header, marker).filter(|completed| completed.aborted)?;
        let CompletedTxn { producer_id, first_offset, last_offset, last_stable_offset, .. } = completed;
        Some(TxnEntry { producer_id, first_offset, last_offset, last_stable_offset })
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<TxnEntry> {
        let version = bytes.try_get_i16().ok()?;
        let entry = TxnEntry {
            producer_id: ProducerId(bytes.try_get_i64().ok()?),
            first_offset: Offset(bytes.try_get_i64().ok()?),
            last_offset: Offset(bytes.try_get_i64().ok()?),
            last_stable_offset: Offset(bytes.try_get_i64().ok()?),
        };
        (version == VERSION).then_some(entry)
    }

    /// Whether there can be such an entry behind one whose marker is at `previous`. There is no checksum: it is the least
    /// that damage must get past.
    fn follows(&self, previous: Option<Offset>) -> bool {
        let order = Offset::ZERO..self.last_offset;
        order.contains(&self.first_offset)
            && self.last_stable_offset <= self.last_offset.plus(1)
            && previous.is_none_or(|previous| previous < self.last_offset)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
        bytes.put_i16(VERSION);
        bytes.put_i64(self.producer_id.0);
        bytes.put_i64(self.first_offset.0);
        bytes.put_i64(self.last_offset.0);
        bytes.put_i64(self.last_stable_offset.0);
        bytes
    }
}

#[derive(Debug)]
pub(super) struct TxnIndex {
    path: PathBuf,
    files: Arc<OpenFiles>,
    /// Held while looking and while making the file: a look that ends after the file was made must not say that there is
    /// none.
    presence: Mutex<Presence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Unknown,
    /// It was looked for and not found; spares most reads the look.
    Missing,
    /// There is a file: what of it is in the page cache may be read anywhere.
    Present,
    /// The segment is out of the log; another one's file may have the name.
    Gone,
}

impl TxnIndex {
    pub(super) fn new(path: PathBuf, files: &Arc<OpenFiles>) -> TxnIndex {
        TxnIndex { path, files: Arc::clone(files), presence: Mutex::new(Presence::Unknown) }
    }

    /// Adds an aborted transaction. An abort is rare: the file is opened for each.
    pub(super) fn append(&self, entry: TxnEntry) -> Result<(), LogError> {
        let mut presence = self.presence.lock();
        let file = self.files.with_descriptor(|| sys::open_or_create(&self.path)).at(&self.path)?;
        let length = file.metadata().at(&self.path)?.len();
        *presence = Presence::Present;
        let position = length - length % ENTRY_BYTES as u64;
        sys::pwrite_all(&file, &entry.encode(), position).at(&self.path)
    }

    /// Makes the file, empty, where there is none.
    pub(super) fn make(&self) -> Result<(), LogError> {
        let mut presence = self.presence.lock();
        *presence = Presence::Unknown;
        sys::open_or_create(&self.path).at(&self.path).map(drop)
    }

    pub(super) fn remove(&self) -> Result<(), LogError> {
        sys::remove_file_if_exists(&self.path).at(&self.path)
    }

    /// Cuts off what was indexed at or after `offset`, and what is no entry.
    pub(super) fn keep_before(&self, offset: Offset) -> Result<(), LogError> {
        let Some(file) = self.open()? else { return Ok(()) };
        let (mut kept, mut before) = (0, Offset(-1));
        let mut entry = [0; ENTRY_BYTES];
        while sys::pread_up_to(&file, &mut entry, kept).at(&self.path)? == ENTRY_BYTES {
            // Zeros are an entry too, by their version: but no marker is its transaction's first record.
            let rises = |entry: &TxnEntry| entry.first_offset < entry.last_offset && entry.last_offset > before;
            match TxnEntry::decode(&entry).filter(rises) {
                Some(TxnEntry { last_offset, .. }) if last_offset < offset => before = last_offset,
                Some(_) | None => break,
            }
            kept += ENTRY_BYTES as u64;
        }
        sys::set_len(&file, kept).at(&self.path)
    }

    /// The segment leaves the log.
    pub(super) fn retire(&self) {
        *self.presence.lock() = Presence::Gone;
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.files.with_descriptor(|| sys::sync_if_exists(&self.path)).at(&self.path)
    }

    /// Adds to `found` the transactions that overlap `from..upper`; whether later segments cannot have more
    /// (`TransactionIndex.collectAbortedTxns`).
    pub(super) fn collect(
        &self,
        access: Access,
        from: Offset,
        upper: Offset,
        found: &mut Vec<AbortedTxn>,
    ) -> Result<bool, LogError> {
        self.each_overlapping(access, from, upper, |entry| {
            found.push(AbortedTxn { producer_id: entry.producer_id, first_offset: entry.first_offset });
        })
    }

    /// As [`TxnIndex::collect`], with all that is known of the transactions.
    pub(super) fn each_overlapping(
        &self,
        access: Access,
        from: Offset,
        upper: Offset,
        mut each: impl FnMut(TxnEntry),
    ) -> Result<bool, LogError> {
        if access == Access::Cached && *self.presence.lock() == Presence::Unknown {
            return Err(LogError::Cold);
        }
        let Some(file) = self.open()? else { return Ok(false) };
        let mut block = vec![0; BLOCK_ENTRIES * ENTRY_BYTES];
        let mut position = 0;
        let mut previous = None;
        loop {
            let pread = if access == Access::Cached { sys::pread_cached } else { sys::pread_up_to };
            let read = pread(&file, &mut block, position).at(&self.path)?;
            let (entries, _) = block.get(..read).unwrap_or_default().as_chunks::<ENTRY_BYTES>();
            for entry in entries {
                let entry = TxnEntry::decode(entry).filter(|entry| entry.follows(previous));
                let Some(entry) = entry else { return Err(self.unreadable()) };
                previous = Some(entry.last_offset);
                if entry.last_offset >= from && entry.first_offset < upper {
                    each(entry);
                }
                if entry.last_stable_offset >= upper {
                    return Ok(true);
                }
            }
            if read < block.len() {
                return Ok(false);
            }
            position += read as u64;
        }
    }

    /// The file is opened for each use: only read_committed consumers of aborted transactions need it.
    fn open(&self) -> Result<Option<File>, LogError> {
        let mut presence = self.presence.lock();
        match *presence {
            Presence::Missing => return Ok(None),
            Presence::Gone => return Err(LogError::Gone),
            Presence::Unknown | Presence::Present => {}
        }
        match self.files.with_descriptor(|| sys::open(&self.path)) {
            Ok(file) => {
                *presence = Presence::Present;
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *presence = Presence::Missing;
                Ok(None)
            }
            Err(error) => Err(error).at(&self.path),
        }
    }

    fn unreadable(&self) -> LogError {
        let source = io::Error::new(io::ErrorKind::InvalidData, "an entry that no transaction has");
        LogError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_added_beside_a_reader_who_finds_no_file_is_seen_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (first_offset, last_offset) = (Offset(0), Offset(1));
        let entry = TxnEntry { producer_id: ProducerId(1), first_offset, last_offset, last_stable_offset: Offset(2) };
        let files = Arc::new(OpenFiles::up_to(1));
        for round in 0..500 {
            let index = TxnIndex::new(dir.path().join(format!("{round}.txnindex")), &files);
            std::thread::scope(|scope| {
                scope.spawn(|| index.collect(Access::Blocking, first_offset, last_offset, &mut Vec::new()).unwrap());
                index.append(entry).unwrap();
            });
            let mut found = Vec::new();
            index.collect(Access::Blocking, first_offset, last_offset, &mut found).unwrap();
            assert_eq!(found, [AbortedTxn { producer_id: ProducerId(1), first_offset }]);
        }
    }
}
