//! The log directories: lock, identity, clean-shutdown mark, checkpoints, and which partition lives where.

mod checkpoints;
mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::checkpoint::{
    self, CLEANER_OFFSET_CHECKPOINT, CheckpointError, LEADER_EPOCH_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT,
    PARTITION_METADATA, RECOVERY_POINT_CHECKPOINT,
};
use super::error::IoContext;
use super::log_dir::{self, Locked, LogDir};
use super::names::{FolderState, set_aside_folder_name};
use super::open_files::OpenFiles;
use super::removals::Removals;
use super::{DirContext, Failures, LogError, LogReader, LogWriter, OpenOptions, relocate, retention};
use crate::config::TopicConfig;
use crate::sys;
use crate::types::{LeaderEpoch, NodeId, Offset, Timestamp, TopicId, TopicPartition};

pub use moves::{LogDirContents, LogDirInfo, Switched};

/// Kafka's own log of cluster metadata: not a partition of ours.
pub(super) const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// The log directories of this broker, locked against any other process.
#[derive(Debug)]
pub struct LogManager {
    dirs: Vec<LogDir>,
    cluster_id: String,
    producer_id_expiration: Duration,
    /// Log dirs that could not be opened, or are missing; which partitions they hold is not known.
    unopened: Vec<PathBuf>,
    failures: Arc<Failures>,
    removals: Arc<Removals>,
    open_files: Arc<OpenFiles>,
    state: Mutex<State>,
}

/// What opening the log dirs needs to know.
#[derive(Debug, Clone)]
pub struct ManagerOptions<'a> {
    pub node_id: NodeId,
    /// Of the configuration; `None`: what `meta.properties` says, else a fresh one.
    pub cluster_id: Option<&'a str>,
    pub producer_id_expiration: Duration,
    /// Files of segments open at once.
    pub open_files_max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Every partition that has a folder, or was opened and will get one.
    partitions: BTreeMap<TopicPartition, Place>,
    /// How many of them each log dir has.
    counts: Vec<usize>,
    /// Log dirs whose checkpoints still name a partition that is gone. They are rewritten before a new partition, which
    /// may have that name again, is placed there.
    stale_checkpoints: BTreeSet<usize>,
}

#[derive(Debug)]
struct Place {
    /// Which of the log dirs.
    dir: usize,
    topic_id: Option<TopicId>,
    /// As the checkpoint has it.
    log_start_offset: Offset,
    /// As the checkpoint has it.
    recovery_point: Offset,
    /// Compaction has got as far as this.
    cleaned_to: Option<Offset>,
    /// Found after an unclean stop, and not opened since.
    needs_recovery: bool,
    reader: Option<LogReader>,
}

/// A directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    #[error("log.dirs: {path}: in use by another broker (pid {pid})")]
    InUse { path: PathBuf, pid: u32 },
    #[error("log.dirs: {path}: names {key} {found}, this broker has {expected}")]
    WrongIdentity { path: PathBuf, key: &'static str, found: String, expected: String },
    #[error("log.dirs: {partition} has a folder in {first} and in {second}")]
    Duplicate { partition: TopicPartition, first: PathBuf, second: PathBuf },
    #[error("log.dirs: {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Move(#[from] LogError),
}

impl LogManager {
    /// Locks the directories (making them where missing), reads or writes `meta.properties`, reads the checkpoints, and
    /// takes the clean-shutdown marks away. A directory that cannot be read or written is left out with its partitions
    /// (`LogManager.createAndValidateLogDirs`), but for the first, which holds the metadata. Blocking.
    pub fn open(dirs: &[PathBuf], options: &ManagerOptions<'_>) -> Result<LogManager, ManagerError> {
        let Locked { dirs, locks, known, unopened } = log_dir::lock_all(dirs)?;
        let cluster_id = log_dir::settle_identity(&dirs, options.node_id, options.cluster_id, known)?;
        // Only now is it sure that the directories are ours to change.
        let kept = relocate::finish_switches(&dirs, &unopened)?;
        let failures = Arc::new(Failures::default());
        let open_files = Arc::new(OpenFiles::up_to(options.open_files_max));
        let removals = Arc::new(Removals::default());
        let mut opened = Vec::with_capacity(dirs.len());
        let mut state = State::default();
        for (path, lock) in dirs.iter().zip(locks) {
            let context = DirContext::new(path, Arc::clone(&failures), Arc::clone(&open_files), Arc::clone(&removals));
            opened.push(LogDir::open(path, lock, Arc::new(context))?);
            state.find_partitions(&opened)?;
        }
        opened.iter().try_for_each(LogDir::unmark)?;
        let leftovers = opened.iter().flat_map(|dir| &dir.leftovers).filter(|folder| !kept.contains(folder));
        log_dir::remove_in_background(leftovers.cloned().collect());
        Ok(LogManager {
            dirs: opened,
            unopened,
            cluster_id,
            producer_id_expiration: options.producer_id_expiration,
            failures,
            removals,
            open_files,
            state: Mutex::new(state),
        })
    }

    /// Tells when a log dir fails, and how many have.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Log dirs that could not be opened at start, or are missing. Partitions that are not found may be in one of them.
    pub fn unopened(&self) -> &[PathBuf] {
        &self.unopened
    }

    pub fn have_all_failed(&self) -> bool {
        self.dirs.iter().all(|dir| dir.context.has_failed())
    }

    /// The log dir that holds the metadata.
    pub fn first_dir(&self) -> Option<Arc<DirContext>> {
        self.dirs.first().map(|dir| Arc::clone(&dir.context))
    }

    /// Whether the partition's log is in a log dir that has failed.
    pub fn is_offline(&self, partition: &TopicPartition) -> bool {
        let any_failed = *self.failures.borrow() > 0;
        let is_failed = |place: &Place| self.dirs.get(place.dir).is_some_and(|dir| dir.context.has_failed());
        any_failed && self.state.lock().partitions.get(partition).is_some_and(is_failed)
    }

    /// Whether the partition has a folder, or was opened and will get one.
    pub fn is_known(&self, partition: &TopicPartition) -> bool {
        self.state.lock().partitions.contains_key(partition)
    }

    /// The partition's log could not be closed in order: the next start recovers it.
    pub fn not_closed(&self, partition: &TopicPartition) {
        if let Some(place) = self.state.lock().partitions.get_mut(partition) {
            place.needs_recovery = true;
        }
    }

    /// Files of segments that wait for their removal.
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Whether every directory was stopped cleanly; if not, the partitions that have a folder must be opened (which
    /// recovers them) before the broker serves.
    pub fn was_clean(&self) -> bool {
        self.dirs.iter().all(|dir| dir.was_clean)
    }

    /// The partition folders found, with the topic id that `partition.metadata` gives.
    pub fn found(&self) -> BTreeMap<TopicPartition, Option<TopicId>> {
        let state = self.state.lock();
        state.partitions.iter().map(|(partition, place)| (partition.clone(), place.topic_id)).collect()
    }

    /// The epoch in which a partition that has a folder was led last.
    pub fn leader_epoch(&self, partition: &TopicPartition) -> Option<LeaderEpoch> {
        let dir = self.state.lock().partitions.get(partition).and_then(|place| self.dirs.get(place.dir))?;
        let epochs = checkpoint::read_epochs(&dir.path.join(partition.to_string()).join(LEADER_EPOCH_CHECKPOINT));
        epochs.ok()?.last().map(|entry| entry.epoch)
    }

    /// What an unclean stop left to be recovered, by log dir.
    pub fn unrecovered(&self) -> Vec<(Arc<DirContext>, Vec<TopicPartition>)> {
        let state = self.state.lock();
        let of_dir = |index: usize| {
            let here = state.partitions.iter().filter(|(_, place)| place.dir == index && place.needs_recovery);
            here.map(|(partition, _)| partition.clone()).collect::<Vec<_>>()
        };
        let dirs = self.dirs.iter().enumerate().map(|(index, dir)| (Arc::clone(&dir.context), of_dir(index)));
        dirs.filter(|(_, partitions)| !partitions.is_empty()).collect()
    }

    /// Opens one partition's log: in the directory that has its folder, else in the one with the fewest partitions.
    pub fn open_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: TopicConfig,
    ) -> Result<(LogWriter, LogReader), LogError> {
        let options = loop {
            let mut state = self.state.lock();
            let (dir, place) = state.place(partition, topic_id, &self.dirs)?;
            dir.context.check()?;
            let Some(place) = place else {
                let index = self.dirs.iter().position(|it| std::ptr::eq(it, dir)).ok_or_else(no_log_dir)?;
                drop(state);
                let written = self.write_checkpoints(index, dir);
                written.map_err(|error| dir.context.write_failed(error.into()))?;
                continue;
            };
            let folder = dir.path.join(partition.to_string());
            match place.topic_id {
                Some(found) if found != topic_id => return Err(LogError::WrongTopic { path: folder, found, topic_id }),
                Some(_) => {}
                // The folder has lost its `partition.metadata`, or the file does not read.
                None => {
                    let written = checkpoint::write_partition_metadata(&folder.join(PARTITION_METADATA), topic_id);
                    written.map_err(|error| dir.context.write_failed(error.into()))?;
                }
            }
            break OpenOptions {
                dir: folder,
                topic_id,
                config,
                producer_id_expiration: self.producer_id_expiration,
                log_start_offset: place.log_start_offset,
                recovery_point: place.recovery_point,
                cleaned: place.cleaned_to.is_some(),
                clean: !place.needs_recovery,
                context: Arc::clone(&dir.context),
            };
        };
        // Not under the lock: recovering one partition does not hold up another.
        let (writer, reader) = super::open(options)?;
        if let Some(place) = self.state.lock().partitions.get_mut(partition) {
            place.needs_recovery = false;
            place.reader = Some(reader.clone());
            place.topic_id.get_or_insert(topic_id);
        }
        Ok((writer, reader))
    }

    /// Takes deleted partitions' folders out of the way by renaming them (`<topic>-<partition>.<uuid>-delete`), durably, and
    /// gives the new paths, whose content the caller removes off the request path. Nothing is changed in a log dir that has
    /// failed; its folders, and one that cannot be renamed, are an error, once the others are out of the way.
    pub fn retire(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state.lock();
        let (mut folders, mut changed) = (Vec::new(), BTreeSet::new());
        let mut failed = Ok(());
        for partition in partitions {
            let Some(place) = state.partitions.get(&partition) else { continue };
            let Some(dir) = self.dirs.get(place.dir) else { continue };
            if let Err(error) = dir.context.check() {
                failed = Err(io::Error::other(error));
                continue;
            }
            let aside = dir.path.join(set_aside_folder_name(&partition, FolderState::Delete));
            match sys::rename(&dir.path.join(partition.to_string()), &aside) {
                // No batch ever came.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    failed = Err(error);
                    continue;
                }
                Ok(()) => {
                    folders.push(aside);
                    changed.insert(&dir.path);
                }
            }
            state.forget(&partition);
        }
        drop(state);
        changed.into_iter().try_for_each(|dir| sys::sync_dir(dir))?;
        failed.map(|()| folders)
    }

    /// What is due every `log.flush.offset.checkpoint.interval.ms`: makes sealed segments durable, closes the files that
    /// nobody has used since the last time, and checkpoints the recovery points where they have moved. Blocking, but no
    /// append or read waits for it. Kafka flushes a segment as it is rolled; the recovery point on disk, by which the next
    /// start goes, comes no later this way.
    pub fn checkpoint(&self) -> Result<(), LogError> {
        let opened = |(partition, place): (&TopicPartition, &Place)| Some((partition.clone(), place.reader.clone()?));
        let readers: Vec<_> = self.state.lock().partitions.iter().filter_map(opened).collect();
        for (partition, reader) in readers {
            if let Err(error) = reader.flush_sealed()
                && !error.is_reported()
            {
                tracing::error!(%partition, %error, "sealed segments could not be flushed");
            }
        }
        self.open_files.close_idle();
        self.in_each_dir(|index, dir| {
            let has_moved = |place: &Place| place.dir == index && place.has_moved();
            let is_due =
                |state: &State| state.stale_checkpoints.contains(&index) || state.partitions.values().any(has_moved);
            let is_due = is_due(&self.state.lock());
            if is_due { Ok(self.write_checkpoints(index, dir)?) } else { Ok(()) }
        })
    }

    /// Whether retention may find something in a partition that is not open, told from its folder.
    pub fn may_be_due(
        &self,
        partition: &TopicPartition,
        config: &TopicConfig,
        now: Timestamp,
    ) -> Result<bool, LogError> {
        let place = |state: &State| {
            let place = state.partitions.get(partition)?;
            Some((self.dirs.get(place.dir)?.path.join(partition.to_string()), place.log_start_offset))
        };
        let Some((folder, start)) = place(&self.state.lock()) else { return Ok(false) };
        retention::may_be_due(&folder, start, config, now)
    }

    /// After every log was closed: checkpoints the recovery points, fsyncs, writes the clean-shutdown marks. A directory
    /// with a partition that still needs recovery gets no mark, nor does one that has failed.
    pub fn close(&self) -> Result<(), LogError> {
        self.in_each_dir(|index, dir| {
            self.write_checkpoints(index, dir)?;
            if self.state.lock().partitions.values().any(|place| place.dir == index && place.needs_recovery) {
                tracing::warn!(dir = %dir.path.display(), "not marked as cleanly shut down: a partition was not recovered");
                return Ok(());
            }
            dir.mark_clean().at(&dir.path)
        })
    }

    /// Does the work in each directory that has not failed, whatever comes of it in the others; the first error is given.
    fn in_each_dir(&self, work: impl Fn(usize, &LogDir) -> Result<(), LogError>) -> Result<(), LogError> {
        let healthy = self.dirs.iter().enumerate().filter(|(_, dir)| !dir.context.has_failed());
        let done: Vec<_> =
            healthy.map(|(index, dir)| work(index, dir).map_err(|error| dir.context.write_failed(error))).collect();
        done.into_iter().collect()
    }
}

impl State {
    /// Notes the partition folders of the last of `dirs`, with what its checkpoints say of them.
    fn find_partitions(&mut self, dirs: &[LogDir]) -> Result<(), ManagerError> {
        let Some((LogDir { path, was_clean, partitions, .. }, others)) = dirs.split_last() else { return Ok(()) };
        let recovery_points = checkpoints::read(&path.join(RECOVERY_POINT_CHECKPOINT));
        let log_start_offsets = checkpoints::read(&path.join(LOG_START_OFFSET_CHECKPOINT));
        let cleaned = checkpoints::read(&path.join(CLEANER_OFFSET_CHECKPOINT));
        let named = recovery_points.keys().chain(log_start_offsets.keys()).chain(cleaned.keys());
        if named.into_iter().any(|partition| !partitions.contains(partition)) {
            self.stale_checkpoints.insert(others.len());
        }
        for partition in partitions.iter().filter(|partition| partition.topic.as_ref() != CLUSTER_METADATA_TOPIC) {
            let metadata = path.join(partition.to_string()).join(PARTITION_METADATA);
            let topic_id = checkpoint::read_partition_metadata(&metadata).unwrap_or_else(|error| {
                tracing::warn!(%error, "the folder's topic id is not known");
                None
            });
            let place = Place {
                dir: others.len(),
                topic_id,
                log_start_offset: log_start_offsets.get(partition).copied().unwrap_or(Offset::ZERO),
                recovery_point: recovery_points.get(partition).copied().unwrap_or(Offset::ZERO),
                cleaned_to: cleaned.get(partition).copied(),
                needs_recovery: !was_clean,
                reader: None,
            };
            self.count(others.len(), 1);
            if let Some(other) = self.partitions.insert(partition.clone(), place) {
                let first = others.get(other.dir).map(|dir| dir.path.clone()).unwrap_or_default();
                return Err(ManagerError::Duplicate { partition: partition.clone(), first, second: path.clone() });
            }
        }
        Ok(())
    }

    /// Where the partition is, or will be; `None` where the checkpoints of that dir must be written before.
    fn place<'s, 'd>(
        &'s mut self,
        partition: &TopicPartition,
        topic_id: TopicId,
        dirs: &'d [LogDir],
    ) -> Result<(&'d LogDir, Option<&'s mut Place>), LogError> {
        let placed = self.partitions.get(partition).map(|place| place.dir);
        let index = placed.map_or_else(|| self.emptiest(dirs), Ok)?;
        let Some(dir) = dirs.get(index) else { return Err(no_log_dir()) };
        if placed.is_none() {
            if self.stale_checkpoints.contains(&index) {
                return Ok((dir, None));
            }
            self.count(index, 1);
        }
        let place = self.partitions.entry(partition.clone()).or_insert(Place {
            dir: index,
            topic_id: Some(topic_id),
            log_start_offset: Offset::ZERO,
            recovery_point: Offset::ZERO,
            cleaned_to: None,
            needs_recovery: false,
            reader: None,
        });
        Ok((dir, Some(place)))
    }

    fn forget(&mut self, partition: &TopicPartition) {
        let place = self.partitions.remove(partition);
        place.iter().for_each(|place| self.count(place.dir, -1));
        let is_named = |place: &Place| {
            place.recovery_point() > Offset::ZERO
                || place.log_start_offset() > Offset::ZERO
                || place.cleaned_to.is_some()
        };
        self.stale_checkpoints.extend(place.filter(is_named).map(|place| place.dir));
    }

    /// Where a new partition goes: to the dir with the fewest, of those that have not failed.
    fn emptiest(&self, dirs: &[LogDir]) -> Result<usize, LogError> {
        let healthy = dirs.iter().enumerate().filter(|(_, dir)| !dir.context.has_failed()).map(|(index, _)| index);
        healthy.min_by_key(|dir| self.counts.get(*dir).copied().unwrap_or(0)).ok_or_else(no_log_dir)
    }

    fn count(&mut self, dir: usize, change: isize) {
        if self.counts.len() <= dir {
            self.counts.resize(dir + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(dir) {
            *count = count.saturating_add_signed(change);
        }
    }
}

impl Place {
    fn recovery_point(&self) -> Offset {
        self.reader.as_ref().map_or(self.recovery_point, LogReader::recovery_point)
    }

    fn log_start_offset(&self) -> Offset {
        self.reader.as_ref().map_or(self.log_start_offset, LogReader::start_offset)
    }
}

/// `LogManager::open` was given no directory, or all have failed.
fn no_log_dir() -> LogError {
    LogError::Io { path: PathBuf::new(), source: io::Error::other("no log dir is left") }
}

#[cfg(test)]
mod tests;
