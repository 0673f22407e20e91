//! A log on its way to another log dir, while it is appended to (`ReplicaAlterLogDirsThread`).
//!
//! The copy grows in a `-future` folder: [`FutureLog::catch_up`] brings it near to the log's end, and the rest is done under the
//! append lock: [`LogManager::switch`](super::manager::LogManager::switch). Segments are copied byte for byte. One that leaves the log
//! meanwhile, or is replaced by compaction, leaves the copy with the next look at the log.

mod folders;
mod switch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use super::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use super::error::{IoContext, LogError};
use super::names::{FileKind, FileName, FileState};
use super::segment::Segment;
use super::shared::{Shared, View};
use super::{DirContext, LogReader, cold, open};
use crate::sys::{self, FileSlice};
use crate::types::{Offset, TopicId};

pub(super) use folders::{Folders, NotExchanged, finish_switches};

const CHUNK: usize = 1 << 20;
/// In a `-future` folder: it holds the whole log, and is about to take its place. It outlasts the switch only in a crash.
const COMPLETE_MARK: &str = ".complete";
const INDEXES: [FileKind; 3] = [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex];

/// How far a move is, and whether it is to go on.
#[derive(Debug, Default)]
pub struct MoveProgress {
    cancelled: AtomicBool,
    bytes: AtomicU64,
    end_offset: AtomicI64,
}

/// A log's copy in another log dir. Its folder goes with it, unless it took the log's place.
#[derive(Debug)]
pub struct FutureLog {
    source: Arc<Shared>,
    pub(super) folders: Folders,
    /// Of the log dir that it is in.
    pub(super) context: Arc<DirContext>,
    copied: BTreeMap<Offset, Copied>,
    snapshots: Vec<Offset>,
    progress: Arc<MoveProgress>,
    /// The folder is not ours to remove any more.
    pub(super) is_kept: bool,
}

/// What the copy has of a segment.
#[derive(Debug)]
struct Copied {
    segment: Arc<Segment>,
    bytes: u64,
    /// All of it, indexes too, on stable storage.
    is_whole: bool,
}

impl MoveProgress {
    /// Ends the move, unless it is over already.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Bytes copied.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Everything before it is copied.
    pub fn end_offset(&self) -> Offset {
        Offset(self.end_offset.load(Ordering::Relaxed))
    }

    fn check(&self) -> Result<(), LogError> {
        if self.is_cancelled() { Err(LogError::MoveCancelled) } else { Ok(()) }
    }
}

impl FutureLog {
    pub(super) fn new(
        log: &LogReader,
        folders: Folders,
        context: Arc<DirContext>,
        progress: Arc<MoveProgress>,
    ) -> FutureLog {
        let source = Arc::clone(&log.shared);
        FutureLog { source, folders, context, copied: BTreeMap::new(), snapshots: Vec::new(), progress, is_kept: false }
    }

    /// Copies what the log has by now; gives the number of bytes that it was behind. Blocking; no append waits for it.
    pub fn catch_up(&mut self) -> Result<u64, LogError> {
        loop {
            self.progress.check()?;
            let view = self.source.view();
            let behind = self.bytes_behind(&view);
            match self.copy(&view) {
                // A segment went, or was replaced, under the copy.
                Err(LogError::Gone) if !self.source.has_moved() => {}
                copied => return copied.map(|()| behind).map_err(|error| self.judged(error)),
            }
        }
    }

    /// Makes durable what both logs have of the last segment, so that little of that is left for the switch. Blocking; no
    /// append waits for it.
    pub fn sync_tail(&self) -> Result<(), LogError> {
        let Some(last) = self.source.view().segments.last().map(Arc::clone) else { return Ok(()) };
        match last.sync_log() {
            // It left the log, or the topic went.
            Err(error) if error.is_no_file() => return Ok(()),
            synced => synced.map_err(|error| self.source.context.sync_failed(error))?,
        }
        let path = self.path(FileName::live(last.base_offset, FileKind::Log));
        sys::sync_if_exists(&path).at(&path).map_err(|error| self.context.sync_failed(error))
    }

    /// Bytes of the log that are yet to be copied.
    pub(super) fn bytes_behind(&self, view: &View) -> u64 {
        let missing = |(index, segment): (usize, &Arc<Segment>)| {
            let size = view.size_of(index, segment);
            self.copied_of(segment).map_or(size, |copied| size.saturating_sub(copied.bytes))
        };
        view.segments.iter_from(0).enumerate().map(missing).sum()
    }

    fn copied_of(&self, segment: &Arc<Segment>) -> Option<&Copied> {
        self.copied.get(&segment.base_offset).filter(|copied| Arc::ptr_eq(&copied.segment, segment))
    }

    /// Makes the copy whole, durably. To be called under the append lock, when all of the log is in its files.
    pub(super) fn complete(&mut self, topic_id: TopicId) -> Result<(), LogError> {
        self.make_whole(topic_id).map_err(|error| self.judged(error))
    }

    fn make_whole(&mut self, topic_id: TopicId) -> Result<(), LogError> {
        let view = self.source.view();
        self.copy(&view)?;
        if let Some(last) = view.segments.last() {
            self.finish_segment(last)?;
        }
        let at_end = FileName::live(view.end_offset, FileKind::ProducerSnapshot);
        copy_if_exists(&self.source.dir.join(at_end.to_string()), &self.path(at_end))?;
        checkpoint::write_epochs(&self.folder().join(LEADER_EPOCH_CHECKPOINT), self.source.epochs.read().entries())?;
        checkpoint::write_partition_metadata(&self.folder().join(PARTITION_METADATA), topic_id)?;
        self.sync(at_end).map_err(|error| self.context.sync_failed(error))
    }

    fn sync(&self, snapshot: FileName) -> Result<(), LogError> {
        let folder = self.folder();
        for path in [self.path(snapshot), folder.join(LEADER_EPOCH_CHECKPOINT), folder.join(PARTITION_METADATA)] {
            sys::sync_if_exists(&path).at(&path)?;
        }
        // What the mark says has to be true wherever it is seen.
        sys::sync_dir(folder).at(folder)?;
        crash_point();
        let mark = folder.join(COMPLETE_MARK);
        sys::create(&mark).at(&mark)?;
        sys::sync_dir(folder).at(folder)?;
        folder.parent().map_or(Ok(()), |log_dir| sys::sync_dir(log_dir).at(log_dir))
    }

    fn copy(&mut self, view: &View) -> Result<(), LogError> {
        sys::create_dir_all(self.folder()).at(self.folder())?;
        self.discard_what_left(view)?;
        self.copy_snapshots()?;
        for (index, segment) in view.segments.iter_from(0).enumerate() {
            let is_sealed = index + 1 < view.segments.len();
            if !self.copied_of(segment).is_some_and(|copied| copied.is_whole) {
                self.copy_log(segment, view.size_of(index, segment), is_sealed)?;
                if is_sealed {
                    self.finish_segment(segment)?;
                }
            }
            self.progress.end_offset.store(view.end_of(index).0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes out of the copy what is no longer in the log.
    fn discard_what_left(&mut self, view: &View) -> Result<(), LogError> {
        let here = |base| view.segments.get(view.segments.floor_index(base));
        let has_left = |copied: &Copied| {
            !here(copied.segment.base_offset).is_some_and(|segment| Arc::ptr_eq(segment, &copied.segment))
        };
        let left: Vec<Offset> = self.copied.iter().filter(|(_, it)| has_left(it)).map(|(base, _)| *base).collect();
        for base in left {
            for kind in INDEXES.into_iter().chain([FileKind::Log]) {
                let path = self.path(FileName::live(base, kind));
                sys::remove_file_if_exists(&path).at(&path)?;
            }
            if let Some(copied) = self.copied.remove(&base) {
                self.progress.bytes.fetch_sub(copied.bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Copies the batches of a segment up to `size` that the copy lacks.
    fn copy_log(&mut self, segment: &Arc<Segment>, size: u64, is_sealed: bool) -> Result<(), LogError> {
        let from = segment.file()?;
        let path = self.path(FileName::live(segment.base_offset, FileKind::Log));
        let start = Copied { segment: Arc::clone(segment), bytes: 0, is_whole: false };
        let copied = self.copied.entry(segment.base_offset).or_insert(start);
        let to = if copied.bytes == 0 { sys::create(&path) } else { sys::open(&path) }.at(&path)?;
        while copied.bytes < size {
            self.progress.check()?;
            let position = copied.bytes;
            let length = u32::try_from((size - position).min(CHUNK as u64)).unwrap_or(u32::MAX);
            let slice = FileSlice { file: Arc::clone(&from), position, length };
            // Others may be reading what was in the page cache before.
            let was_cached = cold::is_cached(&slice).at(&segment.path)?;
            copy_slice(&slice, &segment.path, &to, &path)?;
            if is_sealed && !was_cached {
                sys::drop_cached(&from, position, u64::from(length)).at(&segment.path)?;
            }
            copied.bytes += u64::from(length);
            crash_point();
            self.progress.bytes.fetch_add(u64::from(length), Ordering::Relaxed);
        }
        Ok(())
    }

    /// The indexes of a segment whose batches are all copied, and all of it on stable storage. An index that is not there, or
    /// is being rebuilt, is made again where it is used.
    fn finish_segment(&mut self, segment: &Arc<Segment>) -> Result<(), LogError> {
        for kind in INDEXES {
            copy_if_exists(&source_path(segment, kind), &self.path(FileName::live(segment.base_offset, kind)))?;
        }
        let sync = |kind| {
            let path = self.path(FileName::live(segment.base_offset, kind));
            sys::sync_if_exists(&path).at(&path)
        };
        let synced = INDEXES.into_iter().chain([FileKind::Log]).try_for_each(sync);
        synced.map_err(|error| self.context.sync_failed(error))?;
        if let Some(copied) = self.copied.get_mut(&segment.base_offset) {
            copied.is_whole = true;
        }
        Ok(())
    }

    fn copy_snapshots(&mut self) -> Result<(), LogError> {
        for name in open::list(&self.source.dir)? {
            let is_new = name.kind == FileKind::ProducerSnapshot && name.state == FileState::Live;
            if is_new && !self.snapshots.contains(&name.offset) {
                let to = self.path(name);
                copy_if_exists(&self.source.dir.join(name.to_string()), &to)?;
                sys::sync_if_exists(&to).at(&to).map_err(|error| self.context.sync_failed(error))?;
                self.snapshots.push(name.offset);
            }
        }
        Ok(())
    }

    /// A write that failed is held against the log dir that the copy is in. Of the other one the log was only read.
    fn judged(&self, error: LogError) -> LogError {
        match &error {
            LogError::Io { path, .. } if path.starts_with(self.context.path()) => self.context.write_failed(error),
            _ => error,
        }
    }

    fn folder(&self) -> &Path {
        &self.folders.future
    }

    fn path(&self, name: FileName) -> PathBuf {
        self.folder().join(name.to_string())
    }
}

impl Drop for FutureLog {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        match sys::remove_dir_all(self.folder()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.folder().display(), %error, "what a move has copied stays until the next start");
            }
            _ => {}
        }
    }
}

/// Compaction may not have given the segment's files their own names yet.
fn source_path(segment: &Segment, kind: FileKind) -> PathBuf {
    let name = segment.path.file_name().and_then(|name| FileName::parse(name.to_str()?));
    let name = name.unwrap_or(FileName::live(segment.base_offset, FileKind::Log));
    segment.path.with_file_name(FileName { kind, ..name }.to_string())
}

fn copy_slice(slice: &FileSlice, from: &Path, to: &File, to_path: &Path) -> Result<(), LogError> {
    let mut bytes = vec![0; slice.length as usize];
    sys::pread_exact(&slice.file, &mut bytes, slice.position).at(from)?;
    sys::pwrite_all(to, &bytes, slice.position).at(to_path)
}

fn copy_if_exists(from: &Path, to: &Path) -> Result<(), LogError> {
    let file = match sys::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return sys::remove_file_if_exists(to).at(to),
        opened => Arc::new(opened.at(from)?),
    };
    let copy = sys::create(to).at(to)?;
    let size = file.metadata().at(from)?.len();
    for position in (0..size).step_by(CHUNK) {
        let length = u32::try_from((size - position).min(CHUNK as u64)).unwrap_or(u32::MAX);
        copy_slice(&FileSlice { file: Arc::clone(&file), position, length }, from, &copy, to)?;
    }
    Ok(())
}

/// Here a test looks at what a crash would leave.
#[cfg(not(test))]
fn crash_point() {}

#[cfg(test)]
use tests::crash_point;

#[cfg(test)]
pub(crate) use tests::at_crash_points;

#[cfg(test)]
mod tests;
