//! What damage met in recovery can be: a write that power loss left undone, or something that must be reported.
//!
//! A file system and a device write whole sectors, each at any time before the next fsync. A sector that was never written
//! holds zeros, or what it held the last time it was written: whole batches, and zeros behind them. `docs/on-disk.md` has the
//! rule.

use std::fs::File;
use std::io;

use super::recovery::next_valid;
use super::scan::{Scan, ScanError};
use super::segment::Segment;
use crate::protocol::batch::{BatchHeader, HEADER_LEN, MAGIC};
use crate::sys;
use crate::types::Offset;

/// Bytes looked at in one go.
const BLOCK: usize = 256 * 1024;
const SECTOR: u64 = 512;
/// Where the magic stands in a batch.
const MAGIC_POSITION: usize = 16;
/// A batch's base offset and length, of which the length is never zero.
const OFFSET_BYTES: usize = 8;
const OFFSET_AND_LENGTH_BYTES: usize = 12;

/// The valid batches behind a damaged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Behind {
    /// Where the first of them starts.
    pub(super) first: Option<u64>,
    pub(super) batches: u64,
}

/// Looks for batches behind the damaged one at `position`, byte by byte: its length is not to be trusted. Their offsets must
/// follow `expected`.
pub(super) fn behind(segment: &Segment, file: &File, position: u64, expected: Offset) -> io::Result<Behind> {
    let (mut behind, mut expected, mut damaged) = (Behind::default(), expected, position);
    while let Some(found) = find_batch(segment, file, damaged + 1, expected)? {
        behind.first.get_or_insert(found);
        let mut scan = Scan::everything(file, found, segment.size());
        loop {
            damaged = scan.position();
            match next_valid(&mut scan, segment, expected) {
                Ok(Some(batch)) => expected = batch.header.next_offset(),
                Ok(None) => return Ok(behind),
                Err(ScanError::Damaged(_)) => break,
                Err(ScanError::Io(error)) => return Err(error),
            }
            behind.batches += 1;
        }
    }
    Ok(behind)
}

/// Where the first whole, valid batch from `position` on starts.
fn find_batch(segment: &Segment, file: &File, mut position: u64, expected: Offset) -> io::Result<Option<u64>> {
    let mut block = vec![0; BLOCK];
    while position + HEADER_LEN as u64 <= segment.size() {
        let read = sys::pread_up_to(file, &mut block, position)?;
        let bytes = block.get(..read).unwrap_or_default();
        if bytes.len() < HEADER_LEN {
            break;
        }
        // What was preallocated is long.
        let has_any = !is_zero(bytes);
        for (candidate, at) in bytes.windows(HEADER_LEN).zip(position..).take_while(|_| has_any) {
            if candidate.get(MAGIC_POSITION).is_some_and(|magic| *magic == MAGIC as u8)
                && BatchHeader::parse(candidate).is_ok_and(|header| segment.check_offsets(&header, expected).is_ok())
                && is_batch(segment, file, at, expected)?
            {
                return Ok(Some(at));
            }
        }
        position += (bytes.len() - HEADER_LEN + 1) as u64;
    }
    Ok(None)
}

fn is_batch(segment: &Segment, file: &File, position: u64, expected: Offset) -> io::Result<bool> {
    match next_valid(&mut Scan::headers(file, position, segment.size()), segment, expected) {
        Ok(found) => Ok(found.is_some()),
        Err(ScanError::Damaged(_)) => Ok(false),
        Err(ScanError::Io(error)) => Err(error),
    }
}

/// Whether what is wrong with the batch at `position` can be that some of its sectors were never written. `expected` is the
/// least base offset that it can have had.
pub(super) fn is_unwritten(
    segment: &Segment,
    file: &File,
    position: u64,
    expected: Offset,
    behind: Behind,
) -> io::Result<bool> {
    let end = match claimed_end(segment, file, position)? {
        Claimed::Within(end) => end,
        // The file ends within it. A batch that is whole but for its length is none that was cut short.
        Claimed::BeyondEnd if behind.batches == 0 => return Ok(!is_whole_to_the_end(segment, file, position)?),
        Claimed::BeyondEnd | Claimed::Unreadable => behind.first.unwrap_or(segment.size()),
    };
    Ok(starts_unwritten(segment, file, position, expected)? || has_zero_sector(segment, file, position, end)?)
}

enum Claimed {
    /// The batch ends here, by its header.
    Within(u64),
    BeyondEnd,
    Unreadable,
}

fn claimed_end(segment: &Segment, file: &File, position: u64) -> io::Result<Claimed> {
    let mut header = [0; HEADER_LEN];
    if sys::pread_up_to(file, &mut header, position)? < HEADER_LEN {
        return Ok(Claimed::BeyondEnd);
    }
    Ok(match BatchHeader::parse(&header) {
        Err(_) => Claimed::Unreadable,
        Ok(header) => match position + header.size() as u64 {
            end if end <= segment.size() => Claimed::Within(end),
            _ => Claimed::BeyondEnd,
        },
    })
}

/// Whether the batch's CRC holds if it ends with the file.
fn is_whole_to_the_end(segment: &Segment, file: &File, position: u64) -> io::Result<bool> {
    let mut header = [0; HEADER_LEN];
    if sys::pread_up_to(file, &mut header, position)? < HEADER_LEN {
        return Ok(false);
    }
    let Ok(header) = BatchHeader::parse(&header) else { return Ok(false) };
    match Scan::everything(file, position, segment.size()).check_crc_to(&header, position, segment.size()) {
        Ok(()) => Ok(true),
        Err(ScanError::Damaged(_)) => Ok(false),
        Err(ScanError::Io(error)) => Err(error),
    }
}

/// Whether the batch starts in a sector that was last written before it was there: nothing but zeros follow in it, where the
/// batch's first bytes cannot all have been zero.
fn starts_unwritten(segment: &Segment, file: &File, position: u64, expected: Offset) -> io::Result<bool> {
    let end = position.next_multiple_of(SECTOR).min(segment.size());
    let Ok(length) = usize::try_from(end - position) else { return Ok(false) };
    let mut rest = vec![0; length];
    let read = sys::pread_up_to(file, &mut rest, position)?;
    let offset = expected.0.to_be_bytes();
    let shows =
        length >= OFFSET_AND_LENGTH_BYTES || offset.iter().take(length.min(OFFSET_BYTES)).any(|byte| *byte != 0);
    Ok(shows && is_zero(rest.get(..read).unwrap_or_default()))
}

/// Whether there is nothing but zeros from `position` on: preallocated, or never written before a power failure.
pub(super) fn is_zero_from(segment: &Segment, file: &File, mut position: u64) -> io::Result<bool> {
    let mut block = vec![0; BLOCK];
    while position < segment.size() {
        let read = sys::pread_up_to(file, &mut block, position)?;
        if read == 0 || !is_zero(block.get(..read).unwrap_or_default()) {
            return Ok(false);
        }
        position += read as u64;
    }
    Ok(true)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Whether an aligned sector that holds bytes of `position..end`, and none before, is nothing but zeros.
fn has_zero_sector(segment: &Segment, file: &File, position: u64, end: u64) -> io::Result<bool> {
    // Its header belongs to a batch, whatever length that claims.
    let end = end.max(position + HEADER_LEN as u64).next_multiple_of(SECTOR).min(segment.size());
    let (mut block, mut position) = (vec![0; BLOCK], position.next_multiple_of(SECTOR));
    while position < end {
        let want = usize::try_from(end - position).unwrap_or(BLOCK).min(BLOCK);
        let read = sys::pread_up_to(file, block.get_mut(..want).unwrap_or_default(), position)?;
        let sectors = block.get(..read).unwrap_or_default().chunks(SECTOR as usize);
        if read == 0 || sectors.into_iter().any(is_zero) {
            return Ok(read > 0);
        }
        position += read as u64;
    }
    Ok(false)
}
