//! A directory that Apache Kafka 4.3.1 left is taken over by the real binary, and everything in it is, over the wire, what
//! Kafka's own clients had seen.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    DescribeConfigsRequest, FetchRequest, GroupId, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    MetadataResponse, OffsetFetchRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::records::{BatchRecords, EndTxnMarker};
use ottla::types::{ProducerEpoch, ProducerId, Timestamp};
use serde_json::{Value, json};
use support::kafka;
use support::topics::create_topic;
use support::{Broker, Client};
use tempfile::TempDir;

/// The data is of a certain day: nothing is to grow too old under the test.
const KEEP_ALL: &[&str] = &[
    "log.retention.ms=-1",
    "log.retention.check.interval.ms=86400000",
    "log.cleaner.enable=false",
    "offsets.retention.minutes=2147483647",
    "auto.create.topics.enable=false",
];
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
const TOPIC: i8 = 2;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// What a member that commits offsets is told of a partition without one.
const NO_OFFSET: i64 = -1;

fn kafkas() -> Arc<TempDir> {
    let dir = Arc::new(TempDir::new().unwrap());
    kafka::unpack_log_dir(dir.path());
    dir
}

fn adopt(dir: &Arc<TempDir>) -> Broker {
    Broker::start_with_args(dir, &["--adopt"], KEEP_ALL)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn metadata(client: &mut Client) -> MetadataResponse {
    client.request(12, &MetadataRequest::default().with_topics(None))
}

/// The values that a topic has of its own.
fn own_configs(client: &mut Client, topic: &str) -> Value {
    let resource = DescribeConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(topic));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource.with_configuration_keys(None)]);
    let configs = client.request(4, &request).results.remove(0).configs;
    let own = configs.into_iter().filter(|config| config.config_source == DYNAMIC_TOPIC_CONFIG);
    own.map(|config| (config.name.to_string(), json!(config.value.unwrap().as_str()))).collect()
}

fn offset_at(client: &mut Client, topic: &str, partition: i32, timestamp: i64) -> i64 {
    let partition = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let mut found = client.request(7, &request).topics.remove(0).partitions.remove(0);
    assert_eq!(found.error_code, 0);
    std::mem::take(&mut found.offset)
}

fn fetch(client: &mut Client, topic: &str, partition: i32, offset: i64, isolation: i8) -> PartitionData {
    let partition =
        FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(vec![topic]);
    let mut response = client.request(12, &request.with_isolation_level(isolation));
    let partition = response.responses.remove(0).partitions.remove(0);
    assert_eq!(partition.error_code, 0);
    partition
}

/// All bytes of a partition, and the offsets of the records that a consumer of that isolation hands on.
fn read_all(client: &mut Client, topic: &str, partition: i32, isolation: i8) -> (Vec<u8>, Vec<i64>) {
    let start = offset_at(client, topic, partition, EARLIEST);
    let (mut offset, mut bytes, mut visible) = (start, Vec::new(), Vec::new());
    let mut aborting = BTreeSet::new();
    loop {
        let fetched = fetch(client, topic, partition, offset, isolation);
        let mut aborted = fetched.aborted_transactions.unwrap_or_default();
        let records = fetched.records.unwrap_or_default();
        if records.is_empty() {
            visible.retain(|offset| *offset >= start);
            return (bytes, visible);
        }
        bytes.extend(&records);
        for batch in kafka::batches(records) {
            let (producer_id, last) = (batch.header.producer_id, batch.header.last_offset().0);
            aborting.extend(aborted.extract_if(.., |txn| txn.first_offset <= last).map(|txn| txn.producer_id.0));
            offset = last + 1;
            if batch.header.attributes.is_control() {
                if EndTxnMarker::of(&batch, 1 << 20).is_some_and(|marker| !marker.committed) {
                    aborting.remove(&producer_id.0);
                }
            } else if !(batch.header.attributes.is_transactional() && aborting.contains(&producer_id.0)) {
                let records = BatchRecords::open(&batch, 1 << 24).unwrap();
                visible.extend(records.iter().map(|record| records.offset(&record.unwrap()).0));
            }
        }
    }
}

fn committed(client: &mut Client, group: &str) -> Value {
    let request = OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(None);
    let response = client.request(7, &request);
    assert_eq!(response.error_code, 0);
    let mut offsets = BTreeMap::new();
    for topic in response.topics {
        for partition in topic.partitions.iter().filter(|partition| partition.committed_offset != NO_OFFSET) {
            let name = format!("{}-{}", &*topic.name.0, partition.partition_index);
            offsets.insert(name, partition.committed_offset);
        }
    }
    json!(offsets)
}

fn produce(client: &mut Client, topic: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let data = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![data]);
    client.request(9, &request).responses.remove(0).partition_responses.remove(0)
}

/// Everything that Kafka's clients saw, and no more: `original` is the directory as Kafka left it.
fn verify(client: &mut Client, original: &Path, with_configs: bool) {
    let expected = kafka::expected();
    let cluster = metadata(client);
    assert_eq!(cluster.cluster_id.as_deref(), expected["cluster_id"].as_str());
    let mut topics: BTreeMap<String, _> =
        cluster.topics.into_iter().map(|topic| (topic.name.clone().unwrap().to_string(), topic)).collect();
    for (internal, partitions) in [("__consumer_offsets", 3), ("__transaction_state", 3)] {
        let topic = topics.remove(internal).unwrap();
        assert!(topic.is_internal);
        assert_eq!(topic.partitions.len(), partitions, "{internal}");
    }
    let names: Vec<_> = expected["topics"].as_object().unwrap().keys().collect();
    assert_eq!(topics.keys().collect::<Vec<_>>(), names);
    for (name, description) in expected["topics"].as_object().unwrap() {
        let topic = &topics[name];
        assert_eq!(topic.topic_id, kafka::topic_id(description).0, "{name}");
        assert_eq!(topic.partitions.len(), description["partitions"].as_object().unwrap().len(), "{name}");
        let configs = if with_configs { description["configs"].clone() } else { json!({}) };
        assert_eq!(own_configs(client, name), configs, "{name}");
        for (partition, content) in description["partitions"].as_object().unwrap() {
            verify_partition(client, original, name, partition.parse().unwrap(), content);
        }
    }
    for (group, offsets) in expected["groups"].as_object().unwrap() {
        assert_eq!(committed(client, group), *offsets, "{group}");
    }
}

fn verify_partition(client: &mut Client, original: &Path, topic: &str, partition: i32, content: &Value) {
    let name = format!("{topic}-{partition}");
    let offsets = [EARLIEST, LATEST].map(|timestamp| offset_at(client, topic, partition, timestamp));
    let [start, end] = offsets;
    assert_eq!(json!(start), content["log_start"], "{name}");
    assert_eq!(json!(end), content["high_watermark"], "{name}");
    let (bytes, _) = read_all(client, topic, partition, 0);
    assert!(kafka::log_bytes(&original.join(&name)).ends_with(&bytes), "{name}: the bytes that Kafka wrote");
    let records = kafka::records_as_json(&kafka::batches(bytes.into()), start);
    assert_eq!(records.len(), content["records"].as_array().unwrap().len(), "{name}");
    for (record, wanted) in records.iter().zip(content["records"].as_array().unwrap()) {
        assert_eq!(record, wanted, "{name}");
    }
    let (_, visible) = read_all(client, topic, partition, 1);
    assert_eq!(json!(visible), content["read_committed_offsets"], "{name}");
}

fn batch_of(producer_id: i64, sequence: i32) -> Batch {
    let batch = BatchBuilder::new(Timestamp::now()).producer(ProducerId(producer_id), ProducerEpoch(0), sequence);
    batch.record(Some(b"key"), Some(b"from ottla")).build().unwrap()
}

/// Runs the binary where it is expected to give up.
fn refused(dirs: &str, args: &[&str]) -> String {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["--listen", "127.0.0.1:0", "--data", dirs])
        .args(args)
        .output()
        .unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    stderr
}

/// What the binary logs until it listens.
fn log_of_start(dir: &Path, args: &[&str]) -> String {
    let mut broker = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(dir)
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    for line in BufReader::new(broker.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        log += &(line.clone() + "\n");
        if line.contains("listens on") {
            break;
        }
    }
    broker.kill().unwrap();
    broker.wait().unwrap();
    log
}

#[test]
fn everything_is_what_kafkas_clients_saw_and_goes_on_from_there() {
    let original = kafkas();
    let dir = kafkas();
    let broker = adopt(&dir);
    let mut client = broker.connect();
    verify(&mut client, original.path(), true);

    // Its producer of 60 records goes on with the 61st.
    assert_eq!(produce(&mut client, "codecs", 3, batch_of(3, 60).bytes).base_offset, 60);
    assert_eq!(produce(&mut client, "codecs", 3, batch_of(3, 61).bytes).base_offset, 61);
    assert_eq!(produce(&mut client, "codecs", 3, batch_of(3, 60).bytes).base_offset, 60, "sent twice");
    let fresh = client.request(4, &InitProducerIdRequest::default().with_transactional_id(None));
    assert!(fresh.producer_id.0 >= 1000, "Kafka may have handed out those below: {fresh:?}");
    let appended = &kafka::batches(fetch(&mut client, "codecs", 3, 60, 0).records.unwrap())[0];
    assert_eq!(appended.header.partition_leader_epoch.0, 1, "Kafka led in epoch 0, and nobody after its stop");
    let leader_epochs = |client: &mut Client| -> BTreeSet<i32> {
        let partitions = metadata(client).topics.into_iter().flat_map(|topic| topic.partitions);
        partitions.map(|partition| partition.leader_epoch).collect()
    };
    assert_eq!(leader_epochs(&mut client), [1].into());
    assert!(broker.stop().success());

    // Again, now as our own: all but the two records are as before.
    let broker = Broker::start_on(&dir, KEEP_ALL);
    let mut client = broker.connect();
    assert_eq!(leader_epochs(&mut client), [1].into());
    assert_eq!(offset_at(&mut client, "codecs", 3, LATEST), 62);
    assert_eq!(produce(&mut client, "codecs", 3, batch_of(3, 61).bytes).base_offset, 61, "sent once more");
    let bytes = read_all(&mut client, "codecs", 3, 0).0;
    assert!(bytes.starts_with(&kafka::log_bytes(&original.path().join("codecs-3"))));
    let again = client.request(4, &InitProducerIdRequest::default().with_transactional_id(None));
    assert!(again.producer_id > fresh.producer_id);
    assert_eq!(committed(&mut client, "txn-group"), json!({"codecs-0": 42}));
    // What Kafka would go by on its way back is untouched.
    let untouched = |dir: &Path| kafka::tree(&dir.join("__cluster_metadata-0"));
    assert_eq!(untouched(dir.path()), untouched(original.path()));
}

#[test]
fn what_was_adopted_is_the_same_after_a_restart() {
    let (original, dir) = (kafkas(), kafkas());
    assert!(adopt(&dir).stop().success());
    let broker = Broker::start_on(&dir, KEEP_ALL);
    verify(&mut broker.connect(), original.path(), true);
}

#[test]
fn what_nobody_wrote_to_is_given_back_as_it_came() {
    let (original, dir) = (kafkas(), kafkas());
    let broker = adopt(&dir);
    verify(&mut broker.connect(), original.path(), true);
    assert!(broker.stop().success());
    let name = |path: &Path| path.display().to_string();
    let (mut before, mut after) = (kafka::tree(original.path()), kafka::tree(dir.path()));
    // What a cleaner had done with, of which Kafka too takes away what it finds at its start.
    for tree in [&mut before, &mut after] {
        tree.retain(|path, _| !name(path).ends_with(".deleted"));
    }
    for ours in ["__metadata", "__metadata/metadata.redb", ".lock"] {
        assert!(after.remove(Path::new(ours)).is_some(), "{ours}");
    }
    let sorted = |content: Option<Vec<u8>>| {
        let text = String::from_utf8(content.unwrap()).unwrap();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    for in_another_order in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        let [before, after] =
            [&mut before, &mut after].map(|tree| sorted(tree.remove(Path::new(in_another_order)).unwrap()));
        assert_eq!(before, after);
    }
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, content) in before {
        assert!(after[&path] == content, "{}", name(&path));
    }
}

#[test]
fn a_kafka_that_was_killed_is_recovered() {
    let (original, dir) = (kafkas(), kafkas());
    fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
    fs::remove_file(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
    let broker = adopt(&dir);
    verify(&mut broker.connect(), original.path(), true);
}

#[test]
fn without_the_cluster_metadata_everything_but_the_configs_is_there() {
    let (original, dir) = (kafkas(), kafkas());
    fs::remove_dir_all(dir.path().join("__cluster_metadata-0")).unwrap();
    let broker = adopt(&dir);
    verify(&mut broker.connect(), original.path(), false);
}

#[test]
fn a_topic_without_a_folder_comes_from_the_cluster_metadata() {
    let dir = kafkas();
    (0..3).for_each(|index| fs::remove_dir_all(dir.path().join(format!("configured-{index}"))).unwrap());
    let broker = adopt(&dir);
    let mut client = broker.connect();
    let topics = metadata(&mut client).topics;
    let topic = topics.iter().find(|topic| topic.name.as_ref().unwrap().as_str() == "configured").unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert_eq!(own_configs(&mut client, "configured")["compression.type"], "zstd");
    assert_eq!(offset_at(&mut client, "configured", 2, LATEST), 0);
}

#[test]
fn several_directories_are_one_broker() {
    for metadata_in_first in [true, false] {
        let (original, first, second) = (kafkas(), kafkas(), Arc::new(TempDir::new().unwrap()));
        let moved = |name: &str| {
            name.starts_with("codecs-")
                || name.starts_with("__consumer_offsets-1")
                || name == "txn-1"
                || (!metadata_in_first && name == "__cluster_metadata-0")
        };
        for entry in fs::read_dir(first.path()).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name().into_string().unwrap();
            if moved(&name) {
                fs::rename(entry.path(), second.path().join(&name)).unwrap();
            } else if entry.path().is_file() {
                // Checkpoints name the partitions of both; those of the other directory are passed over.
                fs::copy(entry.path(), second.path().join(&name)).unwrap();
            }
        }
        let second_dir = second.path().to_str().unwrap();
        let broker = Broker::start_with_args(&first, &["--data", second_dir, "--adopt"], KEEP_ALL);
        verify(&mut broker.connect(), original.path(), true);
        assert!(broker.stop().success());
        let broker = Broker::start_with_args(&first, &["--data", second_dir], KEEP_ALL);
        verify(&mut broker.connect(), original.path(), true);
        assert!(broker.stop().success());

        let other_way_round = format!("{second_dir},{}", first.path().display());
        let log = refused(&other_way_round, &["--adopt"]);
        assert!(log.contains("name that directory first"), "{log}");
    }
}

#[test]
fn a_foreign_directory_is_refused_untouched() {
    let dir = kafkas();
    fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
    let before = (kafka::tree(dir.path()), modified(dir.path()));
    let log = refused(dir.path().to_str().unwrap(), &[]);
    assert!(log.contains("start once with --adopt to take it over"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("ottla: ")).count(), 1, "{log}");
    assert!((kafka::tree(dir.path()), modified(dir.path())) == before, "something was changed");
    assert!(!dir.path().join(".lock").exists());
}

/// When a name in `dir` came or went last.
fn modified(dir: &Path) -> std::time::SystemTime {
    fs::metadata(dir).unwrap().modified().unwrap()
}

#[test]
fn an_empty_directory_beside_a_foreign_one_is_not_made_ours() {
    let (dir, empty) = (kafkas(), TempDir::new().unwrap());
    let missing = empty.path().join("missing");
    let log = refused(&format!("{},{}", missing.display(), dir.path().display()), &[]);
    assert!(log.contains("--adopt"), "{log}");
    assert!(!missing.exists());
}

#[test]
fn the_node_id_is_the_directorys_unless_another_is_configured() {
    let dir = kafkas();
    let path = dir.path().join("meta.properties");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("node.id=1", "node.id=7")).unwrap();
    let log = refused(dir.path().to_str().unwrap(), &["--adopt", "--override", "node.id=1"]);
    assert!(log.contains("meta.properties: names node.id 7, this broker has 1"), "{log}");
    for start in [adopt, |dir: &Arc<TempDir>| Broker::start_on(dir, KEEP_ALL)] {
        let broker = start(&dir);
        let cluster = metadata(&mut broker.connect());
        assert_eq!((cluster.brokers[0].node_id.0, cluster.controller_id.0), (7, 7));
        assert_eq!(cluster.topics[0].partitions[0].leader_id.0, 7);
        assert!(broker.stop().success());
    }
}

#[test]
fn what_is_not_taken_over_is_said() {
    let dir = kafkas();
    fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
    let log = log_of_start(dir.path(), &["--adopt"]);
    for part in [
        "was not stopped cleanly",
        "configs set at run time that are not taken over: min.insync.replicas (all brokers)",
        "not taken over: transactions that are open",
        "taken over topics=9 partitions=20",
    ] {
        assert_eq!(log.lines().filter(|line| line.contains(part)).count(), 1, "{part} in\n{log}");
    }
    let again = log_of_start(dir.path(), &["--adopt"]);
    assert_eq!(again.lines().filter(|line| line.contains("nothing to take over")).count(), 1, "{again}");

    let dir = kafkas();
    fs::remove_dir_all(dir.path().join("__cluster_metadata-0")).unwrap();
    let log = log_of_start(dir.path(), &["--adopt"]);
    assert!(log.contains("none of the log dirs holds __cluster_metadata-0"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("made of its folders alone")).count(), 9, "{log}");
}

#[test]
fn a_directory_that_a_kafka_holds_is_not_taken() {
    use nix::fcntl::{FcntlArg, fcntl};
    let dir = kafkas();
    let lock = fs::File::create(dir.path().join(".lock")).unwrap();
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let before = kafka::tree(dir.path());
    // As Java's `FileChannel.tryLock` does. The lock goes with any handle of the file that this process closes.
    fcntl(&lock, FcntlArg::F_SETLK(&whole)).unwrap();
    let log = refused(dir.path().to_str().unwrap(), &["--adopt"]);
    assert!(log.contains(&format!("in use by another broker (pid {})", std::process::id())), "{log}");
    assert_eq!(kafka::tree(dir.path()), before);
}

#[test]
fn a_lost_store_is_brought_back() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_topic(&mut client, "t");
    assert_eq!(produce(&mut client, "t", 0, batch_of(-1, -1).bytes).base_offset, 0);
    let id = metadata(&mut client).topics[0].topic_id;
    let dir = broker.data().clone();
    assert!(broker.stop().success());
    fs::remove_dir_all(dir.path().join("__metadata")).unwrap();
    let log = refused(dir.path().to_str().unwrap(), &[]);
    assert!(log.contains("ottla's own without its metadata"), "{log}");

    let broker = adopt(&dir);
    let mut client = broker.connect();
    assert_eq!(metadata(&mut client).topics[0].topic_id, id);
    assert_eq!(read_all(&mut client, "t", 0, 0).1, [0]);
}

#[test]
fn an_adoption_that_was_cut_short_is_begun_again() {
    let (original, dir) = (kafkas(), kafkas());
    // As a crash just before the store got its name leaves it.
    assert!(adopt(&dir).stop().success());
    let store = dir.path().join("__metadata/metadata.redb");
    fs::rename(&store, store.with_extension("redb.tmp")).unwrap();
    fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
    refused(dir.path().to_str().unwrap(), &[]);
    verify(&mut adopt(&dir).connect(), original.path(), true);
}
