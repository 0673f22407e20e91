//! What bad input gets: a refusal, a closed connection, and nothing else disturbed.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Buf, Bytes};
use fastrand::Rng;
use kafka_protocol::messages::fetch_request::ReplicaState;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, FetchRequest, ListOffsetsRequest,
    MetadataRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, Request};
use uuid::Uuid;

use ottla::protocol::batch::Batch as RecordBatch;
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::compression::{Codec, DECOMPRESSED_BYTES_MAX};
use ottla::protocol::guard::{self, GuardError};
use ottla::types::Timestamp;
use support::batch::Batch;
use support::topics::{self, create_configured_topic, create_topic, fetch, topic_name};
use support::{Answer, Broker, Client, encoded, request_frame, requests};

/// Frames in each storm; `OTTLA_TEST_FRAMES` makes it a longer one.
fn frames() -> usize {
    std::env::var("OTTLA_TEST_FRAMES").map_or(10_000, |count| count.parse().unwrap())
}

/// How much larger the broker may be after a storm: thread stacks, the allocator's free lists, groups that were joined.
const GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How long a storm waits for an answer that a mutant may have asked to be delayed, or not to be sent at all.
const PATIENCE: Duration = Duration::from_millis(20);
/// `socket.request.max.bytes`.
const FRAME_LEN_MAX: i32 = 104_857_600;

const NONE: i16 = 0;
const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const UNSUPPORTED_VERSION: i16 = 35;
const INVALID_RECORD: i16 = 87;

// Storms

#[test]
fn ten_thousand_random_frames_disturb_nobody() {
    let broker = Broker::start();
    let mut rng = seeded_rng();
    storm(broker, (0..frames()).map(|_| random_frame(&mut rng)));
}

#[test]
fn ten_thousand_mutants_of_valid_requests_of_every_served_api_disturb_nobody() {
    let broker = Broker::start_with(&["auto.create.topics.enable=false"]);
    let samples = samples_of_served_apis(&broker);
    let mut rng = seeded_rng();
    storm(broker, samples.iter().cycle().take(frames().max(samples.len())).map(|sample| mutant(sample, &mut rng)));
}

/// Sends every frame, while a steady client asks on, and looks at what is left of the broker.
fn storm(mut broker: Broker, frames: impl Iterator<Item = Vec<u8>>) {
    let steady = SteadyClient::start(broker.address());
    let resident_before = broker.resident_bytes();
    let mut connection = None;
    for frame in frames {
        let mut client = connection.take().unwrap_or_else(|| broker.connect());
        client.send_frame(&frame);
        if matches!(client.receive(PATIENCE), Answer::Frame(_)) {
            connection = Some(client);
        }
    }
    drop(connection);
    assert!(broker.is_running());
    assert!(steady.stop() > 0);
    let resident_after = broker.resident_bytes();
    assert!(
        resident_after <= resident_before + GROWTH_BYTES_MAX,
        "resident memory grew from {resident_before} to {resident_after} bytes"
    );
    assert!(broker.stop().success());
}

/// Repeats a failure: set `OTTLA_TEST_SEED` to the seed printed.
fn seeded_rng() -> Rng {
    let seed = std::env::var("OTTLA_TEST_SEED").map_or(0x07717a, |seed| seed.parse().unwrap());
    println!("OTTLA_TEST_SEED={seed}");
    Rng::with_seed(seed)
}

/// Half of them are random from the first byte, half have a plausible header.
fn random_frame(rng: &mut Rng) -> Vec<u8> {
    let noise: Vec<u8> = (0..rng.usize(..200)).map(|_| rng.u8(..)).collect();
    if rng.bool() {
        return noise;
    }
    request_frame(rng.i16(..95), rng.i16(..16), rng.i32(..), &noise)
}

/// A valid request frame, and where its body starts.
struct Sample {
    frame: Vec<u8>,
    body_start: usize,
}

fn samples_of_served_apis(broker: &Broker) -> Vec<Sample> {
    let served = broker.connect().request(0, &ApiVersionsRequest::default()).api_keys;
    assert!(!served.is_empty());
    let mut samples = Vec::new();
    for range in served {
        let api = ApiKey::try_from(range.api_key).unwrap();
        let known = api.valid_versions();
        // Produce is listed from version 0 on, which is refused.
        for version in range.min_version.max(known.min)..=range.max_version {
            let body = requests::sample(api, version).unwrap_or_else(|| panic!("no sample request of {api:?}"));
            let frame = request_frame(range.api_key, version, 1, &body);
            samples.push(Sample { body_start: frame.len() - body.len(), frame });
        }
    }
    samples
}

#[test]
fn every_sample_is_a_valid_request() {
    let apis = (0..100).filter_map(|key| ApiKey::try_from(key).ok());
    let mut samples = 0;
    for (api, version) in apis.flat_map(|api| (0..20).map(move |version| (api, version))) {
        // The guard knows the versions that can be decoded; the others cannot be encoded either.
        if matches!(guard::check(api, version, &[]), Err(GuardError::UnknownApi(_) | GuardError::UnknownVersion { .. }))
        {
            continue;
        }
        let Some(body) = requests::sample(api, version) else { continue };
        assert_eq!(guard::check(api, version, &body), Ok(()), "{api:?} v{version}");
        samples += 1;
    }
    assert!(samples > 100, "{samples} samples");
}

/// Some bytes changed, or a piece cut out, or doubled. Mostly in the body: a broken header is the other storm's matter.
fn mutant(sample: &Sample, rng: &mut Rng) -> Vec<u8> {
    let mut frame = sample.frame.clone();
    let start = if rng.u8(..20) == 0 { 0 } else { sample.body_start };
    if start == frame.len() {
        return frame;
    }
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(start..frame.len());
        let any = rng.u8(..);
        frame[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff, any]).unwrap();
    }
    let piece_start = rng.usize(start..frame.len());
    let piece_end = rng.usize(piece_start..=frame.len().min(piece_start + 8));
    match rng.u8(..4) {
        0 => drop(frame.drain(piece_start..piece_end)),
        1 => frame.extend_from_within(piece_start..piece_end),
        _ => {}
    }
    frame
}

/// A client that asks every few milliseconds and must always be answered.
struct SteadyClient {
    stop: Sender<()>,
    thread: JoinHandle<usize>,
}

impl SteadyClient {
    fn start(address: SocketAddr) -> SteadyClient {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut client = Client::connect(address);
            let mut answers = 0;
            while stopped.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
                let metadata = client.request(12, &MetadataRequest::default().with_topics(Some(vec![])));
                assert_eq!(metadata.brokers.len(), 1);
                answers += 1;
            }
            answers
        });
        SteadyClient { stop, thread }
    }

    /// How many answers it got.
    fn stop(self) -> usize {
        let _ = self.stop.send(());
        self.thread.join().expect("the steady client was disturbed")
    }
}

// Frames

/// Sends bytes on a connection of their own: it must be closed without an answer, and the broker must serve the next.
#[track_caller]
fn assert_closes(bytes: &[u8]) {
    let mut broker = Broker::start();
    let mut bystander = broker.connect();
    let mut client = broker.connect();
    client.send_raw(bytes);
    client.expect_closed();
    assert!(broker.is_running());
    assert_answers(&mut bystander);
    assert_answers(&mut broker.connect());
}

#[track_caller]
fn assert_closes_on(api_key: i16, version: i16, body: &[u8]) {
    assert_closes(&support::framed(&request_frame(api_key, version, 1, body)));
}

#[track_caller]
fn assert_answers(client: &mut Client) {
    assert_eq!(client.request(0, &ApiVersionsRequest::default()).error_code, NONE);
}

#[test]
fn a_frame_over_the_limit_closes_the_connection() {
    assert_closes(&(FRAME_LEN_MAX + 1).to_be_bytes());
    assert_closes(&i32::MAX.to_be_bytes());
}

#[test]
fn a_negative_length_closes_the_connection() {
    assert_closes(&(-1_i32).to_be_bytes());
    assert_closes(&i32::MIN.to_be_bytes());
}

#[test]
fn a_frame_too_short_for_a_header_closes_the_connection() {
    for length in [0, 1, 3, 7, 9] {
        assert_closes(&support::framed(&vec![0; length]));
    }
}

#[test]
fn a_frame_cut_short_is_dropped_with_its_connection() {
    let mut broker = Broker::start();
    let whole = support::framed(&request_frame(ApiVersionsRequest::KEY, 0, 1, &[]));
    for length in 1..whole.len() {
        let mut client = broker.connect();
        client.send_raw(&whole[..length]);
        client.finish_sending();
        client.expect_closed();
    }
    assert!(broker.is_running());
    assert_answers(&mut broker.connect());
}

#[test]
fn an_unknown_api_closes_the_connection() {
    assert_closes_on(9999, 0, &[]);
    assert_closes_on(-1, 0, &[]);
}

#[test]
fn an_unknown_version_closes_the_connection() {
    for version in [-1, 99] {
        assert_closes_on(MetadataRequest::KEY, version, &encoded(&MetadataRequest::default(), 0));
    }
    assert_closes_on(ProduceRequest::KEY, 2, &encoded(&ProduceRequest::default(), 3));
}

#[test]
fn api_versions_of_an_unknown_version_is_answered_with_version_0_and_those_that_are_known() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for version in [99, i16::MAX, -1] {
        client.send_frame(&request_frame(ApiVersionsRequest::KEY, version, 5, b"whatever is to come"));
        let mut frame = client.receive_frame();
        assert_eq!(frame.get_i32(), 5);
        let response = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
        assert!(frame.is_empty());
        assert_eq!(response.error_code, UNSUPPORTED_VERSION);
        let own = response.api_keys.iter().find(|range| range.api_key == ApiVersionsRequest::KEY).unwrap();
        assert!(own.min_version == 0 && own.max_version >= 4, "{own:?}");
    }
    assert_answers(&mut client);
}

#[test]
fn a_body_that_does_not_decode_closes_the_connection() {
    let not_utf8 = b"\0\0\0\x01\0\x01\xff";
    assert_closes_on(MetadataRequest::KEY, 1, not_utf8);
    let ends_within_a_name = b"\0\0\0\x01\0\x05ab";
    assert_closes_on(MetadataRequest::KEY, 1, ends_within_a_name);
    let null_in_version_0 = b"\xff\xff\xff\xff";
    assert_closes_on(MetadataRequest::KEY, 0, null_in_version_0);
}

#[test]
fn a_count_beyond_the_bytes_of_the_body_closes_the_connection() {
    assert_closes_on(CreateTopicsRequest::KEY, 2, &[0x7f, 0xff, 0xff, 0xff]);
    assert_closes_on(CreateTopicsRequest::KEY, 7, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_closes_on(MetadataRequest::KEY, 1, b"\0\0\0\x02\0\x01a");
}

#[test]
fn pipelined_requests_are_answered_in_order_even_if_the_first_waits() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_topic(&mut client, "pipelined");
    let waiting = client.send(11, &fetch("pipelined", 0).with_max_wait_ms(500).with_min_bytes(1));
    let immediate = client.send(0, &ApiVersionsRequest::default());
    let fetched = client.response::<FetchRequest>(11, waiting);
    assert_eq!(fetched.responses[0].partitions[0].error_code, NONE);
    assert_eq!(client.response::<ApiVersionsRequest>(0, immediate).error_code, NONE);
}

// Records

#[test]
fn a_batch_with_a_bad_crc_is_a_corrupt_message() {
    assert_rejected(&Batch { crc_error: 1, ..Batch::of("value") }, CORRUPT_MESSAGE);
}

#[test]
fn a_batch_of_another_magic_is_an_invalid_record() {
    for magic in [0, 1, 3, -1] {
        assert_rejected(&Batch { magic, ..Batch::of("value") }, INVALID_RECORD);
    }
}

#[test]
fn a_batch_whose_count_and_offsets_disagree_is_an_invalid_record() {
    assert_rejected(&Batch { last_offset_delta: 1, ..Batch::of("value") }, INVALID_RECORD);
    assert_rejected(&Batch { last_offset_delta: -1, ..Batch::of("value") }, INVALID_RECORD);
    assert_rejected(&Batch { records_count: 0, ..Batch::of("value") }, INVALID_RECORD);
    assert_rejected(&Batch { records_count: i32::MAX, ..Batch::of("value") }, INVALID_RECORD);
}

#[test]
fn a_batch_that_is_longer_than_its_bytes_is_an_invalid_record() {
    assert_rejected(&Batch { length_error: 1, ..Batch::of("value") }, INVALID_RECORD);
}

#[test]
fn a_batch_over_the_limit_is_too_large() {
    assert_rejected(&Batch::of(vec![b'v'; 2 * 1024 * 1024]), MESSAGE_TOO_LARGE);
}

#[test]
fn a_decompression_bomb_is_too_large_and_leaves_no_memory_taken() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_configured_topic(&mut client, "anew", &[("compression.type", "lz4")]);
    create_configured_topic(&mut client, "uncompressed", &[("compression.type", "uncompressed")]);
    create_configured_topic(&mut client, "compacted", &[("cleanup.policy", "compact")]);
    let bombs = [(Codec::Gzip, gzip_bomb()), (Codec::Zstd, zstd_bomb())].map(|(codec, records)| {
        let mut header = BatchBuilder::new(Timestamp::now()).record(None, None).build().unwrap().header;
        header.attributes = header.attributes.with_codec_id(codec.id());
        RecordBatch::assemble(header, &records).unwrap().bytes
    });
    assert!(bombs.iter().all(|bomb| bomb.len() < 1 << 20), "under max.message.bytes");
    let resident_before = broker.resident_bytes();
    for topic in ["anew", "uncompressed", "compacted"] {
        for bomb in &bombs {
            assert_eq!(produce(&mut client, topic, bomb.clone()), (MESSAGE_TOO_LARGE, -1), "{topic}");
            let resident_after = broker.resident_bytes();
            assert!(
                resident_after <= resident_before + GROWTH_BYTES_MAX,
                "{topic}: resident memory grew from {resident_before} to {resident_after} bytes"
            );
        }
        let keyed = BatchBuilder::new(Timestamp::now()).record(Some(b"k"), None).build().unwrap();
        assert_eq!(produce(&mut client, topic, keyed.bytes), (NONE, 0), "{topic}");
    }
    let most = broker.most_resident_bytes() - resident_before;
    assert!(most <= DECOMPRESSED_BYTES_MAX as u64 + GROWTH_BYTES_MAX, "up to {most} bytes were taken");
}

fn gzip_bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    write_zeros(&mut encoder);
    encoder.finish().unwrap()
}

fn zstd_bomb() -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    write_zeros(&mut encoder);
    encoder.finish().unwrap()
}

/// More than the broker expands a batch to.
fn write_zeros(encoder: &mut impl Write) {
    let zeros = vec![0; 1 << 20];
    (0..=DECOMPRESSED_BYTES_MAX >> 20).for_each(|_| encoder.write_all(&zeros).unwrap());
}

/// A bad batch must be refused and append nothing; a good one after it is the first of the log.
#[track_caller]
fn assert_rejected(bad: &Batch, error_code: i16) {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_topic(&mut client, "records");
    assert_eq!(produce(&mut client, "records", bad.encode()).0, error_code, "{bad:?}");
    assert_eq!(latest_offset(&mut client, "records"), 0);
    assert_eq!(produce(&mut client, "records", Batch::of("good").encode()), (NONE, 0));
    assert_eq!(latest_offset(&mut client, "records"), 1);
}

#[test]
fn a_fetch_that_claims_to_be_a_replica_is_an_ordinary_clients() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_topic(&mut client, "replicated");
    let batch = Batch::of("value").encode();
    assert_eq!(produce(&mut client, "replicated", batch.clone()), (NONE, 0));

    let by_field = fetch("replicated", 0).with_replica_id(BrokerId(5));
    let response = client.request(11, &by_field);
    assert_eq!(records_after_crc(&response.responses[0].partitions[0].records), batch[17..]);

    let replica = ReplicaState::default().with_replica_id(BrokerId(5)).with_replica_epoch(1);
    let mut by_tag = fetch("replicated", 0).with_replica_id(BrokerId(-1)).with_replica_state(replica);
    by_tag.topics[0].topic = TopicName::default();
    by_tag.topics[0].topic_id = topic_id(&mut client, "replicated");
    let response = client.request(15, &by_tag);
    assert_eq!(records_after_crc(&response.responses[0].partitions[0].records), batch[17..]);
}

/// Everything of a batch from its CRC on: before it stands what the broker sets.
fn records_after_crc(records: &Option<Bytes>) -> Bytes {
    let records = records.clone().unwrap();
    let magic_and_crc_start = 16;
    assert_eq!(records[magic_and_crc_start], 2);
    records.slice(magic_and_crc_start + 1..)
}

/// The partition's error code and base offset.
fn produce(client: &mut Client, topic: &str, records: Bytes) -> (i16, i64) {
    let partition = topics::produce(client, topic, records);
    (partition.error_code, partition.base_offset)
}

fn latest_offset(client: &mut Client, topic: &str) -> i64 {
    let latest = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-1);
    let wanted = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![latest]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]);
    let response = client.request(7, &request);
    let partition = &response.topics[0].partitions[0];
    assert_eq!(partition.error_code, NONE);
    partition.offset
}

fn topic_id(client: &mut Client, topic: &str) -> Uuid {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    client.request(12, &MetadataRequest::default().with_topics(Some(vec![wanted]))).topics[0].topic_id
}
