//! The log of a coordinator: one partition of an internal topic per shard.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::metadata::Metadata;
use crate::partition::{Isolation, OpenError, Read, Registry};
use crate::protocol::ErrorCode;
use crate::protocol::batch::{Batch, BatchError};
use crate::protocol::compression::CompressionError;
use crate::protocol::records::RecordError;
use crate::sys;
use crate::types::{Offset, Timestamp};

/// Bytes read at once while a shard is loaded; a larger batch is read whole.
const READ_BYTES: u32 = 1 << 20;

/// Why a shard's log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("reading at offset {offset}: {code}")]
    Log { offset: Offset, code: ErrorCode },
    #[error("reading at offset {offset}: {source}")]
    Io { offset: Offset, source: std::io::Error },
    #[error("batch at offset {offset}: {source}")]
    Batch { offset: Offset, source: BatchError },
    #[error("batch at offset {offset} ends before it")]
    NoProgress { offset: Offset },
    #[error("batch at offset {offset}: {source}")]
    Compression { offset: Offset, source: CompressionError },
    #[error("batch at offset {offset}: {source}")]
    Record { offset: Offset, source: RecordError },
    #[error("record at offset {offset}: {reason}")]
    Malformed { offset: Offset, reason: String },
}

/// What a coordinator needs of its topic.
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// How many shards there are; `None` while the topic does not exist.
    fn shards(&self) -> Option<i32>;

    /// Appends a batch and gives the offset of its first record.
    fn append(&self, shard: i32, batch: Batch) -> Result<Offset, ErrorCode>;

    /// What answers have to wait for that depend on what was appended so far.
    fn uncommitted(&self, shard: i32) -> Option<Committing>;

    /// Whether the shard's log is lost to this broker until a restart.
    fn is_offline(&self, shard: i32) -> bool;

    /// Hands every batch to `each`, in order. Blocking.
    fn replay(&self, shard: i32, each: &mut dyn FnMut(Batch) -> Result<(), LoadError>) -> Result<(), LoadError>;
}

/// Ends when appended batches are committed, or cannot be.
pub type Committing = Pin<Box<dyn Future<Output = Result<(), ErrorCode>> + Send>>;

/// The partitions of an internal topic that this broker leads.
#[derive(Debug)]
pub struct PartitionJournal {
    topic: &'static str,
    metadata: Arc<Metadata>,
    partitions: Arc<Registry>,
}

impl PartitionJournal {
    pub fn new(topic: &'static str, metadata: Arc<Metadata>, partitions: Arc<Registry>) -> PartitionJournal {
        PartitionJournal { topic, metadata, partitions }
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Journal for PartitionJournal {
    fn shards(&self) -> Option<i32> {
        self.metadata.image().topic(self.topic).map(|topic| topic.partitions)
    }

    fn append(&self, shard: i32, batch: Batch) -> Result<Offset, ErrorCode> {
        let partition = self.partitions.by_name(self.topic, shard).map_err(|error| error.error_code())?;
        Ok(partition.append_internal(batch, Timestamp::now())?.base_offset)
    }

    fn uncommitted(&self, shard: i32) -> Option<Committing> {
        let partition = match self.partitions.by_name(self.topic, shard) {
            Ok(partition) => partition,
            // Lost since the append.
            Err(error) => return Some(Box::pin(std::future::ready(Err(error.error_code())))),
        };
        let flush = partition.group_commit(partition.offsets().log_end.plus(-1))?;
        Some(Box::pin(async move { partition.flushed(flush).await }))
    }

    fn is_offline(&self, shard: i32) -> bool {
        let image = self.metadata.image();
        image.topic(self.topic).is_some_and(|topic| self.partitions.is_offline(topic, shard))
    }

    fn replay(&self, shard: i32, each: &mut dyn FnMut(Batch) -> Result<(), LoadError>) -> Result<(), LoadError> {
        let partition = self.partitions.by_name(self.topic, shard)?;
        let offsets = partition.offsets();
        let mut offset = offsets.log_start;
        while offset < offsets.log_end {
            let read = partition.read(Read {
                offset,
                bytes_max: READ_BYTES,
                at_least_one_batch: true,
                isolation: Isolation::ReadUncommitted,
            });
            let (_, read) = read.map_err(|code| LoadError::Log { offset, code })?;
            let Some(slice) = read.slice else { break };
            let mut bytes = vec![0; slice.length as usize];
            sys::pread_exact(&slice.file, &mut bytes, slice.position)
                .map_err(|source| LoadError::Io { offset, source })?;
            offset = replay_batches(Bytes::from(bytes), offset, each)?;
        }
        Ok(())
    }
}

/// Hands on the batches in `bytes`, the first of which holds `offset`; returns the offset after the last.
fn replay_batches(
    mut bytes: Bytes,
    mut offset: Offset,
    each: &mut dyn FnMut(Batch) -> Result<(), LoadError>,
) -> Result<Offset, LoadError> {
    while !bytes.is_empty() {
        let batch = Batch::split_from(&mut bytes).map_err(|source| LoadError::Batch { offset, source })?;
        batch.check_crc().map_err(|source| LoadError::Batch { offset, source })?;
        let next = batch.header.next_offset();
        if next <= offset {
            return Err(LoadError::NoProgress { offset });
        }
        each(batch)?;
        offset = next;
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::builder::BatchBuilder;
    use crate::types::Timestamp;

    /// Two batches of two records, as they lie in a log.
    fn log() -> Vec<u8> {
        let batch = |base: i64| {
            let batch = BatchBuilder::new(Timestamp(1)).record(Some(b"a"), None).record(Some(b"b"), None);
            let mut bytes = batch.build().unwrap().bytes.to_vec();
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            bytes
        };
        [batch(10), batch(12)].concat()
    }

    fn replay(bytes: Vec<u8>, offset: i64) -> (Result<Offset, LoadError>, Vec<Offset>) {
        let mut bases = Vec::new();
        let replayed = replay_batches(bytes.into(), Offset(offset), &mut |batch| {
            bases.push(batch.header.base_offset);
            Ok(())
        });
        (replayed, bases)
    }

    #[test]
    fn a_run_of_batches_is_handed_on_whole_and_says_where_to_go_on() {
        for offset in [10, 11] {
            let (next, bases) = replay(log(), offset);
            assert_eq!((next.unwrap(), bases), (Offset(14), vec![Offset(10), Offset(12)]));
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_and_nothing_after_it_is_believed() {
        let mut bytes = log();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let (error, bases) = replay(bytes, 10);
        assert!(matches!(error, Err(LoadError::Batch { offset: Offset(12), source: BatchError::BadCrc { .. } })));
        assert_eq!(bases, [Offset(10)]);
    }

    #[test]
    fn a_log_that_does_not_go_on_is_not_read_for_ever() {
        let (error, bases) = replay(log(), 12);
        assert!(matches!(error, Err(LoadError::NoProgress { offset: Offset(12) })));
        assert!(bases.is_empty());
    }
}
