//! Kafka's primitive types as stored records hold them, read without trusting a length and written as the schemas say.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("ends early")]
    Truncated,
    #[error("length {0}")]
    BadLength(i64),
    #[error("a string that is not UTF-8")]
    NotUtf8,
    #[error("null where a value is needed")]
    Null,
    #[error("a varint of more than 32 bits")]
    BadVarint,
    #[error("tagged field {0}")]
    BadTag(u32),
}

/// The bytes still to be read. What is taken out is copied: state must not keep the buffer it was loaded from.
#[derive(Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn i8(&mut self) -> Result<i8, WireError> {
        self.0.try_get_i8().map_err(|_| WireError::Truncated)
    }

    pub fn i16(&mut self) -> Result<i16, WireError> {
        self.0.try_get_i16().map_err(|_| WireError::Truncated)
    }

    pub fn i32(&mut self) -> Result<i32, WireError> {
        self.0.try_get_i32().map_err(|_| WireError::Truncated)
    }

    pub fn i64(&mut self) -> Result<i64, WireError> {
        self.0.try_get_i64().map_err(|_| WireError::Truncated)
    }

    pub fn uuid(&mut self) -> Result<Uuid, WireError> {
        self.0.try_get_u128().map(Uuid::from_u128).map_err(|_| WireError::Truncated)
    }

    pub fn string(&mut self, compact: bool) -> Result<StrBytes, WireError> {
        self.nullable_string(compact)?.ok_or(WireError::Null)
    }

    pub fn nullable_string(&mut self, compact: bool) -> Result<Option<StrBytes>, WireError> {
        let length = if compact { self.compact_length()? } else { i64::from(self.i16()?) };
        let Some(bytes) = self.take_nullable(length)? else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)?;
        Ok(Some(StrBytes::from_string(text.to_owned())))
    }

    pub fn bytes(&mut self, compact: bool) -> Result<Bytes, WireError> {
        let length = self.length(compact)?;
        self.take_nullable(length)?.map(Bytes::copy_from_slice).ok_or(WireError::Null)
    }

    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        let length = i64::from(self.i32()?);
        Ok(self.take_nullable(length)?.map(Bytes::copy_from_slice))
    }

    pub fn array_len(&mut self, compact: bool) -> Result<u32, WireError> {
        let length = self.length(compact)?;
        u32::try_from(length).map_err(|_| WireError::BadLength(length))
    }

    pub fn tags(&mut self, mut each: impl FnMut(u32, &[u8]) -> Result<(), WireError>) -> Result<(), WireError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = i64::from(self.varint()?);
            each(tag, self.take_nullable(size)?.unwrap_or_default())?;
        }
        Ok(())
    }

    fn length(&mut self, compact: bool) -> Result<i64, WireError> {
        if compact { self.compact_length() } else { self.i32().map(i64::from) }
    }

    /// Compact lengths are one more than they say, and 0 is null.
    fn compact_length(&mut self) -> Result<i64, WireError> {
        Ok(i64::from(self.varint()?) - 1)
    }

    fn take_nullable(&mut self, length: i64) -> Result<Option<&'a [u8]>, WireError> {
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| WireError::BadLength(length))?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(Some(taken))
    }

    pub fn varint(&mut self) -> Result<u32, WireError> {
        let mut value = 0u32;
        for shift in (0..u32::BITS).step_by(7) {
            let byte = self.0.try_get_u8().map_err(|_| WireError::Truncated)?;
            let low = u32::from(byte & 0x7f);
            if (low << shift) >> shift != low {
                return Err(WireError::BadVarint);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::BadVarint)
    }
}

/// Lengths were checked when the text came in; one that does not fit all the same is cut rather than written as a record that cannot be read.
pub trait Output {
    fn put_string(&mut self, text: &str);
    fn put_nullable_string(&mut self, text: Option<&StrBytes>);
    fn put_bytes_field(&mut self, bytes: &[u8]);
    fn put_compact_string(&mut self, text: &str);
    fn put_tags(&mut self, tags: &[(u32, &[u8])]);
}

impl Output for BytesMut {
    fn put_string(&mut self, text: &str) {
        let text = cut(text, i16::MAX as usize);
        self.put_i16(text.len() as i16);
        self.put_slice(text.as_bytes());
    }

    fn put_nullable_string(&mut self, text: Option<&StrBytes>) {
        match text {
            Some(text) => self.put_string(text),
            None => self.put_i16(-1),
        }
    }

    fn put_bytes_field(&mut self, bytes: &[u8]) {
        // A request frame is shorter than 2 GiB.
        self.put_i32(bytes.len() as i32);
        self.put_slice(bytes);
    }

    fn put_compact_string(&mut self, text: &str) {
        put_varint(self, text.len() as u32 + 1);
        self.put_slice(text.as_bytes());
    }

    fn put_tags(&mut self, tags: &[(u32, &[u8])]) {
        put_varint(self, tags.len() as u32);
        for (tag, value) in tags {
            put_varint(self, *tag);
            put_varint(self, value.len() as u32);
            self.put_slice(value);
        }
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
