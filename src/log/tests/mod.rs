//! Logs with segments of a few batches and an index entry every other batch, so that every boundary is met.

mod aborted;
mod cold;
mod concurrency;
mod durability;
mod indexes;
mod open_files;
mod power_loss;
mod producers;
mod read;
mod recovery;
mod reopen;
mod resume;
mod retention;
mod rolling;
mod time;
mod unplugged;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::{DirContext, LogError, LogReader, LogWriter, OpenOptions, ReadLimit, open};
use crate::config::TopicConfig;
use crate::protocol::batch::Batch;
use crate::protocol::builder::BatchBuilder;
use crate::protocol::records::BatchRecords;
use crate::sys::{self, FileSlice};
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId};

const EPOCH: LeaderEpoch = LeaderEpoch(0);
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const UNLIMITED: ReadLimit = ReadLimit { upper: Offset(i64::MAX), bytes_max: u32::MAX, at_least_one_batch: true };

struct Fixture {
    root: tempfile::TempDir,
    options: OpenOptions,
}

impl Fixture {
    fn new(segment_bytes: u32) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let options = OpenOptions {
            dir: root.path().join("topic-0"),
            topic_id: TopicId::random(),
            config: TopicConfig { segment_bytes, index_interval_bytes: 150, ..TopicConfig::default() },
            producer_id_expiration: Duration::from_secs(24 * 3600),
            log_start_offset: Offset::ZERO,
            recovery_point: Offset::ZERO,
            cleaned: false,
            clean: true,
            context: DirContext::detached(root.path()),
        };
        Fixture { root, options }
    }

    fn open(&self) -> (LogWriter, LogReader) {
        open(self.options.clone()).unwrap()
    }

    /// As after `kill -9`.
    fn open_unclean(&self) -> Result<(LogWriter, LogReader), LogError> {
        open(OpenOptions { clean: false, ..self.options.clone() })
    }

    /// The files with that ending, in order.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.options.dir).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|found| found == extension));
        files.sort();
        files
    }
}

/// A batch of `count` records, one millisecond apart, each with a value of `value_bytes`.
fn batch(count: usize, timestamp: i64, value_bytes: usize) -> Batch {
    let value = vec![b'v'; value_bytes];
    let mut builder = BatchBuilder::new(Timestamp(timestamp));
    for index in 0..count {
        builder = builder.record_at(Timestamp(timestamp + index as i64), Some(b"key"), Some(&value), &[]);
    }
    builder.build().unwrap()
}

fn append(writer: &mut LogWriter, batch: Batch) -> super::Appended {
    writer.append(&mut [batch], EPOCH, NOW).unwrap()
}

/// One record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    offset: i64,
    timestamp: i64,
    value_bytes: usize,
}

/// What the records of `batch` will be at `base_offset`.
fn expected(batch: &Batch, base_offset: i64) -> Vec<Seen> {
    let mut batch = batch.clone();
    batch.header.base_offset = Offset(base_offset);
    records(&batch)
}

fn records(batch: &Batch) -> Vec<Seen> {
    let records = BatchRecords::open(batch, 1 << 20).unwrap();
    let seen = records.iter().map(|record| record.unwrap()).map(|record| Seen {
        offset: records.offset(&record).0,
        timestamp: records.timestamp(&record).0,
        value_bytes: record.value.unwrap().len(),
    });
    seen.collect()
}

/// The batches of a slice, each checked against its CRC.
fn batches(slice: &FileSlice) -> Vec<Batch> {
    let mut bytes = vec![0; slice.length as usize];
    sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
    let mut bytes = Bytes::from(bytes);
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let batch = Batch::split_from(&mut bytes).unwrap();
        batch.check_crc().unwrap();
        batches.push(batch);
    }
    batches
}

/// Reads from `from` to the end as a consumer does, under `limit` each time.
fn consume(reader: &LogReader, from: Offset, limit: ReadLimit) -> Vec<Seen> {
    let (mut offset, mut seen) = (from, Vec::new());
    while let Some(slice) = reader.read(offset, limit, false).unwrap().slice {
        let batches = batches(&slice);
        let first_fits = batches[0].header.size() <= limit.bytes_max as usize;
        assert!(slice.length <= limit.bytes_max || (!first_fits && batches.len() == 1), "more than asked for");
        for batch in batches {
            seen.extend(records(&batch).into_iter().filter(|record| record.offset >= offset.0));
            offset = batch.header.next_offset();
        }
    }
    seen
}
