//! Topics found on disk that the store does not know: it was lost, or somebody put the folders there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CONSUMER_OFFSETS, Change, ChangeError, Edit, Metadata, Shared, change};
use crate::config::Groups;
use crate::types::{Timestamp, TopicId, TopicPartition};

/// Partition folders, each with the topic id that its `partition.metadata` gives.
type Folders = BTreeMap<TopicPartition, Option<TopicId>>;

impl Metadata {
    /// Makes topics of partition folders whose topic is unknown: as many partitions as the highest index asks for, the
    /// id of `partition.metadata` (a fresh one where there is none), no configuration of their own. The topic of the
    /// group coordinator gets what `groups` says. Called at start. `are_all` is false where some log dir could not be
    /// looked into: then the deleted topics whose folders are not found are remembered.
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

fn adopt_unknown(shared: &Shared, found: Folders, groups: &Groups) -> Result<(), ChangeError> {
    let mut edit = Edit::new(shared);
    let store_is_new = edit.image().version == 0;
    let mut unknown: BTreeMap<Arc<str>, (Option<TopicId>, i32)> = BTreeMap::new();
    for (folder, id) in found {
        if edit.image().topic(&folder.topic).is_none() {
            let (topic_id, partitions) = unknown.entry(folder.topic).or_default();
            *topic_id = topic_id.or(id);
            *partitions = (*partitions).max(folder.partition.saturating_add(1));
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    for (name, (id, partitions)) in unknown {
        let id = id.unwrap_or_else(TopicId::random);
        // Where a group's offsets are depends on the number of partitions, of which those without records have no folder.
        let (partitions, configs) = match name.as_ref() {
            CONSUMER_OFFSETS => (partitions.max(groups.offsets_partitions), change::consumer_offsets_configs(groups)),
            _ => (partitions, BTreeMap::new()),
        };
        match edit.apply(Change::CreateTopic { name: name.clone(), id, partitions, configs }) {
            Ok(()) => tracing::warn!(topic = %name, %id, partitions, "unknown topic adopted from its folders"),
            Err(error) => tracing::error!(topic = %name, %error, "folders of an impossible topic are left alone"),
        }
    }
    edit.commit()?;
    if store_is_new {
        // The mark of producer ids went with the old store. No broker hands out an id per millisecond since 1970.
        shared.store.allocate_producer_ids(Timestamp::now().0)?;
    }
    Ok(())
}
