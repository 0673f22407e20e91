//! The four codecs of record batches, in the framings that Kafka's clients read and write.
//!
//! Output is capped: a size that the input declares never decides an allocation (CVE-2023-34455).

use std::io::{self, Read, Write};

use bytes::Bytes;

/// How far one batch may expand where its records have to be looked at: nothing that came from a client or a disk makes
/// the broker take more (CVE-2023-34455).
pub const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// How the records of a batch are compressed (`CompressionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    #[error("unknown compression type id {0}")]
    UnknownCodec(i16),
    #[error("records expand to more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error("records are not valid {}: {reason}", codec.name())]
    Corrupt { codec: Codec, reason: String },
    #[error("{} has no level {level}", codec.name())]
    BadLevel { codec: Codec, level: i32 },
    #[error("{} could not compress: {reason}", codec.name())]
    Failed { codec: Codec, reason: String },
}

impl Codec {
    /// The codec of an id as it stands in a batch's attributes.
    pub fn from_id(id: i16) -> Result<Codec, CompressionError> {
        match id {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            unknown => Err(CompressionError::UnknownCodec(unknown)),
        }
    }

    pub fn id(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The name that configs and tools use.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    fn corrupt(self, reason: impl ToString) -> CompressionError {
        CompressionError::Corrupt { codec: self, reason: reason.to_string() }
    }

    fn failed(self, reason: impl ToString) -> CompressionError {
        CompressionError::Failed { codec: self, reason: reason.to_string() }
    }
}

/// What `input` expands to, or `TooLarge` as soon as it is known to be more than `limit_bytes`.
pub fn decompress(codec: Codec, input: &[u8], limit_bytes: usize) -> Result<Bytes, CompressionError> {
    match codec {
        Codec::None if input.len() > limit_bytes => Err(CompressionError::TooLarge { limit_bytes }),
        Codec::None => Ok(Bytes::copy_from_slice(input)),
        Codec::Gzip => read_capped(codec, &mut flate2::read::MultiGzDecoder::new(input), limit_bytes),
        Codec::Snappy => snappy::decompress(input, limit_bytes),
        Codec::Lz4 => decompress_lz4(input, limit_bytes),
        Codec::Zstd => decompress_zstd(input, limit_bytes),
    }
}

/// `input` compressed; `level` is for gzip (1–9) and zstd (-131072–22), the codecs that have levels here.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8]) -> Result<Bytes, CompressionError> {
    match codec {
        Codec::Gzip => compress_gzip(level, input),
        Codec::Zstd => compress_zstd(level, input),
        Codec::None | Codec::Snappy | Codec::Lz4 => {
            if let Some(level) = level {
                return Err(CompressionError::BadLevel { codec, level });
            }
            match codec {
                Codec::Snappy => snappy::compress(input),
                Codec::Lz4 => compress_lz4(input),
                Codec::None | Codec::Gzip | Codec::Zstd => Ok(Bytes::copy_from_slice(input)),
            }
        }
    }
}

fn read_capped(codec: Codec, reader: &mut impl Read, limit_bytes: usize) -> Result<Bytes, CompressionError> {
    let mut output = Vec::new();
    // One byte more than the limit tells "just fits" from "too large".
    let read_max = (limit_bytes as u64).saturating_add(1);
    reader.take(read_max).read_to_end(&mut output).map_err(|error| codec.corrupt(error))?;
    if output.len() > limit_bytes {
        return Err(CompressionError::TooLarge { limit_bytes });
    }
    Ok(output.into())
}

/// A frame may declare a window of up to 128 MiB (zstd's own limit, which Kafka keeps): level 22 does so for any content,
/// and memory that is never filled is never resident.
fn decompress_zstd(input: &[u8], limit_bytes: usize) -> Result<Bytes, CompressionError> {
    let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|error| Codec::Zstd.corrupt(error))?;
    read_capped(Codec::Zstd, &mut { decoder }, limit_bytes)
}

/// One frame, as `Lz4BlockInputStream` reads it: what follows its end mark is not looked at.
fn decompress_lz4(input: &[u8], limit_bytes: usize) -> Result<Bytes, CompressionError> {
    let mut reader = EndSeen { input, end_seen: false };
    let mut decoder = lz4_flex::frame::FrameDecoder::new(&mut reader);
    let output = read_capped(Codec::Lz4, &mut decoder, limit_bytes)?;
    if reader.end_seen {
        return Err(Codec::Lz4.corrupt("the frame has no end mark"));
    }
    Ok(output)
}

/// Remembers that more was asked for than there is: lz4_flex takes the end of its input between two blocks for the end
/// of the frame.
struct EndSeen<'a> {
    input: &'a [u8],
    end_seen: bool,
}

impl Read for EndSeen<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.end_seen |= self.input.is_empty() && !buf.is_empty();
        self.input.read(buf)
    }
}

fn compress_gzip(level: Option<i32>, input: &[u8]) -> Result<Bytes, CompressionError> {
    let level = match level {
        None => flate2::Compression::default(),
        Some(level @ 1..=9) => flate2::Compression::new(level.unsigned_abs()),
        Some(level) => return Err(CompressionError::BadLevel { codec: Codec::Gzip, level }),
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(input).map_err(|error| Codec::Gzip.failed(error))?;
    encoder.finish().map(Bytes::from).map_err(|error| Codec::Gzip.failed(error))
}

fn compress_zstd(level: Option<i32>, input: &[u8]) -> Result<Bytes, CompressionError> {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    if !zstd::compression_level_range().contains(&level) {
        return Err(CompressionError::BadLevel { codec: Codec::Zstd, level });
    }
    encode_zstd(level, input).map(Bytes::from).map_err(|error| Codec::Zstd.failed(error))
}

/// The frame says how much it holds: the window is then no larger than the input, at any level, and readers know how much
/// room to make.
fn encode_zstd(level: i32, input: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
    encoder.set_pledged_src_size(Some(input.len() as u64))?;
    encoder.write_all(input)?;
    encoder.finish()
}

/// Independent blocks of 64 KiB, as Kafka's clients write them; the Java client reads no linked ones.
fn compress_lz4(input: &[u8]) -> Result<Bytes, CompressionError> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let frame = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(input).map_err(|error| Codec::Lz4.failed(error))?;
    encoder.finish().map(Bytes::from).map_err(|error| Codec::Lz4.failed(error))
}

/// Snappy in the framing of xerial's snappy-java: magic, version i32, compatible version i32, then blocks of a
/// big-endian length and raw snappy. Streams may follow each other. Input without the magic is one raw block, which
/// some clients write.
mod snappy {
    use bytes::{Buf, BufMut, Bytes};

    use super::{Codec, CompressionError};

    const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
    const VERSION: i32 = 1;
    const BLOCK_BYTES: usize = 32 * 1024;
    /// The densest element of the format makes 64 bytes out of 3.
    const EXPANSION_MAX: usize = 22;

    pub(super) fn decompress(mut input: &[u8], limit_bytes: usize) -> Result<Bytes, CompressionError> {
        let mut output = Vec::new();
        if !input.starts_with(&MAGIC) {
            expand_block(input, &mut output, limit_bytes)?;
            return Ok(output.into());
        }
        while !input.is_empty() {
            if let Some(after_magic) = input.strip_prefix(&MAGIC) {
                input = after_magic;
                input.try_get_i64().map_err(|_| Codec::Snappy.corrupt("stream header cut short"))?;
                continue;
            }
            let length = input.try_get_u32().map_err(|_| Codec::Snappy.corrupt("block length cut short"))?;
            let Some((block, rest)) = input.split_at_checked(length as usize) else {
                return Err(Codec::Snappy.corrupt("block cut short"));
            };
            expand_block(block, &mut output, limit_bytes)?;
            input = rest;
        }
        Ok(output.into())
    }

    fn expand_block(block: &[u8], output: &mut Vec<u8>, limit_bytes: usize) -> Result<(), CompressionError> {
        let declared = snap::raw::decompress_len(block).map_err(|error| Codec::Snappy.corrupt(error))?;
        if declared > block.len().saturating_mul(EXPANSION_MAX) {
            return Err(Codec::Snappy.corrupt("block declares more than it can hold"));
        }
        let start = output.len();
        let end = start.saturating_add(declared);
        if end > limit_bytes {
            return Err(CompressionError::TooLarge { limit_bytes });
        }
        output.resize(end, 0);
        let target = output.get_mut(start..).unwrap_or_default();
        snap::raw::Decoder::new().decompress(block, target).map_err(|error| Codec::Snappy.corrupt(error))?;
        Ok(())
    }

    pub(super) fn compress(input: &[u8]) -> Result<Bytes, CompressionError> {
        let mut encoder = snap::raw::Encoder::new();
        let mut output = MAGIC.to_vec();
        output.put_i32(VERSION);
        output.put_i32(VERSION);
        for chunk in input.chunks(BLOCK_BYTES) {
            let block = encoder.compress_vec(chunk).map_err(|error| Codec::Snappy.failed(error))?;
            // A block is a few bytes longer than 32 KiB at most.
            output.put_u32(block.len() as u32);
            output.extend_from_slice(&block);
        }
        Ok(output.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    const LIMIT: usize = 1 << 20;

    fn sample() -> Vec<u8> {
        (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    #[test]
    fn ids_are_kafkas_and_go_both_ways() {
        for (id, codec) in (0i16..).zip(CODECS) {
            assert_eq!(Codec::from_id(id), Ok(codec));
            assert_eq!(codec.id(), id);
        }
        assert_eq!(Codec::from_id(5), Err(CompressionError::UnknownCodec(5)));
    }

    #[test]
    fn every_codec_gives_back_what_it_got() {
        for codec in CODECS {
            let compressed = compress(codec, None, &sample()).unwrap();
            assert_eq!(decompress(codec, &compressed, LIMIT).unwrap(), sample(), "{}", codec.name());
        }
    }

    #[test]
    fn output_is_capped_at_the_limit_and_may_just_reach_it() {
        for codec in CODECS {
            let bomb = compress(codec, None, &vec![0; 500_000]).unwrap();
            assert_eq!(decompress(codec, &bomb, 500_000).unwrap().len(), 500_000, "{}", codec.name());
            let refused = decompress(codec, &bomb, 499_999);
            assert_eq!(refused, Err(CompressionError::TooLarge { limit_bytes: 499_999 }), "{}", codec.name());
        }
    }

    #[test]
    fn a_cut_input_is_corrupt() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let compressed = compress(codec, None, &sample()).unwrap();
            for keep in [1, 9, compressed.len() / 2, compressed.len() - 1] {
                let refused = decompress(codec, &compressed[..keep], LIMIT);
                assert!(matches!(refused, Err(CompressionError::Corrupt { .. })), "{} cut to {keep}", codec.name());
            }
        }
    }

    #[test]
    fn an_lz4_frame_without_its_end_mark_is_corrupt() {
        let compressed = compress(Codec::Lz4, None, &sample()).unwrap();
        let cut = &compressed[..compressed.len() - 4];
        assert!(matches!(decompress(Codec::Lz4, cut, LIMIT), Err(CompressionError::Corrupt { .. })));
    }

    #[test]
    fn a_zstd_frame_says_how_much_it_holds() {
        let compressed = compress(Codec::Zstd, Some(22), &sample()).unwrap();
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&compressed).unwrap(), Some(sample().len() as u64));
    }

    #[test]
    fn raw_snappy_without_framing_is_read() {
        let raw = snap::raw::Encoder::new().compress_vec(b"written by an older client").unwrap();
        assert_eq!(decompress(Codec::Snappy, &raw, LIMIT).unwrap(), &b"written by an older client"[..]);
    }

    #[test]
    fn a_snappy_block_cannot_make_the_reader_allocate_what_it_declares() {
        // A varint of 900,000 in front of one byte.
        let hostile = [0xa0, 0xf7, 0x36, 0x00];
        assert!(matches!(decompress(Codec::Snappy, &hostile, LIMIT), Err(CompressionError::Corrupt { .. })));
    }

    #[test]
    fn streams_that_follow_each_other_are_one_where_kafka_reads_them_so() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
            let twice = [compress(codec, None, b"one ").unwrap(), compress(codec, None, b"two").unwrap()].concat();
            assert_eq!(decompress(codec, &twice, LIMIT).unwrap(), &b"one two"[..], "{}", codec.name());
        }
    }

    #[test]
    fn levels_that_a_codec_has_not_are_refused() {
        assert!(compress(Codec::Gzip, Some(9), b"x").is_ok());
        assert!(compress(Codec::Zstd, Some(-5), b"x").is_ok());
        for (codec, level) in [(Codec::Gzip, 10), (Codec::Zstd, 23), (Codec::Lz4, 9), (Codec::Snappy, 1)] {
            assert_eq!(compress(codec, Some(level), b"x"), Err(CompressionError::BadLevel { codec, level }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_a_round_trip(input in prop::collection::vec(any::<u8>(), 0..4096)) {
            for codec in CODECS {
                let compressed = compress(codec, None, &input).unwrap();
                prop_assert_eq!(&decompress(codec, &compressed, 4096).unwrap()[..], &input[..]);
            }
        }

        #[test]
        fn no_input_panics_or_breaks_the_cap(input in prop::collection::vec(any::<u8>(), 0..512), flip in any::<(u16, u8)>()) {
            for codec in CODECS {
                let mut damaged = compress(codec, None, &input).unwrap().to_vec();
                let at = usize::from(flip.0) % damaged.len().max(1);
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= flip.1;
                }
                for hostile in [&input, &damaged] {
                    if let Ok(output) = decompress(codec, hostile, 600) {
                        prop_assert!(output.len() <= 600);
                    }
                }
            }
        }
    }
}
