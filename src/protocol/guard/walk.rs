//! The walk over a body. It runs before every decode: no allocation, and content is skipped by its length.

use super::shape::{Field, Kind, Shape};
use super::{DECODED_BYTES_MAX, GuardError};

/// Decoded bytes of one structure, apart from what its fields point to: no request repeats a larger one.
pub(super) const STRUCT_BYTES: usize = 128;
/// Decoded bytes of a string: a slice of the frame.
pub(super) const STRING_BYTES: usize = 32;
/// Decoded bytes of an unknown tagged field: its structure's `BTreeMap` allocates a node for 11 of them at the first.
pub(super) const TAG_BYTES: usize = 416;

const TAGGED_FIELDS: &str = "tagged fields";

type Result<T> = std::result::Result<T, GuardError>;

/// What stands before a string, bytes or an array where the version is not flexible.
enum Prefix {
    Int16,
    Int32,
}

pub(super) struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    decoded_bytes_left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(shape: &Shape, version: i16, body: &'a [u8]) -> Walk<'a> {
        let flexible = version >= shape.flexible_since;
        Walk { rest: body, version, flexible, decoded_bytes_left: DECODED_BYTES_MAX }
    }

    /// Walks the whole request and answers what follows it.
    pub(super) fn request(mut self, fields: &[Field]) -> Result<&'a [u8]> {
        self.structure(fields)?;
        Ok(self.rest)
    }

    fn structure(&mut self, fields: &[Field]) -> Result<()> {
        for field in fields {
            if field.tag.is_none() && field.is_in(self.version) {
                self.field(field)?;
            }
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    fn field(&mut self, field: &Field) -> Result<()> {
        let (name, nullable) = (field.name, field.is_nullable_in(self.version));
        match field.kind {
            Kind::Fixed(width) => self.skip(name, width),
            Kind::String => self.content(name, nullable, Prefix::Int16),
            Kind::Bytes => self.content(name, nullable, Prefix::Int32),
            Kind::FixedArray(width) => {
                let count = self.count(name, nullable, width)?;
                self.skip(name, count.saturating_mul(width))
            }
            Kind::StringArray => {
                let count = self.count(name, nullable, STRING_BYTES)?;
                (0..count).try_for_each(|_| self.content(name, false, Prefix::Int16))
            }
            Kind::StructArray(fields) => {
                let count = self.count(name, nullable, STRUCT_BYTES)?;
                (0..count).try_for_each(|_| self.structure(fields))
            }
            Kind::Struct(_) if nullable && !self.is_present(name)? => Ok(()),
            Kind::Struct(fields) => self.structure(fields),
        }
    }

    /// A known tag is walked as the field it is, because the decoder decodes it; any other is skipped by its size.
    fn tagged_fields(&mut self, fields: &[Field]) -> Result<()> {
        for _ in 0..self.varint(TAGGED_FIELDS)? {
            let tag = self.varint(TAGGED_FIELDS)?;
            let size = self.varint(TAGGED_FIELDS)? as usize;
            match fields.iter().find(|field| field.tag == Some(tag)) {
                Some(field) if field.is_in(self.version) => self.tagged_field(field, size)?,
                Some(field) => return Err(GuardError::UnexpectedTag { field: field.name }),
                None => {
                    self.charge(TAGGED_FIELDS, 1, TAG_BYTES)?;
                    self.skip(TAGGED_FIELDS, size)?;
                }
            }
        }
        Ok(())
    }

    fn tagged_field(&mut self, field: &Field, size: usize) -> Result<()> {
        let left = self.rest.len();
        self.field(field)?;
        let taken = left.saturating_sub(self.rest.len());
        if taken == size { Ok(()) } else { Err(GuardError::TagSize { field: field.name, size, taken }) }
    }

    /// A string or bytes.
    fn content(&mut self, name: &'static str, nullable: bool, prefix: Prefix) -> Result<()> {
        let length = self.length(name, nullable, prefix)?;
        self.skip(name, length)
    }

    /// The number of elements that follow, which decode to `element_bytes` each.
    fn count(&mut self, name: &'static str, nullable: bool, element_bytes: usize) -> Result<usize> {
        let count = self.length(name, nullable, Prefix::Int32)?;
        self.charge(name, count, element_bytes)?;
        Ok(count)
    }

    /// A length or count, of which no unit is smaller than a byte; 0 for null.
    fn length(&mut self, name: &'static str, nullable: bool, prefix: Prefix) -> Result<usize> {
        let length = match prefix {
            _ if self.flexible => i64::from(self.varint(name)?) - 1,
            Prefix::Int16 => i64::from(i16::from_be_bytes(self.take(name)?)),
            Prefix::Int32 => i64::from(i32::from_be_bytes(self.take(name)?)),
        };
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(length),
            Ok(announced) => Err(GuardError::BeyondEnd { field: name, announced, left: self.rest.len() }),
            Err(_) if length != -1 => Err(GuardError::NegativeLength { field: name, length }),
            Err(_) if nullable => Ok(0),
            Err(_) => Err(GuardError::Null { field: name }),
        }
    }

    /// The byte before a nullable structure. Kafka and the decoder read values other than these two differently.
    fn is_present(&mut self, name: &'static str) -> Result<bool> {
        match i8::from_be_bytes(self.take(name)?) {
            1 => Ok(true),
            -1 => Ok(false),
            byte => Err(GuardError::Presence { field: name, byte }),
        }
    }

    /// As `ByteBufferAccessor.readUnsignedVarint`: bits beyond the 32nd are dropped, a sixth byte is an error.
    fn varint(&mut self, name: &'static str) -> Result<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take(name)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(GuardError::LongVarint { field: name })
    }

    fn take<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(GuardError::Truncated { field: name })?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn skip(&mut self, name: &'static str, length: usize) -> Result<()> {
        self.rest = self.rest.get(length..).ok_or(GuardError::Truncated { field: name })?;
        Ok(())
    }

    fn charge(&mut self, name: &'static str, count: usize, bytes_each: usize) -> Result<()> {
        let left = self.decoded_bytes_left.checked_sub(count.saturating_mul(bytes_each));
        self.decoded_bytes_left = left.ok_or(GuardError::TooLarge { field: name })?;
        Ok(())
    }
}
