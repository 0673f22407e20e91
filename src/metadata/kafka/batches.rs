//! The batches of one file, from front to back. Memory is taken by what the file holds, not by what a length in it says.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

use crate::protocol::batch::{Batch, BatchError, BatchHeader, HEADER_LEN};

/// `KafkaRaftClient.MAX_BATCH_SIZE_BYTES` is 8 MiB.
const BATCH_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("a batch of {0} bytes; more than {BATCH_BYTES_MAX} are not read")]
    TooLarge(usize),
}

/// Gives every batch whose length and CRC are right; ends after the first that is not.
#[derive(Debug)]
pub(super) struct Batches<R> {
    input: R,
    /// Where the batch read next begins; after an error, where the one that is in the way does.
    pub(super) position: u64,
    failed: bool,
}

impl<R: Read> Batches<R> {
    pub(super) fn new(input: R) -> Batches<R> {
        Batches { input, position: 0, failed: false }
    }

    fn read(&mut self) -> Result<Option<Batch>, ReadError> {
        let mut bytes = BytesMut::new();
        self.read_up_to(HEADER_LEN, &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let size = BatchHeader::parse(&bytes)?.size();
        if size > BATCH_BYTES_MAX {
            return Err(ReadError::TooLarge(size));
        }
        self.read_up_to(size, &mut bytes)?;
        let batch = Batch::split_from(&mut Bytes::from(bytes))?;
        batch.check_crc()?;
        self.position += size as u64;
        Ok(Some(batch))
    }

    /// Fills `bytes` up to `length`, or up to the end of the input.
    fn read_up_to(&mut self, length: usize, bytes: &mut BytesMut) -> io::Result<()> {
        let missing = length.saturating_sub(bytes.len()) as u64;
        let mut read = Vec::new();
        self.input.by_ref().take(missing).read_to_end(&mut read)?;
        bytes.extend_from_slice(&read);
        Ok(())
    }
}

impl<R: Read> Iterator for Batches<R> {
    type Item = Result<Batch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.read().transpose();
        self.failed = matches!(batch, Some(Err(_)));
        batch
    }
}
