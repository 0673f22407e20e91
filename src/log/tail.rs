//! What indexing needs to know about the batches of a segment so far (`LogSegment.append`): the same rule whether the
//! batches are being appended, recovered, or read again to rebuild an index.

use super::offset_index::OffsetEntry;
use super::scan::Located;
use super::segment::{MaxTimestamp, Segment};
use super::time_index::TimeEntry;
use crate::protocol::batch::BatchHeader;
use crate::types::{Offset, Timestamp};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tail {
    bytes_since_index_entry: u64,
    /// After the last batch.
    pub(super) next_offset: Option<Offset>,
    pub(super) max: Option<MaxTimestamp>,
    /// Of the last time index entry.
    indexed_timestamp: Option<Timestamp>,
    /// Of the segment's first batch: what rolling by time goes by.
    pub(super) first_timestamp: Option<Timestamp>,
}

impl Tail {
    /// Goes on behind an offset index entry, knowing the largest timestamp that the time index ends with.
    pub(super) fn resumed(max: Option<MaxTimestamp>, first_timestamp: Option<Timestamp>) -> Tail {
        let indexed_timestamp = max.map(|max| max.timestamp);
        Tail { bytes_since_index_entry: 0, next_offset: None, max, indexed_timestamp, first_timestamp }
    }

    /// Takes the next batch into account and gives the index entries that are due with it.
    pub(super) fn observe(&mut self, segment: &Segment, batch: &Located) -> (Option<OffsetEntry>, Option<TimeEntry>) {
        let header = &batch.header;
        self.next_offset = Some(header.next_offset());
        self.first_timestamp.get_or_insert(header.max_timestamp);
        self.note_time(header);
        let due = self.bytes_since_index_entry > u64::from(segment.index_interval_bytes);
        if due {
            self.bytes_since_index_entry = 0;
        }
        self.bytes_since_index_entry += header.size() as u64;
        if !due {
            return (None, None);
        }
        let position = u32::try_from(batch.position).ok();
        let offset_entry = segment
            .relative(header.last_offset())
            .zip(position)
            .map(|(relative_offset, position)| OffsetEntry { relative_offset, position });
        (offset_entry, self.last_time_entry(segment))
    }

    pub(super) fn note_time(&mut self, header: &BatchHeader) {
        if header.max_timestamp > self.max.map_or(Timestamp::NONE, |max| max.timestamp) {
            self.max = Some(MaxTimestamp { timestamp: header.max_timestamp, offset: header.last_offset() });
        }
    }

    /// The entry that brings the time index up to date; also its last one, when the segment is sealed or closed.
    pub(super) fn last_time_entry(&mut self, segment: &Segment) -> Option<TimeEntry> {
        let max = self.max.filter(|max| self.indexed_timestamp.is_none_or(|indexed| max.timestamp > indexed))?;
        self.indexed_timestamp = Some(max.timestamp);
        Some(TimeEntry { timestamp: max.timestamp, relative_offset: segment.relative(max.offset)? })
    }
}
