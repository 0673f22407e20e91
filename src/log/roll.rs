//! When a new segment begins (`LogSegment.shouldRoll`).

use std::time::Duration;

use super::error::LogError;
use super::index::Entry;
use super::offset_index::OffsetEntry;
use super::segment::Segment;
use super::tail::Tail;
use super::time_index::TimeEntry;
use crate::config::TopicConfig;
use crate::types::{Offset, Timestamp};

/// What is about to be appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming {
    pub(super) bytes: u64,
    pub(super) last_offset: Offset,
    pub(super) max_timestamp: Timestamp,
}

/// The clock of rolling by time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    pub(super) created: Timestamp,
    /// Taken off `segment.ms`, so that partitions made together do not roll together.
    pub(super) jitter: Duration,
}

impl Age {
    /// `LogConfig.randomSegmentJitter`.
    pub(super) fn starting(created: Timestamp, config: &TopicConfig) -> Age {
        let span = config.segment_jitter_ms.min(config.segment_ms).as_millis();
        let random = uuid::Uuid::new_v4().as_u128().checked_rem(span).unwrap_or(0);
        Age { created, jitter: Duration::from_millis(u64::try_from(random).unwrap_or(0)) }
    }
}

/// Whether `incoming` needs a new segment. An empty one is not rolled away, unless its base is too far off.
pub(super) fn is_due(
    segment: &Segment,
    tail: &Tail,
    age: Age,
    incoming: Incoming,
    config: &TopicConfig,
    now: Timestamp,
) -> Result<bool, LogError> {
    let relative = incoming.last_offset.0.saturating_sub(segment.base_offset.0);
    if relative > i64::from(i32::MAX) {
        return Ok(true);
    }
    if segment.size() == 0 {
        return Ok(false);
    }
    let too_large = segment.size() + incoming.bytes > u64::from(config.segment_bytes);
    Ok(too_large || is_too_old(tail, age, incoming, config, now) || is_index_full(segment, config)?)
}

/// By the first batch's timestamp against the new one's; by the wall clock where the first batch has none.
fn is_too_old(tail: &Tail, age: Age, incoming: Incoming, config: &TopicConfig, now: Timestamp) -> bool {
    let waited_ms = match tail.first_timestamp.filter(|first| first.0 >= 0) {
        Some(first) => incoming.max_timestamp.0.saturating_sub(first.0),
        None => now.0.saturating_sub(age.created.0),
    };
    let limit = segment_ms_max(config).saturating_sub(age.jitter);
    waited_ms > i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
}

/// What is active is not compacted, so it must not stay so for longer than `max.compaction.lag.ms` (`LogConfig.maxSegmentMs`).
fn segment_ms_max(config: &TopicConfig) -> Duration {
    if config.compact { config.segment_ms.min(config.max_compaction_lag) } else { config.segment_ms }
}

/// The time index keeps one place for the entry that is added when the segment is sealed.
fn is_index_full(segment: &Segment, config: &TopicConfig) -> Result<bool, LogError> {
    let places = |entry_bytes: usize| u64::from(config.segment_index_bytes) / entry_bytes as u64;
    Ok(segment.offset_index.len()? >= places(OffsetEntry::BYTES)
        || segment.time_index.len()? >= places(TimeEntry::BYTES).saturating_sub(1))
}
