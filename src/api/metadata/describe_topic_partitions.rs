//! DescribeTopicPartitions 0 (KIP-966): topics by name, a page at a time.
//!
//! - No topics named means all of them. Topics are answered by name; the cursor says where the answer starts, and the
//!   next cursor where it stopped: after `response_partition_limit` partitions, one at least and
//!   `max.request.partition.size.limit` at most. A cursor must lie on a topic that is asked for.
//! - Eligible leader replicas are arrays, never null (the Java client does not take null). They are empty, as one replica
//!   is its partition's whole ISR, but for a partition whose log cannot be used: it has no leader and no ISR, and its
//!   replica would lead again. It is no error here (`KRaftMetadataCache`).
//! - Authorized operations are all of them: there is no authorizer yet.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use kafka_protocol::messages::describe_topic_partitions_request::{self, DescribeTopicPartitionsRequest, TopicRequest};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};

use super::{NO_LEADER, missing_code, wire_name};
use crate::api::cluster::authorized_operations;
use crate::api::{Context, Refused};
use crate::log::names::is_internal_topic;
use crate::metadata::{Image, Topic};
use crate::protocol::ErrorCode;
use crate::types::NodeId;

pub(in crate::api) async fn describe_topic_partitions(
    ctx: &Context,
    request: DescribeTopicPartitionsRequest,
) -> Result<DescribeTopicPartitionsResponse, Refused> {
    let config = &ctx.services.config;
    let image = ctx.services.metadata.image();
    let is_offline = |topic: &Topic, index| ctx.services.partitions.is_offline(topic, index);
    Ok(describe(&image, config.node_id, &is_offline, config.request_partitions_max, request))
}

fn describe(
    image: &Image,
    node: NodeId,
    is_offline: &dyn Fn(&Topic, i32) -> bool,
    partitions_max: usize,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let DescribeTopicPartitionsRequest { topics, response_partition_limit, cursor, .. } = request;
    if cursor.as_ref().is_some_and(|cursor| !is_valid(cursor, &topics)) {
        let refused = |topic: TopicRequest| failed(ErrorCode::InvalidRequest, topic.name);
        return DescribeTopicPartitionsResponse::default().with_topics(topics.into_iter().map(refused).collect());
    }
    let (first, first_partition) = match &cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let mut left = i32::try_from(partitions_max).unwrap_or(i32::MAX).min(response_partition_limit).max(1);
    let mut response = DescribeTopicPartitionsResponse::default();
    for (name, topic) in asked_for(image, topics, first) {
        if left <= 0 {
            return response.with_next_cursor(Some(next_cursor(name, 0)));
        }
        let Some(topic) = topic else {
            response.topics.push(failed(missing_code(&name), name));
            continue;
        };
        let start = if name.as_str() == first { first_partition } else { 0 };
        let end = topic.partitions.min(start.saturating_add(left));
        response.topics.push(known(topic, node, is_offline, start..end));
        if end < topic.partitions {
            return response.with_next_cursor(Some(next_cursor(name, end)));
        }
        left -= (end - start).max(0);
    }
    response
}

fn is_valid(cursor: &describe_topic_partitions_request::Cursor, topics: &[TopicRequest]) -> bool {
    let asked_for = topics.is_empty() || topics.iter().any(|topic| topic.name == cursor.topic_name);
    asked_for && cursor.partition_index >= 0
}

/// The topics from `first` on, by name, each once.
fn asked_for<'a>(
    image: &'a Image,
    topics: Vec<TopicRequest>,
    first: &'a str,
) -> Box<dyn Iterator<Item = (TopicName, Option<&'a Arc<Topic>>)> + 'a> {
    if topics.is_empty() {
        return Box::new(image.topics_from(first).map(|topic| (wire_name(topic), Some(topic))));
    }
    let names: BTreeSet<TopicName> = topics.into_iter().map(|topic| topic.name).collect();
    let names = names.into_iter().filter(move |name| name.as_str() >= first);
    Box::new(names.map(|name| {
        let topic = image.topic(&name);
        (name, topic)
    }))
}

fn known(
    topic: &Topic,
    node: NodeId,
    is_offline: &dyn Fn(&Topic, i32) -> bool,
    partitions: Range<i32>,
) -> DescribeTopicPartitionsResponseTopic {
    let replicas = || vec![BrokerId(node.0)];
    let partition = |index| {
        let partition = DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_epoch(topic.leader_epoch.0)
            .with_replica_nodes(replicas())
            .with_last_known_elr(Some(Vec::new()));
        match is_offline(topic, index) {
            false => partition
                .with_leader_id(BrokerId(node.0))
                .with_isr_nodes(replicas())
                .with_eligible_leader_replicas(Some(Vec::new())),
            true => partition
                .with_leader_id(NO_LEADER)
                .with_offline_replicas(replicas())
                .with_eligible_leader_replicas(Some(replicas())),
        }
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(wire_name(topic)))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.is_internal())
        .with_partitions(partitions.map(partition).collect())
        .with_topic_authorized_operations(authorized_operations::TOPIC)
}

fn failed(code: ErrorCode, name: TopicName) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_is_internal(is_internal_topic(&name))
        .with_name(Some(name))
        .with_topic_authorized_operations(authorized_operations::TOPIC)
}

fn next_cursor(topic_name: TopicName, partition_index: i32) -> Cursor {
    Cursor::default().with_topic_name(topic_name).with_partition_index(partition_index)
}

#[cfg(test)]
mod tests;
