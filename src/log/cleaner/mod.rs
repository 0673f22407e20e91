//! Compaction (Kafka's `LogCleaner`, `Cleaner`): of each key the newest record stays.
//!
//! [`plan`](plan) tells what of a log can be cleaned, and how badly it needs it. A cleaning reads the dirty part into an
//! [`OffsetMap`], then rewrites all segments up to where the map reaches, a group of them at a time: `filter` decides batch
//! by batch, `rewrite` writes the group's one new segment as `.cleaned`, `swap` puts it in the place of the old ones so that
//! a crash at any moment leaves the old or the new, which `settle` sorts out at the next start.

mod filter;
mod group;
mod offset_map;
mod plan;
mod rewrite;
mod settle;
mod source;
mod swap;
mod throttle;
mod transactions;

#[cfg(test)]
mod tests;

pub use plan::{Checkpoint, Plan};
pub(super) use settle::settle;
pub use throttle::{Stop, Throttler};

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::filter::Filter;
use self::offset_map::OffsetMap;
use self::rewrite::Group;
use self::source::{Pace, Source};
use self::transactions::Transactions;
use super::shared::{Shared, View};
use super::writer::Ended;
use super::{LogError, LogReader, LogWriter};
use crate::config::{self, TopicConfig};
use crate::protocol::batch::{Batch, BatchHeader};
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::protocol::records::BatchRecords;
use crate::protocol::retained::RetainError;
use crate::types::{Offset, Timestamp};

/// How often a long cleaning says how far it has got.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// Why a cleaning came to nothing. The log is as it was, or as far cleaned as whole groups of segments were.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    #[error("the broker is stopping")]
    Stopped,
    /// Segments went meanwhile, or the log.
    #[error("the log changed meanwhile")]
    Abandoned,
    #[error(transparent)]
    Log(LogError),
    #[error("batch at offset {offset}: {source}")]
    Rewrite { offset: Offset, source: RetainError },
}

impl CleanError {
    fn rewrite(header: &BatchHeader, source: RetainError) -> CleanError {
        CleanError::Rewrite { offset: header.base_offset, source }
    }
}

impl From<LogError> for CleanError {
    fn from(error: LogError) -> CleanError {
        match error {
            LogError::Gone | LogError::Retired | LogError::Closed => CleanError::Abandoned,
            other => CleanError::Log(other),
        }
    }
}

/// What a cleaning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// The part of the log that was dirty; below `to` it no longer is.
    pub from: Offset,
    pub to: Offset,
    pub keys: usize,
    pub segments_before: usize,
    pub segments_after: usize,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// What one thread may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Keys in an offset map.
    pub keys_max: usize,
    pub load_factor: f64,
    /// Of the file that is read at once, and written at once.
    pub buffer_bytes: usize,
}

impl Limits {
    /// A thread's share of what all have. As in Kafka one half of the I/O buffer is for reading.
    pub fn of_one_thread(config: &config::Cleaner) -> Limits {
        let threads = config.threads.max(1);
        Limits {
            keys_max: OffsetMap::entries_in(config.dedupe_buffer_bytes / threads as u64, config.load_factor),
            load_factor: config.load_factor,
            buffer_bytes: config.io_buffer_bytes / threads / 2,
        }
    }
}

/// A log to be cleaned, with what the work is held to.
#[derive(Debug)]
pub struct Cleaning<'a> {
    pub log: &'a LogReader,
    /// Taken for the moments in which producers are looked up and segments change places.
    pub writer: &'a Mutex<LogWriter>,
    pub config: &'a TopicConfig,
    pub limits: &'a Limits,
    pub throttler: &'a Throttler,
    pub stop: &'a Stop,
    pub now: Timestamp,
}

impl Cleaning<'_> {
    /// Cleans what `plan` says, or as much of it as the map has room for. Blocking.
    pub fn run(&self, plan: &Plan) -> Result<Cleaned, CleanError> {
        let view = self.shared().view();
        let pace = Pace::new(self, plan);
        let map = self.map_dirty(&view, plan, &pace)?;
        // A record goes for a newer one of its key: that one has to be durable first, or a power loss takes both.
        self.log.flush_sealed()?;
        let to = map.latest_offset().plus(1);
        let mut cleaned = Cleaned {
            from: plan.first_dirty,
            to,
            keys: map.len(),
            segments_before: 0,
            segments_after: 0,
            bytes_before: 0,
            bytes_after: 0,
        };
        let mut transactions = Transactions::default();
        for range in group::groups(&view, to, plan.first_uncleanable, self.config)? {
            let last_records = self.writer.lock().last_records();
            let filter = Filter {
                map: &map,
                transactions: &mut transactions,
                last_records: &last_records,
                now: self.now,
                delete_retention: self.config.delete_retention,
            };
            let group = Group::of(&view, range);
            cleaned.segments_before += group.segments.len();
            cleaned.segments_after += 1;
            cleaned.bytes_before += group.bytes();
            cleaned.bytes_after += group.clean(self, filter, &pace)?;
        }
        Ok(cleaned)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.log.shared
    }

    /// Does under the append lock what changes names in the folder, if the log is still what it was: a deleted topic's
    /// folder may belong to another one by now.
    fn locked<T>(&self, step: impl FnOnce() -> Result<T, LogError>) -> Result<T, CleanError> {
        let writer = self.writer.lock();
        if !Arc::ptr_eq(&writer.shared, self.shared()) {
            return Err(CleanError::Abandoned);
        }
        self.shared().context.check()?;
        match writer.ended {
            Some(Ended::Retired) => Err(LogError::Retired.into()),
            Some(Ended::Closed) => Err(LogError::Closed.into()),
            None => Ok(step()?),
        }
    }

    /// The newest offset of every key from the first dirty offset on, as far as there is room (`Cleaner.buildOffsetMap`).
    fn map_dirty(&self, view: &View, plan: &Plan, pace: &Pace<'_>) -> Result<OffsetMap, CleanError> {
        // No more keys than offsets: a small job takes little memory.
        let offsets = plan.first_uncleanable.0.saturating_sub(plan.first_dirty.0);
        let keys_max = usize::try_from(offsets).unwrap_or(usize::MAX).min(self.limits.keys_max);
        let mut map = OffsetMap::new(keys_max, self.limits.load_factor);
        let mut transactions = Transactions::default();
        let first = view.segments.floor_index(plan.first_dirty);
        for (index, segment) in view.segments.iter_from(first).enumerate().map(|(at, segment)| (first + at, segment)) {
            if segment.base_offset >= plan.first_uncleanable {
                break;
            }
            let upper = view.end_of(index);
            transactions.look_ahead(view, index, upper)?;
            let file = segment.file()?;
            let mut source = Source::from_offset(segment, &file, plan.first_dirty, pace)?;
            while let Some(batch) = source.next()? {
                if batch.header.attributes.is_control() {
                    transactions.on_control(&batch);
                // Nobody may see the records of an aborted transaction: none of them is the newest of its key.
                } else if !transactions.on_data(&batch.header) && !map_batch(&mut map, &batch, plan.first_dirty) {
                    return Ok(map);
                }
                map.advance_to(batch.header.last_offset());
            }
            map.advance_to(upper.plus(-1));
        }
        Ok(map)
    }
}

/// Puts the batch's keys into the map; false where it has become full. Records that do not decode have no keys that could
/// be relied on: the batch stays as it is, and so does what is older.
fn map_batch(map: &mut OffsetMap, batch: &Batch, from: Offset) -> bool {
    let Ok(records) = BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX) else { return true };
    if records.iter().any(|record| record.is_err()) {
        return true;
    }
    records.iter().map_while(Result::ok).all(|record| {
        let offset = records.offset(&record);
        record.key.filter(|_| offset >= from).is_none_or(|key| map.put(key, offset))
    })
}
