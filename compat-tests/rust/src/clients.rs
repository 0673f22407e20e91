//! Clients with the settings that all checks share, and what most checks do with them.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::formula::Record;
use crate::Outcome;

pub const API_TIME_MAX: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

pub type Settings<'a> = &'a [(&'a str, &'a str)];

pub fn records() -> usize {
    if env::var("OTTLA_SMALL").is_ok_and(|small| small == "1") { 1_000 } else { 10_000 }
}

pub fn bootstrap() -> String {
    env::var("BOOTSTRAP").unwrap_or_default()
}

pub fn unique(name: &str) -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let now_us = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
    format!("{name}-{now_us:x}-{}", SERIAL.fetch_add(1, Ordering::Relaxed))
}

fn config(defaults: Settings, settings: Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap()).set("client.id", "ottla-compat");
    for (name, value) in defaults.iter().chain(settings) {
        config.set(*name, *value);
    }
    config
}

pub fn admin() -> Outcome<AdminClient<DefaultClientContext>> {
    Ok(AdminClient::from_config(&config(&[], &[]))?)
}

pub fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(API_TIME_MAX)).operation_timeout(Some(API_TIME_MAX / 2))
}

pub fn consumer(settings: Settings) -> Outcome<BaseConsumer> {
    let group = unique("reader");
    let defaults = [
        ("group.id", group.as_str()),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "10000"),
        ("heartbeat.interval.ms", "300"),
        ("fetch.wait.max.ms", "100"),
        ("topic.metadata.refresh.interval.ms", "1000"),
    ];
    Ok(config(&defaults, settings).create()?)
}

/// The one result of an admin call about one thing.
pub fn only<T, N>(results: Vec<Result<T, (N, RDKafkaErrorCode)>>) -> Result<T, RDKafkaErrorCode> {
    results.into_iter().next().expect("one result").map_err(|(_, code)| code)
}

pub fn create(topic: NewTopic, options: &AdminOptions) -> Outcome<Result<String, RDKafkaErrorCode>> {
    Ok(only(block_on(admin()?.create_topics([&topic], options))?))
}

pub fn new_topic(partitions: i32, configs: Settings) -> Outcome<String> {
    let name = unique("rust");
    let topic = configs.iter().fold(NewTopic::new(&name, partitions, TopicReplication::Fixed(1)), |topic, (key, value)| {
        topic.set(key, value)
    });
    create(topic, &admin_options())??;
    Ok(name)
}

/// Collects what became of each record, in the order in which it was settled.
#[derive(Default)]
pub struct Deliveries(Mutex<Vec<Result<i64, KafkaError>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let settled = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(settled);
    }
}

pub struct Writer(BaseProducer<Deliveries>);

impl Writer {
    pub fn new(settings: Settings) -> Outcome<Self> {
        let defaults = [("linger.ms", "5"), ("message.timeout.ms", "20000"), ("message.max.bytes", "4000000")];
        Ok(Self(config(&defaults, settings).create_with_context(Deliveries::default())?))
    }

    pub fn queue(&self, record: BaseRecord<[u8], [u8]>) -> Outcome {
        self.0.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// The offsets of all queued records, or the first error.
    pub fn settle(&self) -> Outcome<Vec<i64>> {
        self.0.flush(PATIENCE)?;
        let settled = std::mem::take(&mut *self.0.context().0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(settled.into_iter().collect::<Result<_, _>>()?)
    }

    pub fn send(&self, record: BaseRecord<[u8], [u8]>) -> Outcome<i64> {
        self.queue(record)?;
        Ok(self.settle()?[0])
    }
}

/// Writes records 0..count to partition 0.
pub fn send(settings: Settings, topic: &str, count: usize, profile: &str) -> Outcome<Vec<i64>> {
    let writer = Writer::new(settings)?;
    for i in 0..count {
        writer.queue(Record::of(i, profile).to(topic, 0))?;
    }
    writer.settle()
}

pub fn write(topic: &str, codec: &str, count: usize, profile: &str) -> Outcome {
    match create(NewTopic::new(topic, 1, TopicReplication::Fixed(1)), &admin_options())? {
        Ok(_) | Err(RDKafkaErrorCode::TopicAlreadyExists) => {}
        Err(code) => return Err(code.into()),
    }
    send(&[("compression.type", codec)], topic, count, profile)?;
    Ok(())
}

pub fn assigned(topic: &str, partitions: i32, offset: Offset) -> Outcome<BaseConsumer> {
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, offset)?;
    }
    let consumer = consumer(&[])?;
    consumer.assign(&assignment)?;
    Ok(consumer)
}

pub fn read(consumer: &BaseConsumer, count: usize) -> Outcome<Vec<OwnedMessage>> {
    let mut seen = Vec::with_capacity(count);
    until(&format!("{count} records read"), || {
        if let Some(message) = consumer.poll(STEP) {
            seen.push(message?.detach());
        }
        Ok(seen.len() >= count)
    })?;
    Ok(seen)
}

pub fn read_and_compare(topic: &str, count: usize, profile: &str) -> Outcome {
    for (i, message) in read(&assigned(topic, 1, Offset::Beginning)?, count)?.iter().enumerate() {
        assert_eq!(message.offset(), i as i64, "offset of record {i}");
        assert_eq!(Record::seen(message, profile), Record::of(i, profile), "record {i}");
    }
    Ok(())
}

/// Repeats the step until it says that all is there.
pub fn until(what: &str, mut step: impl FnMut() -> Outcome<bool>) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !step()? {
        assert!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
    }
    Ok(())
}
