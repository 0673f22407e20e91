//! Sockets: accepting, framing, ordered replies, and stopping.

mod admission;
mod connection;
mod framing;
mod listener;
mod responses;

pub use listener::{Bound, Server};
