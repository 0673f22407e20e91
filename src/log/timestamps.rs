//! ListOffsets by timestamp (`UnifiedLog.fetchOffsetByTimestamp`, `LogSegment.findOffsetByTimestamp`).

use std::sync::Arc;

use super::error::LogError;
use super::scan::Located;
use super::segment::{MaxTimestamp, Segment};
use super::shared::View;
use super::{Access, LogReader, TimestampedOffset};
use crate::protocol::batch::Batch;
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::protocol::records::BatchRecords;
use crate::types::{Offset, Timestamp};

impl LogReader {
    /// The first record whose timestamp is at or after `timestamp` (ListOffsets).
    pub fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<TimestampedOffset>, LogError> {
        self.shared.on_view(|view| first_at(view, timestamp))
    }

    /// The record with the largest timestamp, the earliest of equals (ListOffsets -3, KIP-734). `None` also where that
    /// record is below the log start.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>, LogError> {
        self.shared.on_view(largest_of)
    }
}

fn first_at(view: &View, timestamp: Timestamp) -> Result<Option<TimestampedOffset>, LogError> {
    let first = view.segments.floor_index(view.start_offset);
    for (index, segment) in view.segments.iter_from(first).enumerate() {
        let index = first + index;
        if largest(view, index, segment)?.is_none_or(|max| max.timestamp < timestamp) {
            continue;
        }
        let size = view.size_of(index, segment);
        if let Some(found) = find(segment, timestamp, view.start_offset, size)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn largest_of(view: &View) -> Result<Option<TimestampedOffset>, LogError> {
    let first = view.segments.floor_index(view.start_offset);
    let mut best: Option<(usize, MaxTimestamp)> = None;
    for (index, segment) in view.segments.iter_from(first).enumerate() {
        let index = first + index;
        let Some(max) = largest(view, index, segment)? else { continue };
        if best.is_none_or(|(_, best)| max.timestamp > best.timestamp) {
            best = Some((index, max));
        }
    }
    let Some((index, max)) = best else { return Ok(None) };
    let Some(segment) = view.segments.get(index) else { return Ok(None) };
    find(segment, max.timestamp, view.start_offset, view.size_of(index, segment))
}

/// The largest timestamp of a segment as `view` sees it.
pub(super) fn largest(view: &View, index: usize, segment: &Arc<Segment>) -> Result<Option<MaxTimestamp>, LogError> {
    if index + 1 == view.segments.len() {
        return Ok(view.active_max);
    }
    segment.largest_timestamp()
}

/// The first record from `from` on that is at or after `timestamp`: time index, then batches, then the records of one.
fn find(
    segment: &Segment,
    timestamp: Timestamp,
    from: Offset,
    size: u64,
) -> Result<Option<TimestampedOffset>, LogError> {
    let floor = segment.time_floor(timestamp, size)?.max(from);
    let file = segment.file()?;
    let mut scan = segment.scan_to(&file, floor, size, Access::Blocking)?;
    while let Some(batch) = scan.next().map_err(|error| segment.error(error, scan.position(), floor))? {
        if batch.header.max_timestamp < timestamp || batch.header.last_offset() < from {
            continue;
        }
        if let Some(found) = find_in_batch(segment, &batch, timestamp, from)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A batch whose records cannot be read, though its CRC holds, is one that its producer made so: its header has to answer.
fn find_in_batch(
    segment: &Segment,
    located: &Located,
    timestamp: Timestamp,
    from: Offset,
) -> Result<Option<TimestampedOffset>, LogError> {
    let header = &located.header;
    let batch = segment.read_batch(located)?;
    find_in_records(&batch, timestamp, from).or_else(|unreadable| {
        tracing::debug!(path = %segment.path.display(), offset = %header.base_offset, unreadable, "records do not decode");
        Ok(Some(TimestampedOffset {
            offset: header.base_offset.max(from),
            timestamp: header.max_timestamp,
            leader_epoch: header.partition_leader_epoch,
        }))
    })
}

fn find_in_records(batch: &Batch, timestamp: Timestamp, from: Offset) -> Result<Option<TimestampedOffset>, String> {
    let records = BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())?;
    for record in &records {
        let record = record.map_err(|error| error.to_string())?;
        let found = TimestampedOffset {
            offset: records.offset(&record),
            timestamp: records.timestamp(&record),
            leader_epoch: batch.header.partition_leader_epoch,
        };
        if found.timestamp >= timestamp && found.offset >= from {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
