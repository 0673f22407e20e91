//! Topics made of what lies on disk: of partition folders, and of the cluster metadata that a Kafka kept.
//!
//! [`take_over`] makes the store of log dirs that have none. [`Metadata::adopt`] looks at each start for folders that
//! somebody put beside the known ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::kafka::{self, ClusterMetadata, KafkaTopic};
use super::{CONSUMER_OFFSETS, Change, ChangeError, Edit, Image, LocalStore, Metadata, SHARE_GROUP_STATE, Shared};
use super::{TRANSACTION_STATE, Topic, change, edit};
use crate::config::{Config, Groups};
use crate::log::manager::LogManager;
use crate::types::{LeaderEpoch, Timestamp, TopicId, TopicPartition};

/// Partition folders, each with the topic id that its `partition.metadata` gives.
type Folders = BTreeMap<TopicPartition, Option<TopicId>>;

/// Makes the store in `store_dir` of what the log dirs hold, whoever wrote it, and says what of a Kafka's is not taken
/// over. The store is there once it is whole: a start that is cut short before leaves none. Blocking.
pub fn take_over(store_dir: &Path, manager: &LogManager, config: &Config) -> Result<LocalStore, ChangeError> {
    let folders = manager.found();
    if folders.is_empty() && !config.log_dirs.iter().any(|dir| dir.join(kafka::FOLDER).is_dir()) {
        tracing::info!("--adopt: the log dirs are empty; there is nothing to take over");
        return Ok(LocalStore::open(store_dir)?);
    }
    if !manager.was_clean() {
        tracing::warn!("what is taken over was not stopped cleanly (no .kafka_cleanshutdown): its logs are recovered");
    }
    let kafka = cluster_metadata(config);
    let topics = topics(&on_disk(&folders, |partition| manager.leader_epoch(partition)), &kafka, &config.groups);
    tell_what_is_not_taken_over(&kafka, &topics);
    let (changes, image) = creating(topics);
    // The mark of a lost store cannot be known; no broker hands out an id per millisecond since 1970. Kafka's would do,
    // but then a Kafka that gets the directory back would hand out the ids that were handed out here.
    let next_producer_id = kafka.next_producer_id.max(Timestamp::now().0);
    let store = LocalStore::create(store_dir, &changes, &image, next_producer_id)?;
    let (topics, partitions) = (image.topics().count(), image.partitions());
    let (cluster_id, node_id) = (manager.cluster_id(), config.node_id.0);
    tracing::info!(topics, partitions, cluster_id, node_id, "taken over");
    Ok(store)
}

/// What a Kafka kept of its cluster; nothing where it cannot be read.
fn cluster_metadata(config: &Config) -> ClusterMetadata {
    let mut folders = config.kafka_metadata_dir.iter().chain(&config.log_dirs).map(|dir| dir.join(kafka::FOLDER));
    let Some(folder) = folders.find(|folder| folder.is_dir()) else {
        tracing::warn!(
            "none of the log dirs holds {}: topics have the default configuration, and partitions up to the last that \
             has a folder",
            kafka::FOLDER
        );
        return ClusterMetadata::default();
    };
    match kafka::load(folder.as_path()) {
        Ok(cluster) => {
            tracing::info!(folder = %folder.display(), offset = %cluster.end_offset, "cluster metadata read");
            for what in &cluster.unread {
                tracing::warn!(folder = %folder.display(), "cluster metadata not read: {what}");
            }
            cluster
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cluster metadata not read: topics have the default configuration");
            ClusterMetadata::default()
        }
    }
}

fn tell_what_is_not_taken_over(kafka: &ClusterMetadata, topics: &[Topic]) {
    let has = |name: &str| topics.iter().any(|topic| *topic.name == *name);
    let mut not: Vec<&str> = kafka.not_taken_over.iter().copied().collect();
    not.extend(has(TRANSACTION_STATE).then_some("transactions that are open, if any (none of them is ended)"));
    not.extend(has(SHARE_GROUP_STATE).then_some("the state of share groups"));
    if !not.is_empty() {
        tracing::warn!("not taken over: {}", not.join(", "));
    }
    let keys = Vec::from_iter(kafka.other_config_keys());
    if !keys.is_empty() {
        tracing::warn!("configs set at run time that are not taken over: {}; configure them here", keys.join(", "));
    }
}

/// The folders of one topic.
#[derive(Debug, Default)]
struct OnDisk {
    /// Those of `partition.metadata`, in the order of partitions.
    ids: Vec<TopicId>,
    partitions: BTreeSet<i32>,
    leader_epoch: Option<LeaderEpoch>,
}

fn on_disk(
    folders: &Folders,
    leader_epoch: impl Fn(&TopicPartition) -> Option<LeaderEpoch>,
) -> BTreeMap<Arc<str>, OnDisk> {
    let mut topics: BTreeMap<Arc<str>, OnDisk> = BTreeMap::new();
    for (folder, id) in folders {
        let topic = topics.entry(folder.topic.clone()).or_default();
        topic.ids.extend(*id);
        topic.partitions.insert(folder.partition);
        topic.leader_epoch = topic.leader_epoch.max(leader_epoch(folder));
    }
    topics
}

/// Every topic that has a folder, and those of the cluster metadata that have none: where nothing is missing in it they
/// are without records here, else they may have been deleted meanwhile.
fn topics(on_disk: &BTreeMap<Arc<str>, OnDisk>, kafka: &ClusterMetadata, groups: &Groups) -> Vec<Topic> {
    let known: BTreeMap<&str, (TopicId, &KafkaTopic)> =
        kafka.topics.iter().map(|(id, topic)| (&*topic.name, (*id, topic))).collect();
    let mut topics = Vec::new();
    for (name, found) in on_disk {
        let same = |(id, _): &(TopicId, _)| found.ids.is_empty() || found.ids.contains(id);
        match known.get(&**name).copied().filter(same) {
            Some((id, topic)) => topics.push(of_metadata(name.clone(), id, topic, Some(found), kafka)),
            None => {
                let topic = of_folders(name.clone(), found, groups);
                tracing::warn!(topic = %name, id = %topic.id, partitions = topic.partitions, "made of its folders alone");
                topics.push(topic);
            }
        }
    }
    for (name, (id, topic)) in known.into_iter().filter(|(name, _)| !on_disk.contains_key(*name)) {
        match kafka.is_complete && topic.partition_count() > 0 {
            true => topics.push(of_metadata(name.into(), id, topic, None, kafka)),
            false => tracing::warn!(topic = %name, %id, "in the metadata but without a folder: not taken over"),
        }
    }
    topics
}

fn of_metadata(
    name: Arc<str>,
    id: TopicId,
    topic: &KafkaTopic,
    found: Option<&OnDisk>,
    kafka: &ClusterMetadata,
) -> Topic {
    let mut configs = BTreeMap::new();
    for (key, value) in kafka.topic_configs(&name) {
        let config = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        match change::check_configs(&config) {
            Ok(()) => configs.extend(config),
            Err(error) => tracing::warn!(topic = %name, "config {key}={value} is not taken over: {error}"),
        }
    }
    let partitions = topic.partition_count().max(found.map_or(0, OnDisk::partition_count));
    let leader_epoch = topic.leader_epoch().max(found.and_then(|found| found.leader_epoch));
    Topic { name, id, partitions, configs, leader_epoch: leader_epoch.unwrap_or(LeaderEpoch(0)) }
}

/// As many partitions as the highest index asks for, the id of `partition.metadata` (a fresh one where there is none), no
/// configuration of its own, unless it is one of Kafka's internal topics.
fn of_folders(name: Arc<str>, found: &OnDisk, groups: &Groups) -> Topic {
    let id = found.ids.first().copied().unwrap_or_else(TopicId::random);
    let mut partitions = found.partition_count();
    // Where a group's offsets are depends on the number of partitions. Those without records have a folder in Kafka, not
    // here: a row without gaps is a Kafka's, of which all are there.
    if *name == *CONSUMER_OFFSETS && found.partitions.len() as i64 != i64::from(partitions) {
        partitions = partitions.max(groups.offsets_partitions);
    }
    let leader_epoch = found.leader_epoch.unwrap_or(LeaderEpoch(0));
    Topic { partitions, id, configs: change::internal_topic_configs(&name, groups), name, leader_epoch }
}

impl OnDisk {
    fn partition_count(&self) -> i32 {
        self.partitions.last().map_or(0, |last| last.saturating_add(1))
    }
}

/// The changes that lead from nothing to these topics. One that cannot be is told and left out.
fn creating(topics: Vec<Topic>) -> (Vec<Change>, Image) {
    let mut image = Image::default();
    image.version = 1;
    let mut changes = Vec::new();
    for topic in topics {
        let created = creation(topic);
        match created.iter().try_for_each(|change| change::apply(&mut image, change)) {
            Ok(()) => changes.extend(created),
            Err(error) => tracing::error!(?created, %error, "folders of an impossible topic are left alone"),
        }
    }
    changes.iter().for_each(|change| edit::tell_what_does_not_act(&image, change));
    (changes, image)
}

fn creation(topic: Topic) -> [Change; 2] {
    let Topic { name, id, partitions, configs, leader_epoch: epoch } = topic;
    [Change::CreateTopic { name, id, partitions, configs }, Change::SetLeaderEpoch { id, epoch }]
}

impl Metadata {
    /// Makes topics of partition folders whose topic is unknown. Called at start. `are_all` is false where some log dir could
    /// not be looked into: then the deleted topics whose folders are not found are remembered.
    ///
    /// Returns the folders whose topic was deleted, and which the broker did not live to take away. They are not
    /// adopted; the caller takes them away now and then calls [`Metadata::deletions_finished`].
    pub async fn adopt(
        &self,
        found: Folders,
        are_all: bool,
        groups: Groups,
    ) -> Result<BTreeMap<TopicPartition, TopicId>, ChangeError> {
        self.blocking(move |shared| adopt(shared, found, are_all, &groups)).await
    }

    /// The folders of these deleted topics are gone: their ids need not be kept. Blocking.
    pub fn deletions_finished(&self, ids: &[TopicId]) -> Result<(), ChangeError> {
        if !ids.is_empty() {
            self.shared.store.forget_deleted(ids)?;
        }
        Ok(())
    }
}

fn adopt(
    shared: &Shared,
    mut found: Folders,
    are_all: bool,
    groups: &Groups,
) -> Result<BTreeMap<TopicPartition, TopicId>, ChangeError> {
    let mut deleted = shared.store.deleted()?;
    let leftover = |(partition, id): (&TopicPartition, &Option<TopicId>)| {
        Some((partition.clone(), id.filter(|id| deleted.contains(id))?))
    };
    let leftovers: BTreeMap<TopicPartition, TopicId> = found.iter().filter_map(leftover).collect();
    found.retain(|partition, _| !leftovers.contains_key(partition));
    adopt_unknown(shared, found, groups)?;
    deleted.retain(|id| !leftovers.values().any(|left| left == id));
    let without_folders: Vec<TopicId> = deleted.into_iter().collect();
    if are_all && !without_folders.is_empty() {
        shared.store.forget_deleted(&without_folders)?;
    }
    Ok(leftovers)
}

fn adopt_unknown(shared: &Shared, mut found: Folders, groups: &Groups) -> Result<(), ChangeError> {
    let mut edit = Edit::new(shared);
    found.retain(|folder, _| edit.image().topic(&folder.topic).is_none());
    for topic in topics(&on_disk(&found, |_| None), &ClusterMetadata::default(), groups) {
        let name = topic.name.clone();
        let [create, _] = creation(topic);
        if let Err(error) = edit.apply(create) {
            tracing::error!(topic = %name, %error, "folders of an impossible topic are left alone");
        }
    }
    edit.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
