//! The segments of a log in order of their base offsets. A clone is a snapshot that later rolls do not touch.

use std::ops::Range;
use std::sync::Arc;

use super::segment::Segment;
use crate::types::Offset;

#[derive(Debug, Clone, Default)]
pub(super) struct Segments(Arc<Vec<Arc<Segment>>>);

impl Segments {
    pub(super) fn new(segments: Vec<Arc<Segment>>) -> Segments {
        Segments(Arc::new(segments))
    }

    /// The last segment whose base offset is not above `offset`; the first one where all are.
    pub(super) fn floor_index(&self, offset: Offset) -> usize {
        self.0.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Arc<Segment>> {
        self.0.get(index)
    }

    /// The active segment, unless all are sealed.
    pub(super) fn last(&self) -> Option<&Arc<Segment>> {
        self.0.last()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter_from(&self, index: usize) -> impl Iterator<Item = &Arc<Segment>> {
        self.0.iter().skip(index)
    }

    /// Puts `new` in the place of the segments in `range`.
    pub(super) fn replace(&mut self, range: Range<usize>, new: Vec<Arc<Segment>>) {
        let segments = Arc::make_mut(&mut self.0);
        let range = range.start.min(segments.len())..range.end.min(segments.len());
        segments.splice(range, new);
    }

    /// Adds the new active segment.
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        Arc::make_mut(&mut self.0).push(segment);
    }
}
