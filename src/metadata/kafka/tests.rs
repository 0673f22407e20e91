use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::record::MetadataRecord;
use super::*;
use crate::protocol::batch::{Attributes, Batch};
use crate::protocol::builder::BatchBuilder;
use crate::protocol::records::BatchRecords;
use crate::protocol::wire::Output;
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId};

const DATA: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/kafka-data.tar.gz"));
const LOG: &str = "00000000000000000000.log";

/// The files of the folder as Kafka 4.3.1 left it.
static KAFKAS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(DATA)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if entry.header().entry_type().is_file() && path.parent().is_some_and(|parent| parent.ends_with(FOLDER)) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.push((path.file_name().unwrap().to_str().unwrap().to_owned(), content));
        }
    }
    files
});

fn kafkas() -> tempfile::TempDir {
    let files: Vec<_> = KAFKAS.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    folder(&files)
}

fn batches(bytes: Vec<u8>) -> Vec<Batch> {
    let mut bytes = Bytes::from(bytes);
    std::iter::from_fn(|| (!bytes.is_empty()).then(|| Batch::split_from(&mut bytes).unwrap())).collect()
}

/// The values of all data records that Kafka wrote.
static VALUES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let log = KAFKAS.iter().find(|(name, _)| name == LOG).unwrap().1.clone();
    let batches = batches(log).into_iter().filter(|batch| !batch.header.attributes.is_control());
    let opened: Vec<BatchRecords> = batches.map(|batch| BatchRecords::open(&batch, 1 << 20).unwrap()).collect();
    opened.iter().flatten().map(|record| record.unwrap().value.unwrap().to_vec()).collect()
});

fn framed(kind: u8, version: u8, fields: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::from(&[1, kind, version][..]);
    fields(&mut out);
    out.put_tags(&[]);
    out.to_vec()
}

fn topic(id: TopicId, name: &str) -> Vec<u8> {
    framed(2, 0, |out| {
        out.put_compact_string(name);
        out.put_slice(id.0.as_bytes());
    })
}

fn partition(topic: TopicId, partition: i32, leader_epoch: i32) -> Vec<u8> {
    framed(3, 0, |out| {
        out.put_i32(partition);
        out.put_slice(topic.0.as_bytes());
        out.put_slice(&[2, 0, 0, 0, 1, 1, 1, 1]);
        [1, leader_epoch, 0].into_iter().for_each(|field| out.put_i32(field));
    })
}

fn config(kind: i8, resource: &str, key: &str, value: Option<&str>) -> Vec<u8> {
    framed(4, 0, |out| {
        out.put_i8(kind);
        out.put_compact_string(resource);
        out.put_compact_string(key);
        match value {
            Some(value) => out.put_compact_string(value),
            None => out.put_u8(0),
        }
    })
}

fn remove(topic: TopicId) -> Vec<u8> {
    framed(9, 0, |out| out.put_slice(topic.0.as_bytes()))
}

fn begin() -> Vec<u8> {
    [&[1, 23, 0][..], &[1, 0, 1, 0]].concat()
}

fn end() -> Vec<u8> {
    framed(24, 0, |_| ())
}

fn abort() -> Vec<u8> {
    framed(25, 0, |_| ())
}

fn bytes_of(mut batch: Batch, base_offset: i64) -> Vec<u8> {
    batch.header.base_offset = Offset(base_offset);
    [&batch.header.encode()[..], batch.records()].concat()
}

fn data(base_offset: i64, values: &[Vec<u8>]) -> Vec<u8> {
    let batch = BatchBuilder::new(Timestamp(1));
    let batch = values.iter().fold(batch, |batch, value| batch.record(None, Some(value)));
    bytes_of(batch.build().unwrap(), base_offset)
}

fn control(base_offset: i64, kind: u8) -> Vec<u8> {
    let mut batch = BatchBuilder::new(Timestamp(1)).record(Some(&[0, 0, 0, kind]), Some(&[0, 0])).build().unwrap();
    batch.header.attributes = Attributes(Attributes::CONTROL);
    batch.header.crc = batch.header.compute_crc(batch.records());
    bytes_of(batch, base_offset)
}

/// A snapshot of these records.
fn snapshot(values: &[Vec<u8>]) -> Vec<u8> {
    let footer = 1 + values.len() as i64;
    [control(0, 3), data(1, values), control(footer, 4)].concat()
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, content)| fs::write(dir.path().join(name), content).unwrap());
    dir
}

fn of_log(values: &[Vec<u8>]) -> ClusterMetadata {
    load(folder(&[(LOG, data(0, values))]).path()).unwrap()
}

fn names(cluster: &ClusterMetadata) -> Vec<&str> {
    let mut names: Vec<&str> = cluster.topics.values().map(|topic| &*topic.name).collect();
    names.sort_unstable();
    names
}

fn configs(cluster: &ClusterMetadata, topic: &str) -> Vec<(String, String)> {
    cluster.topic_configs(topic).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn kafkas_own_log_is_read_whole() {
    let cluster = load(kafkas().path()).unwrap();
    assert!(cluster.is_complete, "{:?}", cluster.unread);
    assert_eq!((cluster.end_offset, cluster.next_producer_id), (Offset(223), 1000));
    let partitions: BTreeMap<&str, i32> =
        cluster.topics.values().map(|topic| (&*topic.name, topic.partition_count())).collect();
    let expected = [
        ("__consumer_offsets", 3),
        ("__transaction_state", 3),
        ("appendtime", 1),
        ("codecs", 5),
        ("compacted", 1),
        ("configured", 3),
        ("rolled", 1),
        ("trimmed", 1),
        ("txn", 2),
    ];
    assert_eq!(partitions, BTreeMap::from(expected));
    let id = TopicId::parse("BJHrUR88S9CJaID-6UfOQw").unwrap();
    assert_eq!(&*cluster.topics[&id].name, "codecs");
    // It was led in epoch 0; the stop took the leader away.
    assert!(cluster.topics.values().all(|topic| topic.leader_epoch() == Some(LeaderEpoch(1))));
    let of = |topic| configs(&cluster, topic);
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(of("rolled"), pairs(&[("index.interval.bytes", "4096"), ("segment.bytes", "1048576")]));
    assert_eq!(of("txn"), []);
    assert_eq!(cluster.other_config_keys().into_iter().collect::<Vec<_>>(), ["min.insync.replicas (all brokers)"]);
    assert!(cluster.not_taken_over.is_empty());
}

#[test]
fn a_topic_that_was_removed_is_gone_with_its_configs() {
    let [a, b] = [TopicId::random(), TopicId::random()];
    let cluster = of_log(&[
        topic(a, "t"),
        partition(a, 0, 3),
        config(2, "t", "retention.ms", Some("1")),
        remove(a),
        topic(b, "t"),
        partition(b, 0, 5),
        partition(b, 1, 7),
    ]);
    assert_eq!(cluster.topics.keys().copied().collect::<Vec<_>>(), [b]);
    assert_eq!((cluster.topics[&b].partition_count(), cluster.topics[&b].leader_epoch()), (2, Some(LeaderEpoch(7))));
    assert_eq!(configs(&cluster, "t"), []);
}

#[test]
fn a_config_is_what_was_set_last_and_null_takes_it_away() {
    let cluster = of_log(&[
        config(2, "t", "a", Some("1")),
        config(2, "t", "a", Some("2")),
        config(2, "t", "b", Some("1")),
        config(2, "t", "b", None),
        config(4, "", "log.retention.ms", Some("secret")),
        config(4, "1", "num.io.threads", Some("9")),
        config(32, "g", "consumer.session.timeout.ms", Some("9")),
        config(4, "1", "gone", Some("9")),
        config(4, "1", "gone", None),
    ]);
    assert_eq!(configs(&cluster, "t"), [("a".to_owned(), "2".to_owned())]);
    let others = Vec::from_iter(cluster.other_config_keys());
    let expected =
        ["consumer.session.timeout.ms (group g)", "log.retention.ms (all brokers)", "num.io.threads (broker 1)"];
    assert_eq!(others, expected);
}

#[test]
fn records_of_a_transaction_count_when_it_ends() {
    let ids = [0; 4].map(|_| TopicId::random());
    let named = |index: usize| topic(ids[index], ["a", "b", "c", "d"][index]);
    let cluster = of_log(&[begin(), named(0), end(), begin(), named(1), abort(), named(2), begin(), named(3)]);
    assert_eq!(names(&cluster), ["a", "c"]);
    assert!(cluster.is_complete);
}

#[test]
fn what_is_not_taken_over_is_known() {
    let cluster = of_log(&[vec![1, 18, 0, 99], vec![1, 11, 0], vec![1, 14, 0], vec![1, 10, 0], vec![1, 20, 0, 0]]);
    let kinds = Vec::from_iter(cluster.not_taken_over);
    assert_eq!(kinds, ["ACLs", "SCRAM credentials", "client quotas", "delegation tokens"]);
}

#[test]
fn the_log_goes_on_behind_the_newest_snapshot() {
    let ids = [0; 4].map(|_| TopicId::random());
    let dir = folder(&[
        ("00000000000000000005-0000000001.checkpoint", snapshot(&[topic(ids[0], "old")])),
        ("00000000000000000020-0000000002.checkpoint", snapshot(&[topic(ids[1], "snapshot")])),
        ("00000000000000000030-0000000002.checkpoint.part", snapshot(&[topic(ids[1], "unfinished")])),
        // The second record is the first that the snapshot does not hold.
        (
            "00000000000000000010.log",
            [data(10, &vec![remove(ids[1]); 9]), data(19, &[remove(ids[1]), topic(ids[2], "b")])].concat(),
        ),
        ("00000000000000000021.log", data(21, &[topic(ids[3], "c")])),
    ]);
    let cluster = load(dir.path()).unwrap();
    assert_eq!((names(&cluster), cluster.end_offset), (vec!["b", "c", "snapshot"], Offset(22)));
    assert!(cluster.is_complete, "{:?}", cluster.unread);
}

#[test]
fn a_damaged_snapshot_is_passed_over_and_named() {
    let id = TopicId::random();
    let whole = snapshot(&[topic(id, "t")]);
    let mut flipped = whole.clone();
    flipped[130] ^= 1;
    let headless = data(0, &[topic(id, "t")]);
    let cut = whole[..whole.len() - 1].to_vec();
    let footless = [control(0, 3), data(1, &[topic(id, "t")])].concat();
    for damaged in [flipped, headless, cut, footless, Vec::new()] {
        let dir = folder(&[
            ("00000000000000000009-0000000001.checkpoint", damaged),
            ("00000000000000000002-0000000001.checkpoint", snapshot(&[topic(id, "older")])),
            ("00000000000000000002.log", data(2, &[end(), end()])),
        ]);
        let cluster = load(dir.path()).unwrap();
        assert_eq!((names(&cluster), cluster.end_offset, cluster.is_complete), (vec!["older"], Offset(4), true));
        assert!(cluster.unread[0].starts_with("snapshot 00000000000000000009-0000000001.checkpoint: "));
    }
}

#[test]
fn what_is_missing_or_damaged_is_named_and_the_rest_is_read() {
    let [a, b] = [TopicId::random(), TopicId::random()];
    let mut torn = data(5, &[topic(b, "b")]);
    torn.extend([7; 30]);
    let dir = folder(&[(LOG, data(0, &[topic(a, "a")])), ("00000000000000000005.log", torn)]);
    let cluster = load(dir.path()).unwrap();
    assert_eq!((names(&cluster), cluster.end_offset, cluster.is_complete), (vec!["a", "b"], Offset(6), false));
    assert_eq!(cluster.unread[0], "offsets 1 to 5: they are not in the log");
    assert!(cluster.unread[1].starts_with("00000000000000000005.log from byte "), "{:?}", cluster.unread);
}

#[test]
fn a_record_that_cannot_be_read_is_named_by_its_offset() {
    let id = TopicId::random();
    let long = [&topic(id, "t")[..], &[0]].concat();
    for (value, problem) in [
        (vec![0, 2, 0], "frame version 0; only 1 is known"),
        (vec![1, 2, 9], "Topic of version 9; known are 0 to 0"),
        (vec![1, 99, 0], "type 99 is not known"),
        (long, "1 bytes are left over"),
        (vec![], "ends early"),
    ] {
        let cluster = of_log(&[end(), value, topic(id, "t")]);
        assert_eq!(cluster.unread, [format!("record at offset 1: {problem}")]);
        assert_eq!((names(&cluster), cluster.is_complete), (vec!["t"], false));
    }
}

#[test]
fn only_so_much_of_what_cannot_be_read_is_told_one_by_one() {
    let cluster = of_log(&vec![vec![]; 50]);
    assert_eq!(cluster.unread.len(), 21);
    assert_eq!(cluster.unread[20], "30 more like these");
}

fn mutated(original: &[u8], cut: usize, edits: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = original[..original.len() - cut % (original.len() + 1)].to_vec();
    for (at, byte) in edits.iter().filter(|_| !original.is_empty()) {
        if let Some(byte_there) = bytes.get_mut(at % original.len()) {
            *byte_there = *byte;
        }
    }
    bytes
}

/// Loads without a panic, and says that something is missing unless nothing is.
fn loads(folder: &Path, whole: &ClusterMetadata) -> Result<(), TestCaseError> {
    let cluster = load(folder).unwrap();
    if cluster.is_complete && cluster.end_offset == whole.end_offset {
        prop_assert_eq!(&cluster.topics, &whole.topics);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_it_panic(
        cut in 0..20_000_usize,
        edits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        of_snapshot in any::<bool>(),
    ) {
        let dir = kafkas();
        let whole = load(dir.path()).unwrap();
        let path = dir.path().join(if of_snapshot { "00000000000000000000-0000000000.checkpoint" } else { LOG });
        let original = fs::read(&path).unwrap();
        fs::write(&path, mutated(&original, cut * usize::from(edits.is_empty()), &edits)).unwrap();
        loads(dir.path(), &whole)?;
    }

    #[test]
    fn no_batch_with_a_right_crc_makes_it_panic(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20)) {
        let framed: Vec<Vec<u8>> = values.iter().map(|value| [&[1][..], value].concat()).collect();
        of_log(&values);
        of_log(&framed);
    }

    #[test]
    fn no_value_makes_it_panic(nth in any::<prop::sample::Index>(), cut in any::<usize>(), edits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
        let original = nth.get(&VALUES);
        assert!(MetadataRecord::decode(original).is_ok());
        let _ = MetadataRecord::decode(&mutated(original, cut, &edits));
    }
}
