//! What is known at one version.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::log::names;
use crate::types::{LeaderEpoch, TopicId};

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: TopicId,
    /// Partitions are numbered `0..partitions`.
    pub partitions: i32,
    /// The values set on the topic itself.
    pub configs: BTreeMap<String, String>,
    /// The epoch in which this broker leads its partitions: not below any that a broker before it led one of them in, for
    /// clients do not go back to a lower one.
    pub leader_epoch: LeaderEpoch,
}

impl Topic {
    /// Kafka's own topics (`Topic.isInternal`): not written by clients, flagged in Metadata.
    pub fn is_internal(&self) -> bool {
        names::is_internal_topic(&self.name)
    }
}

/// Everything known at one version. Cloning takes constant time, and a change copies a path of a tree: the cost of a
/// commit does not grow with the topics.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Grows by one with each commit.
    pub version: u64,
    by_name: RedBlackTreeMapSync<Arc<str>, Arc<Topic>>,
    by_id: RedBlackTreeMapSync<TopicId, Arc<Topic>>,
    /// Names with a '.' or '_', under what Kafka's metric names make of them.
    by_folded_name: RedBlackTreeMapSync<String, Arc<str>>,
    partitions: i64,
}

impl Image {
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// The topics whose name is `first` or comes after it, by name.
    pub fn topics_from(&self, first: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.range::<str, _>((Bound::Included(first), Bound::Unbounded)).map(|(_, topic)| topic)
    }

    /// Partitions of all topics together.
    pub fn partitions(&self) -> i64 {
        self.partitions
    }

    /// A topic whose name differs from `name` in '.' against '_' only.
    pub(super) fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        self.by_folded_name.get(&folded(name)?)
    }

    /// Adds a topic, or replaces the one with its id and name.
    pub(super) fn put(&mut self, topic: Topic) {
        self.remove(topic.id);
        self.partitions += i64::from(topic.partitions);
        if let Some(folded) = folded(&topic.name) {
            self.by_folded_name.insert_mut(folded, topic.name.clone());
        }
        let topic = Arc::new(topic);
        self.by_name.insert_mut(topic.name.clone(), topic.clone());
        self.by_id.insert_mut(topic.id, topic);
    }

    pub(super) fn remove(&mut self, id: TopicId) {
        let Some(topic) = self.by_id.get(&id).cloned() else { return };
        self.partitions -= i64::from(topic.partitions);
        if let Some(folded) = folded(&topic.name) {
            self.by_folded_name.remove_mut(&folded);
        }
        self.by_name.remove_mut(&topic.name);
        self.by_id.remove_mut(&id);
    }
}

fn folded(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
