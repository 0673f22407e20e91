//! Moving partitions between log dirs (`ReplicaManager.alterReplicaLogDirs`): which are asked for, and the work itself, off the
//! request path and beside everything else that is done to a partition.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Partition, Registry};
use crate::log::manager::{LogManager, Switched};
use crate::log::names::{FolderState, set_aside_folder_name};
use crate::log::{LogError, LogReader, MoveProgress};
use crate::protocol::ErrorCode;
use crate::types::TopicPartition;

/// Bytes that may be left for the append lock: an append then waits for some milliseconds. Where producers are about as fast as
/// the copy, it is twice as much with each round, up to the second.
const LEFT_FOR_LOCK: u64 = 1 << 20;
const LEFT_FOR_LOCK_MAX: u64 = 64 << 20;
const FOLDER_NAME_LEN_MAX: usize = 255;

/// A partition on its way to another log dir.
#[derive(Debug)]
pub struct Move {
    partition: Arc<Partition>,
    pub target: PathBuf,
    progress: Arc<MoveProgress>,
}

/// The moves that are under way or wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Moves {
    asked: Mutex<Asked>,
    pub(super) wanted: Notify,
}

#[derive(Debug, Default)]
struct Asked {
    by_partition: BTreeMap<TopicPartition, Arc<Move>>,
    waiting: VecDeque<Arc<Move>>,
    /// The broker stops.
    is_closed: bool,
}

impl Move {
    pub fn partition(&self) -> &TopicPartition {
        &self.partition.id
    }

    /// Bytes copied so far.
    pub fn bytes(&self) -> u64 {
        self.progress.bytes()
    }

    /// Records that the copy is behind (`DescribeLogDirsResponse.OffsetLag`).
    pub fn offset_lag(&self) -> i64 {
        self.partition.offsets().log_end.0.saturating_sub(self.progress.end_offset().0).max(0)
    }
}

impl Moves {
    pub(super) fn cancel(&self, partition: &TopicPartition) {
        if let Some(cancelled) = self.asked.lock().by_partition.remove(partition) {
            cancelled.progress.cancel();
        }
    }

    /// Ends all of them; none is begun any more.
    pub(super) fn close(&self) {
        let mut asked = self.asked.lock();
        asked.is_closed = true;
        asked.waiting.clear();
        std::mem::take(&mut asked.by_partition).values().for_each(|it| it.progress.cancel());
    }

    /// Puts the move in the place of one to another dir. One to the same dir goes on.
    fn ask(&self, partition: &Arc<Partition>, target: &Path) {
        let mut asked = self.asked.lock();
        let is_under_way = asked.by_partition.get(&partition.id).is_some_and(|it| it.target == target);
        if asked.is_closed || is_under_way {
            return;
        }
        let (partition, target) = (Arc::clone(partition), target.to_owned());
        let new = Arc::new(Move { partition, target, progress: Arc::default() });
        if let Some(other) = asked.by_partition.insert(new.partition.id.clone(), Arc::clone(&new)) {
            other.progress.cancel();
        }
        asked.waiting.push_back(new);
        self.wanted.notify_one();
    }

    fn next(&self) -> Option<Arc<Move>> {
        self.asked.lock().waiting.pop_front()
    }

    fn finished(&self, finished: &Arc<Move>) {
        let mut asked = self.asked.lock();
        let id = finished.partition();
        if asked.by_partition.get(id).is_some_and(|it| Arc::ptr_eq(it, finished)) {
            asked.by_partition.remove(id);
        }
    }
}

impl Registry {
    /// Has a partition moved to the log dir at `path`: AlterReplicaLogDirs. Returns when the move is asked for. To the dir
    /// that it is in: ends a move that is under way.
    pub fn alter_log_dir(&self, topic: &str, partition: i32, path: &Path) -> Result<(), ErrorCode> {
        let id = TopicPartition::new(topic, partition);
        // A name cut to fit would not tell whose folder it is.
        if !set_aside_folder_name(&id, FolderState::Future).starts_with(&id.to_string())
            || id.to_string().len() > FOLDER_NAME_LEN_MAX
        {
            return Err(ErrorCode::InvalidTopicException);
        }
        let target = self.manager.find_dir(path).ok_or(ErrorCode::LogDirNotFound)?.map_err(|it| it.error_code())?;
        let partition = self.by_name(topic, partition).map_err(|error| error.error_code())?;
        if self.manager.dir_of(&id).is_some_and(|dir| dir == target) {
            self.moves.cancel(&id);
        } else {
            self.moves.ask(&partition, &target);
        }
        Ok(())
    }

    /// The moves that are under way or wait for their turn.
    pub fn moves(&self) -> Vec<Arc<Move>> {
        self.moves.asked.lock().by_partition.values().cloned().collect()
    }

    /// Does the moves that were asked for, one after the other. Blocking.
    pub(super) fn run_moves(&self) {
        while let Some(next) = self.moves.next() {
            let (id, target) = (next.partition(), next.target.display());
            let outcome = next.partition.relocate(&self.manager, &next);
            self.moves.finished(&next);
            match outcome {
                Ok(None) => {}
                Ok(Some(switched)) => {
                    tracing::info!(partition = %id, %target, bytes = next.bytes(), "moved to another log dir");
                    if let Err(error) = switched.reader {
                        tracing::error!(partition = %id, %target, %error, "to be opened there at its next use");
                        self.close_slot(&next.partition);
                    }
                    if let Some(folder) = switched.leftover {
                        remove(&folder);
                    }
                }
                // What is not found belonged to a deleted topic.
                Err(_) if next.progress.is_cancelled() => {
                    tracing::info!(partition = %id, %target, "a move to another log dir was ended");
                }
                Err(error) => tracing::error!(partition = %id, %target, %error, "not moved to another log dir"),
            }
        }
    }
}

impl Partition {
    /// Moves the log; `None`: it is there already. Where an earlier move was done before it could be cancelled, the log is
    /// moved on from there.
    fn relocate(&self, manager: &LogManager, it: &Move) -> Result<Option<Switched>, LogError> {
        loop {
            let log = self.reader();
            if manager.dir_of(&self.id).is_some_and(|dir| dir == it.target) {
                return Ok(None);
            }
            match self.relocate_from(&log, manager, it) {
                Err(error) if error.is_no_file() && !self.settled_reader().is_same(&log) => {}
                outcome => return outcome.map(Some),
            }
        }
    }

    fn relocate_from(&self, log: &LogReader, manager: &LogManager, it: &Move) -> Result<Switched, LogError> {
        let mut future = manager.begin_move(&self.id, log, &it.target, Arc::clone(&it.progress))?;
        let mut left_max = LEFT_FOR_LOCK;
        loop {
            if future.catch_up()? <= left_max {
                future.sync_tail()?;
                future.catch_up()?;
                let mut writer = self.writer.lock();
                if let Some(switched) = manager.switch(&self.id, &mut writer, &mut future, left_max)? {
                    if let Ok(reader) = &switched.reader {
                        *self.reader.write() = reader.clone();
                    }
                    return Ok(switched);
                }
            }
            left_max = (left_max * 2).min(LEFT_FOR_LOCK_MAX);
        }
    }

    /// The reader of no log that is about to move: a switch is over once the append lock is free.
    pub(super) fn settled_reader(&self) -> LogReader {
        let _switched = self.writer.lock();
        self.reader()
    }

    /// Asks the log; once more where it went to another log dir meanwhile and took its files along.
    pub(super) fn on_log<T>(&self, ask: impl Fn(&LogReader) -> Result<T, LogError>) -> Result<T, LogError> {
        let mut reader = self.reader();
        loop {
            match ask(&reader) {
                Err(error) if error.is_no_file() => {
                    let now = self.settled_reader();
                    if now.is_same(&reader) {
                        return Err(error);
                    }
                    reader = now;
                }
                answered => return answered,
            }
        }
    }
}

/// What resists is removed by the next start.
fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "the folder of a partition that has moved stays");
    }
}

#[cfg(test)]
mod tests;
