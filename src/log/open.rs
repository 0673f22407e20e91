//! Opening a partition's folder.
//!
//! After a clean stop nothing is scanned: the folder is listed, and of the last segment the headers behind its last index
//! entries are read. After any other stop the segments from the recovery point on are read whole ([`super::recovery`]).

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};

use super::checkpoint::{self, LEADER_EPOCH_CHECKPOINT};
use super::cleaner;
use super::epoch_cache::EpochCache;
use super::error::{Damage, IoContext, LogError};
use super::flush::Durability;
use super::names::{FileKind, FileName, FileState};
use super::producer_snapshot;
use super::producer_state::ProducerState;
use super::roll::Age;
use super::scan::Scan;
use super::segment::Segment;
use super::segments::Segments;
use super::settle::Settling;
use super::shared::{Shared, View};
use super::tail::Tail;
use super::writer::{Active, LogWriter, note_producer};
use super::{Access, LogReader, OpenOptions};
use crate::sys;
use crate::types::{Offset, Timestamp};

/// Opens, and where needed recovers, a log. Blocking file I/O.
pub fn open(options: OpenOptions) -> Result<(LogWriter, LogReader), LogError> {
    // A checkpoint is text: it may say anything.
    let log_start_offset = options.log_start_offset.max(Offset::ZERO);
    let mut loading = Loading::list(OpenOptions { log_start_offset, ..options })?;
    let recovered = match loading.segments.len().checked_sub(1) {
        None => false,
        Some(last) if loading.options.clean => !loading.resume(last)?,
        Some(_) => {
            let first = loading.segments.partition_point(|s| s.base_offset <= loading.options.recovery_point);
            loading.recover_from(first.saturating_sub(1))?;
            true
        }
    };
    loading.settle_epochs()?;
    loading.remove_stray_snapshots()?;
    Ok(loading.into_halves(recovered))
}

/// A log on its way from the folder into memory.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) options: OpenOptions,
    pub(super) segments: Vec<Arc<Segment>>,
    /// Offsets of the producer snapshots, ascending.
    snapshots: Vec<Offset>,
    pub(super) producers: ProducerState,
    pub(super) epochs: EpochCache,
    /// The folder tells the epochs; where it does not, all batches do.
    pub(super) epochs_known: bool,
    /// No recovered batch left a hole before it: compaction has not been here.
    pub(super) is_dense: bool,
    /// Of the last segment.
    pub(super) tail: Tail,
    pub(super) end_offset: Offset,
    now: Timestamp,
}

impl Loading {
    fn list(options: OpenOptions) -> Result<Loading, LogError> {
        let mut names = list(&options.dir)?;
        if cleaner::settle(&options.dir, &names)? {
            names = list(&options.dir)?;
        }
        let (mut segments, mut snapshots) = (Vec::new(), Vec::new());
        let files = &options.context.open_files;
        let is_log = |name: &&FileName| name.state == FileState::Live && name.kind == FileKind::Log;
        let bases: BTreeSet<Offset> = names.iter().filter(is_log).map(|name| name.offset).collect();
        for name in names {
            let path = options.dir.join(name.to_string());
            match (name.state, name.kind) {
                (FileState::Live, FileKind::Log) => {
                    let size = path.metadata().at(&path)?.len();
                    let interval = options.config.index_interval_bytes;
                    segments.push(Arc::new(Segment::existing(
                        FileState::Live,
                        &options.dir,
                        name.offset,
                        size,
                        interval,
                        files,
                    )));
                }
                (FileState::Live, FileKind::ProducerSnapshot) => snapshots.push(name.offset),
                // A removal or a roll was interrupted.
                (FileState::Live, _) if !bases.contains(&name.offset) => sys::remove_file(&path).at(&path)?,
                (FileState::Live, _) => {}
                // What compaction or retention had done with.
                (FileState::Deleted, _) => sys::remove_file(&path).at(&path)?,
                // Settled above.
                (FileState::Cleaned | FileState::Swap, _) => {}
            }
        }
        segments.sort_by_key(|segment| segment.base_offset);
        snapshots.sort();
        let epochs = match checkpoint::read_epochs(&options.dir.join(LEADER_EPOCH_CHECKPOINT)) {
            Ok(entries) => EpochCache::from_entries(entries),
            Err(error) => {
                tracing::warn!(%error, "leader epochs are taken from the log instead");
                EpochCache::default()
            }
        };
        Ok(Loading {
            end_offset: options.log_start_offset,
            options,
            segments,
            snapshots,
            producers: ProducerState::default(),
            is_dense: true,
            epochs_known: !epochs.entries().is_empty(),
            epochs,
            tail: Tail::default(),
            now: Timestamp::now(),
        })
    }

    /// Goes on where a clean stop left off. Where the last segment does not bear out that it was clean, it is recovered
    /// after all; false then.
    fn resume(&mut self, last: usize) -> Result<bool, LogError> {
        let Some(segment) = self.segments.get(last).map(Arc::clone) else { return Ok(true) };
        let tail = match segment.resume() {
            Ok(tail) => tail,
            Err(LogError::Damaged { .. }) => {
                self.recover_from(last)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.end_offset = tail.next_offset.unwrap_or(segment.base_offset);
        self.tail = tail;
        self.check_recovery_point()?;
        self.warn_of_surplus();
        let from = self.load_snapshot(self.end_offset);
        self.replay_producers(from, self.segments.len(), 0)?;
        Ok(true)
    }

    /// A clean stop checkpoints the end as the recovery point. A base offset lies outside the CRC: that of the last batch
    /// may be damaged with nothing else to tell.
    fn warn_of_surplus(&self) {
        let (dir, end, stopped) = (self.options.dir.display(), self.end_offset, self.options.recovery_point);
        if stopped > Offset::ZERO && end > stopped {
            tracing::warn!(%dir, %end, %stopped, "the log ends behind where the clean stop left it: verify tells more");
        }
    }

    /// What was flushed must still be there, unless the log start has passed it.
    pub(super) fn check_recovery_point(&self) -> Result<(), LogError> {
        let end_offset = self.end_offset.max(self.options.log_start_offset);
        match self.segments.last() {
            Some(last) if end_offset < self.options.recovery_point => {
                Err(last.damaged(Damage::BeforeRecoveryPoint, last.size(), end_offset))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the newest readable snapshot at or before `offset`; what lies behind it is to be replayed.
    pub(super) fn load_snapshot(&mut self, offset: Offset) -> Offset {
        for at in self.snapshots.iter().rev().filter(|at| **at <= offset) {
            let path = self.options.dir.join(FileName::live(*at, FileKind::ProducerSnapshot).to_string());
            match producer_snapshot::read_at(&path, *at) {
                Ok(entries) => {
                    self.producers.load(entries, self.now, self.options.expiration_ms());
                    return *at;
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "producer snapshot passed over"),
            }
        }
        self.segments.first().map_or(Offset::ZERO, |first| first.base_offset)
    }

    /// Replays batches from `from` on, of the segments before number `until` and of the first `bytes` of that.
    pub(super) fn replay_producers(&mut self, from: Offset, until: usize, bytes: u64) -> Result<(), LogError> {
        let floor = self.segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        for (index, segment) in self.segments.iter().enumerate().take(until.saturating_add(1)).skip(floor) {
            let size = if index == until { bytes } else { segment.size() };
            let file = segment.file()?;
            let mut scan = segment.scan_to(&file, from, size, Access::Blocking)?;
            while let Some(batch) = scan.next().map_err(|error| segment.error(error, scan.position(), from))? {
                if batch.header.base_offset >= from && batch.header.has_producer_id() {
                    note_producer(&mut self.producers, &segment.with_marker(&batch)?);
                }
            }
        }
        Ok(())
    }

    /// The epochs must end where the log does; where none are known, the batches tell.
    fn settle_epochs(&mut self) -> Result<(), LogError> {
        let before = self.epochs.clone();
        if self.epochs.entries().is_empty() {
            for segment in &self.segments {
                let file = segment.file()?;
                let mut scan = Scan::headers(&file, 0, segment.size());
                let damaged = |error, at| segment.error(error, at, segment.base_offset);
                while let Some(batch) = scan.next().map_err(|error| damaged(error, scan.position()))? {
                    note_epoch(&mut self.epochs, &batch.header);
                }
            }
        }
        self.epochs.truncate_from_end(self.end_offset);
        self.epochs.truncate_from_start(self.start_offset());
        if self.epochs != before && self.options.dir.exists() {
            checkpoint::write_epochs(&self.options.dir.join(LEADER_EPOCH_CHECKPOINT), self.epochs.entries())?;
        }
        Ok(())
    }

    fn start_offset(&self) -> Offset {
        let first = self.segments.first().map_or(self.options.log_start_offset, |first| first.base_offset);
        first.max(self.options.log_start_offset)
    }

    /// Snapshots are kept at segment bases; of the others the newest (`removeStraySnapshots`). One behind the end speaks
    /// of records that are gone.
    fn remove_stray_snapshots(&self) -> Result<(), LogError> {
        let newest = self.snapshots.iter().rev().find(|at| **at <= self.end_offset);
        for at in &self.snapshots {
            let is_base = self.segments.binary_search_by_key(at, |segment| segment.base_offset).is_ok();
            if *at > self.end_offset || !(is_base || newest == Some(at)) {
                let path = self.options.dir.join(FileName::live(*at, FileKind::ProducerSnapshot).to_string());
                sys::remove_file(&path).at(&path)?;
            }
        }
        Ok(())
    }

    fn into_halves(mut self, recovered: bool) -> (LogWriter, LogReader) {
        let start_offset = self.start_offset();
        // A log start beyond the end: everything was deleted, and the files' records lie below it.
        let end_offset = self.end_offset.max(start_offset);
        let is_past_end = end_offset > self.end_offset;
        if let Some((last, older)) = self.segments.split_last() {
            older.iter().for_each(|segment| segment.seal(None));
            if is_past_end {
                last.seal(None);
                // What they wrote between is gone: a sequence that goes on behind it is none out of order.
                self.producers.clear();
            }
        }
        self.segments.iter().for_each(|segment| segment.release_files());
        let last = self.segments.last().map(Arc::clone);
        // What is replayed of older segments is not checked, and may name any offset.
        let first_undecided = self.producers.first_undecided_offset().unwrap_or(end_offset);
        let view = View {
            active_size: last.as_ref().map_or(0, |segment| segment.size()),
            active_max: self.tail.max,
            size_bytes: self.segments.iter().map(|segment| segment.size()).sum(),
            segments: Segments::new(self.segments),
            start_offset,
            end_offset,
            last_stable_offset: first_undecided.max(start_offset).min(end_offset),
        };
        let recovery_point = if recovered { self.options.recovery_point.min(end_offset) } else { end_offset };
        let shared = Arc::new(Shared {
            dir: self.options.dir.clone(),
            context: Arc::clone(&self.options.context),
            view: RwLock::new(view),
            epochs: RwLock::new(self.epochs),
            durability: Durability::up_to(recovery_point),
            cold: Mutex::default(),
            moved: AtomicBool::new(false),
        });
        let age = Age::starting(self.now, &self.options.config);
        let writer = LogWriter {
            shared: Arc::clone(&shared),
            options: self.options,
            producers: self.producers,
            active: last.filter(|_| !is_past_end).map(|segment| Active { segment, tail: self.tail, age }),
            dirty: recovered,
            settling: Settling::opened_at(end_offset),
            expired_at: self.now,
            ended: None,
        };
        (writer, LogReader { shared })
    }
}

/// The files of segments, and producer snapshots.
pub(super) fn list(dir: &Path) -> Result<Vec<FileName>, LogError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at(dir),
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    Ok(names.at(dir)?.iter().filter_map(|name| FileName::parse(name.to_str()?)).collect())
}

/// As `LeaderEpochFileCache` is filled in recovery: an epoch that is no news does not touch it.
pub(super) fn note_epoch(epochs: &mut EpochCache, header: &crate::protocol::batch::BatchHeader) {
    if epochs.latest().is_none_or(|latest| header.partition_leader_epoch > latest.epoch) {
        epochs.assign(header.partition_leader_epoch, header.base_offset);
    }
}
