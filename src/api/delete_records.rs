//! DeleteRecords 0–2 (KIP-107): moves the log start, and answers where it is now.
//!
//! - Offset -1 stands for the high watermark. Above that, or otherwise below 0: OFFSET_OUT_OF_RANGE. At or below the log
//!   start there is nothing to do.
//! - Refused: internal topics (INVALID_TOPIC_EXCEPTION), topics that are compacted and not deleted from (POLICY_VIOLATION). An
//!   empty `cleanup.policy` is no reason (KIP-1161). A partition named twice counts by what is said last, as in `KafkaApis`.
//! - The new log start is on stable storage before the answer. Kafka checkpoints it later, at an interval, and after an
//!   unclean stop on its only replica deleted records come back.
//! - Fetches that wait below the new log start are answered at once. Segments that lie wholly below it go with the next round of
//!   retention, as in Kafka; a segment that also holds later records keeps its bytes.
//! - v2 is flexible. `timeout_ms`: there are no followers to wait for.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::delete_records_request::DeleteRecordsTopic;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};

use super::{Context, Refused, Services};
use crate::log::names::is_internal_topic;
use crate::partition::Partition;
use crate::protocol::ErrorCode;
use crate::types::Offset;

const HIGH_WATERMARK: i64 = -1;
const NO_LOW_WATERMARK: i64 = -1;

pub(super) async fn delete(ctx: &Context, request: DeleteRecordsRequest) -> Result<DeleteRecordsResponse, Refused> {
    ctx.blocking(move |services| delete_records(services, request)).await
}

fn delete_records(services: &Services, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    // All log starts move before the first is made durable, which makes all of its log dir durable.
    let moved: Vec<_> = offsets(request)
        .into_iter()
        .map(|((topic, index), offset)| (move_start(services, &topic, index, offset), topic, index))
        .collect();
    let mut results: BTreeMap<TopicName, Vec<DeleteRecordsPartitionResult>> = BTreeMap::new();
    for (moved, topic, index) in moved {
        let outcome = moved.and_then(|partition| checkpointed(services, &partition));
        results.entry(topic).or_default().push(result(index, outcome));
    }
    let topic = |(name, partitions)| DeleteRecordsTopicResult::default().with_name(name).with_partitions(partitions);
    DeleteRecordsResponse::default().with_topics(results.into_iter().map(topic).collect())
}

fn offsets(request: DeleteRecordsRequest) -> BTreeMap<(TopicName, i32), i64> {
    let of_topic = |topic: DeleteRecordsTopic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |it| ((name.clone(), it.partition_index), it.offset))
    };
    request.topics.into_iter().flat_map(of_topic).collect()
}

fn move_start(services: &Services, topic: &str, index: i32, offset: i64) -> Result<Arc<Partition>, ErrorCode> {
    let partition = services.partitions.by_name(topic, index).map_err(|error| error.error_code())?;
    if is_internal_topic(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    partition.delete_before((offset != HIGH_WATERMARK).then_some(Offset(offset)))?;
    Ok(partition)
}

fn checkpointed(services: &Services, partition: &Partition) -> Result<Offset, ErrorCode> {
    let written = services.partitions.manager().checkpoint_start(&partition.id);
    written.map(|()| partition.offsets().log_start).map_err(|error| {
        tracing::error!(partition = %partition.id, %error, "log start not written");
        error.error_code()
    })
}

fn result(index: i32, outcome: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
    match outcome {
        Ok(low_watermark) => result.with_low_watermark(low_watermark.0),
        Err(error) => result.with_low_watermark(NO_LOW_WATERMARK).with_error_code(error.code()),
    }
}
