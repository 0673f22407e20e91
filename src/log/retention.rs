//! What of a log may go, and how it goes (`UnifiedLog.deleteOldSegments`).
//!
//! In three steps, so that a crash between any two of them leaves log start and records right: the log start moves in memory
//! ([`LogWriter::expire`]), the caller makes it durable (`log-start-offset-checkpoint`), and only then the segments below
//! it leave the log ([`LogWriter::remove_before`]). What DeleteRecords leaves below the log start goes the same way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use super::checkpoint::{self, LEADER_EPOCH_CHECKPOINT};
use super::error::{IoContext, LogError};
use super::names::{FileKind, FileName, FileState};
use super::open_files::OpenFiles;
use super::segment::Segment;
use super::shared::View;
use super::timestamps;
use super::writer::LogWriter;
use super::{LogReader, open};
use crate::config::TopicConfig;
use crate::types::{Offset, Timestamp};

/// An append waits for the renaming of no more segments than these.
const REMOVED_AT_ONCE: usize = 16;

/// What retention takes of a log: the segments before `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    pub(super) start: Offset,
    /// The active segment is among them: another one has to take its place.
    is_all: bool,
}

impl LogReader {
    /// What may go by `config`: segments wholly below the log start, and where `cleanup.policy` has `delete`, by
    /// `retention.bytes` and `retention.ms`. Nothing at or above the high watermark. May open files; no append waits.
    pub fn expired(
        &self,
        config: &TopicConfig,
        high_watermark: Offset,
        now: Timestamp,
    ) -> Result<Option<Expired>, LogError> {
        self.shared.on_view(|view| expired(view, config, high_watermark, now))
    }
}

impl LogWriter {
    /// Moves the log start in memory behind what has expired, and gives it. An active segment that has expired is rolled,
    /// unless something was appended to it since.
    pub fn expire(&mut self, expired: Expired, now: Timestamp) -> Result<Offset, LogError> {
        self.check_writable()?;
        let end_offset = self.shared.view.read().end_offset;
        if expired.is_all && end_offset == expired.start {
            self.dirty = true;
            match self.roll(end_offset, now).map_err(|error| self.shared.context.write_failed(error)) {
                // The active segment has to stay; the others make room.
                Ok(()) | Err(LogError::DiskFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let view = self.shared.view();
        let first_kept = view.segments.get(view.segments.floor_index(expired.start));
        self.advance_start(first_kept.map_or(view.start_offset, |segment| segment.base_offset))
    }

    /// Moves the log start in memory to `offset`, unless it is there or beyond already, and gives it; `OffsetOutOfRange`
    /// behind the end (`UnifiedLog.maybeIncrementLogStartOffset`). Producers stay known, also those whose records all lie
    /// below (KAFKA-7190).
    pub fn advance_start(&mut self, offset: Offset) -> Result<Offset, LogError> {
        self.check_writable()?;
        let mut view = self.shared.view.write();
        if offset > view.end_offset {
            return Err(LogError::OffsetOutOfRange { offset, start: view.start_offset, end: view.end_offset });
        }
        if offset > view.start_offset {
            view.start_offset = offset;
            view.last_stable_offset = view.last_stable_offset.max(offset);
            self.shared.epochs.write().truncate_from_start(offset);
        }
        Ok(view.start_offset)
    }

    /// Takes segments that lie wholly below `start`, which must be durable, out of the log, and their files out of the way:
    /// they go when `file.delete.delay.ms` have passed. A few at a time; whether there may be more.
    pub fn remove_before(&mut self, start: Offset, now: Instant) -> Result<bool, LogError> {
        self.check_writable()?;
        let removed = {
            let mut view = self.shared.view.write();
            let count = count_before(&view, start).min(REMOVED_AT_ONCE);
            let removed: Vec<_> = view.segments.iter_from(0).take(count).cloned().collect();
            let bytes: u64 = removed.iter().map(|segment| segment.size()).sum();
            view.size_bytes = view.size_bytes.saturating_sub(bytes);
            view.segments.replace(0..count, Vec::new());
            removed
        };
        if removed.is_empty() {
            return Ok(false);
        }
        self.write_epochs();
        for segment in &removed {
            let aside = segment.set_aside().and_then(|mut files| {
                files.extend(self.shared.set_snapshot_aside(segment.base_offset)?);
                Ok(files)
            });
            let files = aside.map_err(|error| self.shared.context.write_failed(error))?;
            self.shared.context.removals.schedule(files, now, self.options.config.file_delete_delay);
        }
        Ok(removed.len() == REMOVED_AT_ONCE)
    }

    /// Epochs that the checkpoint has too many of are cut off again at the next start: no reason to keep segments.
    fn write_epochs(&self) {
        let path = self.shared.dir.join(LEADER_EPOCH_CHECKPOINT);
        if let Err(error) = checkpoint::write_epochs(&path, self.shared.epochs.read().entries()) {
            tracing::warn!(%error, "leader epochs below the log start stay until the next start");
        }
        self.shared.durability.names_appeared();
    }
}

fn expired(
    view: &View,
    config: &TopicConfig,
    high_watermark: Offset,
    now: Timestamp,
) -> Result<Option<Expired>, LogError> {
    let mut count = count_before(view, view.start_offset);
    if config.delete {
        count = count_too_large(view, count, config, high_watermark);
        count = count_too_old(view, count, config, high_watermark, now)?;
    }
    let is_all = count == view.segments.len();
    Ok(count.checked_sub(1).map(|last| Expired { start: view.end_of(last), is_all }))
}

/// How many segments lie wholly below `start`. Never the last one (`deleteLogStartOffsetBreachedSegments`).
fn count_before(view: &View, start: Offset) -> usize {
    view.segments.iter_from(1).take_while(|next| next.base_offset <= start).count()
}

/// Of the segments from number `from` on, those without which the log still has `retention.bytes`
/// (`deleteRetentionSizeBreachedSegments`); returns the number of the first that stays.
fn count_too_large(view: &View, from: usize, config: &TopicConfig, high_watermark: Offset) -> usize {
    let before: u64 = view.segments.iter_from(0).take(from).map(|segment| segment.size()).sum();
    let bytes = view.size_bytes.saturating_sub(before);
    let Some(mut excess) = config.retention_bytes.and_then(|limit| bytes.checked_sub(limit)) else { return from };
    let mut count = from;
    while let Some(size) = may_go(view, count, high_watermark)
        && let Some(less) = excess.checked_sub(size)
    {
        excess = less;
        count += 1;
    }
    count
}

/// As [`count_too_large`], by the largest timestamp in each segment (`deleteRetentionMsBreachedSegments`). One that lies in
/// the future keeps its segment.
fn count_too_old(
    view: &View,
    from: usize,
    config: &TopicConfig,
    high_watermark: Offset,
    now: Timestamp,
) -> Result<usize, LogError> {
    let mut count = from;
    while may_go(view, count, high_watermark).is_some()
        && let Some(segment) = view.segments.get(count)
    {
        let largest = timestamps::largest(view, count, segment)?.map(|max| max.timestamp);
        let newest = match largest.filter(|largest| largest.0 >= 0) {
            Some(largest) => largest,
            None => modified(&segment.path, &segment.file()?.metadata().at(&segment.path)?)?,
        };
        if !is_too_old(newest, config, now) {
            break;
        }
        count += 1;
    }
    Ok(count)
}

/// The size of segment number `index`, if it is there and may go at all: an empty last one has nothing to give, and what
/// reaches the high watermark must stay.
fn may_go(view: &View, index: usize, high_watermark: Offset) -> Option<u64> {
    let segment = view.segments.get(index)?;
    let size = view.size_of(index, segment);
    let is_empty_last = index + 1 == view.segments.len() && size == 0;
    (!is_empty_last && view.end_of(index) <= high_watermark).then_some(size)
}

fn is_too_old(newest: Timestamp, config: &TopicConfig, now: Timestamp) -> bool {
    let age_ms = now.0.saturating_sub(newest.0);
    config.retention.is_some_and(|limit| age_ms > i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
}

/// When a file was last written: what counts where no record has a timestamp (`LogSegment.largestTimestamp`).
fn modified(path: &Path, metadata: &std::fs::Metadata) -> Result<Timestamp, LogError> {
    let since_epoch = metadata.modified().at(path)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)))
}

/// Whether retention may find something in a folder that is not open: whether to open it. Told from names, sizes and the end
/// of one time index. That index may be wrong; by the oldest file's age the folder is opened at the latest, and its headers
/// asked.
pub(super) fn may_be_due(dir: &Path, start: Offset, config: &TopicConfig, now: Timestamp) -> Result<bool, LogError> {
    let names = open::list(dir)?;
    // A stop came before they were due; opening removes them.
    if names.iter().any(|name| name.state == FileState::Deleted) {
        return Ok(true);
    }
    let is_log = |name: &&FileName| name.kind == FileKind::Log && name.state == FileState::Live;
    let mut bases: Vec<Offset> = names.iter().filter(is_log).map(|name| name.offset).collect();
    bases.sort_unstable();
    if bases.get(1).is_some_and(|second| *second <= start) {
        return Ok(true);
    }
    let Some(first) = bases.first().filter(|_| config.delete) else { return Ok(false) };
    let path = |base| dir.join(FileName::live(base, FileKind::Log).to_string());
    let metadata = |base| path(base).metadata().at(&path(base));
    let oldest = metadata(*first)?;
    if oldest.len() == 0 && bases.len() == 1 {
        return Ok(false);
    }
    if let Some(limit) = config.retention_bytes {
        let sizes = bases.iter().map(|base| Ok(metadata(*base)?.len())).collect::<Result<Vec<_>, LogError>>()?;
        if sizes.iter().sum::<u64>().checked_sub(limit).is_some_and(|excess| excess >= oldest.len()) {
            return Ok(true);
        }
    }
    let written = modified(dir, &oldest)?;
    let files = Arc::new(OpenFiles::up_to(1));
    let oldest_segment =
        Segment::existing(FileState::Live, dir, *first, oldest.len(), config.index_interval_bytes, &files);
    let indexed = oldest_segment.time_index.last()?;
    let newest = indexed.map_or(written, |entry| entry.timestamp.min(written));
    Ok(is_too_old(newest, config, now))
}
