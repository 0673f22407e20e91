//! One machine's scale, over real sockets: few file descriptors, recovery points, recovery of many logs.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsRequest, CreateTopicsRequest, ProduceRequest};
use ottla::protocol::builder::BatchBuilder;
use ottla::types::Timestamp;
use support::topics::{self, topic_name};
use support::{Answer, Broker, Client};
use tempfile::TempDir;

const TOPIC: &str = "t";
const NONE: i16 = 0;
const KAFKA_STORAGE_ERROR: i16 = 56;
const PATIENCE: Duration = Duration::from_secs(20);

fn create(client: &mut Client, partitions: i32) {
    let topic = CreatableTopic::default().with_name(topic_name(TOPIC)).with_num_partitions(partitions);
    let request = CreateTopicsRequest::default().with_topics(vec![topic.with_replication_factor(1)]);
    assert_eq!(client.request(7, &request.with_timeout_ms(5000)).topics[0].error_code, NONE);
}

fn records() -> Bytes {
    BatchBuilder::new(Timestamp::now()).record(None, Some(&[b'v'; 100])).build().unwrap().bytes
}

fn produce(client: &mut Client, partition: i32) -> i16 {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records()));
    let data = TopicProduceData::default().with_name(topic_name(TOPIC)).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![data]);
    client.request(9, &request).responses[0].partition_responses[0].error_code
}

/// The error, and the bytes found.
fn fetch(client: &mut Client, partition: i32) -> (i16, usize) {
    let mut request = topics::fetch(TOPIC, 0);
    request.topics[0].partitions =
        vec![FetchPartition::default().with_partition(partition).with_partition_max_bytes(1 << 20)];
    let response = client.request(12, &request);
    let partition = &response.responses[0].partitions[0];
    (partition.error_code, partition.records.as_ref().map_or(0, |records| records.len()))
}

fn with_descriptors(limit: u32) -> impl Fn(Command) -> Command {
    move |command| {
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""));
        limited.arg(command.get_program()).args(command.get_args());
        limited
    }
}

/// Descriptors of the broker, those of log segments apart.
fn descriptors(broker: &Broker) -> (usize, usize) {
    let links = fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap();
    let paths: Vec<_> = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
    let is_segment = |path: &&std::path::PathBuf| {
        path.extension().is_some_and(|kind| ["log", "index", "timeindex"].iter().any(|known| kind == *known))
    };
    (paths.len(), paths.iter().filter(is_segment).count())
}

/// User and system time of a process, in clock ticks.
fn cpu_ticks(broker: &Broker) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", broker.pid())).unwrap();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    fields[10] + fields[11]
}

#[test]
fn sixty_four_descriptors_serve_many_partitions_and_more_connections_than_fit() {
    let data = Arc::new(TempDir::new().unwrap());
    let broker = Broker::start_as(&data, &[], with_descriptors(64));
    let mut clients: Vec<Client> = (0..4).map(|_| broker.connect()).collect();
    create(&mut clients[0], 60);
    for round in 1..=3 {
        for partition in 0..60 {
            let client = &mut clients[partition as usize % 4];
            assert_eq!(produce(client, partition), NONE, "round {round}, partition {partition}");
        }
        for partition in 0..60 {
            let (error, bytes) = fetch(&mut clients[(partition as usize + 1) % 4], partition);
            assert_eq!((error, bytes / records().len()), (NONE, round), "partition {partition}");
        }
        let (all, of_segments) = descriptors(&broker);
        assert!(all <= 64 && of_segments <= 32, "{all} descriptors, {of_segments} of segments");
    }

    // Those who do not fit wait. The others are served, and nothing spins.
    let waiting: Vec<Client> = (0..40).map(|_| broker.connect()).collect();
    let ticks = cpu_ticks(&broker);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        for (partition, client) in clients.iter_mut().enumerate() {
            assert_eq!(fetch(client, partition as i32).0, NONE);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let per_second: u64 = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap().try_into().unwrap();
    assert!(cpu_ticks(&broker) - ticks < per_second / 3, "a core is burnt");
    drop(waiting);
    clients.push(broker.connect());
    let last = clients.last_mut().unwrap();
    assert_eq!(produce(last, 7), NONE);
    assert!(broker.stop().success());
}

#[test]
fn a_cap_of_eight_files_serves_fifty_partitions() {
    let broker = Broker::start_with(&["log.max.open.files=8"]);
    let mut client = broker.connect();
    create(&mut client, 50);
    for round in 1..=3 {
        for partition in 0..50 {
            assert_eq!(produce(&mut client, partition), NONE);
            assert_eq!(fetch(&mut client, partition), (NONE, round * records().len()));
            assert!(descriptors(&broker).1 <= 8);
        }
    }
}

fn recovery_point(data: &Path, partition: i32) -> Option<i64> {
    let text = fs::read_to_string(data.join("recovery-point-offset-checkpoint")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(&format!("{TOPIC} {partition} "))?.parse().ok())
}

#[test]
fn an_idle_log_becomes_durable_to_its_end_and_is_not_read_after_a_crash() {
    let broker = Broker::start_with(&["log.flush.offset.checkpoint.interval.ms=50"]);
    let mut client = broker.connect();
    create(&mut client, 1);
    (0..5).for_each(|_| assert_eq!(produce(&mut client, 0), NONE));
    let asked = Instant::now();
    while recovery_point(broker.data().path(), 0) != Some(5) {
        assert!(asked.elapsed() < PATIENCE, "the recovery point does not move");
        std::thread::sleep(Duration::from_millis(10));
    }
    let data = broker.data().clone();
    broker.kill();
    // A bit of the second batch's records: whoever read it would notice.
    flip(&data.path().join("t-0/00000000000000000000.log"), records().len() * 2 - 3);
    let broker = Broker::start_on(&data, &[]);
    assert_eq!(produce(&mut broker.connect(), 0), NONE);
    assert_eq!(fetch(&mut broker.connect(), 0), (NONE, 6 * records().len()));
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn logs_are_recovered_beside_one_that_is_damaged_and_the_log_says_how_far() {
    let dirs = Arc::new(TempDir::new().unwrap());
    let second = TempDir::new().unwrap();
    let settings = ["num.recovery.threads.per.data.dir=3"];
    let on_both = |mut command: Command| {
        command.arg("--data").arg(second.path());
        command
    };
    let broker = Broker::start_as(&dirs, &settings, on_both);
    let mut client = broker.connect();
    create(&mut client, 20);
    for partition in 0..20 {
        (0..3).for_each(|_| assert_eq!(produce(&mut client, partition), NONE));
    }
    broker.kill();
    let damaged = dirs.path().join("t-4/00000000000000000000.log");
    let damaged = if damaged.exists() { damaged } else { second.path().join("t-4/00000000000000000000.log") };
    flip(&damaged, records().len() - 3);

    let aside = TempDir::new().unwrap();
    let said = aside.path().join("log");
    let broker = Broker::start_as(&dirs, &settings, |command| {
        let mut command = on_both(command);
        command.stderr(fs::File::create(&said).unwrap());
        command
    });
    let mut client = broker.connect();
    for partition in 0..20 {
        let expected = if partition == 4 { (KAFKA_STORAGE_ERROR, 0) } else { (NONE, 3 * records().len()) };
        assert_eq!(fetch(&mut client, partition), expected);
    }
    let said = fs::read_to_string(&said).unwrap();
    let begun = said.lines().filter(|line| line.contains("recovering its logs") && line.contains("logs=10")).count();
    assert_eq!(begun, 2, "{said}");
    assert!(said.contains("logs recovered in"), "{said}");
    assert!(said.contains("t-4/00000000000000000000.log"), "{said}");
}

#[test]
fn connections_beyond_the_descriptors_wait_until_others_have_gone() {
    let broker = Broker::start_as(&Arc::new(TempDir::new().unwrap()), &[], with_descriptors(64));
    let mut held: Vec<Client> = (0..30).map(|_| broker.connect()).collect();
    let mut served = 0;
    for client in &mut held {
        client.send(0, &ApiVersionsRequest::default());
        served += usize::from(matches!(client.receive(Duration::from_millis(100)), Answer::Frame(_)));
    }
    assert!((4..20).contains(&served), "{served} served");
    let mut last = held.pop().unwrap();
    drop(held);
    assert!(matches!(last.receive(PATIENCE), Answer::Frame(_)));
}
