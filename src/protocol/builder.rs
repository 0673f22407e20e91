//! Builds magic-2 batches, for the coordinators' own records and for tests.

use bytes::BufMut;

use super::batch::{Attributes, Batch, BatchHeader, MAGIC};
use super::compression::{self, Codec, CompressionError};
use super::records::{ControlType, EndTxnMarker, put_varlong};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// A header to write: a key and a value, which may be null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Collects records; the batch's base offset is 0 and its leader epoch unknown until it is appended.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    timestamp: Timestamp,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    attributes: i16,
    count: i32,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// `timestamp` is that of the records added by [`BatchBuilder::record`].
    pub fn new(timestamp: Timestamp) -> BatchBuilder {
        BatchBuilder {
            timestamp,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            attributes: 0,
            count: 0,
            records: Vec::new(),
        }
    }

    /// The control batch that ends a producer's transaction (`MemoryRecords.withEndTransactionMarker`).
    pub fn end_txn_marker(
        timestamp: Timestamp,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        marker: EndTxnMarker,
    ) -> BatchBuilder {
        let control_type = if marker.committed { ControlType::Commit } else { ControlType::Abort };
        let mut key = Vec::with_capacity(4);
        key.put_i16(0);
        key.put_i16(control_type.id());
        let mut value = Vec::with_capacity(6);
        value.put_i16(0);
        value.put_i32(marker.coordinator_epoch);
        let mut builder = BatchBuilder::new(timestamp).producer(producer_id, producer_epoch, -1).transactional();
        builder.attributes |= Attributes::CONTROL;
        builder.record(Some(&key), Some(&value))
    }

    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> BatchBuilder {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes |= Attributes::TRANSACTIONAL;
        self
    }

    pub fn record(self, key: Option<&[u8]>, value: Option<&[u8]>) -> BatchBuilder {
        let timestamp = self.timestamp;
        self.record_at(timestamp, key, value, &[])
    }

    pub fn record_at(
        mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> BatchBuilder {
        // The first record's timestamp is the base, as Kafka's MemoryRecordsBuilder sets it.
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let mut body = Vec::new();
        body.put_i8(0);
        put_varlong(&mut body, timestamp.0.wrapping_sub(self.base_timestamp.0));
        put_varlong(&mut body, i64::from(self.count));
        put_nullable(&mut body, key);
        put_nullable(&mut body, value);
        put_varlong(&mut body, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(&mut body, Some(key));
            put_nullable(&mut body, *value);
        }
        put_nullable(&mut self.records, Some(&body));
        self.count = self.count.saturating_add(1);
        self
    }

    /// The batch; `None` without a record, or where it would be longer than a batch can be.
    pub fn build(self) -> Option<Batch> {
        self.assemble(Codec::None, &self.records)
    }

    /// As [`BatchBuilder::build`], with the records compressed.
    pub fn build_compressed(self, codec: Codec, level: Option<i32>) -> Result<Option<Batch>, CompressionError> {
        let records = compression::compress(codec, level, &self.records)?;
        Ok(self.assemble(codec, &records))
    }

    fn assemble(&self, codec: Codec, records: &[u8]) -> Option<Batch> {
        if self.count == 0 {
            return None;
        }
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: 0,
            partition_leader_epoch: LeaderEpoch::NONE,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes(self.attributes | codec.id()),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            records_count: self.count,
        };
        Batch::assemble(header, records)
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_the_bytes_that_kafka_writes() {
        // The numbers are from a control batch that Kafka 4.3.1 wrote: producer 5, epoch 0, COMMIT.
        let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
        let timestamp = Timestamp(1_795_195_531_286);
        let batch = BatchBuilder::end_txn_marker(timestamp, ProducerId(5), ProducerEpoch(0), marker).build().unwrap();
        assert_eq!(batch.header.size(), 78);
        assert_eq!(batch.header.crc, 3_564_806_323);
        assert_eq!(batch.check_crc(), Ok(()));
    }

    #[test]
    fn base_and_max_timestamp_come_from_the_records() {
        let batch = BatchBuilder::new(Timestamp(7))
            .record_at(Timestamp(100), None, None, &[])
            .record_at(Timestamp(300), None, None, &[])
            .record_at(Timestamp(200), None, None, &[])
            .build()
            .unwrap();
        assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (Timestamp(100), Timestamp(300)));
        assert_eq!((batch.header.records_count, batch.header.last_offset_delta), (3, 2));
    }

    #[test]
    fn there_is_no_batch_without_records() {
        assert!(BatchBuilder::new(Timestamp(0)).build().is_none());
    }

    #[test]
    fn a_built_batch_parses_and_its_crc_holds_under_every_codec() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let builder = BatchBuilder::new(Timestamp(1)).producer(ProducerId(9), ProducerEpoch(1), 40);
            let batch = builder.record(Some(b"k"), None).build_compressed(codec, None).unwrap().unwrap();
            let mut bytes = batch.bytes.clone();
            let parsed = Batch::split_from(&mut bytes).unwrap();
            assert_eq!(parsed.header, batch.header);
            assert_eq!(parsed.header.attributes.codec_id(), codec.id());
            assert_eq!(parsed.check_crc(), Ok(()));
        }
    }
}
