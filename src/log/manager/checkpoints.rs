//! The checkpoints of the log dirs. What they say is noted under the manager's lock and written without it: they are
//! synced, and whoever opens a log needs that lock. A dir's are written by one at a time.

use std::collections::BTreeMap;
use std::path::Path;

use super::{LogDir, LogManager, Place, State};
use crate::log::checkpoint::{
    self, CLEANER_OFFSET_CHECKPOINT, CheckpointError, LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
use crate::log::error::LogError;
use crate::types::{Offset, TopicId, TopicPartition};

/// What the checkpoints of a log dir say of its partitions.
#[derive(Debug)]
pub(super) struct Entries(BTreeMap<TopicPartition, Entry>);

#[derive(Debug)]
struct Entry {
    topic_id: Option<TopicId>,
    recovery_point: Offset,
    log_start_offset: Offset,
    cleaned_to: Option<Offset>,
}

impl LogManager {
    /// Writes all checkpoints of a dir. Blocking.
    pub(super) fn write_checkpoints(&self, index: usize, dir: &LogDir) -> Result<(), CheckpointError> {
        let _in_turn = dir.checkpoints.lock();
        let entries = self.state.lock().entries(index);
        entries.write(&dir.path)?;
        self.state.lock().note_written(index, &entries);
        Ok(())
    }

    /// What is due every `log.flush.start.offset.checkpoint.interval.ms`: checkpoints the log starts that have moved.
    /// Blocking. A dir that fails does not keep the others from theirs; the first error is returned.
    pub fn checkpoint_starts(&self) -> Result<(), LogError> {
        self.in_each_dir(|index, dir| {
            let has_moved = |place: &Place| place.dir == index && place.start_has_moved();
            Ok(self.write_log_starts(index, dir, |state| state.partitions.values().any(has_moved))?)
        })
    }

    /// Makes a partition's log start durable where it has moved, and with it all of that log dir: who asks for several
    /// pays once. Blocking.
    pub fn checkpoint_start(&self, partition: &TopicPartition) -> Result<(), LogError> {
        let index = self.state.lock().partitions.get(partition).map(|place| place.dir);
        let Some((index, dir)) = index.and_then(|index| Some((index, self.dirs.get(index)?))) else { return Ok(()) };
        let has_moved = |state: &State| state.partitions.get(partition).is_some_and(Place::start_has_moved);
        let written = self.write_log_starts(index, dir, has_moved);
        written.map_err(|error| dir.context.write_failed(error.into()))
    }

    fn write_log_starts(
        &self,
        index: usize,
        dir: &LogDir,
        is_due: impl FnOnce(&State) -> bool,
    ) -> Result<(), CheckpointError> {
        let _in_turn = dir.checkpoints.lock();
        let due = || {
            let state = self.state.lock();
            is_due(&state).then(|| state.entries(index))
        };
        let Some(entries) = due() else { return Ok(()) };
        entries.write_log_starts(&dir.path)?;
        self.state.lock().note_log_starts(index, &entries);
        Ok(())
    }

    /// How far compaction has got with a partition; `None` where it was never compacted.
    pub fn cleaned_to(&self, partition: &TopicPartition) -> Option<Offset> {
        self.state.lock().partitions.get(partition)?.cleaned_to
    }

    /// Notes how far compaction has got, and writes the dir's `cleaner-offset-checkpoint`, in which partitions that are gone
    /// are no longer named. Of a deleted topic nothing is noted: its name may be another one's by now.
    pub fn set_cleaned_to(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        offset: Offset,
    ) -> Result<(), LogError> {
        let note = || {
            let mut state = self.state.lock();
            let place = state.partitions.get_mut(partition).filter(|place| place.topic_id == Some(topic_id))?;
            place.cleaned_to = Some(offset);
            Some(place.dir)
        };
        let Some((index, dir)) = note().and_then(|index| Some((index, self.dirs.get(index)?))) else { return Ok(()) };
        let _in_turn = dir.checkpoints.lock();
        let entries = self.state.lock().entries(index);
        entries.write_cleaned(&dir.path).map_err(|error| dir.context.write_failed(error.into()))
    }
}

impl Entries {
    /// The high watermark is the recovery point after a clean stop of the one replica there is.
    pub(super) fn write(&self, dir: &Path) -> Result<(), CheckpointError> {
        let recovery_points = || self.0.iter().map(|(partition, entry)| (partition, entry.recovery_point));
        checkpoint::write_offsets(&dir.join(RECOVERY_POINT_CHECKPOINT), recovery_points())?;
        checkpoint::write_offsets(&dir.join(REPLICATION_OFFSET_CHECKPOINT), recovery_points())?;
        let is_cleaned = self.0.values().any(|entry| entry.cleaned_to.is_some());
        if is_cleaned || dir.join(CLEANER_OFFSET_CHECKPOINT).exists() {
            self.write_cleaned(dir)?;
        }
        self.write_log_starts(dir)
    }

    /// Only those are named that are not simply 0.
    fn write_log_starts(&self, dir: &Path) -> Result<(), CheckpointError> {
        let starts = self.0.iter().map(|(partition, entry)| (partition, entry.log_start_offset));
        let named = starts.filter(|(_, start)| *start > Offset::ZERO);
        checkpoint::write_offsets(&dir.join(LOG_START_OFFSET_CHECKPOINT), named)
    }

    fn write_cleaned(&self, dir: &Path) -> Result<(), CheckpointError> {
        let cleaned = self.0.iter().filter_map(|(partition, entry)| Some((partition, entry.cleaned_to?)));
        checkpoint::write_offsets(&dir.join(CLEANER_OFFSET_CHECKPOINT), cleaned)
    }
}

impl State {
    /// Of the partitions of a dir. They may move on before they are written.
    pub(super) fn entries(&self, index: usize) -> Entries {
        let here = self.partitions.iter().filter(|(_, place)| place.dir == index);
        let entry = |place: &Place| Entry {
            topic_id: place.topic_id,
            recovery_point: place.recovery_point(),
            log_start_offset: place.log_start_offset(),
            cleaned_to: place.cleaned_to,
        };
        Entries(here.map(|(partition, place)| (partition.clone(), entry(place))).collect())
    }

    /// Everything was written. What went meanwhile is still named.
    pub(super) fn note_written(&mut self, index: usize, entries: &Entries) {
        self.note_log_starts(index, entries);
        let mut are_stale = false;
        for (partition, entry) in &entries.0 {
            match self.written_of(index, partition, entry) {
                Some(place) => place.recovery_point = entry.recovery_point,
                None => are_stale = true,
            }
        }
        match are_stale {
            true => self.stale_checkpoints.insert(index),
            false => self.stale_checkpoints.remove(&index),
        };
    }

    fn note_log_starts(&mut self, index: usize, entries: &Entries) {
        for (partition, entry) in &entries.0 {
            if let Some(place) = self.written_of(index, partition, entry) {
                place.log_start_offset = entry.log_start_offset;
            }
        }
    }

    /// The partition of an entry, unless it is gone from the dir, or another one has its name.
    fn written_of(&mut self, index: usize, partition: &TopicPartition, entry: &Entry) -> Option<&mut Place> {
        let place = self.partitions.get_mut(partition)?;
        (place.dir == index && place.topic_id == entry.topic_id).then_some(place)
    }
}

impl Place {
    pub(super) fn has_moved(&self) -> bool {
        self.recovery_point != self.recovery_point()
    }

    fn start_has_moved(&self) -> bool {
        self.log_start_offset != self.log_start_offset()
    }
}

/// A checkpoint that cannot be read counts as empty: more is recovered than needed, and records below a log start may
/// come back; none is lost.
pub(super) fn read(path: &Path) -> BTreeMap<TopicPartition, Offset> {
    match checkpoint::read_offsets(path) {
        Ok(offsets) => offsets.into_iter().collect(),
        Err(error) => {
            tracing::warn!(%error, "checkpoint passed over");
            BTreeMap::new()
        }
    }
}
