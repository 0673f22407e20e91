//! Bytes on the wire and in segments: pure parsing and encoding, no I/O.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod fetch_wire;
pub mod frame;
pub mod guard;
pub mod records;
pub mod response;
pub mod retained;
pub mod validate;
pub mod wire;

/// Kafka's error codes (`org.apache.kafka.common.protocol.Errors`). Each layer's error type maps itself to one of these
/// in an exhaustive match.
pub use kafka_protocol::error::ResponseError as ErrorCode;
