//! A sparse index file: entries of one size, ascending, without header or checksum.
//!
//! Only the last few entries are held in memory: up to [`PENDING_MAX`] wait there until they are written with one
//! `pwrite`, so that an append costs no second system call and a partition's memory does not grow with its history.
//! What a crash takes of them, recovery rebuilds. Everything older is looked up by `pread`.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Access;
use super::error::{IoContext, LogError};
use super::open_files::{Handle, OpenFiles};
use crate::sys;

/// Entries that wait in memory.
const PENDING_MAX: usize = 64;
/// Where a binary search stops halving and reads what is left at once.
const BLOCK_BYTES: usize = 4096;

/// An entry's form on disk.
pub(super) trait Entry: Copy + std::fmt::Debug {
    const BYTES: usize;

    /// From exactly [`Entry::BYTES`] bytes.
    fn decode(bytes: &[u8]) -> Self;

    fn encode(&self, out: &mut Vec<u8>);
}

#[derive(Debug)]
pub(super) struct IndexFile<E> {
    file: Arc<Handle>,
    state: RwLock<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    stored: Stored,
    pending: Vec<E>,
}

/// What is known of the file.
#[derive(Debug, Clone, Copy)]
enum Stored {
    /// Not looked at yet.
    Unknown,
    /// There is no file.
    Missing,
    Entries(u64),
}

impl<E: Entry> IndexFile<E> {
    /// Nothing is opened before it is used.
    pub(super) fn new(path: PathBuf, files: &Arc<OpenFiles>) -> IndexFile<E> {
        let state = State { stored: Stored::Unknown, pending: Vec::new() };
        IndexFile { file: Handle::new(path, files), state: RwLock::new(state) }
    }

    /// Whether there is a file, or at least entries on their way into it.
    pub(super) fn exists(&self, access: Access) -> Result<bool, LogError> {
        if access == Access::Cached && !self.is_open() {
            return Err(LogError::Cold);
        }
        let state = self.state()?;
        Ok(!state.pending.is_empty() || !matches!(state.stored, Stored::Missing))
    }

    fn is_open(&self) -> bool {
        match self.state.read().stored {
            Stored::Unknown => false,
            Stored::Missing => true,
            Stored::Entries(_) => self.file.is_open(),
        }
    }

    pub(super) fn len(&self) -> Result<u64, LogError> {
        let state = self.state()?;
        Ok(state.stored.entries() + state.pending.len() as u64)
    }

    pub(super) fn last(&self) -> Result<Option<E>, LogError> {
        let state = self.state()?;
        if let Some(last) = state.pending.last() {
            return Ok(Some(*last));
        }
        let Stored::Entries(entries @ 1..) = state.stored else { return Ok(None) };
        let mut bytes = vec![0; E::BYTES];
        let file = self.file.open()?;
        sys::pread_exact(&file, &mut bytes, (entries - 1) * E::BYTES as u64).at(self.file.path())?;
        Ok(Some(E::decode(&bytes)))
    }

    /// The last entry for which `is_at_or_before` holds; it must hold for all entries before one for which it holds.
    pub(super) fn floor(&self, access: Access, is_at_or_before: impl Fn(&E) -> bool) -> Result<Option<E>, LogError> {
        if access == Access::Cached && !self.is_open() {
            return Err(LogError::Cold);
        }
        let state = self.state()?;
        let count = state.pending.partition_point(&is_at_or_before);
        if let Some(entry) = count.checked_sub(1).and_then(|index| state.pending.get(index)) {
            return Ok(Some(*entry));
        }
        let Stored::Entries(entries @ 1..) = state.stored else { return Ok(None) };
        let file = self.file.open()?;
        // Stored entries do not change: no append waits for this search.
        drop(state);
        floor_in_file(&file, entries, access, is_at_or_before).at(self.file.path())
    }

    /// Adds an entry behind all others. Nothing can fail here: room was made before ([`IndexFile::make_room`]).
    pub(super) fn push(&self, entry: E) {
        self.state.write().pending.push(entry);
    }

    /// Writes the waiting entries out where there are many.
    pub(super) fn make_room(&self) -> Result<(), LogError> {
        if self.state.read().pending.len() < PENDING_MAX {
            return Ok(());
        }
        self.flush()
    }

    /// Writes the waiting entries out, making the file where there is none, and cuts off what is not an entry.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        let mut state = self.opened()?;
        let (file, entries) = match state.stored {
            Stored::Entries(entries) => (self.file.open()?, entries),
            // What an index file of that name held before belongs to no segment.
            Stored::Unknown | Stored::Missing => (self.file.create()?, 0),
        };
        let mut bytes = Vec::with_capacity(state.pending.len() * E::BYTES);
        state.pending.iter().for_each(|entry| entry.encode(&mut bytes));
        sys::pwrite_all(&file, &bytes, entries * E::BYTES as u64).at(self.file.path())?;
        let entries = entries + state.pending.len() as u64;
        self.cut(&file, entries)?;
        state.stored = Stored::Entries(entries);
        state.pending.clear();
        Ok(())
    }

    /// Replaces all entries; readers see the old ones or the new ones.
    pub(super) fn replace(&self, entries: Vec<E>) -> Result<(), LogError> {
        let mut bytes = Vec::with_capacity(entries.len() * E::BYTES);
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        let mut state = self.opened()?;
        self.file.replace(&bytes)?;
        state.stored = Stored::Entries(entries.len() as u64);
        state.pending.clear();
        Ok(())
    }

    /// Keeps entries from the front on for as long as each `follows` the one before it, cuts off the rest, and gives the
    /// last that is kept.
    pub(super) fn keep_while(&self, follows: impl Fn(Option<&E>, &E) -> bool) -> Result<Option<E>, LogError> {
        let mut state = self.opened()?;
        state.pending.clear();
        let Stored::Entries(entries) = state.stored else { return Ok(None) };
        let file = self.file.open()?;
        let (mut kept, mut last) = (0, None);
        let mut block = vec![0; BLOCK_BYTES / E::BYTES * E::BYTES];
        while kept < entries {
            let read = sys::pread_up_to(&file, &mut block, kept * E::BYTES as u64).at(self.file.path())?;
            let mut found = block.get(..read).unwrap_or_default().chunks_exact(E::BYTES).map(E::decode).peekable();
            while let Some(entry) = found.next_if(|entry| follows(last.as_ref(), entry)) {
                last = Some(entry);
                kept += 1;
            }
            if found.peek().is_some() || read < block.len() {
                break;
            }
        }
        self.cut(&file, kept)?;
        state.stored = Stored::Entries(kept);
        Ok(last)
    }

    fn cut(&self, file: &File, entries: u64) -> Result<(), LogError> {
        let length = entries * E::BYTES as u64;
        if file.metadata().at(self.file.path())?.len() != length {
            sys::set_len(file, length).at(self.file.path())?;
        }
        Ok(())
    }

    /// Closes the file until it is needed again.
    pub(super) fn release_file(&self) {
        self.file.close();
        self.state.write().pending.shrink_to_fit();
    }

    /// The segment leaves the log: nothing is opened under this name any more. What reads already goes on.
    pub(super) fn retire(&self) {
        let _state = self.state.write();
        self.file.retire();
    }

    /// Makes durable what was written. Without the lock: no append waits for it.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        if !matches!(self.state()?.stored, Stored::Entries(_)) {
            return Ok(());
        }
        self.file.sync()
    }

    /// The state, with the file looked at where this is the first use.
    fn state(&self) -> Result<RwLockReadGuard<'_, State<E>>, LogError> {
        let state = self.state.read();
        if !matches!(state.stored, Stored::Unknown) {
            return Ok(state);
        }
        drop(state);
        Ok(RwLockWriteGuard::downgrade(self.opened()?))
    }

    fn opened(&self) -> Result<RwLockWriteGuard<'_, State<E>>, LogError> {
        let mut state = self.state.write();
        if matches!(state.stored, Stored::Unknown) {
            state.stored = match self.file.open_if_exists()? {
                Some(file) => {
                    let entries = file.metadata().at(self.file.path())?.len() / E::BYTES as u64;
                    Stored::Entries(without_padding::<E>(&file, entries).at(self.file.path())?)
                }
                None => Stored::Missing,
            };
        }
        Ok(state)
    }
}

impl Stored {
    fn entries(self) -> u64 {
        match self {
            Stored::Unknown | Stored::Missing => 0,
            Stored::Entries(entries) => entries,
        }
    }
}

/// The entries before the zeros to which Kafka preallocates an index (`AbstractIndex`), and which a crash of it leaves. An
/// entry is all zeros only where it is the only one: a segment's only record, of 1970.
fn without_padding<E: Entry>(file: &File, entries: u64) -> io::Result<u64> {
    let mut bytes = vec![0; E::BYTES];
    let mut is_padding = |entry: u64| {
        sys::pread_exact(file, &mut bytes, entry * E::BYTES as u64)?;
        io::Result::Ok(bytes.iter().all(|byte| *byte == 0))
    };
    if entries <= 1 || !is_padding(entries - 1)? {
        return Ok(entries);
    }
    let (mut low, mut high) = (0, entries - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_padding(middle)? { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

fn floor_in_file<E: Entry>(
    file: &File,
    entries: u64,
    access: Access,
    holds: impl Fn(&E) -> bool,
) -> io::Result<Option<E>> {
    let pread = |bytes: &mut [u8], entry: u64| {
        let position = entry * E::BYTES as u64;
        match access {
            Access::Cached if sys::pread_cached(file, bytes, position)? == bytes.len() => Ok(()),
            Access::Cached | Access::Blocking => sys::pread_exact(file, bytes, position),
        }
    };
    let per_block = (BLOCK_BYTES / E::BYTES) as u64;
    // The floor is below `high`; entry `low - 1` holds.
    let (mut low, mut high) = (0, entries);
    let mut found = None;
    let mut bytes = vec![0; E::BYTES];
    while high - low > per_block {
        let middle = low + (high - low) / 2;
        pread(&mut bytes, middle)?;
        let entry = E::decode(&bytes);
        if holds(&entry) {
            found = Some(entry);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bytes.resize((high - low) as usize * E::BYTES, 0);
    pread(&mut bytes, low)?;
    Ok(bytes.chunks_exact(E::BYTES).map(E::decode).take_while(holds).last().or(found))
}
