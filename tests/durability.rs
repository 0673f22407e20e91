//! What an acknowledgement promises, over real sockets: group commit, log dirs that fail, full disks.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest,
    OffsetCommitRequest, ProduceRequest,
};
use kafka_protocol::protocol::StrBytes;
use ottla::protocol::builder::BatchBuilder;
use ottla::types::Timestamp;
use support::topics::{self, topic_name};
use support::{Answer, Broker, Client};
use tempfile::TempDir;

const NONE: i16 = 0;
const LEADER_NOT_AVAILABLE: i16 = 5;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const KAFKA_STORAGE_ERROR: i16 = 56;

fn record(bytes: usize) -> Bytes {
    let value = vec![b'v'; bytes];
    BatchBuilder::new(Timestamp::now()).record(None, Some(&value)).build().unwrap().bytes
}

fn create(client: &mut Client, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    client.request(7, &request).topics[0].error_code
}

fn produce_request(topic: &str, partitions: &[i32], bytes: usize) -> ProduceRequest {
    let partition = |index: &i32| PartitionProduceData::default().with_index(*index).with_records(Some(record(bytes)));
    let data = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(partitions.iter().map(partition).collect());
    ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![data])
}

/// Error and base offset.
fn produce(client: &mut Client, topic: &str, partition: i32, bytes: usize) -> (i16, i64) {
    let response = client.request(9, &produce_request(topic, &[partition], bytes));
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let mut request = topics::fetch(topic, offset).with_min_bytes(1);
    request.topics[0].partitions[0].partition = partition;
    request
}

fn fetch(client: &mut Client, topic: &str, partition: i32, offset: i64) -> (i16, bool) {
    let response = client.request(12, &fetch_request(topic, partition, offset));
    let partition = &response.responses[0].partitions[0];
    (partition.error_code, partition.records.as_ref().is_some_and(|records| !records.is_empty()))
}

fn list_latest(client: &mut Client, topic: &str, partition: i32) -> (i16, i64) {
    use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
    let response = client.request(4, &ListOffsetsRequest::default().with_topics(vec![topic]));
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.offset)
}

fn metadata(client: &mut Client, topic: &str) -> Vec<MetadataResponsePartition> {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    client.request(9, &MetadataRequest::default().with_topics(Some(vec![topic]))).topics.remove(0).partitions
}

#[test]
fn many_producers_that_wait_for_the_disk_lose_no_order_and_share_offsets_densely() {
    const CLIENTS: i64 = 8;
    const EACH: i64 = 25;
    let broker = Broker::start_with(&["log.flush.interval.messages=1"]);
    topics::create_topic(&mut broker.connect(), "t");
    let mut offsets: Vec<i64> = thread::scope(|scope| {
        let producer = || {
            let mut client = broker.connect();
            // All of them on their way before the first answer is read.
            let sent: Vec<i32> = (0..EACH).map(|_| client.send(9, &produce_request("t", &[0], 10))).collect();
            let offset = |id: i32| {
                let response = client.response::<ProduceRequest>(9, id);
                let partition = &response.responses[0].partition_responses[0];
                assert_eq!(partition.error_code, NONE);
                partition.base_offset
            };
            let offsets: Vec<i64> = sent.into_iter().map(offset).collect();
            assert!(offsets.is_sorted(), "a connection's requests take effect in their order");
            offsets
        };
        let producers: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(producer)).collect();
        producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect()
    });
    offsets.sort();
    assert_eq!(offsets, (0..CLIENTS * EACH).collect::<Vec<_>>());
}

#[test]
fn partitions_of_one_request_wait_together_and_acks_0_does_not_wait() {
    let broker = Broker::start_with(&["log.flush.interval.messages=1"]);
    let mut client = broker.connect();
    assert_eq!(create(&mut client, "t", 3, &[]), NONE);
    let response = client.request(9, &produce_request("t", &[0, 2, 1], 10));
    let answers = &response.responses[0].partition_responses;
    assert_eq!(answers.iter().map(|it| (it.index, it.error_code)).collect::<Vec<_>>(), [(0, 0), (2, 0), (1, 0)]);
    client.send(9, &produce_request("t", &[0], 10).with_acks(0));
    assert_eq!(produce(&mut client, "t", 0, 10), (NONE, 2));
}

/// Two log dirs, and a topic whose two partitions are in one each. Its segments hold one batch.
fn on_two_dirs() -> (Broker, [PathBuf; 2]) {
    let data = Arc::new(TempDir::new().unwrap());
    let dirs = ["a", "b"].map(|name| data.path().join(name));
    let broker = Broker::start_in(&data, &dirs, &["offsets.topic.num.partitions=1"]);
    let mut client = broker.connect();
    assert_eq!(create(&mut client, "t", 2, &[("internal.segment.bytes", "100")]), NONE);
    for partition in [0, 1] {
        assert_eq!(produce(&mut client, "t", partition, 10), (NONE, 0));
        assert!(dirs[partition as usize].join(format!("t-{partition}")).is_dir());
    }
    (broker, dirs)
}

/// Makes the next roll of the log fail as on a device that has gone.
fn break_log(dir: &Path, folder: &str) {
    fs::rename(dir.join(folder), dir.join("gone")).unwrap();
    fs::write(dir.join(folder), "no folder").unwrap();
}

#[test]
fn a_failed_log_dir_takes_its_partitions_offline_and_the_others_are_served() {
    let (broker, [_, second]) = on_two_dirs();
    let mut client = broker.connect();
    let mut consumer = broker.connect();
    let waiting = consumer.send(12, &fetch_request("t", 1, 1).with_max_wait_ms(60_000));
    assert_eq!(consumer.receive(Duration::from_millis(200)), Answer::Silence);
    break_log(&second, "t-1");
    assert_eq!(produce(&mut client, "t", 1, 10).0, KAFKA_STORAGE_ERROR);

    let woken = consumer.response::<FetchRequest>(12, waiting);
    assert_eq!(woken.responses[0].partitions[0].error_code, KAFKA_STORAGE_ERROR);
    assert_eq!(produce(&mut client, "t", 1, 10).0, KAFKA_STORAGE_ERROR);
    assert_eq!(fetch(&mut client, "t", 1, 0).0, KAFKA_STORAGE_ERROR);
    assert_eq!(list_latest(&mut client, "t", 1).0, KAFKA_STORAGE_ERROR);
    let partitions = metadata(&mut client, "t");
    assert_eq!((partitions[0].error_code, partitions[0].leader_id.0), (NONE, 1));
    assert!(partitions[0].offline_replicas.is_empty());
    let offline = &partitions[1];
    assert_eq!((offline.error_code, offline.leader_id.0), (LEADER_NOT_AVAILABLE, -1));
    assert_eq!((offline.replica_nodes[0].0, offline.isr_nodes.len(), offline.offline_replicas[0].0), (1, 0, 1));

    assert_eq!(produce(&mut client, "t", 0, 10), (NONE, 1));
    assert_eq!(fetch(&mut client, "t", 0, 0), (NONE, true));
    assert_eq!(create(&mut client, "new", 3, &[]), NONE);
    for partition in 0..3 {
        assert_eq!(produce(&mut client, "new", partition, 10), (NONE, 0), "only where it can be stored");
    }
    let data = broker.data().clone();
    assert!(broker.stop().success());
    assert!(data.path().join("a/.kafka_cleanshutdown").exists());
    assert!(!data.path().join("b/.kafka_cleanshutdown").exists());
}

#[test]
fn without_the_dir_of_the_metadata_nothing_is_changed_and_without_any_the_broker_ends() {
    let (broker, [first, second]) = on_two_dirs();
    let mut client = broker.connect();
    break_log(&first, "t-0");
    assert_eq!(produce(&mut client, "t", 0, 10).0, KAFKA_STORAGE_ERROR);
    assert_eq!(create(&mut client, "new", 1, &[]), KAFKA_STORAGE_ERROR);
    assert_eq!(produce(&mut client, "t", 1, 10), (NONE, 1));
    assert_eq!(fetch(&mut client, "t", 1, 0), (NONE, true));
    break_log(&second, "t-1");
    assert_eq!(produce(&mut client, "t", 1, 10).0, KAFKA_STORAGE_ERROR);
    assert_eq!(broker.ended().code(), Some(1));
}

#[test]
fn groups_in_a_failed_log_dir_have_no_coordinator() {
    let (broker, dirs) = on_two_dirs();
    let mut client = broker.connect();
    let find = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("g"));
    assert_eq!(client.request(3, &find).error_code, NONE);
    let commit = |client: &mut Client| {
        use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic = OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(StrBytes::from_static_str("g").into())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        client.request(7, &request).topics[0].partitions[0].error_code
    };
    assert_eq!(commit(&mut client), NONE);
    let of_offsets = dirs.iter().position(|dir| dir.join("__consumer_offsets-0").exists()).unwrap();
    break_log(&dirs[of_offsets], &format!("t-{of_offsets}"));
    assert_eq!(produce(&mut client, "t", of_offsets as i32, 10).0, KAFKA_STORAGE_ERROR);
    assert_eq!(commit(&mut client), NOT_COORDINATOR);
    assert_eq!(client.request(3, &find).error_code, COORDINATOR_NOT_AVAILABLE);
}

#[test]
fn a_log_dir_that_cannot_be_opened_is_left_out_and_comes_back_at_the_next_start() {
    let (broker, dirs) = on_two_dirs();
    let data = broker.data().clone();
    assert!(broker.stop().success());
    let aside = data.path().join("aside");
    fs::rename(&dirs[1], &aside).unwrap();
    fs::write(&dirs[1], "no dir").unwrap();

    let broker = Broker::start_in(&data, &dirs, &[]);
    let mut client = broker.connect();
    assert_eq!(fetch(&mut client, "t", 0, 0), (NONE, true));
    assert_eq!(produce(&mut client, "t", 1, 10).0, KAFKA_STORAGE_ERROR, "nobody knows what it holds");
    assert_eq!(metadata(&mut client, "t")[1].leader_id.0, -1);
    assert_eq!(create(&mut client, "new", 2, &[]), NONE);
    assert_eq!(produce(&mut client, "new", 1, 10), (NONE, 0));
    assert!(broker.stop().success());

    fs::remove_file(&dirs[1]).unwrap();
    fs::rename(&aside, &dirs[1]).unwrap();
    let broker = Broker::start_in(&data, &dirs, &[]);
    assert_eq!(produce(&mut broker.connect(), "t", 1, 10), (NONE, 1));
    assert!(broker.stop().success());

    fs::rename(&dirs[0], data.path().join("first")).unwrap();
    fs::write(&dirs[0], "no dir").unwrap();
    let mut start = Command::new(env!("CARGO_BIN_EXE_ottla"));
    start.args(["--listen", "127.0.0.1:0"]).arg("--data").arg(&dirs[0]).arg("--data").arg(&dirs[1]);
    let output = start.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("log.dirs: {}", dirs[0].display())), "{said}");
}

#[test]
fn a_partition_whose_log_is_damaged_has_no_leader() {
    let broker = Broker::start();
    let data = broker.data().clone();
    let mut client = broker.connect();
    assert_eq!(create(&mut client, "t", 2, &[]), NONE);
    for _ in 0..3 {
        assert_eq!(produce(&mut client, "t", 0, 10).0, NONE);
    }
    broker.kill();
    let log = data.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[70] ^= 1;
    fs::write(&log, bytes).unwrap();
    let broker = Broker::start_on(&data, &[]);
    let leaders: Vec<i32> = metadata(&mut broker.connect(), "t").iter().map(|it| it.leader_id.0).collect();
    assert_eq!(leaders, [-1, 1]);
}

/// A file system of a few MiB; unmounted when dropped.
struct SmallDisk(Arc<TempDir>);

impl SmallDisk {
    /// `None`, and why on the screen, where mounting is not permitted.
    fn mount() -> Option<SmallDisk> {
        let dir = Arc::new(TempDir::new().unwrap());
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(dir)),
            refused => {
                eprintln!("skipped: no tmpfs can be mounted here: {refused:?}");
                None
            }
        }
    }

    /// Takes all the room there is.
    fn fill(&self) {
        use std::io::Write;
        let mut filler = fs::File::create(self.filler()).unwrap();
        let block = vec![0; 4096];
        while filler.write_all(&block).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_reads_go_on_and_produce_does_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else { return };
    for flush_messages in ["1", "9223372036854775807"] {
        let broker = Broker::start_on(&disk.0, &[&format!("log.flush.interval.messages={flush_messages}")]);
        let mut client = broker.connect();
        let topic = format!("t{flush_messages}");
        assert_eq!(create(&mut client, &topic, 2, &[]), NONE);
        assert_eq!(create(&mut client, &format!("rolling-{topic}"), 1, &[("internal.segment.bytes", "50000")]), NONE);
        let rolling = format!("rolling-{topic}");
        let mut written = [0; 2];
        for _ in 0..3 {
            for (topic, written) in [&topic, &rolling].into_iter().zip(&mut written) {
                assert_eq!(produce(&mut client, topic, 0, 20_000), (NONE, *written));
                *written += 1;
            }
            disk.fill();
            for _ in 0..3 {
                for topic in [&topic, &rolling] {
                    assert_eq!(produce(&mut client, topic, 0, 20_000).0, KAFKA_STORAGE_ERROR);
                    assert_eq!(fetch(&mut client, topic, 0, 0), (NONE, true));
                }
                assert_eq!(produce(&mut client, &topic, 1, 20_000).0, KAFKA_STORAGE_ERROR, "one without a folder");
            }
            assert_eq!(list_latest(&mut client, &topic, 0), (NONE, written[0]));
            assert_eq!(metadata(&mut client, &topic)[0].leader_id.0, 1);
            disk.empty();
        }
        for (topic, written) in [&topic, &rolling].into_iter().zip(written) {
            assert_eq!(produce(&mut client, topic, 0, 20_000), (NONE, written));
        }
        // A kill and the whole of recovery find what was acknowledged.
        broker.kill();
        let broker = Broker::start_on(&disk.0, &[]);
        let mut client = broker.connect();
        for topic in [&topic, &rolling] {
            assert_eq!(list_latest(&mut client, topic, 0), (NONE, 4));
        }
        assert!(broker.stop().success());
    }
}

#[test]
fn on_a_full_disk_topics_cannot_be_made_and_can_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else { return };
    let broker = Broker::start_on(&disk.0, &[]);
    let mut client = broker.connect();
    let mut made = 0;
    for _ in 0..2 {
        disk.fill();
        // The store has some room of its own.
        let refused = (0..200).find_map(|_| {
            let error = create(&mut client, &format!("{}{made}", "x".repeat(200)), 1, &[]);
            made += i32::from(error == NONE);
            (error != NONE).then_some(error)
        });
        assert_eq!(refused, Some(KAFKA_STORAGE_ERROR));
        assert_eq!(create(&mut client, "again", 1, &[]), KAFKA_STORAGE_ERROR);
        disk.empty();
        assert_eq!(create(&mut client, &format!("room-{made}"), 1, &[]), NONE);
        made += 1;
    }
    broker.kill();
    let broker = Broker::start_on(&disk.0, &[]);
    let topics = broker.connect().request(9, &MetadataRequest::default().with_topics(None)).topics;
    assert_eq!(topics.len() as i32, made);
}
