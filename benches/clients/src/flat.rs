//! Flat out: as fast as one client goes.

use std::time::Instant;

use rdkafka::producer::BaseRecord;

use crate::Outcome;
use crate::clients::{Producer, consumer, receive};

/// More than any batch holds, so that no batch repeats itself.
const LETTERS: usize = 4 << 20;

/// Values of 16 letters at random, which gzip and zstd bring to about half.
pub fn letters(count: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..count).map(|_| random.u8(b'a'..b'a' + 16)).collect()
}

/// Seconds from the first send to the last acknowledgement.
pub fn produce(topic: &str, count: u64, bytes: usize) -> Outcome<f64> {
    let letters = letters(LETTERS);
    let producer = Producer::new(topic)?;
    let started = Instant::now();
    for (_, value) in (0..count).zip(letters.chunks_exact(bytes).cycle()) {
        producer.send(BaseRecord::to(topic).payload(value))?;
    }
    producer.settle(count)?;
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds from the first record received to the last.
pub fn consume(topic: &str, partitions: i32, count: u64) -> Outcome<f64> {
    let consumer = consumer(topic, partitions)?;
    receive(&consumer)?;
    let started = Instant::now();
    for _ in 1..count {
        receive(&consumer)?;
    }
    Ok(started.elapsed().as_secs_f64())
}
