//! The guard before decoding: walks a request's body along its shape and refuses what must not reach the decoder.
//!
//! `kafka-protocol` allocates arrays by the count that stands on the wire, before it has seen one element: four bytes
//! can make it ask for 240 GB, and a failed allocation aborts the process. A body that passes here holds every element
//! and byte that it announces, within [`DECODED_BYTES_MAX`].
//!
//! Where Kafka is lenient so is the guard: bytes behind the last field are tolerated (`AbstractRequest.parseRequest`
//! never looks at what is left), and unknown tagged fields are skipped. It is stricter in two places where no client
//! goes: a known tagged field must be as long as its size says, and the total is capped.

mod shape;
mod shapes;
#[cfg(test)]
mod tests;
mod walk;

use kafka_protocol::messages::ApiKey;

/// The most bytes a request's decoded arrays, structures and tagged fields may take. Strings and bytes are slices of
/// the frame and cost nothing more.
///
/// Half a million structures, which is more than the partitions of any one broker, and little enough to have several
/// such requests in memory at once. Without it a frame within `socket.request.max.bytes` (100 MiB) could decode to
/// 14 GB: a topic with one empty tagged field is four bytes there, and a struct of 128 and a tree node of 416 here.
pub const DECODED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a body is refused. Names are those of the fields in Kafka's message schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("{0:?} requests have no known shape")]
    UnknownApi(ApiKey),
    #[error("{api:?} requests have no version {version}")]
    UnknownVersion { api: ApiKey, version: i16 },
    #[error("{field}: the body ends within it")]
    Truncated { field: &'static str },
    #[error("{field}: {announced} announced, {left} bytes left")]
    BeyondEnd { field: &'static str, announced: usize, left: usize },
    #[error("{field}: length {length}")]
    NegativeLength { field: &'static str, length: i64 },
    #[error("{field}: null")]
    Null { field: &'static str },
    #[error("{field}: {byte} where 1 says present and -1 null")]
    Presence { field: &'static str, byte: i8 },
    #[error("{field}: a varint of more than 5 bytes")]
    LongVarint { field: &'static str },
    #[error("{field}: the tag does not exist in this version")]
    UnexpectedTag { field: &'static str },
    #[error("{field}: {size} bytes announced for a tagged field of {taken}")]
    TagSize { field: &'static str, size: usize, taken: usize },
    #[error("{field}: would decode to more than {DECODED_BYTES_MAX} bytes")]
    TooLarge { field: &'static str },
}

/// Checks that `body` can be decoded as a request of `api` without allocating more than it is worth. Text is not
/// checked for UTF-8: the decoder does that.
pub fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), GuardError> {
    walk(api, version, body).map(|_rest| ())
}

/// What is left of `body` behind the request.
fn walk(api: ApiKey, version: i16, body: &[u8]) -> Result<&[u8], GuardError> {
    let shape = shapes::of(api).ok_or(GuardError::UnknownApi(api))?;
    if !shape.versions.contains(&version) {
        return Err(GuardError::UnknownVersion { api, version });
    }
    walk::Walk::new(shape, version, body).request(shape.fields)
}
