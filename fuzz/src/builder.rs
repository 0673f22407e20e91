//! Batches out of a few bytes of input: whatever else they say, length, magic and CRC hold. Random bytes alone would
//! hardly ever get past the CRC.

use bytes::Bytes;
use ottla::protocol::batch::{Attributes, Batch, CRC_START, HEADER_LEN, LENGTH_PREFIX_LEN, MAGIC};
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::compression::Codec;
use ottla::protocol::records::EndTxnMarker;
use ottla::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::input::Input;

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Gives `bytes` the length, magic and CRC of a whole batch. Fewer bytes than a header's stay what they are.
pub(crate) fn seal(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    let length = (bytes.len() - LENGTH_PREFIX_LEN) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = MAGIC as u8;
    let crc = crc32c::crc32c(&bytes[CRC_START..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Bits of the byte that says what kind of batch it is; bits 5 and 6 choose among [`CODECS`].
const TRANSACTIONAL: u8 = 1;
const MARKER: u8 = 2;
const COMMIT: u8 = 4;
const LOG_APPEND_TIME: u8 = 8;
const DELETE_HORIZON: u8 = 16;

/// The quickest one is enough here; `compression` is for the others.
const CODECS: [Codec; 4] = [Codec::None, Codec::None, Codec::None, Codec::Snappy];
/// A length of one byte reaches past every window that a log is read through, with a few batches.
const VALUE_UNIT_BYTES: usize = 16;

/// A batch as some producer or coordinator might write it, of eight bytes.
pub(crate) fn batch(input: &mut Input<'_>, base_offset: Offset) -> Batch {
    let kind = input.u8();
    let (producer_id, epoch, sequence) = (input.u8(), input.i8(), i32::from(input.i8()));
    let (producer_id, producer_epoch, sequence) = match producer_id {
        0 => (ProducerId::NONE, ProducerEpoch::NONE, -1),
        id => (ProducerId(id.into()), ProducerEpoch(epoch.into()), sequence),
    };
    let count = input.u8() % 8 + 1;
    let timestamp = Timestamp(NOW.0 + i64::from(input.u16() as i16));
    let value = [b'v'].repeat(usize::from(input.u8()) * VALUE_UNIT_BYTES);
    let mut builder = if kind & MARKER == 0 {
        let value = Some(&value[..]).filter(|value| !value.is_empty());
        let mut builder = BatchBuilder::new(timestamp).producer(producer_id, producer_epoch, sequence);
        for index in 0..count {
            builder = builder.record(Some(&[index]), value);
        }
        builder
    } else {
        let marker = EndTxnMarker { committed: kind & COMMIT != 0, coordinator_epoch: sequence };
        BatchBuilder::end_txn_marker(timestamp, producer_id, producer_epoch, marker)
    };
    if kind & TRANSACTIONAL != 0 {
        builder = builder.transactional();
    }
    let codec = CODECS[usize::from(kind >> 5 & 3)];
    let batch = builder.build_compressed(codec, None).expect("what is so short compresses");
    let mut batch = batch.expect("there is a record");
    batch.header.base_offset = base_offset;
    batch.header.partition_leader_epoch = LeaderEpoch(0);
    batch.header.attributes = attributes(batch.header.attributes, kind);
    whole(batch)
}

/// What the builder has no words for.
fn attributes(built: Attributes, kind: u8) -> Attributes {
    let built = if kind & LOG_APPEND_TIME == 0 { built } else { built.with_log_append_time() };
    if kind & DELETE_HORIZON == 0 { built } else { Attributes(built.0 | 1 << 6) }
}

/// The batch with its bytes as its header says, and its CRC right.
pub(crate) fn whole(mut batch: Batch) -> Batch {
    batch.header.crc = batch.header.compute_crc(batch.records());
    batch.bytes = Bytes::from([&batch.header.encode(), batch.records()].concat());
    batch
}
