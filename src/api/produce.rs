//! Produce 3–13: batches of records, one for each partition.
//!
//! - Each partition's batch is validated and appended as a whole, or refused as a whole; partitions do not affect each
//!   other. All appends are done when the handler returns, so that requests of a connection keep their order.
//! - An idempotent producer's retry is answered with the offset of the first time (KIP-98).
//! - Where `flush.messages` asks for it the answer waits until the disk has the records, and the connection is read on
//!   meanwhile. Partitions of one request wait together.
//! - `acks=0` gets no answer, and waits for nothing; where its append failed the connection is closed, which is all a client can notice.
//! - v5 answers the log start offset, v8 names the records at fault (KIP-467), v9 flexible, v13 topic ids (KIP-516).
//! - Not done: transactional batches (INVALID_TXN_STATE), `timeout_ms` (there are no replicas to wait for).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use super::dispatch::{Call, Rejected, Reply};
use super::{Context, Refused};
use crate::log::{Appended, FlushWait};
use crate::metadata::Topic;
use crate::partition::Partition;
use crate::protocol::ErrorCode;
use crate::protocol::validate;
use crate::types::{Timestamp, TopicId};

const TOPIC_IDS_SINCE: i16 = 13;
const UNKNOWN_OFFSET: i64 = -1;

pub(super) fn handle(ctx: &Context, call: Call, request: ProduceRequest) -> Result<Reply, Rejected> {
    let acks = request.acks;
    let now = Timestamp::now();
    let mut unflushed = Vec::new();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let place = responses.len();
        let waits = &mut |partition, wait: Waiting| unflushed.push((place, partition, wait));
        responses.push(append_topic(ctx, topic, acks, now, waits));
    }
    if acks == 0 {
        return match responses.iter().flat_map(|topic| &topic.partition_responses).find(|it| it.error_code != 0) {
            None => Ok(Reply::None),
            Some(failed) => {
                Err(call.refused(Refused(format!("acks=0 and an append failed (error {})", failed.error_code))))
            }
        };
    }
    let response = ProduceResponse::default().with_responses(responses);
    if unflushed.is_empty() {
        return call.encode(&response).map(Reply::Now);
    }
    Ok(Reply::Staged(Box::pin(async move { call.encode(&flushed(response, unflushed).await) })))
}

/// Waits for the disk. All syncs are on their way: they run beside one another, however they are awaited.
async fn flushed(mut response: ProduceResponse, unflushed: Vec<(usize, usize, Waiting)>) -> ProduceResponse {
    for (topic, index, Waiting { partition, flush }) in unflushed {
        let Err(error) = partition.flushed(flush).await else { continue };
        let answers = response.responses.get_mut(topic).map(|topic| &mut topic.partition_responses);
        if let Some(answer) = answers.and_then(|answers| answers.get_mut(index)) {
            *answer = refuse(PartitionProduceResponse::default().with_index(answer.index), error.into());
        }
    }
    response
}

/// An append that the disk does not have yet.
#[derive(Debug)]
struct Waiting {
    partition: Arc<Partition>,
    flush: FlushWait,
}

/// `waits` is told which of the answers have to wait.
fn append_topic(
    ctx: &Context,
    data: TopicProduceData,
    acks: i16,
    now: Timestamp,
    waits: &mut dyn FnMut(usize, Waiting),
) -> TopicProduceResponse {
    let image = ctx.services.metadata.image();
    let topic = match ctx.version >= TOPIC_IDS_SINCE {
        true => image.topic_by_id(TopicId(data.topic_id)).ok_or(ErrorCode::UnknownTopicId),
        false => image.topic(&data.name).ok_or(ErrorCode::UnknownTopicOrPartition),
    };
    let append = |(place, PartitionProduceData { index, records, .. })| {
        let appended =
            topic.map_err(validate::Rejected::from).and_then(|topic| append(ctx, topic, index, records, acks, now));
        let response = PartitionProduceResponse::default().with_index(index);
        match appended {
            Ok((appended, partition)) => {
                let log_start = partition.offsets().log_start;
                if let Some(flush) = partition.group_commit(appended.last_offset) {
                    waits(place, Waiting { partition, flush });
                }
                response
                    .with_base_offset(appended.base_offset.0)
                    .with_log_append_time_ms(appended.append_time.0)
                    .with_log_start_offset(log_start.0)
            }
            Err(rejected) => refuse(response, rejected),
        }
    };
    let responses = data.partition_data.into_iter().enumerate().map(append).collect();
    TopicProduceResponse::default()
        .with_name(data.name)
        .with_topic_id(data.topic_id)
        .with_partition_responses(responses)
}

/// Appends one partition's batch; gives what the log did.
fn append(
    ctx: &Context,
    topic: &Topic,
    index: i32,
    records: Option<Bytes>,
    acks: i16,
    now: Timestamp,
) -> Result<(Appended, Arc<Partition>), validate::Rejected> {
    if !(-1..=1).contains(&acks) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    // What the coordinators keep there is theirs alone (`ReplicaManager.appendRecords`).
    if topic.is_internal() {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let partition = ctx.services.partitions.get(topic, index).map_err(|error| error.error_code())?;
    let appended = partition.append_client(records.unwrap_or_default(), ctx.version, now)?;
    Ok((appended, partition))
}

fn refuse(response: PartitionProduceResponse, rejected: validate::Rejected) -> PartitionProduceResponse {
    let at_fault = |(index, message)| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(index)
            .with_batch_index_error_message(Some(StrBytes::from_string(message)))
    };
    response
        .with_error_code(rejected.code.code())
        .with_base_offset(UNKNOWN_OFFSET)
        .with_log_append_time_ms(Timestamp::NONE.0)
        .with_log_start_offset(UNKNOWN_OFFSET)
        .with_record_errors(rejected.record_errors.into_iter().map(at_fault).collect())
        .with_error_message(Some(StrBytes::from_string(rejected.message)))
}
