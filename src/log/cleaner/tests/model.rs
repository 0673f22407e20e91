//! Random histories against a model that knows every record and what became of its transaction.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::log::writer::marker_of;
use crate::protocol::compression::Codec;

const PRODUCERS: i64 = 3;

#[derive(Debug, Clone)]
enum Op {
    /// Keys with their values; `None` is a tombstone. Producer 0 is none.
    Append {
        producer: i64,
        transactional: bool,
        records: Vec<(u8, bool)>,
        codec: i16,
    },
    End {
        producer: i64,
        committed: bool,
    },
    Roll,
    Clean {
        keys_max: usize,
        segment_bytes: u32,
        crashes: bool,
    },
    Wait,
    Reopen {
        clean: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let records = prop::collection::vec((0u8..5, prop::bool::weighted(0.75)), 1..4);
    prop_oneof![
        10 => (0..=PRODUCERS, any::<bool>(), records, 0i16..5)
            .prop_map(|(producer, transactional, records, codec)| Op::Append { producer, transactional, records, codec }),
        4 => (1..=PRODUCERS, any::<bool>()).prop_map(|(producer, committed)| Op::End { producer, committed }),
        5 => Just(Op::Roll),
        4 => (1usize..8, prop_oneof![Just(1u32), Just(400), Just(100_000)], prop::bool::weighted(0.3))
            .prop_map(|(keys_max, segment_bytes, crashes)| Op::Clean { keys_max, segment_bytes, crashes }),
        1 => Just(Op::Wait),
        1 => any::<bool>().prop_map(|clean| Op::Reopen { clean }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Clone)]
struct Record {
    seen: Seen,
    producer: i64,
    fate: Fate,
    /// When a cleaning first got past it.
    cleaned_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    records: BTreeMap<i64, Record>,
    end_offset: i64,
    /// Producers' open transactions by their first offset here.
    open: HashMap<i64, i64>,
    /// Of each producer the last batch, and where it begins and ends.
    last: HashMap<i64, (Batch, i64, i64)>,
    sequences: HashMap<i64, i32>,
}

impl Model {
    fn last_stable_offset(&self) -> i64 {
        self.open.values().min().copied().unwrap_or(self.end_offset)
    }

    fn append(&mut self, log: &mut Log, producer: i64, transactional: bool, records: &[(u8, bool)], codec: i16) {
        let transactional = producer > 0 && (transactional || self.open.contains_key(&producer));
        let mut builder = BatchBuilder::new(log.now);
        if producer > 0 {
            let sequence = self.sequences.entry(producer).or_default();
            builder = builder.producer(ProducerId(producer), EPOCH, *sequence);
            *sequence += records.len() as i32;
        }
        if transactional {
            builder = builder.transactional();
        }
        for ((key, has_value), at) in records.iter().zip(0..) {
            let offset = self.end_offset + at;
            // No two are alike.
            let value = has_value.then(|| offset.to_be_bytes().to_vec());
            let headers: &[(&[u8], Option<&[u8]>)] = &[(b"\xff", None), (b"\xff", Some(b"2"))];
            builder = builder.record_at(log.now, Some(&[*key]), value.as_deref(), headers);
        }
        let batch = builder.build_compressed(Codec::from_id(codec).unwrap(), None).unwrap().unwrap();
        let mut placed = batch.clone();
        placed.header.base_offset = Offset(self.end_offset);
        let appended = log.append(batch.clone());
        assert_eq!(appended.base_offset.0, self.end_offset);
        for seen in super::records(&placed) {
            let fate = if transactional { Fate::Open } else { Fate::Committed };
            self.records.insert(seen.offset, Record { seen, producer, fate, cleaned_at: None });
        }
        if transactional {
            self.open.entry(producer).or_insert(self.end_offset);
        }
        if producer > 0 {
            self.last.insert(producer, (batch, appended.base_offset.0, appended.last_offset.0));
        }
        self.end_offset = appended.last_offset.0 + 1;
    }

    fn end(&mut self, log: &mut Log, producer: i64, committed: bool) {
        if self.open.remove(&producer).is_none() {
            return;
        }
        log.append(marker(log.now, producer, committed));
        let fate = if committed { Fate::Committed } else { Fate::Aborted };
        for record in self.records.values_mut().filter(|it| it.producer == producer && it.fate == Fate::Open) {
            record.fate = fate;
        }
        self.end_offset += 1;
    }

    fn cleaned(&mut self, to: Offset, now: Timestamp) {
        for record in self.records.range_mut(..to.0).map(|(_, record)| record) {
            record.cleaned_at.get_or_insert(now);
        }
    }

    /// Everything that must hold of the log, whatever was cleaned.
    fn check(&self, log: &Log) {
        assert_eq!(log.reader.end_offset().0, self.end_offset);
        assert_eq!(log.reader.last_stable_offset().0, self.last_stable_offset());
        for seen in log.seen() {
            assert_eq!(Some(&seen), self.records.get(&seen.offset).map(|record| &record.seen), "invented, or changed");
        }
        let committed = committed(log);
        assert!(committed.is_sorted_by_key(|seen| seen.offset));
        for seen in &committed {
            assert_eq!(self.records[&seen.offset].fate, Fate::Committed, "{seen:?}");
        }
        for key in 0..5 {
            self.check_key(log, &[key], &committed);
        }
        // What no cleaning has got to is there.
        let dirty = log.cleaned_to.unwrap_or(Offset::ZERO).0;
        let untouched = self.records.range(dirty..self.last_stable_offset());
        for (offset, record) in untouched.filter(|(_, record)| record.fate == Fate::Committed) {
            assert!(committed.iter().any(|seen| seen.offset == *offset), "{record:?}");
        }
    }

    /// The newest record of a key is there, and nothing but it of what was cleaned. A tombstone may go in time; then
    /// nothing older has stayed.
    fn check_key(&self, log: &Log, key: &[u8], committed: &[Seen]) {
        let mut decided = self.records.range(..self.last_stable_offset()).map(|(_, record)| record);
        let of_key = |seen: &Seen| seen.key.as_deref() == Some(key);
        let Some(newest) = decided.rfind(|record| of_key(&record.seen) && record.fate == Fate::Committed) else {
            return;
        };
        let there: Vec<_> = committed.iter().filter(|seen| of_key(seen)).collect();
        if there.last().is_some_and(|last| **last == newest.seen) {
            return;
        }
        let has_expired = newest.cleaned_at.is_some_and(|at| log.now.0 - at.0 >= DELETE_RETENTION.as_millis() as i64);
        assert!(newest.seen.value.is_none() && has_expired, "lost: {newest:?}");
        assert_eq!(there, Vec::<&Seen>::new(), "risen again");
    }

    /// A retry is recognized, a gap refused.
    fn check_producers(&self, log: &mut Log) {
        for (producer, (batch, base_offset, last_offset)) in &self.last {
            let again = log.append(batch.clone());
            assert!(again.duplicate, "producer {producer}: {again:?}");
            assert_eq!((again.base_offset.0, again.last_offset.0), (*base_offset, *last_offset));
            let mut gap = batch.clone();
            gap.header.base_sequence += 100;
            assert!(log.try_append(gap).is_err());
        }
    }
}

/// What a read_committed consumer sees (`CompletedFetch`).
fn committed(log: &Log) -> Vec<Seen> {
    let (batches, mut aborted) = log.read(log.reader.last_stable_offset());
    aborted.sort_by_key(|(_, first_offset)| *first_offset);
    let (mut aborting, mut seen) = (Vec::new(), Vec::new());
    for batch in batches {
        let producer = batch.header.producer_id.0;
        let last = batch.header.last_offset().0;
        aborting
            .extend(aborted.extract_if(.., |(_, first_offset)| *first_offset <= last).map(|(producer, _)| producer));
        if batch.header.attributes.is_control() {
            if marker_of(&batch).is_some_and(|marker| !marker.committed) {
                aborting.retain(|aborting| *aborting != producer);
            }
        } else if !(batch.header.attributes.is_transactional() && aborting.contains(&producer)) {
            seen.extend(records(&batch));
        }
    }
    seen
}

fn clean(log: &mut Log, model: &mut Model, crashes: bool) {
    if log.reader.shared.view().segments.len() < 2 || log.plan().cleanable_bytes == 0 {
        return;
    }
    let before = log.cleaned_to;
    let states = if crashes {
        super::crashes(|| log.clean())
    } else {
        log.clean();
        Vec::new()
    };
    model.cleaned(log.cleaned_to.unwrap(), log.now);
    for state in states {
        let mut crashed = Log::on(state, false).unwrap();
        (crashed.now, crashed.cleaned_to) = (log.now, log.cleaned_to);
        model.check(&crashed);
        model.check_producers(&mut crashed);
        // The checkpoint is written after the segments.
        crashed.cleaned_to = before;
        clean(&mut crashed, &mut model.clone(), false);
        model.check(&crashed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_history_loses_or_invents_a_record(ops in prop::collection::vec(op(), 1..60)) {
        let (mut log, mut model) = (Log::new(), Model::default());
        for op in &ops {
            match op {
                Op::Append { producer, transactional, records, codec } => {
                    model.append(&mut log, *producer, *transactional, records, *codec);
                }
                Op::End { producer, committed } => model.end(&mut log, *producer, *committed),
                Op::Roll => log.roll(),
                Op::Clean { keys_max, segment_bytes, crashes } => {
                    log.limits.keys_max = *keys_max;
                    log.group_bytes = *segment_bytes;
                    clean(&mut log, &mut model, *crashes);
                }
                Op::Wait => log.wait(DELETE_RETENTION / 2),
                Op::Reopen { clean } => log.reopen(*clean),
            }
            model.check(&log);
            model.check_producers(&mut log);
        }
        for clean in [true, false] {
            log.reopen(clean);
            model.check(&log);
            model.check_producers(&mut log);
        }
    }
}
