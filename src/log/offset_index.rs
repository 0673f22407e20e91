//! `.index`: where in the segment a batch lies (`OffsetIndex`). Entries of 8 bytes: the batch's last offset relative to
//! the segment's base (u32), the position of its first byte (u32).

use bytes::{Buf, BufMut};

use super::index::{Entry, IndexFile};

pub(super) type OffsetIndex = IndexFile<OffsetEntry>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the batch at `position`, less the segment's base offset.
    pub relative_offset: u32,
    pub position: u32,
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn decode(mut bytes: &[u8]) -> OffsetEntry {
        OffsetEntry {
            relative_offset: bytes.try_get_u32().unwrap_or_default(),
            position: bytes.try_get_u32().unwrap_or_default(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.relative_offset);
        out.put_u32(self.position);
    }
}
