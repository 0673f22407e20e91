//! What of a log can be cleaned, and how badly it needs it (`LogCleanerManager.cleanableOffsets`, `LogToClean`).

use std::time::Duration;

use crate::config::TopicConfig;
use crate::log::scan::Scan;
use crate::log::segment::Segment;
use crate::log::shared::View;
use crate::log::{LogError, LogReader};
use crate::types::{Offset, Timestamp};

/// What `cleaner-offset-checkpoint` says of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing: it was never cleaned.
    Missing,
    At(Offset),
    /// It lies outside of the log and counts for nothing; the log start takes its place.
    Invalid(Offset),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    pub checkpoint: Checkpoint,
    pub first_dirty: Offset,
    /// A segment's base: nothing from here on is touched.
    pub first_uncleanable: Offset,
    pub clean_bytes: u64,
    /// Dirty, and may be cleaned.
    pub cleanable_bytes: u64,
    /// Something has been dirty for longer than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Plan {
    /// What of the log would be cleaned now; `None` where there is nothing in it.
    pub fn of(
        log: &LogReader,
        checkpoint: Option<Offset>,
        config: &TopicConfig,
        now: Timestamp,
    ) -> Result<Option<Plan>, LogError> {
        log.shared.on_view(|view| plan(view, checkpoint, config, now))
    }

    /// The dirty part of what there is to clean, 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes.saturating_add(self.cleanable_bytes);
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    pub fn is_due(&self, config: &TopicConfig) -> bool {
        (self.is_overdue && self.cleanable_bytes > 0) || self.dirty_ratio() > config.min_cleanable_dirty_ratio
    }
}

fn plan(
    view: &View,
    checkpoint: Option<Offset>,
    config: &TopicConfig,
    now: Timestamp,
) -> Result<Option<Plan>, LogError> {
    let Some(active) = view.segments.last().map(|active| active.base_offset) else { return Ok(None) };
    let checkpoint = match checkpoint {
        None => Checkpoint::Missing,
        Some(at) if (view.start_offset..=view.end_offset).contains(&at) => Checkpoint::At(at),
        Some(at) => Checkpoint::Invalid(at),
    };
    let first_dirty = match checkpoint {
        Checkpoint::At(at) => at,
        Checkpoint::Missing | Checkpoint::Invalid(_) => view.start_offset,
    };
    // Nothing that is undecided, nor the active segment, nor what is too young.
    let mut uncleanable = view.last_stable_offset.min(active);
    if let Some(young) = first_too_young(view, first_dirty, config.min_compaction_lag, now)? {
        uncleanable = uncleanable.min(young);
    }
    let whole = view.segments.floor_index(uncleanable.max(first_dirty).min(active));
    let first_uncleanable = view.segments.get(whole).map_or(active, |segment| segment.base_offset);
    let bytes = |from: Offset, to: Offset| -> u64 {
        let segments = view.segments.iter_from(view.segments.floor_index(from));
        segments.take_while(|segment| segment.base_offset < to).map(|segment| segment.size()).sum()
    };
    Ok(Some(Plan {
        checkpoint,
        first_dirty,
        first_uncleanable,
        clean_bytes: bytes(Offset::ZERO, first_dirty.min(active)),
        cleanable_bytes: bytes(first_dirty.min(first_uncleanable), first_uncleanable),
        is_overdue: is_overdue(view, first_dirty, config.max_compaction_lag, now)?,
    }))
}

/// The segments from that of `first_dirty` on that are not appended to.
fn dirty_segments(view: &View, first_dirty: Offset) -> impl Iterator<Item = &Segment> {
    let first = view.segments.floor_index(first_dirty);
    let sealed = view.segments.len().saturating_sub(1);
    view.segments.iter_from(first).take(sealed.saturating_sub(first)).map(AsRef::as_ref)
}

/// The first dirty segment with a record that is younger than `min.compaction.lag.ms`.
fn first_too_young(
    view: &View,
    first_dirty: Offset,
    min_lag: Duration,
    now: Timestamp,
) -> Result<Option<Offset>, LogError> {
    if min_lag.is_zero() {
        return Ok(None);
    }
    let oldest = now.0.saturating_sub(millis(min_lag));
    for segment in dirty_segments(view, first_dirty) {
        if segment.largest_timestamp()?.is_some_and(|largest| largest.timestamp.0 > oldest) {
            return Ok(Some(segment.base_offset));
        }
    }
    Ok(None)
}

/// By the first batch of each dirty segment, as Kafka does (`LogCleanerManager.maxCompactionDelay`).
fn is_overdue(view: &View, first_dirty: Offset, max_lag: Duration, now: Timestamp) -> Result<bool, LogError> {
    let oldest = now.0.saturating_sub(millis(max_lag));
    if oldest <= 0 {
        return Ok(false);
    }
    for segment in dirty_segments(view, first_dirty) {
        let file = segment.file()?;
        let first = Scan::headers(&file, 0, segment.size()).next();
        let first = first.map_err(|error| segment.error(error, 0, segment.base_offset))?;
        if first.is_some_and(|batch| (1..oldest).contains(&batch.header.max_timestamp.0)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
