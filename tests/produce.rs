//! What a topic's configuration does to the batches that are produced to it, over the wire and on the disk.

mod support;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};
use ottla::protocol::batch::{Batch, TimestampType};
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::compression::{self, Codec};
use ottla::protocol::records::BatchRecords;
use ottla::types::{ProducerEpoch, ProducerId, Timestamp};
use support::topics::{self, create_configured_topic, fetch, produce};
use support::{Broker, Client};

const TOPIC: &str = "t";
const NONE: i16 = 0;
const MESSAGE_TOO_LARGE: i16 = 10;
const RECORD_LIST_TOO_LARGE: i16 = 18;
const INVALID_TIMESTAMP: i16 = 32;
const INVALID_CONFIG: i16 = 40;
const INVALID_RECORD: i16 = 87;

const CODECS: [(&str, Codec); 5] = [
    ("uncompressed", Codec::None),
    ("gzip", Codec::Gzip),
    ("snappy", Codec::Snappy),
    ("lz4", Codec::Lz4),
    ("zstd", Codec::Zstd),
];

/// Three records, with what a client library may not be able to write.
fn builder(now: Timestamp) -> BatchBuilder {
    BatchBuilder::new(now)
        .record_at(now, Some(b"key"), Some(&[b'v'; 500]), &[(b"dup", Some(b"a")), (b"dup", Some(b"b"))])
        .record_at(Timestamp(now.0 - 7), Some(b""), None, &[(b"\xff\x00\xfe", None)])
        .record_at(now, Some(b"last"), Some(b""), &[])
}

fn compressed(builder: BatchBuilder, codec: Codec) -> Batch {
    builder.build_compressed(codec, None).unwrap().unwrap()
}

/// The batches of the topic from `offset` on.
fn fetched(client: &mut Client, topic: &str, offset: i64) -> Vec<Batch> {
    let response = client.request(12, &fetch(topic, offset));
    let mut records = response.responses[0].partitions[0].records.clone().unwrap();
    let mut batches = Vec::new();
    while !records.is_empty() {
        let batch = Batch::split_from(&mut records).unwrap();
        batch.check_crc().unwrap();
        batches.push(batch);
    }
    batches
}

fn codec_of(batch: &Batch) -> Codec {
    Codec::from_id(batch.header.attributes.codec_id()).unwrap()
}

/// The batch's records as bytes, uncompressed.
fn payload(batch: &Batch) -> Vec<u8> {
    BatchRecords::open(batch, 1 << 20).unwrap().payload().to_vec()
}

fn indexes_at_fault(response: &PartitionProduceResponse) -> Vec<i32> {
    response.record_errors.iter().map(|error| error.batch_index).collect()
}

// compression.type

#[test]
fn batches_are_stored_in_the_topics_codec_whatever_they_were_sent_in() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for (name, target) in CODECS {
        create_configured_topic(&mut client, name, &[("compression.type", name)]);
        for (sent_before, (_, source)) in CODECS.into_iter().enumerate() {
            let sent = compressed(builder(Timestamp::now()), source);
            let base_offset = 3 * sent_before as i64;
            let response = produce(&mut client, name, sent.bytes.clone());
            assert_eq!((response.error_code, response.base_offset), (NONE, base_offset));
            let batch = fetched(&mut client, name, base_offset).remove(0);
            assert_eq!((codec_of(&batch), batch.header.base_offset.0), (target, base_offset));
            assert_eq!(payload(&batch), payload(&sent), "{} to {name}", source.name());
            assert_eq!(batch.header.max_timestamp, sent.header.max_timestamp);
            if source == target {
                assert_eq!(batch.records(), sent.records(), "not touched");
            }
        }
    }
}

#[test]
fn the_brokers_codec_and_level_are_for_topics_without_their_own() {
    let broker = Broker::start_with(&["compression.type=gzip", "compression.gzip.level=1"]);
    let mut client = broker.connect();
    create_configured_topic(&mut client, "brokers", &[]);
    create_configured_topic(&mut client, "own", &[("compression.gzip.level", "9")]);
    create_configured_topic(&mut client, "producers", &[("compression.type", "producer")]);
    let text: String = (0..5000).map(|n: i32| n.to_string()).collect();
    let sent = BatchBuilder::new(Timestamp::now()).record(None, Some(text.as_bytes())).build().unwrap();
    let mut stored = |topic| {
        assert_eq!(produce(&mut client, topic, sent.bytes.clone()).error_code, NONE);
        fetched(&mut client, topic, 0).remove(0)
    };
    let at_level = |level| compression::compress(Codec::Gzip, Some(level), sent.records()).unwrap();
    assert_ne!(at_level(1), at_level(9));
    assert_eq!(stored("brokers").records(), at_level(1));
    assert_eq!(stored("own").records(), at_level(9));
    assert_eq!(stored("producers").records(), sent.records());
}

#[test]
fn a_producers_retry_of_a_batch_that_was_compressed_anew_is_known() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_configured_topic(&mut client, TOPIC, &[("compression.type", "zstd")]);
    let sequenced = |sequence| builder(Timestamp::now()).producer(ProducerId(5), ProducerEpoch(0), sequence);
    for (sequence, base_offset) in [(0, 0), (3, 3), (0, 0), (3, 3), (6, 6)] {
        let sent = compressed(sequenced(sequence), Codec::Snappy);
        assert_eq!(produce(&mut client, TOPIC, sent.bytes).base_offset, base_offset);
    }
    let headers: Vec<_> = fetched(&mut client, TOPIC, 0).iter().map(|batch| batch.header).collect();
    assert_eq!(headers.iter().map(|header| header.base_sequence).collect::<Vec<_>>(), [0, 3, 6]);
    assert!(headers.iter().all(|header| header.producer_id == ProducerId(5)));
}

#[test]
fn long_and_short_work_on_one_connection_takes_effect_in_its_order() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_configured_topic(&mut client, TOPIC, &[("compression.type", "gzip")]);
    let batch = |value_bytes, codec| {
        let value: Vec<u8> = (0..value_bytes).map(|_| fastrand::u8(..)).collect();
        compressed(BatchBuilder::new(Timestamp::now()).record(None, Some(&value)), codec)
    };
    let sent = [batch(900_000, Codec::None), batch(10, Codec::None), batch(500_000, Codec::Lz4), batch(9, Codec::Gzip)];
    let requests = sent.clone().map(|batch| client.send(9, &topics::produce_request(TOPIC, batch.bytes)));
    for (base_offset, request) in requests.into_iter().enumerate() {
        let response = topics::produced(client.response::<ProduceRequest>(9, request));
        assert_eq!((response.error_code, response.base_offset), (NONE, base_offset as i64));
    }
}

#[test]
fn a_batch_that_takes_long_to_compress_holds_up_nobody_else() {
    const LARGE_BYTES: usize = 1 << 20;
    let broker = Broker::start();
    let mut bystander = broker.connect();
    let configs = [("compression.type", "zstd"), ("compression.zstd.level", "19"), ("max.message.bytes", "2097152")];
    create_configured_topic(&mut bystander, TOPIC, &configs);
    let value: Vec<u8> = (0..LARGE_BYTES).map(|_| fastrand::u8(b'a'..b'q')).collect();
    let large = BatchBuilder::new(Timestamp::now()).record(None, Some(&value)).build().unwrap().bytes;

    // As many as there are workers: each would be taken by one of them.
    let workers = thread::available_parallelism().unwrap().get();
    let asked = Instant::now();
    let producers = (0..workers).map(|_| {
        let (mut client, large) = (broker.connect(), large.clone());
        thread::spawn(move || {
            let response = produce(&mut client, TOPIC, large);
            (response.error_code, asked.elapsed())
        })
    });
    let producers: Vec<_> = producers.collect();
    let mut longest_wait = Duration::ZERO;
    while producers.iter().any(|producer| !producer.is_finished()) {
        let asked = Instant::now();
        bystander.request(0, &ApiVersionsRequest::default());
        longest_wait = longest_wait.max(asked.elapsed());
    }
    let produced = producers.into_iter().map(|producer| producer.join().unwrap());
    let shortest_work = produced.map(|(error_code, took)| (error_code == NONE).then_some(took).unwrap()).min().unwrap();
    assert!(longest_wait < shortest_work / 2, "waited {longest_wait:?} beside work of {shortest_work:?}");
}

#[test]
fn a_codec_of_no_known_name_or_a_level_out_of_range_is_refused_with_the_topic() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for (key, value) in [
        ("compression.type", "brotli"),
        ("compression.type", "none"),
        ("compression.type", ""),
        ("compression.gzip.level", "10"),
        ("compression.zstd.level", "23"),
    ] {
        let refused = topics::try_to_create_topic(&mut client, TOPIC, &[(key, value)]);
        let message = refused.error_message.unwrap().to_string();
        assert_eq!(refused.error_code, INVALID_CONFIG, "{key}={value}: {message}");
        assert!(message.starts_with(&format!("Invalid value {value} for configuration {key}")), "{message}");
    }
    create_configured_topic(&mut client, TOPIC, &[("compression.type", "zstd"), ("compression.zstd.level", "22")]);
}

// Sizes

#[test]
fn max_message_bytes_is_for_the_batch_as_it_was_sent_and_as_it_is_stored() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let zeros = || BatchBuilder::new(Timestamp::now()).record(Some(b"k"), Some(&[0; 3000]));
    let (plain, small) = (compressed(zeros(), Codec::None), compressed(zeros(), Codec::Zstd));
    let just = plain.bytes.len().to_string();
    let too_little = (plain.bytes.len() - 1).to_string();
    let uncompressed = ("compression.type", "uncompressed");
    let zstd = ("compression.type", "zstd");
    for (topic, configs, sent, error_code) in [
        ("just", vec![("max.message.bytes", just.as_str())], &plain, NONE),
        ("sent", vec![("max.message.bytes", &too_little)], &plain, MESSAGE_TOO_LARGE),
        ("small", vec![("max.message.bytes", &too_little)], &small, NONE),
        ("just-stored", vec![("max.message.bytes", &just), uncompressed], &small, NONE),
        ("stored", vec![("max.message.bytes", &too_little), uncompressed], &small, MESSAGE_TOO_LARGE),
        ("sent-though-stored-small", vec![("max.message.bytes", &too_little), zstd], &plain, MESSAGE_TOO_LARGE),
    ] {
        create_configured_topic(&mut client, topic, &configs);
        assert_eq!(produce(&mut client, topic, sent.bytes.clone()).error_code, error_code, "{topic}");
    }
}

#[test]
fn a_batch_larger_than_a_segment_is_a_record_list_too_large() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let segment = [("segment.bytes", "1048576"), ("max.message.bytes", "4194304")];
    create_configured_topic(&mut client, TOPIC, &segment);
    create_configured_topic(&mut client, "zstd", &[&segment[..], &[("compression.type", "zstd")]].concat());
    let large = BatchBuilder::new(Timestamp::now()).record(None, Some(&[0; 2 << 20])).build().unwrap();
    let refused = produce(&mut client, TOPIC, large.bytes.clone());
    assert_eq!((refused.error_code, refused.base_offset), (RECORD_LIST_TOO_LARGE, -1));
    assert_eq!(produce(&mut client, TOPIC, compressed(builder(Timestamp::now()), Codec::None).bytes).base_offset, 0);
    assert_eq!(produce(&mut client, "zstd", large.bytes).error_code, NONE, "it is small once it is stored");
}

// Records

#[test]
fn records_without_a_key_are_refused_by_a_compacted_topic_and_named() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let zstd = ("compression.type", "zstd");
    create_configured_topic(&mut client, TOPIC, &[("cleanup.policy", "compact")]);
    create_configured_topic(&mut client, "anew", &[("cleanup.policy", "compact,delete"), zstd]);
    let now = Timestamp::now();
    for (topic, (_, codec)) in [TOPIC, "anew"].into_iter().flat_map(|topic| CODECS.map(|codec| (topic, codec))) {
        let sent = builder(now).record(None, Some(b"3")).record(Some(b"4"), None).record(None, None);
        let refused = produce(&mut client, topic, compressed(sent, codec).bytes);
        assert_eq!((refused.error_code, indexes_at_fault(&refused)), (INVALID_RECORD, vec![3, 5]), "{}", codec.name());
        assert!(refused.error_message.is_some());
    }
    for topic in [TOPIC, "anew"] {
        assert_eq!(produce(&mut client, topic, compressed(builder(now), Codec::Lz4).bytes).base_offset, 0);
    }
}

#[test]
fn timestamps_too_early_and_too_late_are_refused_and_named() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let bounds = [("message.timestamp.before.max.ms", "60000"), ("message.timestamp.after.max.ms", "120000")];
    create_configured_topic(&mut client, TOPIC, &bounds);
    create_configured_topic(&mut client, "anew", &[&bounds[..], &[("compression.type", "lz4")]].concat());
    create_configured_topic(&mut client, "append-time", &[&bounds[..], &[APPEND_TIME]].concat());
    let now = Timestamp::now().0;
    let batch = |later_ms: [i64; 3]| {
        let record = |builder: BatchBuilder, ms| builder.record_at(Timestamp(now + ms), None, None, &[]);
        later_ms.into_iter().fold(BatchBuilder::new(Timestamp(now)), record).build().unwrap().bytes
    };
    let (early, late, within) = (batch([0, -70_000, -65_000]), batch([130_000, 0, 1]), batch([0, -50_000, 110_000]));
    for topic in [TOPIC, "anew"] {
        let refused = produce(&mut client, topic, early.clone());
        assert_eq!((refused.error_code, indexes_at_fault(&refused)), (INVALID_TIMESTAMP, vec![1, 2]), "{topic}");
        let refused = produce(&mut client, topic, late.clone());
        assert_eq!((refused.error_code, indexes_at_fault(&refused)), (INVALID_TIMESTAMP, vec![0]), "{topic}");
        let accepted = produce(&mut client, topic, within.clone());
        assert_eq!((accepted.error_code, accepted.log_append_time_ms), (NONE, -1), "{topic}");
    }
    for sent in [early, late] {
        assert_eq!(produce(&mut client, "append-time", sent).error_code, NONE, "its own time is not looked at");
    }
}

const APPEND_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

#[test]
fn append_time_is_answered_and_goes_over_the_records_times() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_configured_topic(&mut client, TOPIC, &[APPEND_TIME]);
    create_configured_topic(&mut client, "anew", &[APPEND_TIME, ("compression.type", "gzip")]);
    for topic in [TOPIC, "anew"] {
        let before = Timestamp::now();
        let sent = compressed(builder(Timestamp(1_000_000)), Codec::Zstd);
        let answered = Timestamp(produce(&mut client, topic, sent.bytes.clone()).log_append_time_ms);
        assert!((before..=Timestamp::now()).contains(&answered));
        let batch = fetched(&mut client, topic, 0).remove(0);
        assert_eq!(batch.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((batch.header.max_timestamp, payload(&batch)), (answered, payload(&sent)));
        let records = BatchRecords::open(&batch, 1 << 20).unwrap();
        assert!(records.iter().all(|record| records.timestamp(&record.unwrap()) == answered));
    }
}

// Indexes

#[test]
fn index_keys_decide_over_the_files() {
    let broker = Broker::start();
    let mut client = broker.connect();
    // Room for three entries of the offset index, and in the time index for one beside that of the seal.
    let dense = [("index.interval.bytes", "0"), ("segment.index.bytes", "24")];
    create_configured_topic(&mut client, "dense", &dense[..1]);
    create_configured_topic(&mut client, "sparse", &[]);
    create_configured_topic(&mut client, "full", &dense);
    for topic in ["dense", "sparse", "full"] {
        for later_ms in 0..6 {
            let now = Timestamp(Timestamp::now().0 + later_ms);
            assert_eq!(produce(&mut client, topic, compressed(builder(now), Codec::None).bytes).error_code, NONE);
        }
    }
    let data = broker.data().clone();
    assert!(broker.stop().success());
    let sizes = |topic: &str, extension: &str| -> Vec<u64> {
        let files = fs::read_dir(data.path().join(format!("{topic}-0"))).unwrap().map(|entry| entry.unwrap());
        let wanted = files.filter(|file| file.path().extension().is_some_and(|found| found == extension));
        wanted.map(|file| file.metadata().unwrap().len()).collect()
    };
    // The first batch of a segment needs no entry.
    assert_eq!((sizes("dense", "index"), sizes("sparse", "index")), (vec![5 * 8], vec![0]));
    assert_eq!((sizes("dense", "log").len(), sizes("sparse", "log").len()), (1, 1));
    assert_eq!(sizes("full", "log").len(), 3);
    assert!(sizes("full", "timeindex").iter().all(|size| *size <= 24), "{:?}", sizes("full", "timeindex"));
}
