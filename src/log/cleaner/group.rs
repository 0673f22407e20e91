//! Which segments become one (`Cleaner.groupSegmentsBySize`): repeated cleaning would else leave ever smaller ones.

use std::ops::Range;

use crate::config::TopicConfig;
use crate::log::LogError;
use crate::log::index::Entry;
use crate::log::offset_index::OffsetEntry;
use crate::log::shared::View;
use crate::log::time_index::TimeEntry;
use crate::types::Offset;

/// The segments that begin below `to`, in groups that are within the limits of one segment.
pub(super) fn groups(
    view: &View,
    to: Offset,
    first_uncleanable: Offset,
    config: &TopicConfig,
) -> Result<Vec<Range<usize>>, LogError> {
    let sealed = view.segments.iter_from(0).take_while(|segment| segment.base_offset < to.min(first_uncleanable));
    let mut sizes = Vec::new();
    for (index, segment) in sealed.enumerate() {
        sizes.push(Size {
            base_offset: segment.base_offset,
            // The next segment's base is near enough.
            end_offset: view.end_of(index).min(first_uncleanable),
            log_bytes: segment.size(),
            offset_index_bytes: segment.offset_index.len()?.saturating_mul(OffsetEntry::BYTES as u64),
            time_index_bytes: segment.time_index.len()?.saturating_mul(TimeEntry::BYTES as u64),
        });
    }
    Ok(in_groups(&sizes, config))
}

#[derive(Debug, Clone, Copy)]
struct Size {
    base_offset: Offset,
    end_offset: Offset,
    log_bytes: u64,
    offset_index_bytes: u64,
    time_index_bytes: u64,
}

impl Size {
    /// This one with the segment behind it, if that still makes one segment.
    fn with(self, next: Size, config: &TopicConfig) -> Option<Size> {
        let joined = Size {
            base_offset: self.base_offset,
            end_offset: next.end_offset,
            log_bytes: self.log_bytes.saturating_add(next.log_bytes),
            offset_index_bytes: self.offset_index_bytes.saturating_add(next.offset_index_bytes),
            time_index_bytes: self.time_index_bytes.saturating_add(next.time_index_bytes),
        };
        let relative = joined.end_offset.plus(-1).0.saturating_sub(joined.base_offset.0);
        let index_bytes_max = u64::from(config.segment_index_bytes);
        let fits = joined.log_bytes <= u64::from(config.segment_bytes)
            && joined.offset_index_bytes <= index_bytes_max
            && joined.time_index_bytes <= index_bytes_max
            // An empty segment has no offset that could be too far off (KAFKA-8321).
            && (next.log_bytes == 0 || relative <= i64::from(i32::MAX));
        fits.then_some(joined)
    }
}

fn in_groups(sizes: &[Size], config: &TopicConfig) -> Vec<Range<usize>> {
    let mut groups: Vec<(Range<usize>, Size)> = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        match groups.last_mut() {
            Some((range, group)) if let Some(joined) = group.with(*size, config) => {
                range.end = index + 1;
                *group = joined;
            }
            _ => groups.push((index..index + 1, *size)),
        }
    }
    groups.into_iter().map(|(range, _)| range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_of(sizes: &[(i64, i64, u64, u64, u64)]) -> Vec<(usize, usize)> {
        let config = TopicConfig { segment_bytes: 100, segment_index_bytes: 24, ..TopicConfig::default() };
        let size = |&(base, end, log_bytes, offset_index_bytes, time_index_bytes): &(i64, i64, u64, u64, u64)| Size {
            base_offset: Offset(base),
            end_offset: Offset(end),
            log_bytes,
            offset_index_bytes,
            time_index_bytes,
        };
        let groups = in_groups(&sizes.iter().map(size).collect::<Vec<_>>(), &config);
        groups.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn segments_are_joined_as_long_as_they_fit_into_one() {
        let sizes = [(0, 5, 60, 0, 0), (5, 9, 40, 0, 0), (9, 10, 1, 0, 0), (10, 20, 99, 0, 0), (20, 30, 200, 0, 0)];
        assert_eq!(groups_of(&sizes), [(0, 2), (2, 4), (4, 5)]);
    }

    #[test]
    fn either_index_keeps_segments_apart() {
        assert_eq!(groups_of(&[(0, 5, 1, 16, 0), (5, 9, 1, 16, 0)]), [(0, 1), (1, 2)]);
        assert_eq!(groups_of(&[(0, 5, 1, 0, 12), (5, 9, 1, 0, 24)]), [(0, 1), (1, 2)]);
        assert_eq!(groups_of(&[(0, 5, 1, 12, 12), (5, 9, 1, 12, 12)]), [(0, 2)]);
    }

    #[test]
    fn no_offset_comes_to_lie_too_far_above_its_segments_base() {
        let far = i64::from(i32::MAX);
        assert_eq!(groups_of(&[(0, 5, 1, 0, 0), (5, far + 1, 1, 0, 0)]), [(0, 2)]);
        assert_eq!(groups_of(&[(0, 5, 1, 0, 0), (5, far + 2, 1, 0, 0)]), [(0, 1), (1, 2)]);
        assert_eq!(groups_of(&[(0, 5, 1, 0, 0), (5, far + 2, 0, 0, 0)]), [(0, 2)], "an empty one");
    }
}
