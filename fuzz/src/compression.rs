//! The four codecs: no input expands past the cap, and what is compressed comes back.

use ottla::protocol::compression::{Codec, CompressionError, compress, decompress};

use super::input::Input;

pub(crate) const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
/// Bit of the first byte, whose lower two are the codec.
const ROUND_TRIP: u8 = 4;

/// A byte that says how, the cap (u16, in units of 16 bytes), and the compressed bytes.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let how = input.u8();
    let codec = CODECS[usize::from(how & 3)];
    let limit_bytes = usize::from(input.u16()) * 16;
    if let Ok(output) = decompress(codec, input.0, limit_bytes) {
        assert!(output.len() <= limit_bytes, "{} bytes where {limit_bytes} are the most", output.len());
    }
    if how & ROUND_TRIP != 0 {
        comes_back(codec, input.0);
    }
}

fn comes_back(codec: Codec, input: &[u8]) {
    let compressed = compress(codec, None, input).expect("any bytes compress");
    assert_eq!(decompress(codec, &compressed, input.len()).as_deref(), Ok(input));
    if let Some(limit_bytes) = input.len().checked_sub(1) {
        let refused = decompress(codec, &compressed, limit_bytes);
        assert_eq!(refused, Err(CompressionError::TooLarge { limit_bytes }));
    }
}
