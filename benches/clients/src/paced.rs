//! Paced, end to end: each record carries when it was due, and its latency counts from then. What waits behind a stall,
//! in the client or in the broker, is late by all of it: there is nothing left to correct for coordinated omission.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::BaseRecord;

use crate::Outcome;
use crate::clients::{Producer, consumer, receive};
use crate::flat::letters;

const LATENCY_US_MAX: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
const DUE_BYTES: usize = 8;

pub struct Pace {
    /// Records per second.
    pub rate: u64,
    pub seconds: u64,
    pub bytes: usize,
}

impl Pace {
    fn count(&self) -> u64 {
        self.rate * self.seconds
    }

    /// When record `number` is due, since the start.
    fn due(&self, number: u64) -> Duration {
        Duration::from_nanos((u128::from(number) * 1_000_000_000 / u128::from(self.rate)) as u64)
    }
}

pub fn run(topic: &str, partitions: i32, pace: &Pace) -> Outcome<String> {
    let consumer = consumer(topic, partitions)?;
    let producer = Producer::new(topic)?;
    connect(&producer, &consumer, topic, partitions)?;
    let start = Instant::now();
    let latencies = thread::scope(|scope| {
        let receiving = scope.spawn(|| latencies_us(&consumer, start, pace.count()));
        send(&producer, topic, start, pace)?;
        receiving.join().map_err(|_| "the receiving thread panicked")?
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let ms = |us: u64| us as f64 / 1e3;
    let at = |quantile| ms(latencies.value_at_quantile(quantile));
    Ok(format!(
        r#"{{"seconds": {seconds}, "p50_ms": {}, "p99_ms": {}, "p99.9_ms": {}, "max_ms": {}}}"#,
        at(0.5),
        at(0.99),
        at(0.999),
        ms(latencies.max())
    ))
}

/// A record there and back through each partition, so that the clock finds all connections open.
fn connect(producer: &Producer, consumer: &BaseConsumer, topic: &str, partitions: i32) -> Outcome {
    for partition in 0..partitions {
        producer.send(BaseRecord::to(topic).partition(partition).payload(&[0; DUE_BYTES]))?;
    }
    for _ in 0..partitions {
        receive(consumer)?;
    }
    Ok(())
}

fn send(producer: &Producer, topic: &str, start: Instant, pace: &Pace) -> Outcome {
    let mut value = letters(pace.bytes);
    for number in 0..pace.count() {
        let due = pace.due(number);
        thread::sleep(due.saturating_sub(start.elapsed()));
        value[..DUE_BYTES].copy_from_slice(&(due.as_nanos() as u64).to_be_bytes());
        producer.send(BaseRecord::to(topic).payload(&value))?;
    }
    Ok(())
}

fn latencies_us(consumer: &BaseConsumer, start: Instant, count: u64) -> Outcome<Histogram<u64>> {
    let mut latencies = Histogram::new_with_bounds(1, LATENCY_US_MAX, SIGNIFICANT_DIGITS)?;
    for _ in 0..count {
        let message = receive(consumer)?;
        let due = message.payload().and_then(|value| value.first_chunk()).ok_or("a record without its due time")?;
        let latency = start.elapsed().saturating_sub(Duration::from_nanos(u64::from_be_bytes(*due)));
        latencies.saturating_record(latency.as_micros() as u64);
    }
    Ok(latencies)
}
