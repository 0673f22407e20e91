//! CreatePartitions 0–3: more partitions for topics that exist.
//!
//! - `count` is the new total; it only grows. Assignments, one for each new partition, may name this broker only.
//! - Each topic is judged by itself, in Kafka's order and words (`ReplicationControlManager.createPartitions`); those
//!   that pass are committed together. With `validate_only` none is.
//! - More than 10,000 new partitions in one request are refused, as in Kafka (`MAX_RECORDS_PER_USER_OP`).
//! - The versions differ in encoding only. `timeout_ms`: nothing is waited for.

use std::collections::BTreeSet;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use super::assignment::check_replicas;
use super::create::PARTITIONS_PER_REQUEST_MAX;
use crate::api::refusal::{self, Refusal, duplicates};
use crate::api::{Context, Refused};
use crate::metadata::{Change, Edit, Image, Metadata};
use crate::protocol::ErrorCode;
use crate::types::NodeId;

pub(in crate::api) async fn create_partitions(
    ctx: &Context,
    request: CreatePartitionsRequest,
) -> Result<CreatePartitionsResponse, Refused> {
    let results =
        ctx.blocking(move |services| grow_topics(&services.metadata, services.config.node_id, request)).await?;
    Ok(CreatePartitionsResponse::default().with_results(results))
}

fn grow_topics(
    metadata: &Metadata,
    node: NodeId,
    request: CreatePartitionsRequest,
) -> Vec<CreatePartitionsTopicResult> {
    let CreatePartitionsRequest { topics, validate_only, .. } = request;
    let twice = duplicates(topics.iter().map(|topic| topic.name.clone()));
    let mut answered = BTreeSet::new();
    let mut edit = metadata.edit();
    let excessive = partitions_asked_for(edit.image(), &topics) > PARTITIONS_PER_REQUEST_MAX;
    let mut outcomes: Vec<(TopicName, Result<(), Refusal>)> = Vec::new();
    for topic in topics.into_iter().filter(|topic| answered.insert(topic.name.clone())) {
        let outcome = if twice.contains(&topic.name) {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else if excessive {
            let text = "Unable to perform excessively large batch operation.";
            Err(Refusal::new(ErrorCode::PolicyViolation, text))
        } else {
            grow_topic(&mut edit, node, &topic)
        };
        outcomes.push((topic.name, outcome));
    }
    let committed = if validate_only { Ok(()) } else { edit.commit().map(drop).map_err(Refusal::from) };
    let result = |(name, outcome): (TopicName, Result<(), Refusal>)| {
        let (code, message) = refusal::wire(&outcome.and(committed.clone()));
        CreatePartitionsTopicResult::default().with_name(name).with_error_code(code).with_error_message(message)
    };
    outcomes.into_iter().map(result).collect()
}

fn grow_topic(edit: &mut Edit<'_>, node: NodeId, asked: &CreatePartitionsTopic) -> Result<(), Refusal> {
    let topic = edit.image().topic(&asked.name).cloned();
    let topic = topic.ok_or(Refusal::bare(ErrorCode::UnknownTopicOrPartition))?;
    let change = Change::SetPartitions { id: topic.id, partitions: asked.count };
    let additional = i64::from(asked.count) - i64::from(topic.partitions);
    // A count that is no increase is refused before the assignments are looked at.
    if let Some(assignments) = asked.assignments.as_ref().filter(|_| additional > 0) {
        if assignments.len() as i64 != additional {
            let text = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        assignments.iter().try_for_each(|assignment| check_replicas(&assignment.broker_ids, node))?;
    }
    Ok(edit.apply(change)?)
}

fn partitions_asked_for(image: &Image, topics: &[CreatePartitionsTopic]) -> i64 {
    let additional = |asked: &CreatePartitionsTopic| {
        let current = image.topic(&asked.name)?.partitions;
        Some((i64::from(asked.count) - i64::from(current)).max(0))
    };
    topics.iter().filter_map(additional).sum()
}

#[cfg(test)]
mod tests;
