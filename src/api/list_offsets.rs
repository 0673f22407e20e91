//! Where a partition begins and ends, in offsets, in time, and in leader epochs.
//!
//! **ListOffsets 1–10.** By timestamp: the first record at or after it. Special timestamps: -1 latest (the last stable
//! offset for read_committed, v2), -2 earliest, -3 the record with the largest timestamp (v7, KIP-734), -4 earliest local
//! (v8, KIP-405: everything is local), -5 latest tiered (v9, KIP-1005: nothing is, so -1). v4 brings leader epochs.
//! A partition named twice is refused. Not done: `timeout_ms` (v10), since nothing remote is asked.
//!
//! **OffsetForLeaderEpoch 2–4.** The end of the largest epoch not above the one asked for (KIP-320), by which a consumer
//! notices that the log behind it was cut.

use std::collections::HashSet;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use tokio::sync::Semaphore;

use super::{Context, Refused};
use crate::log::TimestampedOffset;
use crate::partition::{Isolation, Partition};
use crate::protocol::ErrorCode;
use crate::types::{LeaderEpoch, Offset, Timestamp};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const READ_COMMITTED: i8 = 1;

/// "There is none": no record so late, or nothing tiered.
const NOTHING: TimestampedOffset =
    TimestampedOffset { offset: Offset(-1), timestamp: Timestamp::NONE, leader_epoch: LeaderEpoch::NONE };

/// Lookups by time that run at once. One may have a whole batch decompressed in memory.
static TIME_LOOKUPS: Semaphore = Semaphore::const_new(2);

pub(super) async fn list_offsets(ctx: &Context, request: ListOffsetsRequest) -> Result<ListOffsetsResponse, Refused> {
    let mut wanted = request.topics.iter().flat_map(|topic| &topic.partitions);
    if !wanted.any(|wanted| matches!(wanted.timestamp, 0.. | MAX_TIMESTAMP)) {
        return Ok(list(ctx, request));
    }
    // These read records: not on a worker, where others would wait for it.
    let _turn = TIME_LOOKUPS.acquire().await.map_err(|closed| Refused(closed.to_string()))?;
    let lookup = ctx.clone();
    ctx.blocking(move |_| list(&lookup, request)).await
}

fn list(ctx: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = match request.isolation_level {
        READ_COMMITTED => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let twice = named_twice(&request.topics);
    let list_topic = |topic: ListOffsetsTopic| {
        let list = |wanted: &ListOffsetsPartition| {
            let found = match twice.contains(&(topic.name.to_string(), wanted.partition_index)) {
                true => Err(ErrorCode::InvalidRequest),
                false => find(ctx, &topic.name, wanted, isolation),
            };
            let response = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
            match found {
                Ok(found) => response
                    .with_offset(found.offset.0)
                    .with_timestamp(found.timestamp.0)
                    .with_leader_epoch(if ctx.version >= 4 { found.leader_epoch.0 } else { LeaderEpoch::NONE.0 }),
                Err(error) => response.with_error_code(error.code()),
            }
        };
        let partitions = topic.partitions.iter().map(list).collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    };
    ListOffsetsResponse::default().with_topics(request.topics.into_iter().map(list_topic).collect())
}

fn named_twice(topics: &[ListOffsetsTopic]) -> HashSet<(String, i32)> {
    let mut seen = HashSet::new();
    let named =
        topics.iter().flat_map(|topic| topic.partitions.iter().map(move |it| (&topic.name, it.partition_index)));
    named.filter(|name| !seen.insert(*name)).map(|(topic, index)| (topic.to_string(), index)).collect()
}

fn find(
    ctx: &Context,
    topic: &str,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<TimestampedOffset, ErrorCode> {
    // What a special timestamp means came version by version (`KafkaApis.handleListOffsetRequest`).
    let since = match wanted.timestamp {
        0.. | LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => i16::MAX,
    };
    if ctx.version < since {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition =
        ctx.services.partitions.by_name(topic, wanted.partition_index).map_err(|error| error.error_code())?;
    partition.check_leader_epoch(LeaderEpoch(wanted.current_leader_epoch))?;
    let offsets = partition.offsets();
    match wanted.timestamp {
        LATEST => Ok(at(&partition, offsets.visible_to(isolation))),
        EARLIEST | EARLIEST_LOCAL => Ok(at(&partition, offsets.log_start)),
        LATEST_TIERED => Ok(NOTHING),
        MAX_TIMESTAMP => Ok(partition.offset_of_max_timestamp()?.unwrap_or(NOTHING)),
        timestamp => {
            let found = partition.offset_for_timestamp(Timestamp(timestamp))?;
            Ok(found.filter(|found| found.offset < offsets.visible_to(isolation)).unwrap_or(NOTHING))
        }
    }
}

/// A bare offset, with the epoch in which the record there was written; the newest one for the log's end.
fn at(partition: &Partition, offset: Offset) -> TimestampedOffset {
    let log = partition.reader();
    let leader_epoch = log.epoch_at(offset).or(log.latest_epoch()).unwrap_or(partition.leader_epoch);
    TimestampedOffset { offset, leader_epoch, ..NOTHING }
}

pub(super) async fn for_leader_epoch(
    ctx: &Context,
    request: OffsetForLeaderEpochRequest,
) -> Result<OffsetForLeaderEpochResponse, Refused> {
    let mut response = OffsetForLeaderEpochResponse::default();
    for topic in request.topics {
        let end = |wanted: &OffsetForLeaderPartition| {
            let end = EpochEndOffset::default().with_partition(wanted.partition);
            match end_of_epoch(ctx, &topic.topic, wanted) {
                Ok(Some((epoch, offset))) => end.with_leader_epoch(epoch.0).with_end_offset(offset.0),
                Ok(None) => end,
                Err(error) => end.with_error_code(error.code()),
            }
        };
        let partitions = topic.partitions.iter().map(end).collect();
        response.topics.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions));
    }
    Ok(response)
}

fn end_of_epoch(
    ctx: &Context,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let partition = ctx.services.partitions.by_name(topic, wanted.partition).map_err(|error| error.error_code())?;
    partition.check_leader_epoch(LeaderEpoch(wanted.current_leader_epoch))?;
    Ok(partition.reader().end_of_epoch(LeaderEpoch(wanted.leader_epoch)))
}
