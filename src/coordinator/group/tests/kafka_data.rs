//! `__consumer_offsets` as Kafka 4.3.1 wrote it.

use std::collections::BTreeMap;
use std::io::Read;

use super::*;
use crate::coordinator::group::records::{GroupValue, Key, OffsetValue, group_record};
use crate::protocol::batch::Batch;
use crate::protocol::records::BatchRecords;
use crate::types::LeaderEpoch;

const DATA: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/kafka-data.tar.gz"));

/// The batches of each partition.
fn batches() -> BTreeMap<i32, Vec<Batch>> {
    let mut partitions = BTreeMap::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(DATA));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let Some((_, rest)) = path.split_once("__consumer_offsets-") else { continue };
        let Some((partition, _)) = rest.split_once('/').filter(|(_, file)| file.ends_with(".log")) else { continue };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let mut bytes = Bytes::from(bytes);
        let batches: &mut Vec<Batch> = partitions.entry(partition.parse().unwrap()).or_default();
        while !bytes.is_empty() {
            batches.push(Batch::split_from(&mut bytes).unwrap());
        }
    }
    partitions
}

fn loaded() -> Runtime<GroupShard, MemoryJournal> {
    let journal = MemoryJournal::new(3);
    for (partition, batches) in batches() {
        batches.into_iter().for_each(|batch| journal.push(partition, batch));
    }
    let runtime = Runtime::new(config(), journal);
    runtime.load(Now::read());
    runtime
}

fn offsets(runtime: &Runtime<GroupShard, MemoryJournal>, group: &str) -> Vec<(String, i32, i64)> {
    let offsets = runtime.on(group, Now::read(), |session| {
        let group = text(group);
        let offsets = session.state.offsets().of(&group);
        offsets.map(|(topic, partition, value)| (topic.to_string(), partition, value.offset.0)).collect()
    });
    offsets.unwrap()
}

#[test]
fn every_record_of_a_group_is_written_back_byte_for_byte() {
    let mut written = 0;
    for batch in batches().into_values().flatten().filter(|batch| !batch.header.attributes.is_control()) {
        for record in &BatchRecords::open(&batch, 1 << 20).unwrap() {
            let record = record.unwrap();
            let ours = match Key::decode(record.key.unwrap()).unwrap() {
                Key::Offset(key) => key.record(record.value.map(|value| OffsetValue::decode(value).unwrap()).as_ref()),
                Key::Group(id) => {
                    group_record(&id, record.value.map(|value| GroupValue::decode(value).unwrap()).as_ref())
                }
                Key::Other(version) => {
                    assert!((3..=8).contains(&version));
                    continue;
                }
            };
            assert_eq!((Some(&*ours.key), ours.value.as_deref()), (record.key, record.value));
            written += 1;
        }
    }
    assert_eq!(written, 36);
}

#[test]
fn kafkas_group_is_loaded_as_its_dump_shows_it() {
    let value = loaded().on("classic-group", Now::read(), |session| {
        session.state.group(&text("classic-group")).map(|group| group.value())
    });
    let value = value.unwrap().unwrap();
    assert_eq!((value.protocol_type.as_str(), value.generation), ("consumer", 2));
    assert_eq!((value.protocol, value.leader, value.members.len()), (None, None, 0));
    assert_eq!(value.current_state_timestamp, Some(Timestamp(1_795_195_535_189)));
}

#[test]
fn kafkas_offsets_are_found_those_of_other_kinds_of_groups_and_of_transactions_too() {
    let runtime = loaded();
    let row = |topic: &str, partition, offset| (topic.to_owned(), partition, offset);
    assert_eq!(offsets(&runtime, "classic-group"), [row("codecs", 3, 60), row("codecs", 4, 60)]);
    assert_eq!(offsets(&runtime, "new-group"), [row("txn", 0, 8), row("txn", 1, 17)]);
    assert_eq!(offsets(&runtime, "txn-group"), [row("codecs", 0, 42)]);
    let epoch = runtime.on("txn-group", Now::read(), |session| {
        session.state.offsets().get(&text("txn-group"), &text("codecs"), 0).map(|value| value.leader_epoch)
    });
    assert_eq!(epoch.unwrap(), Some(LeaderEpoch::NONE));
}

#[test]
fn kafkas_member_goes_on_where_the_log_ends_while_it_is_in_the_group() {
    let journal = MemoryJournal::new(1);
    // The first two batches of the partition: the group, and its first generation.
    batches()[&0].iter().take(2).cloned().for_each(|batch| journal.push(0, batch));
    let runtime: Runtime<GroupShard, _> = Runtime::new(config(), journal);
    runtime.load(Now::read());
    let member = text("rdkafka-f72050d8-4d0e-4801-9955-ce65be26f4f1");
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(GroupId(text("classic-group")))
        .with_member_id(member.clone())
        .with_generation_id(1);
    runtime
        .on("classic-group", Now::read(), |session| {
            assert_eq!(session.state.heartbeat(&heartbeat, session.now), Ok(()));
            let group = session.state.group(&text("classic-group")).unwrap();
            assert_eq!((group.state, group.is_leader(&member)), (State::Stable, true));
            assert!(group.is_subscribed_to(&text("codecs")) && !group.is_subscribed_to(&text("txn")));
        })
        .unwrap();
}
