//! What is done between the measurements: one request at a time, answers decoded whole.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    MetadataRequest, MetadataResponse, ProduceResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::frames::{PRODUCE_VERSION, decode, frame, topic_name};

const UP_WAIT_MAX: Duration = Duration::from_secs(30);
const LEADERS_WAIT_MAX: Duration = Duration::from_secs(60);
const TIMEOUT_MS: i32 = 60_000;

pub struct Control {
    socket: TcpStream,
}

impl Control {
    /// Connects as soon as the broker listens.
    pub fn connect(address: SocketAddr) -> Control {
        let started = Instant::now();
        loop {
            if let Ok(socket) = TcpStream::connect(address) {
                socket.set_nodelay(true).unwrap();
                return Control { socket };
            }
            assert!(started.elapsed() < UP_WAIT_MAX, "nothing listens on {address}");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    pub fn api_versions(&mut self) {
        let answer = self.exchange(&frame(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()));
        assert!(answer.len() > 6, "ApiVersions: {answer:?}");
    }

    /// Creates a topic whose files go at once when it is deleted, and waits until it can be written.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&'static str, &'static str)]) {
        let config = |&(key, value): &(&'static str, &'static str)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(key))
                .with_value(Some(StrBytes::from_static_str(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().chain(&[("file.delete.delay.ms", "0")]).map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
        let response: CreateTopicsResponse = self.call(ApiKey::CreateTopics, 5, &request);
        let topic = &response.topics[0];
        assert_eq!(topic.error_code, 0, "topic {name}: {:?}", topic.error_message);
        self.await_leaders(name);
    }

    fn await_leaders(&mut self, name: &str) {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let started = Instant::now();
        loop {
            let response: MetadataResponse = self.call(ApiKey::Metadata, 9, &request);
            let topic = &response.topics[0];
            if topic.error_code == 0 && topic.partitions.iter().all(|partition| partition.error_code == 0) {
                return;
            }
            assert!(started.elapsed() < LEADERS_WAIT_MAX, "topic {name} does not become available");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn delete_topic(&mut self, name: &str) {
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![topic_name(name)]).with_timeout_ms(TIMEOUT_MS);
        let response: DeleteTopicsResponse = self.call(ApiKey::DeleteTopics, 4, &request);
        assert_eq!(response.responses[0].error_code, 0, "deleting topic {name}");
    }

    /// Sends a Produce of the version that [`super::frames`] has.
    pub fn produce(&mut self, frame: &[u8]) {
        let answer: ProduceResponse = decode(self.exchange(frame), ApiKey::Produce, PRODUCE_VERSION);
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        partitions.for_each(|partition| assert_eq!(partition.error_code, 0, "Produce: {partition:?}"));
    }

    pub fn call<R: Decodable>(&mut self, api: ApiKey, version: i16, request: &impl Encodable) -> R {
        decode(self.exchange(&frame(api, version, request)), api, version)
    }

    pub fn exchange(&mut self, frame: &[u8]) -> Bytes {
        self.socket.write_all(frame).unwrap();
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut answer).unwrap();
        answer.into()
    }
}
