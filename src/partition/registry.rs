//! Which partitions exist here, opened when they are first used.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::Partition;
use crate::config::{BrokerValues, TopicConfig};
use crate::log::LogError;
use crate::log::manager::LogManager;
use crate::metadata::{Metadata, Topic};
use crate::protocol::ErrorCode;
use crate::types::{Timestamp, TopicId, TopicPartition};

/// Why a partition could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no such topic or partition")]
    Unknown,
    #[error("no topic with this id")]
    UnknownTopicId,
    #[error("the partition is offline: its log could not be opened")]
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
    /// Its log is damaged; said once in the broker's log.
    Offline,
}

/// Threads that close logs: a file system commits what several of them sync in one go.
const CLOSERS: usize = 16;

/// All partitions of this broker.
#[derive(Debug)]
pub struct Registry {
    manager: LogManager,
    metadata: Arc<Metadata>,
    broker: BrokerValues,
    slots: RwLock<HashMap<(TopicId, i32), Slot>>,
    /// Held while a log is opened, so that no log is opened twice; the request path only reads `slots`. True once closed.
    opening: Mutex<bool>,
}

impl Registry {
    pub fn new(manager: LogManager, metadata: Arc<Metadata>, broker: BrokerValues) -> Registry {
        Registry { manager, metadata, broker, slots: RwLock::default(), opening: Mutex::default() }
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
        if let Some(slot) = self.slots.read().get(&(id, partition)) {
            return slot.partition();
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
        if let Some(slot) = self.slots.read().get(&key) {
            return slot.partition();
        }
        let closed = self.opening.lock();
        if let Some(slot) = self.slots.read().get(&key) {
            return slot.partition();
        }
        if *closed {
            return Err(OpenError::Offline);
        }
        // As it is now: deleted since the caller looked, it must not get its folder back; altered, it has other configs.
        let image = self.metadata.image();
        let topic = image.topic_by_id(topic.id).ok_or(OpenError::Unknown)?;
        let slot = self.open(topic, partition)?;
        self.slots.write().insert(key, slot.clone());
        slot.partition()
    }

    /// What is wrong with the stored bytes stays wrong; any other failure may be over at the next try.
    fn open(&self, topic: &Topic, partition: i32) -> Result<Slot, OpenError> {
        let id = TopicPartition::new(topic.name.clone(), partition);
        let config = TopicConfig::resolve(&self.broker, &topic.configs);
        match self.manager.open_log(&id, topic.id, config.clone()) {
            Ok((writer, reader)) => Ok(Slot::Open(Arc::new(Partition::new(id, topic.id, config, writer, reader)))),
            Err(error) => {
                tracing::error!(partition = %id, %error, "partition is offline");
                if matches!(error, LogError::Io { .. }) { Err(OpenError::Offline) } else { Ok(Slot::Offline) }
            }
        }
    }

    /// Opens every partition that has a folder: recovery after an unclean stop. Blocking.
    pub fn open_found(&self) {
        let image = self.metadata.image();
        for id in self.manager.found().into_keys() {
            if let Some(topic) = image.topic(&id.topic) {
                // What cannot be opened has been reported and is offline.
                let _ = self.get(topic, id.partition);
            }
        }
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

    /// Puts a topic's changed configuration in force.
    pub fn reconfigure(&self, topic: &Topic) {
        let config = TopicConfig::resolve(&self.broker, &topic.configs);
        let _opening = self.opening.lock();
        for partition in self.open_of(topic) {
            partition.writer.lock().set_config(config.clone());
            *partition.config.write() = Arc::new(config.clone());
        }
    }

    /// Takes a deleted topic's partitions out of service and its folders out of the way; returns the folders to be
    /// removed off the request path. Call after the deletion was committed.
    pub fn retire(&self, topic: &Topic) -> std::io::Result<Vec<std::path::PathBuf>> {
        let _opening = self.opening.lock();
        for index in 0..topic.partitions {
            if let Some(Slot::Open(partition)) = self.slots.write().remove(&(topic.id, index)) {
                partition.retire();
            }
        }
        self.manager.retire((0..topic.partitions).map(|index| TopicPartition::new(topic.name.clone(), index)))
    }

    /// Flushes and closes every log, and marks the directories as cleanly stopped. Blocking.
    pub fn close(&self) -> Result<(), LogError> {
        *self.opening.lock() = true;
        let partitions: Vec<_> = self.slots.read().values().filter_map(|slot| slot.partition().ok()).collect();
        let close =
            |some: &[Arc<Partition>]| some.iter().try_for_each(|partition| partition.writer.lock().close().map(drop));
        let closed: Vec<_> = std::thread::scope(|scope| {
            let shares = partitions.chunks(partitions.len().div_ceil(CLOSERS).max(1));
            let closers: Vec<_> = shares.map(|share| scope.spawn(move || close(share))).collect();
            closers.into_iter().map(|closer| closer.join()).collect()
        });
        for closed in closed {
            closed.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))?;
        }
        self.manager.close()
    }

    fn open_of(&self, topic: &Topic) -> Vec<Arc<Partition>> {
        let slots = self.slots.read();
        (0..topic.partitions).filter_map(|index| slots.get(&(topic.id, index))?.partition().ok()).collect()
    }
}

impl Slot {
    fn partition(&self) -> Result<Arc<Partition>, OpenError> {
        match self {
            Slot::Open(partition) => Ok(partition.clone()),
            Slot::Offline => Err(OpenError::Offline),
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
