//! What the records of the cluster metadata add up to, as far as it is taken over.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::protocol::StrBytes;

use super::record::{MetadataRecord, Resource};
use crate::types::{LeaderEpoch, Offset, TopicId};

/// `ConfigResource.Type` of topics.
const TOPIC: i8 = 2;
/// Of what could not be read so much is told one by one.
const UNREAD_MAX: usize = 20;

/// The cluster as its metadata describe it.
#[derive(Debug, Clone, Default)]
pub struct ClusterMetadata {
    pub topics: BTreeMap<TopicId, KafkaTopic>,
    /// Producer ids below this one may have been handed out.
    pub next_producer_id: i64,
    /// What a user had made and is not taken over.
    pub not_taken_over: BTreeSet<&'static str>,
    /// What comes here was not read.
    pub end_offset: Offset,
    /// Nothing before `end_offset` is missing or could not be understood.
    pub is_complete: bool,
    /// What could not be read, in words.
    pub unread: Vec<String>,
    unread_count: usize,
    configs: BTreeMap<Resource, BTreeMap<StrBytes, StrBytes>>,
    /// The records since the last BeginTransaction: they count when it ends (KIP-868).
    transaction: Option<Vec<MetadataRecord>>,
}

/// A topic as Kafka knew it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaTopic {
    pub name: StrBytes,
    /// The leader epoch of each partition.
    pub partitions: BTreeMap<i32, LeaderEpoch>,
}

impl ClusterMetadata {
    /// Where a log that begins at offset 0 begins.
    pub fn of_a_new_cluster() -> ClusterMetadata {
        ClusterMetadata { is_complete: true, ..ClusterMetadata::default() }
    }

    /// A topic's own values.
    pub fn topic_configs(&self, topic: &str) -> impl Iterator<Item = (&str, &str)> {
        let configs = self.configs.get(&Resource { kind: TOPIC, name: StrBytes::from_string(topic.to_owned()) });
        configs.into_iter().flatten().map(|(key, value)| (&**key, &**value))
    }

    /// Keys set at run time on anything but topics, each once, without their values: some are passwords.
    pub fn other_config_keys(&self) -> BTreeSet<String> {
        let others = self.configs.iter().filter(|(resource, _)| resource.kind != TOPIC);
        let named = |(resource, values): (&Resource, &BTreeMap<_, _>)| {
            values.keys().map(|key: &StrBytes| format!("{key} ({resource})")).collect::<Vec<_>>()
        };
        others.flat_map(named).collect()
    }

    pub(super) fn replay(&mut self, record: MetadataRecord) {
        match (record, &mut self.transaction) {
            (MetadataRecord::BeginTransaction, _) => self.transaction = Some(Vec::new()),
            (MetadataRecord::AbortTransaction, _) => self.transaction = None,
            (MetadataRecord::EndTransaction, open) => {
                for record in open.take().unwrap_or_default() {
                    self.apply(record);
                }
            }
            (record, Some(open)) => open.push(record),
            (record, None) => self.apply(record),
        }
    }

    fn apply(&mut self, record: MetadataRecord) {
        match record {
            MetadataRecord::Topic { id, name } => {
                self.topics.insert(id, KafkaTopic { name, partitions: BTreeMap::new() });
            }
            MetadataRecord::Partition { topic, partition, leader_epoch } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.partitions.insert(partition, leader_epoch);
                }
            }
            MetadataRecord::LeaderChange { topic, partition } => {
                let epoch = self.topics.get_mut(&topic).and_then(|topic| topic.partitions.get_mut(&partition));
                if let Some(epoch) = epoch {
                    epoch.0 = epoch.0.saturating_add(1);
                }
            }
            MetadataRecord::Config { resource, key, value } => self.set(resource, key, value),
            MetadataRecord::RemoveTopic { id } => {
                if let Some(topic) = self.topics.remove(&id) {
                    self.configs.remove(&Resource { kind: TOPIC, name: topic.name });
                }
            }
            MetadataRecord::ProducerIds { next } => self.next_producer_id = self.next_producer_id.max(next),
            MetadataRecord::NotTakenOver(what) => drop(self.not_taken_over.insert(what)),
            MetadataRecord::BeginTransaction
            | MetadataRecord::EndTransaction
            | MetadataRecord::AbortTransaction
            | MetadataRecord::Internal => {}
        }
    }

    fn set(&mut self, resource: Resource, key: StrBytes, value: Option<StrBytes>) {
        let values = self.configs.entry(resource.clone()).or_default();
        match value {
            Some(value) => drop(values.insert(key, value)),
            None => drop(values.remove(&key)),
        }
        if values.is_empty() {
            self.configs.remove(&resource);
        }
    }

    /// Notes what could not be read and may have said anything.
    pub(super) fn lacks(&mut self, what: String) {
        self.is_complete = false;
        self.note(what);
    }

    pub(super) fn note(&mut self, what: String) {
        self.unread_count += 1;
        match self.unread_count.checked_sub(UNREAD_MAX) {
            None | Some(0) => self.unread.push(what),
            Some(more) => {
                self.unread.truncate(UNREAD_MAX);
                self.unread.push(format!("{more} more like these"));
            }
        }
    }
}

impl KafkaTopic {
    pub fn partition_count(&self) -> i32 {
        self.partitions.last_key_value().map_or(0, |(last, _)| last.saturating_add(1))
    }

    /// The largest of its partitions'.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.partitions.values().copied().max()
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            4 | 8 if self.name.is_empty() => return f.write_str("all brokers"),
            4 | 8 => "broker",
            16 => "client metrics",
            32 => "group",
            _ => "resource",
        };
        write!(f, "{kind} {}", &*self.name)
    }
}
