//! The committed offsets of a shard's groups, and those of transactions that have not ended
//! (Kafka's `OffsetMetadataManager`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kafka_protocol::protocol::StrBytes;

use super::records::{OffsetKey, OffsetValue};
use crate::types::{Offset, ProducerId};

/// Topic → partition → offset.
type Topics = BTreeMap<StrBytes, BTreeMap<i32, Committed>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Committed {
    /// Where the record stands: of a regular and a transactional commit, the later record counts.
    record_offset: Offset,
    value: OffsetValue,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    committed: HashMap<StrBytes, Topics>,
    /// By the producer whose transaction is open.
    pending: HashMap<ProducerId, HashMap<StrBytes, Topics>>,
}

impl Offsets {
    pub(super) fn put(&mut self, key: OffsetKey, producer_id: ProducerId, record_offset: Offset, value: OffsetValue) {
        let groups = match producer_id {
            ProducerId::NONE => &mut self.committed,
            producer_id => self.pending.entry(producer_id).or_default(),
        };
        let partitions = groups.entry(key.group).or_default().entry(key.topic).or_default();
        partitions.insert(key.partition, Committed { record_offset, value });
    }

    /// A tombstone takes the offset away, and what open transactions hold for its partition.
    pub(super) fn remove(&mut self, key: &OffsetKey) {
        remove_from(&mut self.committed, key);
        for groups in self.pending.values_mut() {
            remove_from(groups, key);
        }
        self.pending.retain(|_, groups| !groups.is_empty());
    }

    pub(super) fn end_transaction(&mut self, producer_id: ProducerId, committed: bool) {
        let Some(groups) = self.pending.remove(&producer_id).filter(|_| committed) else { return };
        for (group, topics) in groups {
            for (topic, partitions) in topics {
                let current = self.committed.entry(group.clone()).or_default().entry(topic).or_default();
                for (partition, pending) in partitions {
                    if current.get(&partition).is_none_or(|known| known.record_offset < pending.record_offset) {
                        current.insert(partition, pending);
                    }
                }
            }
        }
    }

    pub(super) fn get(&self, group: &StrBytes, topic: &StrBytes, partition: i32) -> Option<&OffsetValue> {
        let committed = self.committed.get(group)?.get(topic)?.get(&partition)?;
        Some(&committed.value)
    }

    /// Whether there is an offset, be it pending.
    pub(super) fn holds(&self, key: &OffsetKey) -> bool {
        let OffsetKey { group, topic, partition } = key;
        self.get(group, topic, *partition).is_some() || self.has_pending(group, topic, *partition)
    }

    /// A group's committed offsets, by topic and partition.
    pub(super) fn of(&self, group: &StrBytes) -> impl Iterator<Item = (&StrBytes, i32, &OffsetValue)> {
        let topics = self.committed.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, committed)| (topic, *partition, &committed.value))
        })
    }

    /// The topics that a group has committed offsets of, with their partitions.
    pub(super) fn topics_of(&self, group: &StrBytes) -> impl Iterator<Item = (&StrBytes, impl Iterator<Item = i32>)> {
        let topics = self.committed.get(group).into_iter().flatten();
        topics.map(|(topic, partitions)| (topic, partitions.keys().copied()))
    }

    pub(super) fn has_pending(&self, group: &StrBytes, topic: &StrBytes, partition: i32) -> bool {
        let mut topics = self.pending.values().filter_map(|groups| groups.get(group)?.get(topic));
        topics.any(|partitions| partitions.contains_key(&partition))
    }

    pub(super) fn has_open_transaction(&self, group: &StrBytes) -> bool {
        self.pending.values().any(|groups| groups.contains_key(group))
    }

    /// Every partition that a group holds an offset of, be it pending: what deleting the group must undo.
    pub(super) fn keys_of(&self, group: &StrBytes) -> BTreeSet<OffsetKey> {
        let topics = self.everything().filter(|(owner, _)| *owner == group).map(|(_, topics)| topics);
        topics.flatten().flat_map(|(topic, partitions)| keys(group, topic, partitions)).collect()
    }

    /// Every offset of a topic, over all groups.
    pub(super) fn keys_of_topic(&self, topic: &StrBytes) -> BTreeSet<OffsetKey> {
        let groups = self.everything().filter_map(|(group, topics)| Some((group, topics.get(topic)?)));
        groups.flat_map(|(group, partitions)| keys(group, topic, partitions)).collect()
    }

    fn everything(&self) -> impl Iterator<Item = (&StrBytes, &Topics)> {
        self.committed.iter().chain(self.pending.values().flatten())
    }
}

fn keys<'a>(
    group: &'a StrBytes,
    topic: &'a StrBytes,
    partitions: &'a BTreeMap<i32, Committed>,
) -> impl Iterator<Item = OffsetKey> + 'a {
    let key = |partition: &i32| OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition };
    partitions.keys().map(key)
}

/// Removes an offset and what it leaves empty.
fn remove_from(groups: &mut HashMap<StrBytes, Topics>, key: &OffsetKey) {
    let Some(topics) = groups.get_mut(&key.group) else { return };
    if let Some(partitions) = topics.get_mut(&key.topic) {
        partitions.remove(&key.partition);
        if partitions.is_empty() {
            topics.remove(&key.topic);
        }
    }
    if topics.is_empty() {
        groups.remove(&key.group);
    }
}
