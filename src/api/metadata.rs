//! Metadata 0–13: the broker, and topics by name or id.
//!
//! - No topics named means all of them: null, and in v0 an empty list too.
//! - A topic that does not exist is made, and named in the answer at once, where `auto.create.topics.enable` and the
//!   request allow it (v4); all topics asked for, or one asked for by id, is never made. `__consumer_offsets` gets the
//!   partitions and configs that the group coordinator wants; `__transaction_state` is not made, as transactions are not
//!   served. What cannot be made is UNKNOWN_TOPIC_OR_PARTITION or says what is wrong with it.
//! - Topics are answered in the order in which they are asked for, each once.
//! - A partition whose log cannot be used has no leader (LEADER_NOT_AVAILABLE) and nobody in sync, as after Kafka's
//!   controller has learnt of a failed log dir.
//! - v1 brings the controller, v2 the cluster id, v8 authorized operations (KIP-430; all, as there is no authorizer; the
//!   cluster's only until v10), v10 topic ids (KIP-516), v12 asks by id: then names are not looked at. v13 brings an
//!   error for the whole answer, which a broker does not use (KIP-1102).

mod auto_create;
mod describe_topic_partitions;

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::cluster::authorized_operations;
use super::{Context, Refused};
use crate::log::names::{is_internal_topic, validate_topic_name};
use crate::metadata::{Image, Topic};
use crate::protocol::ErrorCode;
use crate::types::TopicId;

pub(super) use describe_topic_partitions::describe_topic_partitions;

/// `MetadataResponse.NO_LEADER_ID`.
const NO_LEADER: BrokerId = BrokerId(-1);
const AUTHORIZED_OPERATIONS_SINCE: i16 = 8;
const CLUSTER_OPERATIONS_UNTIL: i16 = 10;
const IDS_ASKED_SINCE: i16 = 12;

pub(super) async fn metadata(ctx: &Context, request: MetadataRequest) -> Result<MetadataResponse, Refused> {
    let MetadataRequest { include_topic_authorized_operations: with_operations, .. } = request;
    let mut topics = match wanted(ctx.version, request.topics) {
        Ok(Wanted::All) => {
            let image = ctx.services.metadata.image();
            image.topics().map(|topic| known(ctx, topic)).collect()
        }
        Ok(Wanted::Ids(ids)) => by_id(ctx, ids),
        Ok(Wanted::Names(names)) => by_name(ctx, names, request.allow_auto_topic_creation).await?,
        Err(topics) => topics,
    };
    if ctx.version >= AUTHORIZED_OPERATIONS_SINCE && with_operations {
        topics.iter_mut().for_each(|topic| topic.topic_authorized_operations = authorized_operations::TOPIC);
    }
    let cluster_operations = (AUTHORIZED_OPERATIONS_SINCE..=CLUSTER_OPERATIONS_UNTIL).contains(&ctx.version)
        && request.include_cluster_authorized_operations;
    let (host, port) = ctx.advertised();
    let broker = MetadataResponseBroker::default()
        .with_node_id(node_id(ctx))
        .with_host(StrBytes::from_string(host))
        .with_port(port.into())
        .with_rack(None);
    Ok(MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_string(ctx.services.cluster_id.clone())))
        .with_controller_id(node_id(ctx))
        .with_topics(topics)
        .with_cluster_authorized_operations(match cluster_operations {
            true => authorized_operations::CLUSTER,
            false => authorized_operations::NOT_ASKED_FOR,
        }))
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Ids(Vec<TopicId>),
    Names(Vec<TopicName>),
}

/// `Err` with the answer where the request asks in a way that its version does not have
/// (`KafkaApis.handleTopicMetadataRequest`).
fn wanted(version: i16, topics: Option<Vec<MetadataRequestTopic>>) -> Result<Wanted, Vec<MetadataResponseTopic>> {
    let Some(topics) = topics.filter(|topics| version > 0 || !topics.is_empty()) else { return Ok(Wanted::All) };
    let too_early = |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_nil();
    if version < IDS_ASKED_SINCE && topics.iter().any(too_early) {
        let refused = |topic: MetadataRequestTopic| {
            failed(ErrorCode::InvalidRequest, Some(topic.name.unwrap_or_default())).with_topic_id(topic.topic_id)
        };
        return Err(topics.into_iter().map(refused).collect());
    }
    let mut seen = BTreeSet::new();
    if topics.iter().any(|topic| !topic.topic_id.is_nil()) {
        let ids = topics.iter().map(|topic| TopicId(topic.topic_id)).filter(|id| *id != TopicId::ZERO);
        return Ok(Wanted::Ids(ids.filter(|id| seen.insert(*id)).collect()));
    }
    let mut seen = BTreeSet::new();
    let names = topics.into_iter().filter_map(|topic| topic.name);
    Ok(Wanted::Names(names.filter(|name| seen.insert(name.clone())).collect()))
}

fn by_id(ctx: &Context, ids: Vec<TopicId>) -> Vec<MetadataResponseTopic> {
    let image = ctx.services.metadata.image();
    let found = |id| match image.topic_by_id(id) {
        Some(topic) => known(ctx, topic),
        None => failed(ErrorCode::UnknownTopicId, None).with_topic_id(id.0),
    };
    ids.into_iter().map(found).collect()
}

async fn by_name(ctx: &Context, names: Vec<TopicName>, create: bool) -> Result<Vec<MetadataResponseTopic>, Refused> {
    let mut image: Arc<Image> = ctx.services.metadata.image();
    let mut refused = auto_create::Refusals::new();
    if create && ctx.services.config.topics.auto_create {
        let missing: Vec<String> =
            names.iter().filter(|name| image.topic(name).is_none()).map(|name| name.as_str().to_owned()).collect();
        if !missing.is_empty() {
            refused = ctx
                .blocking(move |services| auto_create::create(&services.metadata, &services.config, missing))
                .await?;
            image = ctx.services.metadata.image();
        }
    }
    let found = |name: TopicName| match image.topic(&name) {
        Some(topic) => known(ctx, topic),
        None => {
            let code = refused.get(name.as_str()).copied().unwrap_or_else(|| missing_code(&name));
            failed(code, Some(name))
        }
    };
    Ok(names.into_iter().map(found).collect())
}

/// What a topic that is not there is answered with.
fn missing_code(name: &str) -> ErrorCode {
    match validate_topic_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn failed(code: ErrorCode, name: Option<TopicName>) -> MetadataResponseTopic {
    let is_internal = name.as_ref().is_some_and(|name| is_internal_topic(name));
    MetadataResponseTopic::default().with_error_code(code.code()).with_name(name).with_is_internal(is_internal)
}

fn known(ctx: &Context, topic: &Topic) -> MetadataResponseTopic {
    let node = node_id(ctx);
    let partition = |index| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_epoch(topic.leader_epoch.0)
            .with_replica_nodes(vec![node]);
        match ctx.services.partitions.is_offline(topic, index) {
            false => partition.with_leader_id(node).with_isr_nodes(vec![node]),
            true => partition
                .with_error_code(ErrorCode::LeaderNotAvailable.code())
                .with_leader_id(NO_LEADER)
                .with_offline_replicas(vec![node]),
        }
    };
    MetadataResponseTopic::default()
        .with_name(Some(wire_name(topic)))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.is_internal())
        .with_partitions((0..topic.partitions).map(partition).collect())
}

fn wire_name(topic: &Topic) -> TopicName {
    TopicName(StrBytes::from_string(topic.name.to_string()))
}

fn node_id(ctx: &Context) -> BrokerId {
    BrokerId(ctx.services.config.node_id.0)
}

#[cfg(test)]
mod tests;
