//! Frames: the header of a request, and a whole response.
//!
//! ```text
//! request header v1   api_key i16 | api_version i16 | correlation_id i32 | client_id nullable string (i16 length)
//! request header v2   … | tagged fields
//! response            length i32 | correlation_id i32 | tagged fields (header v1 only) | body
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Encodable, StrBytes};

/// Bytes of a frame's length, which it does not count.
pub const LENGTH_PREFIX_LEN: usize = 4;

/// A request with its body not yet decoded.
///
/// The key may be unknown and the version unsupported: the caller decides, because an ApiVersions request of any
/// version has an answer (KIP-511).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the frame ends within its header")]
    Truncated,
    #[error("client id of length {0}")]
    ClientIdLength(i16),
    #[error("client id is not UTF-8")]
    ClientIdText,
    #[error("a varint of more than 5 bytes in the header")]
    LongVarint,
}

impl From<TryGetError> for FrameError {
    fn from(_: TryGetError) -> FrameError {
        FrameError::Truncated
    }
}

/// Reads the header of a frame, its length prefix already taken off (`RequestHeader.parse`).
///
/// A version beyond those known has the header of the newest known one, which is what makes ApiVersions answerable;
/// the request of an unknown API is read with header v1, which every header starts with.
pub fn parse(mut frame: Bytes) -> Result<RequestHead, FrameError> {
    let api_key = frame.try_get_i16()?;
    let api_version = frame.try_get_i16()?;
    let correlation_id = frame.try_get_i32()?;
    let client_id = client_id(&mut frame)?;
    if ApiKey::try_from(api_key).is_ok_and(|api| api.request_header_version(api_version) >= 2) {
        skip_tagged_fields(&mut frame)?;
    }
    Ok(RequestHead { api_key, api_version, correlation_id, client_id, body: frame })
}

/// The client id stays an `i16`-length string in header v2, so that a header can be read before its version is known.
fn client_id(frame: &mut Bytes) -> Result<Option<StrBytes>, FrameError> {
    let length = frame.try_get_i16()?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| FrameError::ClientIdLength(length))?;
    let text = take(frame, length)?;
    StrBytes::try_from(text).map(Some).map_err(|_| FrameError::ClientIdText)
}

/// No tag is defined for request headers; all are skipped, as KIP-482 demands of unknown ones.
fn skip_tagged_fields(frame: &mut Bytes) -> Result<(), FrameError> {
    for _ in 0..varint(frame)? {
        let _tag = varint(frame)?;
        let size = varint(frame)?;
        take(frame, size as usize)?;
    }
    Ok(())
}

fn take(frame: &mut Bytes, length: usize) -> Result<Bytes, FrameError> {
    if length > frame.len() {
        return Err(FrameError::Truncated);
    }
    Ok(frame.split_to(length))
}

fn varint(frame: &mut Bytes) -> Result<u32, FrameError> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = frame.try_get_u8()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(FrameError::LongVarint)
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The value cannot be written in this version.
    #[error("response of {api:?} v{version}: {reason}")]
    Body { api: ApiKey, version: i16, reason: anyhow::Error },
    #[error("response of {api:?} v{version}: {length} bytes are more than {RESPONSE_BYTES_MAX}")]
    TooLong { api: ApiKey, version: i16, length: usize },
    /// The sum of the parts and the bytes written differ: sending them would shift every later frame.
    #[error("response of {api:?} v{version}: {written} bytes written where {computed} were computed")]
    SizeMismatch { api: ApiKey, version: i16, computed: usize, written: usize },
}

/// A response with more than this is the answer to a request made to be answered so: the metadata of every partition that
/// a broker may have is a tenth of it, and librdkafka takes no more than 100 MB by default. Fetch has limits of its own.
pub const RESPONSE_BYTES_MAX: usize = 128 << 20;

/// A response as it goes to the socket: length, header and body in one allocation of their exact size.
pub fn encode_response(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &impl Encodable,
) -> Result<Bytes, EncodeError> {
    let body_error = |reason| EncodeError::Body { api, version, reason };
    // ApiVersions always has header v0, for clients that cannot know what the broker speaks (KIP-511).
    let has_tagged_fields = api.response_header_version(version) >= 1;
    let header_len = size_of::<i32>() + usize::from(has_tagged_fields);
    let length = header_len.saturating_add(body.compute_size(version).map_err(body_error)?);
    let fits = i32::try_from(length).ok().filter(|_| length <= RESPONSE_BYTES_MAX);
    let length_prefix = fits.ok_or(EncodeError::TooLong { api, version, length })?;

    let mut frame = BytesMut::with_capacity(LENGTH_PREFIX_LEN + length);
    frame.put_i32(length_prefix);
    frame.put_i32(correlation_id);
    if has_tagged_fields {
        frame.put_u8(0);
    }
    body.encode(&mut frame, version).map_err(body_error)?;

    let written = frame.len() - LENGTH_PREFIX_LEN;
    if written != length {
        return Err(EncodeError::SizeMismatch { api, version, computed: length, written });
    }
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests;
