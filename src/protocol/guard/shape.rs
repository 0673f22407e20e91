//! How a request body is laid out, as data: what one line of a message's schema says about one field.

use std::ops::RangeInclusive;

/// The version of an API that has no flexible version (KIP-482).
pub(crate) const NEVER: i16 = i16::MAX;

/// The layout of one request in all its versions.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) versions: RangeInclusive<i16>,
    /// From this version on lengths are varints and every structure ends with tagged fields.
    pub(crate) flexible_since: i16,
    pub(crate) fields: &'static [Field],
}

impl Shape {
    pub(crate) const fn new(versions: RangeInclusive<i16>, flexible_since: i16, fields: &'static [Field]) -> Shape {
        Shape { versions, flexible_since, fields }
    }
}

/// One field of a structure, in wire order.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    since: i16,
    until: i16,
    nullable_since: i16,
    /// Set where the field is no part of the sequence but of the tagged fields at the structure's end.
    pub(crate) tag: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// A number, boolean or uuid of this many bytes.
    Fixed(usize),
    String,
    Bytes,
    /// An array of elements of this many bytes.
    FixedArray(usize),
    StringArray,
    StructArray(&'static [Field]),
    Struct(&'static [Field]),
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Field {
        Field { name, kind, since: 0, until: i16::MAX, nullable_since: NEVER, tag: None }
    }

    pub(crate) const fn since(self, version: i16) -> Field {
        Field { since: version, ..self }
    }

    pub(crate) const fn until(self, version: i16) -> Field {
        Field { until: version, ..self }
    }

    /// May be null in every version that has the field.
    pub(crate) const fn nullable(self) -> Field {
        self.nullable_since(0)
    }

    pub(crate) const fn nullable_since(self, version: i16) -> Field {
        Field { nullable_since: version, ..self }
    }

    pub(crate) const fn tag(self, tag: u32) -> Field {
        Field { tag: Some(tag), ..self }
    }

    pub(crate) fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }

    pub(crate) fn is_nullable_in(&self, version: i16) -> bool {
        self.nullable_since <= version
    }
}

pub(crate) const fn boolean(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(1))
}

pub(crate) const fn int8(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(1))
}

pub(crate) const fn int16(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(2))
}

pub(crate) const fn int32(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(4))
}

pub(crate) const fn int64(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(8))
}

pub(crate) const fn uuid(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(16))
}

pub(crate) const fn string(name: &'static str) -> Field {
    Field::new(name, Kind::String)
}

/// Opaque bytes, record batches too.
pub(crate) const fn bytes(name: &'static str) -> Field {
    Field::new(name, Kind::Bytes)
}

pub(crate) const fn int32s(name: &'static str) -> Field {
    Field::new(name, Kind::FixedArray(4))
}

pub(crate) const fn int64s(name: &'static str) -> Field {
    Field::new(name, Kind::FixedArray(8))
}

pub(crate) const fn strings(name: &'static str) -> Field {
    Field::new(name, Kind::StringArray)
}

/// An array of structures.
pub(crate) const fn structs(name: &'static str, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::StructArray(fields))
}

/// A structure by itself.
pub(crate) const fn structure(name: &'static str, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::Struct(fields))
}
