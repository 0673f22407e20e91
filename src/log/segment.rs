//! One segment: a log file and the three indexes beside it, opened when they are used.
//!
//! The indexes are hints. An entry is believed only where a batch header stands at its position and agrees with it
//! ([`Segment::scan_at`]); else a sealed segment's indexes are rebuilt from its log, and a lookup in the active one starts
//! from the front.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Access;
use super::error::{Damage, IoContext, LogError};
use super::names::{FileKind, FileName, FileState};
use super::offset_index::{OffsetEntry, OffsetIndex};
use super::open_files::{Handle, OpenFiles};
use super::scan::{Located, Scan, ScanError};
use super::tail::Tail;
use super::time_index::{TimeEntry, TimeIndex};
use super::txn_index::TxnIndex;
use crate::protocol::batch::{Batch, BatchHeader};
use crate::sys;
use crate::types::{Offset, Timestamp};

/// A lookup that walks more batches than this has an index too thin to be whole: writers leave at most
/// `index.interval.bytes` between two entries.
const WALK_MAX: usize = 1024;

/// The largest timestamp of a run of batches, and the last offset of the first batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaxTimestamp {
    pub(super) timestamp: Timestamp,
    pub(super) offset: Offset,
}

/// A batch's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) position: u64,
    pub(super) next_offset: Offset,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: Offset,
    /// Under which names the files lie.
    state: FileState,
    pub(super) path: PathBuf,
    pub(super) offset_index: OffsetIndex,
    pub(super) time_index: TimeIndex,
    pub(super) txn_index: TxnIndex,
    pub(super) index_interval_bytes: u32,
    /// Bytes that readers may see.
    size: AtomicU64,
    /// No longer appended to.
    sealed: AtomicBool,
    file: Arc<Handle>,
    /// Held while the indexes are rebuilt, which happens once.
    rebuilt: Mutex<bool>,
    /// Where the last read ended: the offset that follows, and the position.
    read_on: Mutex<Option<OffsetEntry>>,
    /// Of a sealed segment, once it was asked for; the inner `None`: no batch has a timestamp.
    largest: Mutex<Option<Option<MaxTimestamp>>>,
}

impl Segment {
    /// A segment whose log file has `size` bytes; nothing is opened yet.
    pub(super) fn existing(
        state: FileState,
        dir: &Path,
        base_offset: Offset,
        size: u64,
        index_interval_bytes: u32,
        files: &Arc<OpenFiles>,
    ) -> Segment {
        let path = |kind| dir.join(FileName { offset: base_offset, kind, state }.to_string());
        Segment {
            base_offset,
            state,
            offset_index: OffsetIndex::new(path(FileKind::OffsetIndex), files),
            time_index: TimeIndex::new(path(FileKind::TimeIndex), files),
            txn_index: TxnIndex::new(path(FileKind::TxnIndex), files),
            path: path(FileKind::Log),
            index_interval_bytes,
            size: AtomicU64::new(size),
            sealed: AtomicBool::new(false),
            file: Handle::new(path(FileKind::Log), files),
            rebuilt: Mutex::new(false),
            read_on: Mutex::new(None),
            largest: Mutex::new(None),
        }
    }

    /// A new, empty segment on disk: all of its files, or none. Files of that name are left-overs of a roll that failed.
    pub(super) fn create(
        state: FileState,
        dir: &Path,
        base_offset: Offset,
        index_interval_bytes: u32,
        files: &Arc<OpenFiles>,
    ) -> Result<Segment, LogError> {
        let segment = Segment::existing(state, dir, base_offset, 0, index_interval_bytes, files);
        segment.make_files().inspect_err(|_| segment.remove_files())?;
        Ok(segment)
    }

    /// The log file comes last: to the next start it is where the log ends.
    fn make_files(&self) -> Result<(), LogError> {
        self.offset_index.replace(Vec::new())?;
        self.time_index.replace(Vec::new())?;
        self.txn_index.remove()?;
        self.file.create().map(drop)
    }

    /// Gives a new segment's log file its full length (`LogSegment.open` with `preallocate`). Where there is no room for it
    /// nothing is left of the segment.
    pub(super) fn preallocate(&self, bytes: u64) -> Result<(), LogError> {
        let allocated = sys::preallocate(self.file()?.as_ref(), bytes).at(&self.path);
        allocated.inspect_err(|_| self.remove_files())
    }

    /// What could not be made whole goes; what stays all the same is overwritten by the next try.
    fn remove_files(&self) {
        for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
            let name = FileName { offset: self.base_offset, kind, state: self.state };
            let path = self.path.with_file_name(name.to_string());
            let _ = sys::remove_file_if_exists(&path);
        }
    }

    /// Cuts off what was preallocated and is not needed.
    pub(super) fn trim(&self) -> Result<(), LogError> {
        let (file, size) = (self.file()?, self.size());
        if file.metadata().at(&self.path)?.len() > size { sys::set_len(&file, size).at(&self.path) } else { Ok(()) }
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(super) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// The log file, opened at the first use.
    pub(super) fn file(&self) -> Result<Arc<File>, LogError> {
        self.file_for(Access::Blocking)
    }

    pub(super) fn file_for(&self, access: Access) -> Result<Arc<File>, LogError> {
        if access == Access::Cached && !self.file.is_open() {
            return Err(LogError::Cold);
        }
        self.file.open()
    }

    /// Puts another file in the log's place, to see what a failing device does.
    #[cfg(test)]
    pub(super) fn exchange_file(&self, file: Arc<File>) -> Arc<File> {
        self.file.exchange(file)
    }

    /// Closes the files until they are needed again.
    pub(super) fn release_files(&self) {
        self.file.close();
        self.offset_index.release_file();
        self.time_index.release_file();
    }

    /// Takes the segment out of use and its files out of the way, as `.deleted`; gives their new paths. Call with the view
    /// locked, or after it has lost the segment: whoever still looks here is told [`LogError::Gone`] and looks at the view
    /// again, and who has a file open reads on undisturbed.
    pub(super) fn set_aside(&self) -> Result<Vec<PathBuf>, LogError> {
        self.retire();
        let mut aside = Vec::new();
        for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex] {
            let name = FileName { offset: self.base_offset, kind, state: self.state };
            let (from, to) =
                (self.path.with_file_name(name.to_string()), self.path.with_file_name(name.deleted().to_string()));
            match sys::rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => {
                    renamed.at(&from)?;
                    aside.push(to);
                }
            }
        }
        Ok(aside)
    }

    /// Takes the segment out of use and leaves its files where they are.
    pub(super) fn retire(&self) {
        self.file.retire();
        self.offset_index.retire();
        self.time_index.retire();
        self.txn_index.retire();
    }

    /// No more appends: from now on the indexes may be rebuilt by whoever finds them wrong.
    pub(super) fn seal(&self, largest: Option<Option<MaxTimestamp>>) {
        *self.largest.lock() = largest;
        self.sealed.store(true, Ordering::Release);
    }

    pub(super) fn relative(&self, offset: Offset) -> Option<u32> {
        offset.0.checked_sub(self.base_offset.0).and_then(|relative| u32::try_from(relative).ok())
    }

    /// Whether a batch of this segment may have these offsets, `expected` being the first one not taken.
    pub(super) fn check_offsets(&self, header: &BatchHeader, expected: Offset) -> Result<(), ScanError> {
        let last_offset = header.last_offset();
        let is_in_reach = last_offset.0.saturating_sub(self.base_offset.0) <= i64::from(i32::MAX);
        if header.base_offset < expected || header.last_offset_delta < 0 || !is_in_reach || last_offset.0 == i64::MAX {
            return Err(ScanError::Damaged(Damage::OffsetOrder { found: header.base_offset, expected }));
        }
        Ok(())
    }

    /// The first batch whose last offset is at or after `offset`; `None` where this segment ends before it.
    pub(super) fn find(&self, offset: Offset, size: u64, access: Access) -> Result<Option<Located>, LogError> {
        let file = self.file_for(access)?;
        let mut scan = self.scan_to(&file, offset, size, access)?;
        let (mut walked, mut expected) = (0, self.base_offset);
        while let Some(batch) = scan.next().map_err(|error| self.error(error, scan.position(), offset))? {
            let Located { header, position } = &batch;
            // Else it would be passed over, and its records with it.
            if header.base_offset < expected || header.last_offset_delta < 0 {
                let order = Damage::OffsetOrder { found: header.base_offset.min(header.last_offset()), expected };
                return Err(self.damaged(order, *position, expected));
            }
            if header.last_offset() >= offset {
                return Ok(Some(batch));
            }
            expected = header.next_offset();
            walked += 1;
            if walked == WALK_MAX {
                self.rebuild_if_sealed(access)?;
            }
        }
        Ok(None)
    }

    /// Where the last whole batch before `limit` ends, from the batch `first` on, and which offset follows. The index
    /// takes the walk near to the limit; only what lies between two of its entries is walked.
    pub(super) fn cut(&self, first: &Located, limit: u64, size: u64, access: Access) -> Result<Cut, LogError> {
        let file = self.file_for(access)?;
        let mut cut = Cut { position: first.end(), next_offset: first.header.next_offset() };
        let mut scan = Scan::headers(&file, cut.position, size).within(access);
        let before_limit = |entry: &OffsetEntry| u64::from(entry.position) <= limit.min(size.saturating_sub(1));
        let entry =
            self.offset_index.floor(access, before_limit)?.filter(|entry| u64::from(entry.position) > cut.position);
        if let Some(nearer) = entry.map_or(Ok(None), |entry| self.scan_at(&file, entry, size, access))? {
            cut.position = nearer.position();
            scan = nearer;
        }
        while let Some(batch) = scan.next().map_err(|error| self.error(error, cut.position, cut.next_offset))? {
            if batch.end() > limit {
                cut.next_offset = batch.header.base_offset;
                break;
            }
            cut = Cut { position: batch.end(), next_offset: batch.header.next_offset() };
        }
        Ok(cut)
    }

    /// The batch with its records if it is a control batch, whose marker is in them; else no more than its header.
    pub(super) fn with_marker(&self, located: &Located) -> Result<Batch, LogError> {
        if located.header.attributes.is_control() {
            return self.read_batch(located);
        }
        Ok(Batch { header: located.header, bytes: Bytes::new() })
    }

    /// One batch in memory. Its length decides over memory only once its CRC has been found right.
    pub(super) fn read_batch(&self, located: &Located) -> Result<Batch, LogError> {
        let file = self.file()?;
        let checked = Scan::everything(&file, located.position, located.end()).check_crc(located);
        checked.map_err(|error| self.error(error, located.position, located.header.base_offset))?;
        let mut bytes = vec![0; located.header.size()];
        sys::pread_exact(&file, &mut bytes, located.position).at(&self.path)?;
        Ok(Batch { header: located.header, bytes: bytes.into() })
    }

    /// A walk from a batch at or before the one that contains `offset`: from where the last read ended, if this one goes
    /// on there, else from the index.
    pub(super) fn scan_to<'a>(
        &self,
        file: &'a File,
        offset: Offset,
        size: u64,
        access: Access,
    ) -> Result<Scan<'a>, LogError> {
        let from = |entry: Option<OffsetEntry>| {
            Scan::headers(file, entry.map_or(0, |it| u64::from(it.position)), size).within(access)
        };
        let Some(relative) = self.relative(offset) else { return Ok(from(None)) };
        let read_on = self.read_on.lock().filter(|read_on| read_on.relative_offset == relative);
        if let Some(scan) = read_on.map_or(Ok(None), |entry| self.scan_at(file, entry, size, access))? {
            return Ok(scan);
        }
        let floor = || self.offset_index.floor(access, |entry| entry.relative_offset <= relative);
        if !self.offset_index.exists(access)? {
            self.rebuild_if_sealed(access)?;
        }
        let Some(entry) = floor()? else { return Ok(from(None)) };
        if let Some(scan) = self.scan_at(file, entry, size, access)? {
            return Ok(scan);
        }
        Ok(from(if self.rebuild_if_sealed(access)? { floor()? } else { None }))
    }

    /// Remembers where a read ended: whoever reads on needs no index.
    pub(super) fn remember(&self, end: Cut) {
        let entry = self.relative(end.next_offset).zip(u32::try_from(end.position).ok());
        *self.read_on.lock() = entry.map(|(relative_offset, position)| OffsetEntry { relative_offset, position });
    }

    /// A walk from the entry's position, if a batch stands there that may have such an entry.
    pub(super) fn scan_at<'a>(
        &self,
        file: &'a File,
        entry: OffsetEntry,
        size: u64,
        access: Access,
    ) -> Result<Option<Scan<'a>>, LogError> {
        let mut scan = Scan::headers(file, u64::from(entry.position), size).within(access);
        let offsets = self.base_offset..=self.base_offset.plus(i64::from(entry.relative_offset));
        match scan.peek() {
            Ok(Some(batch)) => Ok(offsets.contains(&batch.header.base_offset).then_some(scan)),
            Ok(None) | Err(ScanError::Damaged(_)) => Ok(None),
            Err(error @ ScanError::Io(_)) => Err(self.error(error, u64::from(entry.position), self.base_offset)),
        }
    }

    /// Whether the batch that a time index entry names has the timestamp that the entry says.
    pub(super) fn time_agrees(&self, entry: TimeEntry, size: u64) -> Result<bool, LogError> {
        let offset = self.base_offset.plus(i64::from(entry.relative_offset));
        Ok(self
            .find(offset, size, Access::Blocking)?
            .is_some_and(|batch| batch.header.base_offset <= offset && batch.header.max_timestamp == entry.timestamp))
    }

    /// The offset from which on to look for records at or after `timestamp`.
    pub(super) fn time_floor(&self, timestamp: Timestamp, size: u64) -> Result<Offset, LogError> {
        let floor = || self.time_index.floor(Access::Blocking, |entry| entry.timestamp <= timestamp);
        let offset_of = |entry: TimeEntry| self.base_offset.plus(i64::from(entry.relative_offset));
        match floor()? {
            None => Ok(self.base_offset),
            Some(entry) if self.time_agrees(entry, size)? => Ok(offset_of(entry)),
            Some(_) if self.rebuild_if_sealed(Access::Blocking)? => Ok(floor()?.map_or(self.base_offset, offset_of)),
            Some(_) => Ok(self.base_offset),
        }
    }

    /// The largest timestamp of a sealed segment: what the time index ends with, if the batches behind that bear it out.
    pub(super) fn largest_timestamp(&self) -> Result<Option<MaxTimestamp>, LogError> {
        let mut largest = self.largest.lock();
        if let Some(known) = *largest {
            return Ok(known);
        }
        let found = match self.last_time_entry(self.size())? {
            Some(resumed) => resumed,
            None => self.rebuild_indexes()?.max,
        };
        Ok(*largest.insert(found))
    }

    /// What the time index ends with; the outer `None` where the batches from there on do not agree with it.
    fn last_time_entry(&self, size: u64) -> Result<Option<Option<MaxTimestamp>>, LogError> {
        let last = self.time_index.last()?;
        if let Some(entry) = last
            && !self.time_agrees(entry, size)?
        {
            return Ok(None);
        }
        let max = last.map(|entry| MaxTimestamp {
            timestamp: entry.timestamp,
            offset: self.base_offset.plus(i64::from(entry.relative_offset)),
        });
        let file = self.file()?;
        let mut scan = self.scan_to(&file, max.map_or(self.base_offset, |max| max.offset), size, Access::Blocking)?;
        while let Some(batch) = scan.next().map_err(|error| self.error(error, scan.position(), self.base_offset))? {
            if batch.header.max_timestamp > max.map_or(Timestamp::NONE, |max| max.timestamp) {
                return Ok(None);
            }
        }
        Ok(Some(max))
    }

    /// Where a clean stop left this segment. Only what lies behind the last entries of the indexes is read; if they do not
    /// agree with the log, all headers are, and the indexes rebuilt.
    pub(super) fn resume(&self) -> Result<Tail, LogError> {
        let (file, size) = (self.file()?, self.size());
        if !self.offset_index.exists(Access::Blocking)? || !self.time_index.exists(Access::Blocking)? {
            return self.rebuild_indexes();
        }
        let last = self.offset_index.last()?;
        let front = || Ok(Some(Scan::headers(&file, 0, size)));
        let Some(mut scan) = last.map_or_else(front, |entry| self.scan_at(&file, entry, size, Access::Blocking))?
        else {
            return self.rebuild_indexes();
        };
        let Some(max) = self.last_time_entry(size)? else { return self.rebuild_indexes() };
        let damaged = |error, position| self.error(error, position, self.base_offset);
        let first = Scan::headers(&file, 0, size).next().map_err(|error| damaged(error, 0))?;
        let mut tail = Tail::resumed(max, first.map(|batch| batch.header.max_timestamp));
        while let Some(batch) = scan.next().map_err(|error| damaged(error, scan.position()))? {
            let expected = tail.next_offset.unwrap_or(self.base_offset);
            self.check_offsets(&batch.header, expected).map_err(|error| damaged(error, batch.position))?;
            self.note(&mut tail, &batch)?;
        }
        Ok(tail)
    }

    /// Takes the next batch into account, in the indexes too.
    pub(super) fn note(&self, tail: &mut Tail, batch: &Located) -> Result<(), LogError> {
        let (offset_entry, time_entry) = tail.observe(self, batch);
        offset_entry.into_iter().for_each(|entry| self.offset_index.push(entry));
        time_entry.into_iter().for_each(|entry| self.time_index.push(entry));
        self.offset_index.make_room()?;
        self.time_index.make_room()
    }

    /// Rebuilds the indexes of a segment that no writer appends to, once. Whether they are now as the log says.
    fn rebuild_if_sealed(&self, access: Access) -> Result<bool, LogError> {
        if !self.sealed.load(Ordering::Acquire) {
            return Ok(false);
        }
        if access == Access::Cached {
            return Err(LogError::Cold);
        }
        let mut rebuilt = self.rebuilt.lock();
        if !*rebuilt {
            tracing::warn!(path = %self.path.display(), "index missing or not agreeing with the log: rebuilding it");
            match self.rebuild_indexes() {
                // Reads go on without.
                Err(error) if error.is_disk_full() => return Ok(false),
                outcome => drop(outcome?),
            }
            *rebuilt = true;
        }
        Ok(true)
    }

    /// Offset and time index from the batch headers.
    pub(super) fn rebuild_indexes(&self) -> Result<Tail, LogError> {
        let file = self.file()?;
        let mut scan = Scan::headers(&file, 0, self.size());
        let mut tail = Tail::default();
        let (mut offsets, mut times) = (Vec::new(), Vec::new());
        while let Some(batch) = scan.next().map_err(|error| self.error(error, scan.position(), self.base_offset))? {
            let expected = tail.next_offset.unwrap_or(self.base_offset);
            let checked = self.check_offsets(&batch.header, expected);
            checked.map_err(|error| self.error(error, batch.position, expected))?;
            let (offset, time) = tail.observe(self, &batch);
            offsets.extend(offset);
            times.extend(time);
        }
        times.extend(tail.last_time_entry(self));
        self.offset_index.replace(offsets)?;
        self.time_index.replace(times)?;
        Ok(tail)
    }

    /// To be called by who has written to the log file, while it has it.
    pub(super) fn written(&self) {
        self.file.written();
    }

    pub(super) fn sync_log(&self) -> Result<(), LogError> {
        self.file.sync()
    }

    pub(super) fn sync_indexes(&self) -> Result<(), LogError> {
        self.offset_index.sync()?;
        self.time_index.sync()?;
        self.txn_index.sync()
    }

    pub(super) fn error(&self, error: ScanError, position: u64, offset: Offset) -> LogError {
        match error {
            ScanError::Io(source) => LogError::io(self.path.clone(), source),
            ScanError::Damaged(source) => self.damaged(source, position, offset),
        }
    }

    pub(super) fn damaged(&self, source: Damage, position: u64, offset: Offset) -> LogError {
        LogError::Damaged { path: self.path.clone(), position, offset, source }
    }
}
