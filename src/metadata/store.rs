//! Where the image is kept: an embedded store on one machine; a shared one later.

mod codec;
mod local;
mod unpanicked;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{Change, Image};
use crate::types::TopicId;

pub use local::LocalStore;

#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Durable, ordered storage of changes. Knows nothing of Kafka's rules. Blocking. Changes of the image and allocations
/// come one at a time.
pub trait Store: std::fmt::Debug + Send + Sync {
    fn load(&self) -> Result<Image, StoreError>;

    /// Makes `changes`, which lead to `next`, durable.
    fn commit(&self, changes: &[Change], next: &Image) -> Result<(), StoreError>;

    /// Moves the mark below which producer ids have been handed out by `count`; returns the first new id.
    fn allocate_producer_ids(&self, count: i64) -> Result<i64, StoreError>;

    /// The ids of deleted topics, each kept until it is forgotten: folders of theirs may still be around.
    fn deleted(&self) -> Result<BTreeSet<TopicId>, StoreError>;

    /// Need not be durable before the next commit.
    fn forget_deleted(&self, ids: &[TopicId]) -> Result<(), StoreError>;
}
