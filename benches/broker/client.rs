//! A lean client: requests encoded beforehand, answers looked at only as far as the next request needs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, ProduceRequest,
    ProduceResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::types::Timestamp;

use crate::{BATCH_BYTES, RECORD_BYTES};

const IN_FLIGHT: u64 = 5;
const FETCH_BYTES: i32 = 8 << 20;

pub struct Client {
    socket: TcpStream,
}

impl Client {
    /// Connects as soon as the broker listens.
    pub fn connect_until_up(port: u16) -> Client {
        let started = Instant::now();
        loop {
            if let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) {
                socket.set_nodelay(true).unwrap();
                return Client { socket };
            }
            assert!(started.elapsed() < Duration::from_secs(10), "the broker did not come up on port {port}");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    pub fn api_versions(&mut self) {
        self.send(&frame(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()));
        assert!(self.receive().len() > 6);
    }

    pub fn create_topic(&mut self, name: &'static str) {
        let topic = CreatableTopic::default()
            .with_name(StrBytes::from_static_str(name).into())
            .with_num_partitions(1)
            .with_replication_factor(1);
        self.send(&frame(
            ApiKey::CreateTopics,
            5,
            &CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000),
        ));
        let response: CreateTopicsResponse = decode(self.receive(), ApiKey::CreateTopics, 5);
        assert_eq!(response.topics[0].error_code, 0);
    }

    /// Produces about `mib` in batches of 1 MiB with acks=1, a few in flight.
    pub fn produce(&mut self, topic: &'static str, mib: u64) {
        let request = ProduceRequest::default().with_acks(1).with_timeout_ms(5000).with_topic_data(vec![
            TopicProduceData::default().with_name(StrBytes::from_static_str(topic).into()).with_partition_data(vec![
                PartitionProduceData::default().with_index(0).with_records(Some(batch().bytes)),
            ]),
        ]);
        let frame = frame(ApiKey::Produce, 9, &request);
        let (mut sent, mut answered) = (0, 0);
        while answered < mib {
            while sent < mib && sent - answered < IN_FLIGHT {
                self.send(&frame);
                sent += 1;
            }
            let response: ProduceResponse = decode(self.receive(), ApiKey::Produce, 9);
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
            answered += 1;
        }
    }

    /// Produces one batch of a few records with acks=1 and takes the answer.
    pub fn produce_small(&mut self, topic: &'static str) {
        let batch =
            (0..10).fold(BatchBuilder::new(Timestamp::now()), |batch, _| batch.record(None, Some(&[0x5a; 100])));
        let request = ProduceRequest::default().with_acks(1).with_timeout_ms(5000).with_topic_data(vec![
            TopicProduceData::default().with_name(StrBytes::from_static_str(topic).into()).with_partition_data(vec![
                PartitionProduceData::default().with_index(0).with_records(Some(batch.build().unwrap().bytes)),
            ]),
        ]);
        self.send(&frame(ApiKey::Produce, 9, &request));
        let response: ProduceResponse = decode(self.receive(), ApiKey::Produce, 9);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }

    /// Consumes at least `mib` from the beginning on.
    pub fn consume(&mut self, topic: &'static str, mib: u64) {
        self.consume_until(topic, mib, f64::INFINITY, &AtomicBool::new(false), &AtomicU64::new(0));
    }

    /// As [`Client::consume`], no faster than that, until told to stop; counts the bytes of records.
    pub fn consume_until(
        &mut self,
        topic: &'static str,
        mib: u64,
        mib_per_second: f64,
        stop: &AtomicBool,
        read: &AtomicU64,
    ) {
        let (started, mut offset, mut bytes) = (Instant::now(), 0, 0);
        while bytes < mib * (BATCH_BYTES as u64) * 99 / 100 && !stop.load(Ordering::Relaxed) {
            self.send(&fetch(topic, 0, offset, FETCH_BYTES));
            let response: FetchResponse = decode(self.receive(), ApiKey::Fetch, 12);
            let partition = &response.responses[0].partitions[0];
            assert_eq!(partition.error_code, 0);
            let mut records = partition.records.clone().unwrap();
            bytes += records.len() as u64;
            read.fetch_add(records.len() as u64, Ordering::Relaxed);
            let due = Duration::from_secs_f64(bytes as f64 / (1 << 20) as f64 / mib_per_second);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            while !records.is_empty() {
                offset = Batch::split_from(&mut records).unwrap().header.next_offset().0;
            }
        }
    }

    /// One fetch, as a consumer without a session sends it.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64, bytes_max: i32) -> Fetched {
        self.send(&fetch(topic, partition, offset, bytes_max));
        let response: FetchResponse = decode(self.receive(), ApiKey::Fetch, 12);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let mut records = partition.records.clone().unwrap_or_default();
        let bytes = records.len();
        let first = (bytes > 0).then(|| Batch::split_from(&mut records).unwrap().header.base_offset.0);
        Fetched { bytes, first_offset: first }
    }

    fn send(&mut self, frame: &[u8]) {
        self.socket.write_all(frame).unwrap();
    }

    fn receive(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut frame).unwrap();
        frame.into()
    }
}

/// What a fetch found.
pub struct Fetched {
    pub bytes: usize,
    pub first_offset: Option<i64>,
}

/// One record of 100 bytes.
pub fn small_batch() -> Batch {
    BatchBuilder::new(Timestamp::now()).record(None, Some(&[0x5a; 100])).build().unwrap()
}

/// One batch of 1 KiB records, just under 1 MiB with its header.
pub fn batch() -> Batch {
    let value = [0x5a; RECORD_BYTES];
    let records = BATCH_BYTES / (RECORD_BYTES + 16);
    let builder = (0..records).fold(BatchBuilder::new(Timestamp::now()), |batch, _| batch.record(None, Some(&value)));
    builder.build().unwrap()
}

fn fetch(topic: &str, partition: i32, offset: i64, bytes_max: i32) -> Bytes {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(bytes_max);
    let name = StrBytes::from_string(topic.to_owned());
    let topic = FetchTopic::default().with_topic(name.into()).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(bytes_max)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    frame(ApiKey::Fetch, 12, &request)
}

fn frame(api: ApiKey, version: i16, request: &impl Encodable) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let mut body = BytesMut::new();
    header.encode(&mut body, api.request_header_version(version)).unwrap();
    request.encode(&mut body, version).unwrap();
    let mut frame = BytesMut::from(&(body.len() as i32).to_be_bytes()[..]);
    frame.unsplit(body);
    frame.freeze()
}

fn decode<R: Decodable>(mut frame: Bytes, api: ApiKey, version: i16) -> R {
    ResponseHeader::decode(&mut frame, api.response_header_version(version)).unwrap();
    R::decode(&mut frame, version).unwrap()
}
