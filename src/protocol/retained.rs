//! What compaction leaves of a batch (`MemoryRecords.filterTo`): offsets, sequences and producer stay those of the whole
//! batch, whatever of its records has gone.

use bytes::Bytes;

use super::batch::{Attributes, Batch, BatchHeader, HEADER_LEN, LENGTH_PREFIX_LEN, TimestampType};
use super::compression::{self, Codec, CompressionError};
use super::records::{RecordView, Records};
use crate::types::Timestamp;

#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    #[error(transparent)]
    Compression(#[from] CompressionError),
    #[error("{0} bytes of records are more than a batch can hold")]
    TooLarge(usize),
}

/// The records of one batch that stay, as they were stored.
#[derive(Debug)]
pub struct Retained {
    header: BatchHeader,
    records: Vec<u8>,
    count: i32,
    /// Of the records that stay.
    max_timestamp: Timestamp,
}

impl Retained {
    pub fn of(header: BatchHeader) -> Retained {
        Retained { header, records: Vec::new(), count: 0, max_timestamp: Timestamp::NONE }
    }

    pub fn push(&mut self, record: &RecordView<'_>, timestamp: Timestamp) {
        record.copy_to(&mut self.records);
        self.count = self.count.saturating_add(1);
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    pub fn count(&self) -> i32 {
        self.count
    }

    /// The batch of these records, compressed as it was. With a new delete horizon, which takes the place of the base
    /// timestamp, the records' deltas are counted from there (KIP-534); else the records are byte for byte what they were.
    pub fn build(self, new_delete_horizon: Option<Timestamp>) -> Result<Batch, RetainError> {
        let mut header = self.header;
        let records = match new_delete_horizon {
            None => self.records,
            Some(horizon) => {
                let records = self.rebased(horizon);
                header.attributes = header.attributes.with_delete_horizon();
                header.base_timestamp = horizon;
                records
            }
        };
        if header.attributes.timestamp_type() == TimestampType::CreateTime {
            header.max_timestamp = self.max_timestamp;
        }
        header.records_count = self.count;
        let codec = Codec::from_id(header.attributes.codec_id())?;
        assemble(header, &compression::compress(codec, None, &records)?)
    }

    fn rebased(&self, base: Timestamp) -> Vec<u8> {
        let mut rebased = Vec::with_capacity(self.records.len());
        // They were read once already.
        for record in Records::new(&self.records, self.count).map_while(Result::ok) {
            let timestamp = self.header.base_timestamp.0.saturating_add(record.timestamp_delta);
            record.copy_with_timestamp_delta(timestamp.saturating_sub(base.0), &mut rebased);
        }
        rebased
    }
}

/// The batch without records: it stays for what its header says of offsets, or of its producer
/// (`DefaultRecordBatch.writeEmptyHeader`).
pub fn emptied(header: &BatchHeader) -> Result<Batch, RetainError> {
    let attributes: Attributes = header.attributes.of_empty();
    assemble(BatchHeader { attributes, base_timestamp: Timestamp::NONE, records_count: 0, ..*header }, &[])
}

fn assemble(mut header: BatchHeader, records: &[u8]) -> Result<Batch, RetainError> {
    let too_large = || RetainError::TooLarge(records.len());
    header.batch_length = i32::try_from(HEADER_LEN - LENGTH_PREFIX_LEN + records.len()).ok().ok_or_else(too_large)?;
    header.crc = header.compute_crc(records);
    Ok(Batch { header, bytes: Bytes::from([&header.encode(), records].concat()) })
}
