//! What may be changed, and Kafka's rules for it (`ReplicationControlManager`, `ConfigurationControlManager`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Image, Topic};
use crate::config::{self, Groups, InvalidConfig};
use crate::log::names::{self, InvalidTopicName};
use crate::metadata::store::StoreError;
use crate::protocol::ErrorCode;
use crate::types::{LeaderEpoch, TopicId};

/// Partitions of all topics together. Kafka has no such limit; here a request to describe everything is answered from
/// memory, and this bounds it.
pub const PARTITIONS_MAX: i64 = 200_000;

/// Largest value of a configuration (`ConfigurationControlManager`: `Short.MAX_VALUE`).
const CONFIG_VALUE_LEN_MAX: usize = i16::MAX as usize;

/// One change of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    CreateTopic {
        name: Arc<str>,
        id: TopicId,
        partitions: i32,
        configs: BTreeMap<String, String>,
    },
    DeleteTopic {
        id: TopicId,
    },
    /// The new total, larger than the old one.
    SetPartitions {
        id: TopicId,
        partitions: i32,
    },
    /// Replaces the topic's own values.
    SetTopicConfigs {
        id: TopicId,
        configs: BTreeMap<String, String>,
    },
    /// The topic was led by another broker, up to this epoch.
    SetLeaderEpoch {
        id: TopicId,
        epoch: LeaderEpoch,
    },
}

impl Change {
    /// The topic of the group coordinator, as Kafka makes it (`GroupCoordinator.groupMetadataTopicConfigs`).
    pub fn create_consumer_offsets(groups: &Groups) -> Change {
        Change::CreateTopic {
            name: super::CONSUMER_OFFSETS.into(),
            id: TopicId::random(),
            partitions: groups.offsets_partitions,
            configs: consumer_offsets_configs(groups),
        }
    }
}

/// What Kafka creates its own topics with, as far as it decides over what is deleted (`GroupCoordinator`,
/// `TransactionStateManager`, `ShareCoordinatorService`); nothing for any other topic.
pub(super) fn internal_topic_configs(topic: &str, groups: &Groups) -> BTreeMap<String, String> {
    let configs: &[(&str, &str)] = match topic {
        super::CONSUMER_OFFSETS => return consumer_offsets_configs(groups),
        super::TRANSACTION_STATE => &[("cleanup.policy", "compact")],
        super::SHARE_GROUP_STATE => &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
        _ => &[],
    };
    configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn consumer_offsets_configs(groups: &Groups) -> BTreeMap<String, String> {
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", groups.offsets_segment_bytes.to_string()),
    ];
    configs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A change that was refused or could not be made durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("Topic '{0}' already exists.")]
    TopicExists(Arc<str>),
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    #[error("This server does not host this topic ID.")]
    UnknownTopicId,
    #[error("{0}")]
    InvalidTopic(String),
    #[error("{0}")]
    InvalidPartitions(String),
    #[error("{0}")]
    InvalidConfig(String),
    #[error("{0}")]
    PolicyViolation(String),
    #[error("The metadata store failed: {0}")]
    Store(String),
}

impl ChangeError {
    pub fn error_code(&self) -> ErrorCode {
        match self {
            ChangeError::TopicExists(_) => ErrorCode::TopicAlreadyExists,
            ChangeError::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            ChangeError::UnknownTopicId => ErrorCode::UnknownTopicId,
            ChangeError::InvalidTopic(_) => ErrorCode::InvalidTopicException,
            ChangeError::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
            ChangeError::InvalidConfig(_) => ErrorCode::InvalidConfig,
            ChangeError::PolicyViolation(_) => ErrorCode::PolicyViolation,
            ChangeError::Store(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<StoreError> for ChangeError {
    fn from(StoreError(text): StoreError) -> ChangeError {
        ChangeError::Store(text)
    }
}

impl From<InvalidTopicName> for ChangeError {
    fn from(invalid: InvalidTopicName) -> ChangeError {
        ChangeError::InvalidTopic(invalid.to_string())
    }
}

impl From<InvalidConfig> for ChangeError {
    fn from(InvalidConfig(text): InvalidConfig) -> ChangeError {
        ChangeError::InvalidConfig(text)
    }
}

/// Applies one change; one that is refused leaves the image as it was.
pub fn apply(image: &mut Image, change: &Change) -> Result<(), ChangeError> {
    match change {
        Change::CreateTopic { name, id, partitions, configs } => {
            let (name, configs) = (name.clone(), configs.clone());
            create_topic(image, Topic { name, id: *id, partitions: *partitions, configs, leader_epoch: LeaderEpoch(0) })
        }
        Change::DeleteTopic { id } => {
            known(image, *id)?;
            image.remove(*id);
            Ok(())
        }
        Change::SetPartitions { id, partitions } => set_partitions(image, known(image, *id)?, *partitions),
        Change::SetTopicConfigs { id, configs } => {
            check_configs(configs)?;
            let topic = known(image, *id)?;
            image.put(Topic { configs: configs.clone(), ..topic });
            Ok(())
        }
        Change::SetLeaderEpoch { id, epoch } => {
            let topic = known(image, *id)?;
            image.put(Topic { leader_epoch: topic.leader_epoch.max(*epoch), ..topic });
            Ok(())
        }
    }
}

/// Whether a topic of that name may be created.
pub fn check_new_name(image: &Image, name: &str) -> Result<(), ChangeError> {
    if let Some(topic) = image.topic(name) {
        return Err(ChangeError::TopicExists(topic.name.clone()));
    }
    names::validate_topic_name(name)?;
    match image.colliding(name) {
        Some(existing) => {
            Err(ChangeError::InvalidTopic(format!("Topic '{name}' collides with existing topic: {existing}")))
        }
        None => Ok(()),
    }
}

/// Whether a topic may have these values (`ConfigurationControlManager.validateAlterConfig`).
pub fn check_configs(configs: &BTreeMap<String, String>) -> Result<(), ChangeError> {
    for (key, value) in configs {
        if value.len() > CONFIG_VALUE_LEN_MAX {
            return Err(ChangeError::InvalidConfig(format!(
                "The configuration value cannot be added because it exceeds the maximum value size of \
                 {CONFIG_VALUE_LEN_MAX} bytes."
            )));
        }
        config::check_topic_value(key, Some(value))?;
    }
    Ok(())
}

fn create_topic(image: &mut Image, topic: Topic) -> Result<(), ChangeError> {
    check_new_name(image, &topic.name)?;
    check_configs(&topic.configs)?;
    if image.topic_by_id(topic.id).is_some() {
        return Err(ChangeError::InvalidTopic(format!("Topic id {} is taken.", topic.id)));
    }
    if topic.partitions <= 0 {
        let text = "Number of partitions was set to an invalid non-positive value.";
        return Err(ChangeError::InvalidPartitions(text.to_owned()));
    }
    check_room(image, topic.partitions.into())?;
    image.put(topic);
    Ok(())
}

fn set_partitions(image: &mut Image, topic: Topic, partitions: i32) -> Result<(), ChangeError> {
    let Topic { name, partitions: current, .. } = &topic;
    if partitions == *current {
        return Err(ChangeError::InvalidPartitions(format!("Topic already has {current} partition(s).")));
    }
    if partitions < *current {
        return Err(ChangeError::InvalidPartitions(format!(
            "The topic {name} currently has {current} partition(s); {partitions} would not be an increase."
        )));
    }
    check_room(image, i64::from(partitions) - i64::from(*current))?;
    image.put(Topic { partitions, ..topic });
    Ok(())
}

fn known(image: &Image, id: TopicId) -> Result<Topic, ChangeError> {
    image.topic_by_id(id).map(|topic| topic.as_ref().clone()).ok_or(ChangeError::UnknownTopicId)
}

fn check_room(image: &Image, additional: i64) -> Result<(), ChangeError> {
    if additional > PARTITIONS_MAX - image.partitions() {
        return Err(ChangeError::PolicyViolation(format!(
            "This broker has {} partitions; {additional} more would exceed its limit of {PARTITIONS_MAX}.",
            image.partitions()
        )));
    }
    Ok(())
}
