//! Which partitions exist here, opened when they are first used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::Partition;
use super::relocate::Moves;
use crate::config::{self, BrokerValues, TopicConfig};
use crate::log::LogError;
use crate::log::manager::LogManager;
use crate::metadata::{Image, Metadata, Topic};
use crate::protocol::ErrorCode;
use crate::types::{Timestamp, TopicId, TopicPartition};

/// Why a partition could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no such topic or partition")]
    Unknown,
    #[error("no topic with this id")]
    UnknownTopicId,
    #[error("the partition is offline: its log is damaged, or its log dir has failed")]
    Offline,
}

impl OpenError {
    pub fn error_code(&self) -> ErrorCode {
        match self {
            OpenError::Unknown => ErrorCode::UnknownTopicOrPartition,
            OpenError::UnknownTopicId => ErrorCode::UnknownTopicId,
            OpenError::Offline => ErrorCode::KafkaStorageError,
        }
    }
}

#[derive(Debug, Clone)]
enum Slot {
    Open(Arc<Partition>),
    /// Being opened by whoever holds the lock.
    Opening(Arc<Mutex<()>>),
    /// Its log cannot be used; said once in the broker's log.
    Offline,
}

/// Threads that close logs: a file system commits what several of them sync in one go.
const CLOSERS: usize = 16;

/// All partitions of this broker.
#[derive(Debug)]
pub struct Registry {
    pub(super) manager: LogManager,
    pub(super) metadata: Arc<Metadata>,
    broker: BrokerValues,
    slots: RwLock<HashMap<(TopicId, i32), Slot>>,
    pub(super) moves: Moves,
    /// The topics that there were at start, if a log dir could not be opened then: it may have partitions of theirs.
    at_start: Option<Arc<Image>>,
    /// Held shared while a log is opened, and alone by whoever must not meet one that is. True once closed.
    opening: RwLock<bool>,
}

impl Registry {
    pub fn new(manager: LogManager, metadata: Arc<Metadata>, broker: BrokerValues) -> Registry {
        let at_start = (!manager.unopened().is_empty()).then(|| metadata.image());
        let (slots, moves, opening) = Default::default();
        let registry = Registry { manager, metadata, broker, slots, moves, at_start, opening };
        registry.report_unopened();
        registry
    }

    /// In one line, however many they are.
    fn report_unopened(&self) {
        let Some(image) = &self.at_start else { return };
        let ids = image.topics().flat_map(|topic| {
            (0..topic.partitions).map(|partition| TopicPartition::new(topic.name.clone(), partition))
        });
        let mut unknown = ids.filter(|id| !self.manager.is_known(id));
        if let Some(first) = unknown.next() {
            let count = 1 + unknown.count();
            tracing::error!(count, %first, "partitions are offline: they may be in a log dir that could not be opened");
        }
    }

    pub fn manager(&self) -> &LogManager {
        &self.manager
    }

    /// A partition by its topic's name. Opening it for the first time reads its folder.
    pub fn by_name(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, OpenError> {
        let image = self.metadata.image();
        let topic = image.topic(topic).ok_or(OpenError::Unknown)?;
        self.get(topic, partition)
    }

    /// A partition by its topic's id.
    pub fn by_id(&self, id: TopicId, partition: i32) -> Result<Arc<Partition>, OpenError> {
        if let Some(Slot::Open(partition)) = self.slots.read().get(&(id, partition)) {
            return Ok(partition.clone());
        }
        let image = self.metadata.image();
        let topic = image.topic_by_id(id).ok_or(OpenError::UnknownTopicId)?;
        self.get(topic, partition)
    }

    /// A partition of a topic that the caller found in the image.
    pub fn get(&self, topic: &Topic, partition: i32) -> Result<Arc<Partition>, OpenError> {
        if !(0..topic.partitions).contains(&partition) {
            return Err(OpenError::Unknown);
        }
        let key = (topic.id, partition);
        loop {
            let slot = self.slots.read().get(&key).cloned();
            match slot {
                Some(Slot::Opening(turn)) => drop(turn.lock()),
                Some(slot) => return slot.partition(),
                None => {
                    if let Some(slot) = self.open_first(key)? {
                        return slot.partition();
                    }
                }
            }
        }
    }

    /// Opens a partition, for others to wait until it is; `None` where another one has begun to. A log of which little was
    /// left to be read is opened on the worker that met it first: recovery was done before the first request.
    fn open_first(&self, key: (TopicId, i32)) -> Result<Option<Slot>, OpenError> {
        let closed = self.opening.read();
        if *closed {
            return Err(OpenError::Offline);
        }
        let turn = Arc::new(Mutex::new(()));
        let _others_wait = turn.lock();
        match self.slots.write().entry(key) {
            Entry::Occupied(_) => return Ok(None),
            Entry::Vacant(slot) => drop(slot.insert(Slot::Opening(Arc::clone(&turn)))),
        }
        let mut opening = Opening { registry: self, key, slot: None };
        // As it is now: deleted since the caller looked, it must not get its folder back; altered, it has other configs.
        let image = self.metadata.image();
        let topic = image.topic_by_id(key.0).ok_or(OpenError::Unknown)?;
        let slot = self.open(topic, key.1)?;
        opening.slot = Some(slot.clone());
        Ok(Some(slot))
    }

    /// What is wrong with the stored bytes stays wrong; any other failure may be over at the next try.
    fn open(&self, topic: &Topic, partition: i32) -> Result<Slot, OpenError> {
        let id = TopicPartition::new(topic.name.clone(), partition);
        if self.may_be_unopened(topic, &id) {
            tracing::debug!(partition = %id, "partition is offline: it may be in a log dir that could not be opened");
            return Ok(Slot::Offline);
        }
        let config = TopicConfig::resolve(&self.broker, &topic.configs);
        match self.manager.open_log(&id, topic.id, config.clone()) {
            Ok((writer, reader)) => {
                Ok(Slot::Open(Arc::new(Partition::new(id, topic.id, topic.leader_epoch, config, writer, reader))))
            }
            Err(error) => {
                if !error.is_reported() {
                    tracing::error!(partition = %id, %error, "partition is offline");
                }
                let is_passing = matches!(error, LogError::Io { .. } | LogError::NoDescriptor { .. });
                if is_passing { Err(OpenError::Offline) } else { Ok(Slot::Offline) }
            }
        }
    }

    /// Whether the partition's log may be in a log dir that could not be opened. One that is new is in none
    /// (`LogManager.getOrCreateLog`).
    fn may_be_unopened(&self, topic: &Topic, id: &TopicPartition) -> bool {
        let was_there = |image: &Arc<Image>| {
            image.topic_by_id(topic.id).is_some_and(|before| (0..before.partitions).contains(&id.partition))
        };
        self.at_start.as_ref().is_some_and(was_there) && !self.manager.is_known(id)
    }

    /// Whether a partition is known to have no log that can be used. Opens nothing.
    pub fn is_offline(&self, topic: &Topic, partition: i32) -> bool {
        if let Some(slot) = self.slots.read().get(&(topic.id, partition)) {
            return slot.partition().is_err();
        }
        let id = || TopicPartition::new(topic.name.clone(), partition);
        self.manager.is_offline(&id()) || (self.at_start.is_some() && self.may_be_unopened(topic, &id()))
    }

    /// A log dir has failed: those who wait for its partitions are told.
    pub fn wake_offline(&self) {
        for slot in self.slots.read().values() {
            if let Slot::Open(partition) = slot
                && partition.is_offline()
            {
                partition.waiters.wake();
            }
        }
    }

    /// The partitions whose logs are open and can be used.
    pub fn open_partitions(&self) -> Vec<Arc<Partition>> {
        self.slots.read().values().filter_map(|slot| slot.partition().ok()).collect()
    }

    /// A partition for retention: if it is open, or if its folder does not tell that there is nothing to do. To look at ten
    /// thousand idle ones must not open them.
    pub(super) fn if_due(&self, id: &TopicPartition, now: Timestamp) -> Option<Arc<Partition>> {
        let image = self.metadata.image();
        let topic = image.topic(&id.topic)?;
        if let Some(slot) = self.slots.read().get(&(topic.id, id.partition)) {
            return slot.partition().ok();
        }
        let config = TopicConfig::resolve(&self.broker, &topic.configs);
        // What is wrong with the folder is said when it is opened.
        let may_be_due = self.manager.may_be_due(id, &config, now).unwrap_or(true);
        may_be_due.then(|| self.get(topic, id.partition).ok()).flatten()
    }

    /// The partitions of compacted topics that have a folder, opened where they were not. Blocking.
    pub(super) fn compacted(&self) -> Vec<Arc<Partition>> {
        let image = self.metadata.image();
        let compacted = image.topics().filter(|topic| config::is_compacted(&self.broker, &topic.configs));
        let partitions = compacted.flat_map(|topic| (0..topic.partitions).map(move |index| (topic, index)));
        let with_folder =
            partitions.filter(|(topic, index)| self.manager.is_known(&TopicPartition::new(topic.name.clone(), *index)));
        // What cannot be opened has been reported and is offline.
        with_folder.filter_map(|(topic, index)| self.get(topic, index).ok()).collect()
    }

    /// Puts a topic's changed configuration in force.
    pub fn reconfigure(&self, topic: &Topic) {
        let config = TopicConfig::resolve(&self.broker, &topic.configs);
        let _none_opens = self.opening.write();
        for partition in self.open_of(topic) {
            partition.writer.lock().set_config(config.clone());
            *partition.config.write() = Arc::new(config.clone());
        }
    }

    /// The partition's log is closed: at its next use it is opened anew.
    pub(super) fn close_slot(&self, closed: &Arc<Partition>) {
        let mut slots = self.slots.write();
        let key = (closed.topic_id, closed.id.partition);
        if matches!(slots.get(&key), Some(Slot::Open(partition)) if Arc::ptr_eq(partition, closed)) {
            slots.remove(&key);
        }
        drop(slots);
        closed.supersede();
    }

    /// Takes a deleted topic's partitions out of service and its folders out of the way; returns the folders to be
    /// removed off the request path. Call after the deletion was committed.
    pub fn retire(&self, topic: &Topic) -> std::io::Result<Vec<std::path::PathBuf>> {
        let _none_opens = self.opening.write();
        for index in 0..topic.partitions {
            // Not under the lock, which every request takes: an append may be waiting for the disk.
            let slot = self.slots.write().remove(&(topic.id, index));
            if let Some(Slot::Open(partition)) = slot {
                self.moves.cancel(&partition.id);
                partition.retire();
            }
        }
        self.manager.retire((0..topic.partitions).map(|index| TopicPartition::new(topic.name.clone(), index)))
    }

    /// What is due every `log.flush.offset.checkpoint.interval.ms`: logs that nothing was appended to since the last time
    /// become durable to their end, others to their last segment, and the recovery points are checkpointed. Blocking.
    pub fn checkpoint(&self) -> Result<(), LogError> {
        let partitions: Vec<_> = self.slots.read().values().filter_map(|slot| slot.partition().ok()).collect();
        for partition in partitions {
            if let Err(error) = partition.settle()
                && !error.is_reported()
            {
                tracing::error!(partition = %partition.id, %error, "an idle log could not be flushed");
            }
        }
        self.manager.checkpoint()
    }

    /// Flushes and closes every log, and marks the directories as cleanly stopped. Blocking.
    pub fn close(&self) -> Result<(), LogError> {
        *self.opening.write() = true;
        self.moves.close();
        let partitions = self.open_partitions();
        let closed: Vec<_> = std::thread::scope(|scope| {
            let shares = partitions.chunks(partitions.len().div_ceil(CLOSERS).max(1));
            let closers: Vec<_> = shares.map(|share| scope.spawn(move || self.close_all(share))).collect();
            closers.into_iter().map(|closer| closer.join()).collect()
        });
        self.manager.close()?;
        let outcomes = closed.into_iter().map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        outcomes.collect()
    }

    /// A log that cannot be closed in order keeps its own dir from being marked as clean, and no other. The first error is
    /// given.
    fn close_all(&self, partitions: &[Arc<Partition>]) -> Result<(), LogError> {
        let close = |partition: &Arc<Partition>| {
            let closed = partition.writer.lock().close();
            closed.map(drop).inspect_err(|error| {
                tracing::error!(partition = %partition.id, %error, "log not closed in order; the next start recovers it");
                self.manager.not_closed(&partition.id);
            })
        };
        let closed: Vec<_> = partitions.iter().map(close).collect();
        closed.into_iter().collect()
    }

    fn open_of(&self, topic: &Topic) -> Vec<Arc<Partition>> {
        let slots = self.slots.read();
        (0..topic.partitions).filter_map(|index| slots.get(&(topic.id, index))?.partition().ok()).collect()
    }
}

impl Slot {
    fn partition(&self) -> Result<Arc<Partition>, OpenError> {
        match self {
            Slot::Open(partition) if partition.is_offline() => Err(OpenError::Offline),
            Slot::Open(partition) => Ok(partition.clone()),
            Slot::Opening(_) | Slot::Offline => Err(OpenError::Offline),
        }
    }
}

/// Puts in its slot what a partition has become, or nothing, whatever happens meanwhile.
struct Opening<'a> {
    registry: &'a Registry,
    key: (TopicId, i32),
    slot: Option<Slot>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut slots = self.registry.slots.write();
        match self.slot.take() {
            Some(slot) => drop(slots.insert(self.key, slot)),
            None => drop(slots.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;
    use crate::log::manager::ManagerOptions;
    use crate::metadata::{Change, LocalStore};
    use crate::protocol::builder::BatchBuilder;
    use crate::types::NodeId;

    fn on(dir: &std::path::Path) -> (Arc<Metadata>, Registry) {
        let metadata = Arc::new(Metadata::load(Box::new(LocalStore::open(&dir.join("store")).unwrap())).unwrap());
        let options = ManagerOptions {
            node_id: NodeId(1),
            cluster_id: None,
            producer_id_expiration: std::time::Duration::from_secs(1),
            open_files_max: 1000,
        };
        let manager = LogManager::open(&[dir.join("log")], &options).unwrap();
        let broker = RawConfig::default().validate().unwrap().0.broker;
        let registry = Registry::new(manager, metadata.clone(), broker);
        (metadata, registry)
    }

    #[test]
    fn a_partition_is_opened_with_the_configs_in_force_whatever_the_caller_saw() {
        let dir = tempfile::tempdir().unwrap();
        let (metadata, registry) = on(dir.path());
        let commit = |change| {
            let mut edit = metadata.edit();
            edit.apply(change).unwrap();
            edit.commit().unwrap()
        };
        let id = TopicId::random();
        let created = commit(Change::CreateTopic { name: "a".into(), id, partitions: 1, configs: Default::default() });
        let configs = [("max.message.bytes".to_owned(), "7".to_owned())].into();
        registry.reconfigure(commit(Change::SetTopicConfigs { id, configs }).topic("a").unwrap());
        let partition = registry.get(created.topic("a").unwrap(), 0).unwrap();
        assert_eq!(partition.config().max_message_bytes, 7);
    }

    fn topic_of(metadata: &Metadata, partitions: i32) -> Arc<Topic> {
        let mut edit = metadata.edit();
        let (id, name) = (TopicId::random(), "a".into());
        edit.apply(Change::CreateTopic { name, id, partitions, configs: Default::default() }).unwrap();
        Arc::clone(edit.commit().unwrap().topic("a").unwrap())
    }

    #[test]
    fn a_partition_that_many_ask_for_at_once_is_opened_once() {
        let dir = tempfile::tempdir().unwrap();
        let (metadata, registry) = on(dir.path());
        let topic = topic_of(&metadata, 50);
        for index in 0..topic.partitions {
            let found: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| registry.get(&topic, index).unwrap())).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(found.iter().all(|partition| Arc::ptr_eq(partition, &found[0])));
        }
    }

    #[test]
    fn a_partition_that_takes_long_to_open_keeps_none_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let (metadata, registry) = on(dir.path());
        let topic = topic_of(&metadata, 2);
        // Whoever reads it waits until somebody writes.
        let slow = dir.path().join("log/a-0/leader-epoch-checkpoint");
        std::fs::create_dir_all(slow.parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&slow, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| registry.get(&topic, 0));
            while !matches!(registry.slots.read().get(&(topic.id, 0)), Some(Slot::Opening(_))) {
                std::thread::yield_now();
            }
            let second = scope.spawn(|| registry.get(&topic, 0));
            registry.get(&topic, 1).unwrap();
            assert!(!first.is_finished() && !second.is_finished());
            std::fs::write(&slow, "").unwrap();
            let (first, second) = (first.join().unwrap().unwrap(), second.join().unwrap().unwrap());
            assert!(Arc::ptr_eq(&first, &second));
        });
    }

    #[test]
    fn a_partition_that_could_not_be_opened_for_a_passing_reason_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let (metadata, registry) = on(dir.path());
        let topic = topic_of(&metadata, 1);
        let folder = dir.path().join("log/a-0");
        std::fs::write(&folder, "in the way").unwrap();
        assert!(matches!(registry.get(&topic, 0), Err(OpenError::Offline)));
        std::fs::remove_file(&folder).unwrap();
        registry.get(&topic, 0).unwrap();
    }

    #[test]
    fn nothing_is_opened_or_appended_behind_the_clean_shutdown_mark() {
        let dir = tempfile::tempdir().unwrap();
        let (metadata, registry) = on(dir.path());
        let mut edit = metadata.edit();
        let (id, name) = (TopicId::random(), "a".into());
        edit.apply(Change::CreateTopic { name, id, partitions: 2, configs: Default::default() }).unwrap();
        let image = edit.commit().unwrap();
        let topic = image.topic("a").unwrap();
        let open = registry.get(topic, 0).unwrap();
        registry.close().unwrap();
        let batch = || BatchBuilder::new(Timestamp(1)).record(None, Some(b"late")).build().unwrap();
        assert_eq!(open.append_internal(batch(), Timestamp(1)).unwrap_err(), ErrorCode::NotLeaderOrFollower);
        assert!(registry.get(topic, 1).is_err());
    }
}
