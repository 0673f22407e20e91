//! Reading as consumers do, and comparing with the model.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla::log::{LogReader, LogWriter, ReadLimit, ReadSlice};
use ottla::protocol::batch::Batch;
use ottla::protocol::records::{BatchRecords, EndTxnMarker};
use ottla::sys;
use ottla::types::{LeaderEpoch, Offset, ProducerId, Timestamp};

use super::fixture::{Model, NOW, batch};

/// Two or three batches to a read.
const READ_BYTES: u32 = 300;

/// One record: offset, timestamp, value.
pub type Seen = (i64, i64, Vec<u8>);

/// What a consumer got, and what it stumbled over.
#[derive(Debug, Default)]
pub struct Consumed {
    pub seen: Vec<Seen>,
    /// Errors that the broker gave, and batches whose CRC or form the consumer refused.
    pub troubles: Vec<String>,
}

/// Reads from the log start to the end. Behind what cannot be read it goes on with the next batch of the model.
pub fn consume(reader: &LogReader, model: &Model) -> Consumed {
    let mut consumed = Consumed::default();
    let mut position = reader.start_offset();
    while position < reader.end_offset() {
        let next = match read(reader, position, reader.end_offset(), false) {
            // A consumer would wait for ever.
            Ok(ReadSlice { slice: None, .. }) => panic!("nothing to read at {position}, below the end"),
            Ok(ReadSlice { slice: Some(slice), .. }) => consumed.take(&bytes_of(&slice), position),
            Err(error) => Err(error.to_string()),
        };
        position = match next {
            Ok(next) => next,
            Err(trouble) => {
                consumed.troubles.push(trouble);
                let reached = consumed.seen.last().map_or(position, |(offset, ..)| Offset(offset + 1)).max(position);
                let behind = model.batches.iter().map(|batch| batch.header.base_offset).find(|base| *base > reached);
                behind.unwrap_or(Offset(i64::MAX))
            }
        };
    }
    consumed
}

impl Consumed {
    /// The next position.
    fn take(&mut self, bytes: &Bytes, position: Offset) -> Result<Offset, String> {
        let mut position = position;
        for batch in batches(bytes) {
            let batch = batch?;
            self.seen.extend(records(&batch)?.into_iter().filter(|(offset, ..)| *offset >= position.0));
            position = position.max(batch.header.next_offset());
        }
        Ok(position)
    }
}

fn read(
    reader: &LogReader,
    from: Offset,
    upper: Offset,
    with_aborted: bool,
) -> Result<ReadSlice, ottla::log::LogError> {
    reader.read(from, ReadLimit { upper, bytes_max: READ_BYTES, at_least_one_batch: true }, with_aborted)
}

fn bytes_of(slice: &sys::FileSlice) -> Bytes {
    let mut bytes = vec![0; slice.length as usize];
    sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
    bytes.into()
}

/// The batches, up to the first that is not as it was written.
fn batches(bytes: &Bytes) -> impl Iterator<Item = Result<Batch, String>> + use<> {
    let mut bytes = bytes.clone();
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let batch = Batch::split_from(&mut bytes).and_then(|batch| batch.check_crc().map(|()| batch));
        if batch.is_err() {
            bytes.clear();
        }
        Some(batch.map_err(|error| error.to_string()))
    })
}

pub fn records(batch: &Batch) -> Result<Vec<Seen>, String> {
    let records = BatchRecords::open(batch, 1 << 20).map_err(|error| error.to_string())?;
    let seen = records.iter().map(|record| {
        let record = record.map_err(|error| error.to_string())?;
        let value = record.value.unwrap_or_default().to_vec();
        Ok((records.offset(&record).0, records.timestamp(&record).0, value))
    });
    seen.collect()
}

impl Model {
    pub fn records(&self) -> Vec<Seen> {
        self.batches.iter().flat_map(|batch| records(batch).unwrap()).collect()
    }

    /// What read_committed consumers get.
    fn committed(&self) -> Vec<Seen> {
        let stable = self.last_stable_offset();
        let visible = |batch: &&Batch| {
            let header = &batch.header;
            header.base_offset < stable
                && !header.attributes.is_control()
                && !self.aborted.contains(&header.base_offset)
        };
        self.batches.iter().filter(visible).flat_map(|batch| records(batch).unwrap()).collect()
    }
}

/// Everything that a consumer can ask gives what the model says: reads from each offset, read_committed, and ListOffsets.
pub fn check_whole(reader: &LogReader, model: &Model) -> Result<(), String> {
    let expected = model.records();
    let consumed = consume(reader, model);
    same("all records", &consumed.seen, &expected)?;
    same("troubles", &consumed.troubles, &Vec::new())?;
    same("end offset", &reader.end_offset(), &model.end())?;
    for (offset, timestamp, _) in &expected {
        check_offset(reader, Offset(*offset), &expected)?;
        let first = expected.iter().find(|(_, at, _)| at >= timestamp).map(|(offset, at, _)| (*offset, *at));
        let found = reader.offset_for_timestamp(Timestamp(*timestamp)).map_err(|error| error.to_string())?;
        same("offset for a timestamp", &found.map(|found| (found.offset.0, found.timestamp.0)), &first)?;
    }
    let later = reader.offset_for_timestamp(Timestamp(NOW + (1 << 40))).map_err(|error| error.to_string())?;
    same("offset for a time to come", &later, &None)?;
    let newest = reader.offset_of_max_timestamp().map_err(|error| error.to_string())?;
    let largest = expected.iter().map(|(_, at, _)| *at).max();
    let earliest = expected.iter().find(|(_, at, _)| Some(*at) == largest).map(|(offset, ..)| *offset);
    same("offset of the largest timestamp", &newest.map(|newest| newest.offset.0), &earliest)
}

fn check_offset(reader: &LogReader, offset: Offset, expected: &[Seen]) -> Result<(), String> {
    let slice = read(reader, offset, reader.end_offset(), false).map_err(|error| error.to_string())?.slice;
    let bytes = bytes_of(&slice.ok_or_else(|| format!("nothing at {offset}"))?);
    let mut seen = Vec::new();
    for batch in batches(&bytes) {
        seen.extend(records(&batch?)?);
    }
    seen.retain(|(at, ..)| *at >= offset.0);
    let from = expected.partition_point(|(at, ..)| *at < offset.0);
    same("a read in the middle", &seen.as_slice(), &&expected[from..(from + seen.len()).min(expected.len())])?;
    same("a read that begins with its offset", &seen.first().map(|(at, ..)| *at), &Some(expected[from].0))
}

/// As the Java client filters by the aborted transactions that each answer names (`CompletedFetch`).
pub fn check_committed(reader: &LogReader, model: &Model) -> Result<(), String> {
    let upper = reader.last_stable_offset();
    same("last stable offset", &upper, &model.last_stable_offset())?;
    let (mut seen, mut position) = (Vec::new(), reader.start_offset());
    while position < upper {
        let answer = read(reader, position, upper, true).map_err(|error| error.to_string())?;
        let slice = answer.slice.ok_or_else(|| format!("nothing at {position}"))?;
        let mut to_come = answer.aborted;
        to_come.sort_by_key(|txn| txn.first_offset);
        let mut aborting = BTreeSet::<ProducerId>::new();
        for batch in batches(&bytes_of(&slice)) {
            let batch = batch?;
            let begun = to_come.partition_point(|txn| txn.first_offset <= batch.header.last_offset());
            aborting.extend(to_come.drain(..begun).map(|txn| txn.producer_id));
            let producer_id = batch.header.producer_id;
            if batch.header.attributes.is_control() {
                if EndTxnMarker::of(&batch, 4096).is_some_and(|marker| !marker.committed) {
                    aborting.remove(&producer_id);
                }
            } else if !(batch.header.attributes.is_transactional() && aborting.contains(&producer_id)) {
                seen.extend(records(&batch)?.into_iter().filter(|(offset, ..)| *offset >= position.0));
            }
            position = position.max(batch.header.next_offset());
        }
    }
    same("read_committed", &seen, &model.committed())
}

/// The log takes the next batch where it ended.
pub fn check_goes_on(writer: &mut LogWriter, reader: &LogReader, end: Offset) -> Result<(), String> {
    let mut next = [batch(|builder| builder, 1000)];
    let latest = reader.latest_epoch().unwrap_or(LeaderEpoch(0));
    let appended = writer.append(&mut next, latest, Timestamp(NOW)).map_err(|error| error.to_string())?;
    same("offset of the next batch", &appended.base_offset, &end)?;
    let slice = read(reader, end, reader.end_offset(), false).map_err(|error| error.to_string())?.slice;
    let bytes = bytes_of(&slice.ok_or("the next batch is not there")?);
    let written = batches(&bytes).next().ok_or("the next batch is empty")??;
    same("the next batch", &records(&written)?, &records(&next[0])?)
}

pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} where {expected:?} is expected")) }
}
