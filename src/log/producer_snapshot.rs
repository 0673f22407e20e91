//! Kafka's producer snapshots, `<offset>.snapshot`: the producer state with every record below the offset applied.
//!
//! ```text
//! version i16 (1) | crc u32 | count i32 | entries…
//! entry: producer_id i64 | epoch i16 | last_sequence i32 | last_offset i64 | offset_delta i32 | timestamp i64 |
//!        coordinator_epoch i32 | current_txn_first_offset i64
//! ```
//!
//! The CRC-32C covers what follows it. Of a producer's batches only the last is kept; -1 stands for "none".

use std::collections::{HashSet, VecDeque};
use std::path::Path;

use bytes::{Buf, BufMut};

use super::checkpoint::{self, CheckpointError};
use super::producer_state::{BatchMetadata, ProducerEntry};
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

const VERSION: i16 = 1;
const ENTRIES_START: usize = 6;
const ENTRY_LEN: usize = 46;

/// Why a snapshot cannot be used; the log falls back to an older one and replays more.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("version {0}; only 1 is known")]
    Version(i16),
    #[error("CRC {stored:#010x} stored, {computed:#010x} computed")]
    BadCrc { stored: u32, computed: u32 },
    #[error("{count} entries announced in {bytes} bytes")]
    BadCount { count: i32, bytes: usize },
    #[error("producer {} or its transaction stands there twice", .0.0)]
    Repeated(ProducerId),
    #[error("producer {} has records where the snapshot ends, at offset {at}, or behind", .id.0)]
    Ahead { id: ProducerId, at: Offset },
    #[error("ends before its first entry")]
    Truncated,
    #[error("no such file")]
    Missing,
    #[error(transparent)]
    File(#[from] CheckpointError),
}

/// Reads a snapshot; the entries come in the file's order.
pub fn read(path: &Path) -> Result<Vec<(ProducerId, ProducerEntry)>, SnapshotError> {
    decode(&checkpoint::read_bytes(path)?.ok_or(SnapshotError::Missing)?)
}

/// As [`read`], of a snapshot taken at the offset `at`: a record at or behind it is not what it can speak of.
pub(super) fn read_at(path: &Path, at: Offset) -> Result<Vec<(ProducerId, ProducerEntry)>, SnapshotError> {
    let entries = read(path)?;
    let is_ahead = |entry: &ProducerEntry| {
        entry.current_txn_first_offset >= Some(at) || entry.batches.back().is_some_and(|last| last.last_offset >= at)
    };
    match entries.iter().find(|(_, entry)| is_ahead(entry)) {
        Some((id, _)) => Err(SnapshotError::Ahead { id: *id, at }),
        None => Ok(entries),
    }
}

/// Durable with the log's next flush; until then the CRC tells a part from the whole.
pub fn write<'a>(
    path: &Path,
    entries: impl IntoIterator<Item = (ProducerId, &'a ProducerEntry)>,
) -> Result<(), SnapshotError> {
    Ok(checkpoint::replace(path, &encode(entries))?)
}

pub fn decode(bytes: &[u8]) -> Result<Vec<(ProducerId, ProducerEntry)>, SnapshotError> {
    let covered = bytes.get(ENTRIES_START..).ok_or(SnapshotError::Truncated)?;
    let mut rest = bytes;
    let version = rest.try_get_i16().map_err(|_| SnapshotError::Truncated)?;
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let stored = rest.try_get_u32().map_err(|_| SnapshotError::Truncated)?;
    let computed = crc32c::crc32c(covered);
    if stored != computed {
        return Err(SnapshotError::BadCrc { stored, computed });
    }
    let count = rest.try_get_i32().map_err(|_| SnapshotError::Truncated)?;
    if usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_LEN)) != Some(rest.len()) {
        return Err(SnapshotError::BadCount { count, bytes: rest.len() });
    }
    let entries: Vec<_> = rest.chunks_exact(ENTRY_LEN).map(decode_entry).collect();
    let (mut ids, mut transactions) = (HashSet::new(), HashSet::new());
    let is_repeated = |(id, entry): &&(ProducerId, ProducerEntry)| {
        !ids.insert(*id)
            || entry.current_txn_first_offset.is_some_and(|first_offset| !transactions.insert(first_offset))
    };
    match entries.iter().find(is_repeated) {
        Some((id, _)) => Err(SnapshotError::Repeated(*id)),
        None => Ok(entries),
    }
}

/// `entry` is `ENTRY_LEN` long.
fn decode_entry(mut entry: &[u8]) -> (ProducerId, ProducerEntry) {
    let producer_id = ProducerId(entry.get_i64());
    let epoch = ProducerEpoch(entry.get_i16());
    let last_sequence = entry.get_i32();
    let last_offset = Offset(entry.get_i64());
    let offset_delta = entry.get_i32();
    let timestamp = Timestamp(entry.get_i64());
    let coordinator_epoch = entry.get_i32();
    let txn_first_offset = Offset(entry.get_i64());
    let last_batch = BatchMetadata { last_sequence, last_offset, offset_delta, timestamp };
    let entry = ProducerEntry {
        epoch,
        coordinator_epoch,
        last_timestamp: timestamp,
        current_txn_first_offset: (txn_first_offset.0 >= 0).then_some(txn_first_offset),
        batches: if last_offset.0 >= 0 { VecDeque::from([last_batch]) } else { VecDeque::new() },
    };
    (producer_id, entry)
}

pub fn encode<'a>(entries: impl IntoIterator<Item = (ProducerId, &'a ProducerEntry)>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut count = 0;
    for (producer_id, entry) in entries {
        encode_entry(&mut body, producer_id, entry);
        count += 1;
    }
    let covered = [&i32::to_be_bytes(count), body.as_slice()].concat();
    let mut bytes = Vec::with_capacity(ENTRIES_START + covered.len());
    bytes.put_i16(VERSION);
    bytes.put_u32(crc32c::crc32c(&covered));
    bytes.extend_from_slice(&covered);
    bytes
}

fn encode_entry(out: &mut Vec<u8>, producer_id: ProducerId, entry: &ProducerEntry) {
    let last_batch = entry.batches.back();
    out.put_i64(producer_id.0);
    out.put_i16(entry.epoch.0);
    out.put_i32(last_batch.map_or(-1, |batch| batch.last_sequence));
    out.put_i64(last_batch.map_or(-1, |batch| batch.last_offset.0));
    out.put_i32(last_batch.map_or(0, |batch| batch.offset_delta));
    out.put_i64(entry.last_timestamp.0);
    out.put_i32(entry.coordinator_epoch);
    out.put_i64(entry.current_txn_first_offset.map_or(-1, |offset| offset.0));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> Vec<(ProducerId, ProducerEntry)> {
        let last_batch =
            BatchMetadata { last_sequence: 7, last_offset: Offset(40), offset_delta: 3, timestamp: Timestamp(99) };
        let with_batch = ProducerEntry {
            epoch: ProducerEpoch(2),
            coordinator_epoch: 5,
            last_timestamp: Timestamp(99),
            current_txn_first_offset: Some(Offset(37)),
            batches: VecDeque::from([last_batch]),
        };
        let without = ProducerEntry { batches: VecDeque::new(), current_txn_first_offset: None, ..with_batch.clone() };
        vec![(ProducerId(9), with_batch), (ProducerId(1), without)]
    }

    fn encoded() -> Vec<u8> {
        encode(entries().iter().map(|(id, entry)| (*id, entry)))
    }

    #[test]
    fn what_was_written_is_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000041.snapshot");
        assert!(matches!(read(&path), Err(SnapshotError::Missing)));
        write(&path, entries().iter().map(|(id, entry)| (*id, entry))).unwrap();
        assert_eq!(read(&path).unwrap(), entries());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 10 + 2 * 46);
    }

    #[test]
    fn only_the_last_batch_of_a_producer_is_kept() {
        let mut entry = entries().remove(0).1;
        let last = BatchMetadata { last_sequence: 8, ..*entry.batches.back().unwrap() };
        entry.batches.push_back(last);
        let (_, back) = decode(&encode([(ProducerId(1), &entry)])).unwrap().remove(0);
        assert_eq!(back.batches, [last]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for at in 0..encoded().len() {
            let mut damaged = encoded();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        for keep in 0..encoded().len() {
            assert!(decode(&encoded()[..keep]).is_err(), "{keep} bytes");
        }
    }

    #[test]
    fn a_producer_or_a_transaction_that_stands_there_twice_is_refused() {
        let entry = &entries().remove(0).1;
        let twice = |ids: [i64; 2], starts: [i64; 2]| {
            let entries = ids.into_iter().zip(starts).map(|(id, start)| {
                (ProducerId(id), ProducerEntry { current_txn_first_offset: Some(Offset(start)), ..entry.clone() })
            });
            let entries: Vec<_> = entries.collect();
            decode(&encode(entries.iter().map(|(id, entry)| (*id, entry))))
        };
        assert!(matches!(twice([1, 1], [37, 38]), Err(SnapshotError::Repeated(ProducerId(1)))));
        assert!(matches!(twice([1, 2], [37, 37]), Err(SnapshotError::Repeated(ProducerId(2)))));
        assert_eq!(twice([1, 2], [37, 38]).unwrap().len(), 2);
    }

    #[test]
    fn a_snapshot_that_speaks_of_records_behind_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.snapshot");
        write(&path, entries().iter().map(|(id, entry)| (*id, entry))).unwrap();
        // The last record is at offset 40; a transaction is open from 37 on.
        assert_eq!(read_at(&path, Offset(41)).unwrap(), entries());
        assert!(matches!(read_at(&path, Offset(40)), Err(SnapshotError::Ahead { id: ProducerId(9), .. })));
    }

    #[test]
    fn a_count_larger_than_the_file_is_refused_even_under_a_good_crc() {
        for count in [i32::MAX, -1, 1] {
            let mut bytes = vec![0, 1];
            bytes.put_u32(crc32c::crc32c(&count.to_be_bytes()));
            bytes.put_i32(count);
            assert!(matches!(decode(&bytes), Err(SnapshotError::BadCount { .. })));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![0, 1];
            bytes.put_u32(crc32c::crc32c(&body));
            bytes.extend_from_slice(&body);
            if let Ok(entries) = decode(&bytes) {
                prop_assert_eq!(entries.len() * 46 + 4, body.len());
            }
        }
    }
}
