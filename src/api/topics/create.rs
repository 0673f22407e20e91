//! CreateTopics 2–7.
//!
//! - Each topic is judged by itself; those that pass are committed together. With `validate_only` none is.
//! - A name given twice is refused once, for all its occurrences. Names, collisions, configs, counts and assignments are
//!   judged in Kafka's order and refused in its words (`ControllerApis`, `ReplicationControlManager.createTopics`).
//! - v4 brings -1 for the broker's default number of partitions and replicas (KIP-464), v5 the topic's effective
//!   configs and counts in the answer (KIP-525), v7 its id (KIP-516).
//! - One broker can hold one replica: a larger replication factor is refused; an assignment is honoured where it names
//!   this broker only.
//! - More than 10,000 partitions in one request are refused, as in Kafka; `change::PARTITIONS_MAX` bounds them all.
//! - `timeout_ms` bounds Kafka's wait for its controller; here a topic exists as soon as it is committed, and nothing is
//!   waited for.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::assignment::check_replicas;
use crate::api::configs::source_id;
use crate::api::refusal::{Refusal, duplicates};
use crate::api::{Context, Refused};
use crate::config::{self, Config};
use crate::metadata::{Change, Edit, Metadata, change};
use crate::protocol::ErrorCode;
use crate::types::{NodeId, TopicId};

/// `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`.
pub(in crate::api) const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;
/// Kafka keeps its own metadata under this name.
const CLUSTER_METADATA: &str = "__cluster_metadata";
const REPLICATION_FACTOR: i16 = 1;
/// "Use the broker's default" (KIP-464).
const DEFAULT: i16 = -1;
const CONFIGS_SINCE: i16 = 5;

pub(in crate::api) async fn create(
    ctx: &Context,
    request: CreateTopicsRequest,
) -> Result<CreateTopicsResponse, Refused> {
    let with_configs = ctx.version >= CONFIGS_SINCE;
    let results = ctx
        .blocking(move |services| create_topics(&services.metadata, &services.config, request, with_configs))
        .await?;
    Ok(CreateTopicsResponse::default().with_topics(results))
}

fn create_topics(
    metadata: &Metadata,
    config: &Config,
    request: CreateTopicsRequest,
    with_configs: bool,
) -> Vec<CreatableTopicResult> {
    let CreateTopicsRequest { topics, validate_only, .. } = request;
    let twice = duplicates(topics.iter().map(|topic| topic.name.clone()));
    let excessive = partitions_asked_for(&topics, &twice, config.topics.partitions) > PARTITIONS_PER_REQUEST_MAX;
    let mut answered = BTreeSet::new();
    let mut edit = metadata.edit();
    let mut outcomes: Vec<(TopicName, Result<Created, Refusal>)> = Vec::new();
    for topic in topics.into_iter().filter(|topic| answered.insert(topic.name.clone())) {
        let outcome = if twice.contains(&topic.name) {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else if excessive {
            let text = "Excessively large number of partitions per request.";
            Err(Refusal::new(ErrorCode::PolicyViolation, text))
        } else {
            create_topic(&mut edit, config, &topic)
        };
        outcomes.push((topic.name, outcome));
    }
    let committed = if validate_only { Ok(()) } else { edit.commit().map(drop).map_err(Refusal::from) };
    drop(edit);
    let result = |(name, outcome): (TopicName, Result<Created, Refusal>)| match outcome
        .and_then(|created| committed.clone().map(|()| created))
    {
        Ok(created) => created.result(name, config, with_configs),
        Err(refusal) => refused(name, &refusal),
    };
    outcomes.into_iter().map(result).collect()
}

/// A topic that passed.
#[derive(Debug)]
struct Created {
    id: TopicId,
    partitions: i32,
    configs: BTreeMap<String, String>,
}

fn create_topic(edit: &mut Edit<'_>, config: &Config, topic: &CreatableTopic) -> Result<Created, Refusal> {
    if topic.name.as_str() == CLUSTER_METADATA {
        return Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, "Authorization failed."));
    }
    change::check_new_name(edit.image(), &topic.name)?;
    let configs = own_configs(config, topic)?;
    let partitions = match topic.assignments.as_slice() {
        [] => counted_partitions(config, topic)?,
        assignments => assigned_partitions(topic, assignments, config.node_id)?,
    };
    let id = TopicId::random();
    let name = topic.name.as_str().into();
    edit.apply(Change::CreateTopic { name, id, partitions, configs: configs.clone() })?;
    Ok(Created { id, partitions, configs })
}

fn own_configs(config: &Config, topic: &CreatableTopic) -> Result<BTreeMap<String, String>, Refusal> {
    let without_value: Vec<&str> =
        topic.configs.iter().filter(|entry| entry.value.is_none()).map(|entry| entry.name.as_str()).collect();
    if !without_value.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", without_value.join(","));
        return Err(Refusal::new(ErrorCode::InvalidConfig, text));
    }
    let set = |value: &Option<StrBytes>| value.as_ref().map(ToString::to_string).unwrap_or_default();
    let configs = topic.configs.iter().map(|entry| (entry.name.to_string(), set(&entry.value))).collect();
    change::check_configs(&configs)?;
    config::check_topic(&config.broker, &configs)?;
    Ok(configs)
}

fn counted_partitions(config: &Config, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if topic.replication_factor < DEFAULT || topic.replication_factor == 0 {
        let text = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
    }
    if topic.num_partitions < i32::from(DEFAULT) || topic.num_partitions == 0 {
        let text = "Number of partitions was set to an invalid non-positive value.";
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    check_replication_factor(match topic.replication_factor {
        DEFAULT => config.topics.replication_factor,
        given => given,
    })?;
    Ok(if topic.num_partitions == i32::from(DEFAULT) { config.topics.partitions } else { topic.num_partitions })
}

/// Whether one broker can hold that many replicas (`StripedReplicaPlacer`).
pub(in crate::api) fn check_replication_factor(replicas: i16) -> Result<(), Refusal> {
    if replicas > REPLICATION_FACTOR {
        let text = format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor of {replicas} cannot be \
             reached because only 1 broker(s) are registered."
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
    }
    Ok(())
}

fn assigned_partitions(
    topic: &CreatableTopic,
    assignments: &[CreatableReplicaAssignment],
    node: NodeId,
) -> Result<i32, Refusal> {
    let contradiction = |what| {
        let text = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err(Refusal::new(ErrorCode::InvalidRequest, text))
    };
    if topic.replication_factor != DEFAULT {
        return contradiction("replication factor");
    }
    if topic.num_partitions != i32::from(DEFAULT) {
        return contradiction("numPartitions");
    }
    let refused = |text: String| Refusal::new(ErrorCode::InvalidReplicaAssignment, text);
    let mut indexes = BTreeSet::new();
    for assignment in assignments {
        let index = assignment.partition_index;
        if !indexes.insert(index) {
            return Err(refused(format!("Found multiple manual partition assignments for partition {index}")));
        }
        check_replicas(&assignment.broker_ids, node)?;
    }
    if !indexes.iter().copied().eq((0..).take(indexes.len())) {
        return Err(refused("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    i32::try_from(indexes.len()).map_err(|_| refused("too many partitions".to_owned()))
}

/// An upper bound: some of the topics may yet be refused (`validateTotalNumberOfPartitions`).
fn partitions_asked_for(topics: &[CreatableTopic], twice: &BTreeSet<TopicName>, default: i32) -> i64 {
    let partitions = |topic: &CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(default),
        (0, given) => i64::from(given.max(0)),
        (assigned, _) => assigned as i64,
    };
    topics.iter().filter(|topic| !twice.contains(&topic.name)).map(partitions).sum()
}

impl Created {
    fn result(self, name: TopicName, config: &Config, with_configs: bool) -> CreatableTopicResult {
        // The Java client does not take null for "none".
        let configs = if with_configs { effective_configs(config, &self.configs) } else { Vec::new() };
        CreatableTopicResult::default()
            .with_name(name)
            .with_topic_id(self.id.0)
            .with_error_message(None)
            .with_num_partitions(self.partitions)
            .with_replication_factor(REPLICATION_FACTOR)
            .with_configs(Some(configs))
    }
}

fn effective_configs(config: &Config, own: &BTreeMap<String, String>) -> Vec<CreatableTopicConfigs> {
    let wire = |described: config::Described| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_string(described.name))
            .with_value(described.value.map(StrBytes::from_string))
            .with_read_only(described.read_only)
            .with_config_source(source_id(described.source))
            .with_is_sensitive(described.sensitive)
    };
    config.broker.describe_topic(own).into_iter().map(wire).collect()
}

fn refused(name: TopicName, refusal: &Refusal) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(refusal.code.code())
        .with_error_message(refusal.wire_message())
}

#[cfg(test)]
mod tests;
