//! Log starts: in `log-start-offset-checkpoint` before a file goes.

use std::path::Path;

use super::{LogManager, Place, State};
use crate::config::TopicConfig;
use crate::log::checkpoint::{self, CheckpointError, LOG_START_OFFSET_CHECKPOINT};
use crate::log::{LogError, LogReader, retention};
use crate::types::{Offset, Timestamp, TopicPartition};

impl LogManager {
    /// What is due every `log.flush.start.offset.checkpoint.interval.ms`: checkpoints the log starts that have moved.
    /// Blocking. A dir that fails does not keep the others from theirs; the first error is returned.
    pub fn checkpoint_starts(&self) -> Result<(), LogError> {
        self.in_each_dir(|state, index, dir| {
            let has_moved = |place: &Place| place.dir == index && place.start_has_moved();
            if state.partitions.values().any(has_moved) {
                Ok(state.write_log_starts(index, &dir.path)?)
            } else {
                Ok(())
            }
        })
    }

    /// Makes a partition's log start durable where it has moved, and with it all of that log dir: who asks for several
    /// pays once. Blocking.
    pub fn checkpoint_start(&self, partition: &TopicPartition) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let Some(place) = state.partitions.get(partition).filter(|place| place.start_has_moved()) else {
            return Ok(());
        };
        let index = place.dir;
        let Some(dir) = self.dirs.get(index) else { return Ok(()) };
        let written = state.write_log_starts(index, &dir.path);
        written.map_err(|error| dir.context.write_failed(error.into()))
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
}

impl State {
    /// Only those are named that are not simply 0.
    pub(super) fn write_log_starts(&mut self, index: usize, dir: &Path) -> Result<(), CheckpointError> {
        let here = || self.partitions.iter().filter(|(_, place)| place.dir == index);
        // They may move on meanwhile.
        let starts: Vec<Offset> = here().map(|(_, place)| place.log_start_offset()).collect();
        let named = here().map(|(partition, _)| partition).zip(starts.iter().copied());
        let named = named.filter(|(_, start)| *start > Offset::ZERO);
        checkpoint::write_offsets(&dir.join(LOG_START_OFFSET_CHECKPOINT), named)?;
        let here = self.partitions.values_mut().filter(|place| place.dir == index);
        here.zip(starts).for_each(|(place, start)| place.log_start_offset = start);
        Ok(())
    }
}

impl Place {
    fn start_has_moved(&self) -> bool {
        self.log_start_offset != self.log_start_offset()
    }

    pub(super) fn log_start_offset(&self) -> Offset {
        self.reader.as_ref().map_or(self.log_start_offset, LogReader::start_offset)
    }
}
