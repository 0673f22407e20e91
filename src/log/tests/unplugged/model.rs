//! What the log must hold.

use super::*;

const KEYS: u8 = 6;

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Whether the topic is compacted.
    pub(super) compacts: bool,
    /// By offset; those below the log start may be gone.
    pub(super) records: Vec<Record>,
    /// Records before this offset were made durable.
    pub(super) durable: usize,
    /// A log start that was made durable.
    pub(super) start: usize,
    /// Compaction has got as far as this: before it a record may be gone for a newer one of its key, that is before it too.
    pub(super) cleaned: usize,
    pub(super) lost: usize,
    pub(super) starts: i64,
}

#[derive(Debug)]
pub(super) struct Record {
    key: u8,
    value: Vec<u8>,
    /// It went with the power, before it was durable.
    is_lost: bool,
}

impl Model {
    /// Takes up a batch of records whose values no other batch has.
    pub(super) fn batch(&mut self, random: &mut fastrand::Rng) -> Batch {
        let first = self.records.len();
        for index in first..first + random.usize(1..=3) {
            let mut value = format!("record {index} ").into_bytes();
            value.resize(random.usize(20..=1500), b'x');
            self.records.push(Record { key: random.u8(..KEYS), value, is_lost: false });
        }
        let batch = self.records[first..]
            .iter()
            .fold(BatchBuilder::new(NOW), |batch, record| batch.record(Some(&[record.key]), Some(&record.value)));
        // The writer refuses a sequence that does not go on where the producer's last batch ends. With gaps that need not be
        // where the log does.
        let producer = if self.compacts { self.starts } else { 1 };
        batch.producer(ProducerId(producer), ProducerEpoch(0), first as i32).build().unwrap()
    }

    /// Holds what is there after a start against what may be there, and goes on from it.
    pub(super) fn check(&mut self, reader: &LogReader, seed: u64) {
        let (start, end) = (reader.start_offset().0 as usize, reader.end_offset().0 as usize);
        assert!(start >= self.start, "seed {seed}: the log start went back from {} to {start}", self.start);
        assert!(
            (self.durable..=self.records.len()).contains(&end),
            "seed {seed}: {} durable of {}, end {end}",
            self.durable,
            self.records.len()
        );
        self.lost += self.records.len() - end;
        self.records.truncate(end);
        (self.start, self.cleaned) = (start, self.cleaned.min(end));
        self.check_records(seen(reader), seed);
        self.durable = end;
        self.starts += 1;
    }

    /// From the newest on: whether a record may be gone is a question of what is newer.
    fn check_records(&mut self, mut seen: Vec<(usize, Vec<u8>)>, seed: u64) {
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "seed {seed}: offsets go back, or twice");
        for offset in (self.start..self.records.len()).rev() {
            let (record, newer) = (&self.records[offset], &self.records[..self.cleaned]);
            if let Some((_, value)) = seen.pop_if(|(seen, _)| *seen == offset) {
                assert_eq!(value, record.value, "seed {seed}: something else than what was appended");
            } else if !newer.iter().skip(offset + 1).any(|newer| newer.key == record.key && !newer.is_lost) {
                // With gaps of compaction between segments none can be told from the end of one that was never written.
                let may_be_lost = record.is_lost || (self.compacts && offset >= self.durable);
                assert!(
                    may_be_lost,
                    "seed {seed}: {offset} is gone, {} durable, nothing newer of its key",
                    self.durable
                );
                self.records[offset].is_lost = true;
            }
        }
        assert_eq!(seen, [], "seed {seed}: invented");
    }
}

/// The offsets and values of all records.
fn seen(reader: &LogReader) -> Vec<(usize, Vec<u8>)> {
    let (mut offset, mut seen) = (reader.start_offset(), Vec::new());
    while let Some(slice) = reader.read(offset, UNLIMITED, false).unwrap().slice {
        for batch in batches(&slice) {
            let records = BatchRecords::open(&batch, 1 << 20).unwrap();
            for record in records.iter().map(Result::unwrap) {
                // The log start may lie inside the first batch.
                if records.offset(&record) >= offset {
                    seen.push((records.offset(&record).0 as usize, record.value.unwrap().to_vec()));
                }
            }
            offset = batch.header.next_offset();
        }
    }
    seen
}
