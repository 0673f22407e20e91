//! A record batch of one record, made by hand, so that each of its fields can be made wrong.

use bytes::Bytes;

/// The fields that tests make wrong; the CRC is computed over whatever they say.
#[derive(Debug, Clone)]
pub struct Batch {
    pub magic: i8,
    pub last_offset_delta: i32,
    pub records_count: i32,
    /// Added to the length that the batch announces.
    pub length_error: i32,
    /// Flipped in the CRC.
    pub crc_error: u32,
    pub value: Vec<u8>,
}

impl Batch {
    pub fn of(value: impl Into<Vec<u8>>) -> Batch {
        Batch { magic: 2, last_offset_delta: 0, records_count: 1, length_error: 0, crc_error: 0, value: value.into() }
    }

    pub fn encode(&self) -> Bytes {
        let covered = self.covered_by_crc();
        let crc = crc32c::crc32c(&covered) ^ self.crc_error;
        let length = (4 + 1 + 4 + covered.len()) as i32 + self.length_error;
        let leader_epoch = -1_i32;
        let prefix = [&0_i64.to_be_bytes()[..], &length.to_be_bytes(), &leader_epoch.to_be_bytes()].concat();
        [&prefix[..], &self.magic.to_be_bytes(), &crc.to_be_bytes(), &covered].concat().into()
    }

    fn covered_by_crc(&self) -> Vec<u8> {
        let attributes = 0_i16;
        let timestamp = 1_700_000_000_000_i64;
        let (producer_id, producer_epoch, base_sequence) = (-1_i64, -1_i16, -1_i32);
        [
            &attributes.to_be_bytes()[..],
            &self.last_offset_delta.to_be_bytes(),
            &timestamp.to_be_bytes(),
            &timestamp.to_be_bytes(),
            &producer_id.to_be_bytes(),
            &producer_epoch.to_be_bytes(),
            &base_sequence.to_be_bytes(),
            &self.records_count.to_be_bytes(),
            &self.record(),
        ]
        .concat()
    }

    fn record(&self) -> Vec<u8> {
        let (attributes, timestamp_delta, offset_delta, no_headers) = (0, 0, 0, 0);
        let null_key = varint(-1);
        let value_len = varint(self.value.len() as i64);
        let fields =
            [&[attributes, timestamp_delta, offset_delta], &null_key[..], &value_len, &self.value, &[no_headers]];
        let fields = fields.concat();
        [varint(fields.len() as i64), fields].concat()
    }
}

fn varint(value: i64) -> Vec<u8> {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
    bytes
}
