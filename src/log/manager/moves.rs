//! Partitions that move to another log dir, and what the log dirs hold.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{LogManager, State};
use crate::log::checkpoint::CheckpointError;
use crate::log::error::{IoContext, LogError};
use crate::log::names::{FileKind, FileState};
use crate::log::relocate::{Folders, FutureLog, MoveProgress, NotExchanged};
use crate::log::writer::LogWriter;
use crate::log::{LogReader, open};
use crate::sys;
use crate::types::TopicPartition;

/// A log dir, for DescribeLogDirs.
#[derive(Debug)]
pub struct LogDirInfo {
    pub path: PathBuf,
    /// What a dir that has failed, or cannot be read, holds is not told.
    pub contents: Result<LogDirContents, LogError>,
}

#[derive(Debug)]
pub struct LogDirContents {
    /// Of the volume that the dir is on.
    pub volume: sys::Volume,
    /// Bytes of each partition's log.
    pub sizes: BTreeMap<TopicPartition, u64>,
}

/// What a log is after its switch.
#[derive(Debug)]
pub struct Switched {
    /// At its new place. Where it could not be opened there, it is closed, and whoever opens it next finds it there.
    pub reader: Result<LogReader, LogError>,
    /// The folder that it was in; the caller removes it off the append lock.
    pub leftover: Option<PathBuf>,
}

impl LogManager {
    pub fn dir_count(&self) -> usize {
        self.dirs.len()
    }

    /// The log dir of that path: as configured, or absolute. `None`: it is none of ours. `DirFailed`: not one to move to.
    pub fn find_dir(&self, path: &Path) -> Option<Result<PathBuf, LogError>> {
        let wanted = std::path::absolute(path).ok()?;
        let is_wanted = |path: &Path| std::path::absolute(path).is_ok_and(|it| it == wanted);
        if self.unopened.iter().any(|path| is_wanted(path)) {
            return Some(Err(LogError::DirFailed { path: wanted }));
        }
        let dir = self.dirs.iter().find(|dir| is_wanted(&dir.path))?;
        Some(dir.context.check().map(|()| dir.path.clone()))
    }

    /// The log dir that a partition's folder is in, or will be.
    pub fn dir_of(&self, partition: &TopicPartition) -> Option<PathBuf> {
        let state = self.state.lock();
        Some(self.dirs.get(state.partitions.get(partition)?.dir)?.path.clone())
    }

    /// What each log dir holds of the partitions that are `wanted`. Logs that are not open stay so: their sizes come from
    /// their folders. Blocking.
    pub fn describe(&self, wanted: impl Fn(&TopicPartition) -> bool) -> Vec<LogDirInfo> {
        let mut places: Vec<Vec<(TopicPartition, Option<LogReader>)>> = vec![Vec::new(); self.dirs.len()];
        for (partition, place) in self.state.lock().partitions.iter().filter(|(partition, _)| wanted(partition)) {
            if let Some(here) = places.get_mut(place.dir) {
                here.push((partition.clone(), place.reader.clone()));
            }
        }
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let opened = self.dirs.iter().zip(places).map(|(dir, places)| {
            let contents = dir.context.check().and_then(|()| contents(&dir.path, places));
            LogDirInfo { path: absolute(&dir.path), contents }
        });
        let unopened = self
            .unopened
            .iter()
            .map(|path| LogDirInfo { path: absolute(path), contents: Err(LogError::DirFailed { path: path.clone() }) });
        opened.chain(unopened).collect()
    }

    /// Begins to move an open log to the log dir at `target`.
    pub fn begin_move(
        &self,
        partition: &TopicPartition,
        log: &LogReader,
        target: &Path,
        progress: Arc<MoveProgress>,
    ) -> Result<FutureLog, LogError> {
        let from = self.dir_of(partition).ok_or(LogError::Retired)?;
        let to = self.dirs.iter().find(|dir| dir.path == target).ok_or_else(super::no_log_dir)?;
        to.context.check()?;
        Ok(FutureLog::new(log, Folders::of(partition, &from, target), Arc::clone(&to.context), progress))
    }

    /// Puts the copy in the log's place: the rest is copied, made durable, and the folders are exchanged. Called under the
    /// append lock, which `writer` stands for; afterwards it appends to the new log, and all that look at the old one are
    /// told [`LogError::Gone`]. Nothing is done, and `None` given, where more than `bytes_max` are yet to be copied.
    pub fn switch(
        &self,
        partition: &TopicPartition,
        writer: &mut LogWriter,
        future: &mut FutureLog,
        bytes_max: u64,
    ) -> Result<Option<Switched>, LogError> {
        if !writer.prepare_move(future, bytes_max)? {
            return Ok(None);
        }
        let has_folder = writer.has_folder();
        if has_folder {
            future.complete(writer.options.topic_id)?;
        }
        let target = self.dirs.iter().position(|dir| Arc::ptr_eq(&dir.context, &future.context));
        let Some((target, dir)) = target.and_then(|index| Some((index, self.dirs.get(index)?))) else {
            return Err(LogError::Retired);
        };
        let _in_turn = dir.checkpoints.lock();
        // From here on a start may have to finish what a crash interrupts.
        let mut state = self.state.lock();
        let Some(place) = state.partitions.get_mut(partition) else { return Err(LogError::Retired) };
        let source = std::mem::replace(&mut place.dir, target);
        let exchanged = exchange(&mut state, target, future, has_folder);
        let leftover = match exchanged {
            Ok(leftover) => leftover,
            Err(error) => {
                if let Some(place) = state.partitions.get_mut(partition) {
                    place.dir = source;
                }
                state.stale_checkpoints.insert(target);
                return Err(writer.move_failed(error, future));
            }
        };
        state.count(source, -1);
        state.count(target, 1);
        future.is_kept = has_folder;
        let reader = writer.go_on_in(&future.folders.next_live, &future.context);
        if let Some(place) = state.partitions.get_mut(partition) {
            place.reader = reader.as_ref().ok().cloned();
        }
        // The partition stays in them until they are next written, and is not there to be found.
        state.stale_checkpoints.insert(source);
        Ok(Some(Switched { reader, leftover }))
    }
}

/// The checkpoints come first: where the folder is live its log start and recovery point must be known.
fn exchange(
    state: &mut State,
    target: usize,
    future: &FutureLog,
    has_folder: bool,
) -> Result<Option<PathBuf>, NotExchanged> {
    let unchanged =
        |error: CheckpointError| NotExchanged { error: future.context.write_failed(error.into()), is_undone: true };
    let entries = state.entries(target);
    entries.write(future.context.path()).map_err(unchanged)?;
    state.note_written(target, &entries);
    if has_folder { future.folders.exchange().map(Some) } else { Ok(None) }
}

fn contents(dir: &Path, places: Vec<(TopicPartition, Option<LogReader>)>) -> Result<LogDirContents, LogError> {
    let volume = sys::volume(dir).at(dir)?;
    let size = |partition: &TopicPartition, log: Option<LogReader>| match log {
        Some(log) => Ok(log.size_bytes()),
        None => size_of_folder(&dir.join(partition.to_string())),
    };
    let sizes = places.into_iter().map(|(partition, log)| size(&partition, log).map(|size| (partition, size)));
    Ok(LogDirContents { volume, sizes: sizes.collect::<Result<_, _>>()? })
}

/// Bytes of the log files. One that goes meanwhile counts no more.
fn size_of_folder(folder: &Path) -> Result<u64, LogError> {
    let mut bytes = 0;
    for name in open::list(folder)?.into_iter().filter(|it| it.kind == FileKind::Log && it.state == FileState::Live) {
        let path = folder.join(name.to_string());
        match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => bytes += metadata.at(&path)?.len(),
        }
    }
    Ok(bytes)
}
