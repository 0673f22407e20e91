//! Kafka's cluster metadata: `__cluster_metadata-0`, the log of KRaft's controllers, with its snapshots. Read once, when a
//! Kafka's data directory is adopted; never written.
//!
//! `batches` (one file) → `record` (one record) → `cluster` (what they add up to) → `load` (the folder).

mod batches;
mod cluster;
mod load;
mod record;

#[cfg(test)]
mod tests;

pub use cluster::{ClusterMetadata, KafkaTopic};
pub use load::{FOLDER, load};
