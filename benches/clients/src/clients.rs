//! Clients with librdkafka's defaults, and what both kinds of scenario do with them.

use std::env;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::Outcome;

/// A broker that says nothing for so long will not say any more.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(1);
const BROKERS_DEFAULT_REPLICATION: TopicReplication = TopicReplication::Fixed(-1);

fn config() -> Outcome<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", env::var("BOOTSTRAP")?).set("client.id", "ottla-bench");
    Ok(config)
}

fn admin() -> Outcome<AdminClient<DefaultClientContext>> {
    Ok(config()?.create()?)
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(SILENCE_MAX))
}

pub fn create(topic: &str, partitions: i32) -> Outcome<String> {
    let topic = NewTopic::new(topic, partitions, BROKERS_DEFAULT_REPLICATION);
    answer(block_on(admin()?.create_topics([&topic], &admin_options()))?)
}

pub fn delete(topic: &str) -> Outcome<String> {
    answer(block_on(admin()?.delete_topics(&[topic], &admin_options()))?)
}

fn answer(results: Vec<TopicResult>) -> Outcome<String> {
    for result in results {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    Ok("{}".to_owned())
}

/// What became of the records, told by the producer's thread.
#[derive(Default)]
struct Deliveries {
    settled: Mutex<Settled>,
    news: Condvar,
}

#[derive(Default)]
struct Settled {
    acknowledged: u64,
    failed: Option<KafkaError>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => settled.acknowledged += 1,
            Err((error, _)) => settled.failed = Some(error.clone()),
        }
        self.news.notify_one();
    }
}

pub struct Producer(ThreadedProducer<Deliveries>);

impl Producer {
    /// Knows where the topic's partitions are.
    pub fn new(topic: &str) -> Outcome<Self> {
        let mut config = config()?;
        config.set("acks", "all").set("compression.type", env::var("CODEC")?);
        let producer: ThreadedProducer<Deliveries> = config.create_with_context(Deliveries::default())?;
        producer.client().fetch_metadata(Some(topic), SILENCE_MAX)?;
        Ok(Self(producer))
    }

    pub fn send(&self, mut record: BaseRecord<(), [u8]>) -> Outcome {
        for _ in 0..SILENCE_MAX.as_millis() / QUEUE_FULL_WAIT.as_millis() {
            record = match self.0.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
                Err((error, _)) => return Err(error.into()),
            };
            self.0.poll(QUEUE_FULL_WAIT);
        }
        Err(format!("the queue is full since {} s", SILENCE_MAX.as_secs()).into())
    }

    /// Waits until `count` records are acknowledged since the beginning, or one has failed. (The crate's `flush` looks
    /// every 100 ms only.)
    pub fn settle(&self, count: u64) -> Outcome {
        let deliveries = self.0.context();
        let settled = deliveries.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |settled: &mut Settled| settled.acknowledged < count && settled.failed.is_none();
        let (settled, wait) =
            deliveries.news.wait_timeout_while(settled, SILENCE_MAX, is_open).unwrap_or_else(PoisonError::into_inner);
        match &settled.failed {
            Some(error) => Err(error.clone().into()),
            None if wait.timed_out() => Err(format!("{} of {count} records acknowledged", settled.acknowledged).into()),
            None => Ok(()),
        }
    }
}

/// Reads all partitions of a topic from the beginning.
pub fn consumer(topic: &str, partitions: i32) -> Outcome<BaseConsumer> {
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    let consumer: BaseConsumer =
        config()?.set("group.id", "ottla-bench").set("enable.auto.commit", "false").create()?;
    consumer.assign(&assignment)?;
    Ok(consumer)
}

pub fn receive(consumer: &BaseConsumer) -> Outcome<BorrowedMessage<'_>> {
    let mut patience = SILENCE_MAX;
    loop {
        let asked = Instant::now();
        match consumer.poll(patience) {
            Some(Ok(message)) => return Ok(message),
            // One address of several, as ::1 for localhost. Where none answers, silence follows.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => patience = patience.saturating_sub(asked.elapsed()),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(format!("no record within {} s", SILENCE_MAX.as_secs()).into()),
        }
    }
}
