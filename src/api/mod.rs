//! The APIs: typed request in, typed response out. What all of them need (header, version gate, guard, decoding,
//! encoding) is done once, in [`dispatch`]; which of them exist, in [`table`].

pub mod context;
pub mod dispatch;
pub mod table;

mod cluster;
mod configs;
mod delete_records;
mod fetch;
mod fetch_session;
mod find_coordinator;
mod group_admin;
mod group_offsets;
mod groups;
mod list_offsets;
mod log_dirs;
mod metadata;
mod produce;
mod producer_ids;
mod refusal;
mod topics;
mod versions;

pub use context::{Client, Context, Refused, Services};
pub use fetch_session::FetchSessions;
pub use producer_ids::ProducerIds;
