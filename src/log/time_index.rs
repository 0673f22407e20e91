//! `.timeindex`: where in the segment timestamps rise (`TimeIndex`). Entries of 12 bytes: a timestamp (i64), and relative
//! to the segment's base (u32) the last offset of the first batch that reaches it. Records before that batch are older,
//! so that the search for a timestamp may start there.

use bytes::{Buf, BufMut};

use super::index::{Entry, IndexFile};
use crate::types::Timestamp;

pub(super) type TimeIndex = IndexFile<TimeEntry>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// The largest of the segment up to here.
    pub timestamp: Timestamp,
    pub relative_offset: u32,
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn decode(mut bytes: &[u8]) -> TimeEntry {
        TimeEntry {
            timestamp: Timestamp(bytes.try_get_i64().unwrap_or_default()),
            relative_offset: bytes.try_get_u32().unwrap_or_default(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.timestamp.0);
        out.put_u32(self.relative_offset);
    }
}
