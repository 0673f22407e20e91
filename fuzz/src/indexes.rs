//! A sound log whose indexes are any bytes: a clean start believes none of them without a look at the log, so that all
//! is found that a log with its own indexes would find.

use std::sync::OnceLock;

use ottla::log::{self, LogReader, ReadLimit};
use ottla::protocol::batch::{Batch, HEADER_LEN};
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::records::EndTxnMarker;
use ottla::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::builder::NOW;
use super::folder::{Folder, Opening, batches_of, consume};
use super::input::Input;

const BATCHES: i64 = 24;
const SEGMENT_BYTES: u32 = 1000;
/// Bits of the second byte: index files that are not there.
const NO_OFFSET_INDEX: u8 = 1;
const NO_TIME_INDEX: u8 = 2;
const KEEP_TXN_INDEX: u8 = 4;

/// A log as a clean stop left it.
pub(crate) struct SoundLog {
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) bases: Vec<Offset>,
    batches: Vec<Batch>,
}

/// A byte that says which segment, one that says how, the offset index and the time index with their lengths, and the
/// index of aborted transactions.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let log = sound_log();
    let base = log.bases[usize::from(input.u8()) % log.bases.len()];
    let how = input.u8();
    let folder = Folder::new();
    log.files.iter().for_each(|(name, content)| folder.put(name, content));
    let replace = |kind: &str, content: &[u8], is_missing: bool| match format!("{:020}.{kind}", base.0) {
        name if is_missing => folder.remove(&name),
        name => folder.put(&name, content),
    };
    replace("index", input.bytes(), how & NO_OFFSET_INDEX != 0);
    replace("timeindex", input.bytes(), how & NO_TIME_INDEX != 0);
    if how & KEEP_TXN_INDEX == 0 {
        replace("txnindex", input.0, input.is_empty());
    }

    let opened = log::open(folder.options(opening(true, Offset::ZERO)));
    let (mut writer, reader) = opened.expect("an index is no reason not to open");
    everything_is_found(log, &reader);
    let appended = writer.append(&mut [batch(BATCHES)], LeaderEpoch(0), NOW).expect("a log that opens is written to");
    assert_eq!(appended.base_offset, log.end());
    let recovery_point = writer.close().expect("what was appended is flushed");
    for clean in [true, false] {
        let opened = log::open(folder.options(opening(clean, recovery_point)));
        let (_, reader) = opened.expect("what was closed opens");
        assert_eq!(reader.end_offset(), appended.last_offset.plus(1));
        assert_eq!(consume(&reader, Offset::ZERO, u32::MAX).whole().len(), log.batches.len() + 1);
    }
}

fn everything_is_found(log: &SoundLog, reader: &LogReader) {
    assert_eq!((reader.start_offset(), reader.end_offset()), (Offset::ZERO, log.end()));
    for bytes_max in [1, 300, u32::MAX] {
        let consumed = consume(reader, Offset::ZERO, bytes_max).whole();
        assert!(consumed.iter().eq(log.batches.iter().map(|batch| &batch.bytes)));
    }
    // Backwards, so that no read goes on where another ended.
    for batch in log.batches.iter().rev() {
        let Batch { header, bytes } = batch;
        for offset in [header.last_offset(), header.base_offset] {
            let limit = ReadLimit { upper: log.end(), bytes_max: 1, at_least_one_batch: true };
            let slice = reader.read(offset, limit, false).expect("sound").slice.expect("there is a batch");
            let found = batches_of(&slice).next().expect("no slice is empty").expect("sound");
            assert_eq!(found.bytes, bytes, "at {offset}");
        }
        for timestamp in [header.max_timestamp, Timestamp(header.max_timestamp.0 - 1)] {
            let found = reader.offset_for_timestamp(timestamp).expect("sound").expect("there is a batch");
            assert_eq!((found.offset, found.timestamp), (header.base_offset, header.max_timestamp));
        }
    }
    let newest = reader.offset_of_max_timestamp().expect("sound").map(|found| found.offset);
    assert_eq!(newest, log.batches.last().map(|batch| batch.header.base_offset));
}

impl SoundLog {
    fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |last| last.header.next_offset())
    }
}

/// Segments of a few batches, an index entry for almost every one, timestamps that rise from batch to batch (of two
/// batches with the same one an index may name either), and transactions, one of them aborted.
pub(crate) fn sound_log() -> &'static SoundLog {
    static LOG: OnceLock<SoundLog> = OnceLock::new();
    LOG.get_or_init(|| {
        let folder = Folder::new();
        let (mut writer, reader) = log::open(folder.options(opening(true, Offset::ZERO))).expect("an empty folder");
        for index in 0..BATCHES {
            writer.append(&mut [batch(index)], LeaderEpoch(0), NOW).expect("room");
        }
        writer.close().expect("room");
        let batches = consume(&reader, Offset::ZERO, u32::MAX).whole().into_iter();
        let batches: Vec<_> = batches.map(|mut bytes| Batch::split_from(&mut bytes).expect("whole")).collect();
        let bases: Vec<_> = folder.segments().into_iter().map(|(base, _)| base).collect();
        assert!(bases.len() >= 3, "{bases:?}");
        SoundLog { files: folder.files(), bases, batches }
    })
}

fn batch(index: i64) -> Batch {
    let timestamp = Timestamp(NOW.0 + index * 10);
    let (id, epoch) = (ProducerId(1), ProducerEpoch(0));
    let builder = match index % 6 {
        4 => BatchBuilder::new(timestamp).producer(id, epoch, (index / 6 * 2) as i32).transactional(),
        5 => {
            let marker = EndTxnMarker { committed: index > 6, coordinator_epoch: 0 };
            return BatchBuilder::end_txn_marker(timestamp, id, epoch, marker).build().expect("a record");
        }
        _ => BatchBuilder::new(timestamp),
    };
    builder.record(Some(b"a"), Some(&[b'v'; HEADER_LEN])).record(Some(b"b"), None).build().expect("records")
}

fn opening(clean: bool, recovery_point: Offset) -> Opening {
    let log_start_offset = Offset::ZERO;
    Opening {
        clean,
        recovery_point,
        log_start_offset,
        segment_bytes: SEGMENT_BYTES,
        index_interval_bytes: 100,
        compact: false,
        open_files_max: usize::MAX,
    }
}
