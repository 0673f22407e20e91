//! DescribeLogDirs 1–4 (KIP-113, KIP-827) and AlterReplicaLogDirs 1–2 (KIP-113): where partitions are, and moving them.
//!
//! DescribeLogDirs: each log dir with the partitions asked for (null: all), their bytes, and how far they lag.
//! - A dir that has failed: KAFKA_STORAGE_ERROR, and nothing of what it holds.
//! - A partition that moves is there twice: where it goes to as the future replica, with the records that it is behind.
//! - A partition that nobody has used since its topic was created has no place yet and is in no dir.
//! - v2 is flexible; v3 has an error for the whole (cluster authorization); v4 the volume's total and usable bytes.
//!
//! AlterReplicaLogDirs: answered when the move has been asked for; DescribeLogDirs tells when it is over.
//! - LOG_DIR_NOT_FOUND: none of `log.dirs`. KAFKA_STORAGE_ERROR: that dir, or the partition's, has failed.
//!   INVALID_TOPIC_EXCEPTION: the future folder's name would be too long. UNKNOWN_TOPIC_OR_PARTITION.
//! - To the dir that it is in: nothing, or a move that is under way ends. To another one than before: the move begins anew.
//! - After a stop, a move is not gone on with, where Kafka does: ask for it again.
//! - v2 is flexible.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Refused, Services};
use crate::log::manager::{LogDirContents, LogDirInfo};
use crate::partition::Move;
use crate::types::TopicPartition;

pub(super) async fn describe(
    ctx: &Context,
    request: DescribeLogDirsRequest,
) -> Result<DescribeLogDirsResponse, Refused> {
    let version = ctx.version;
    ctx.blocking(move |services| describe_log_dirs(services, request, version)).await
}

fn describe_log_dirs(services: &Services, request: DescribeLogDirsRequest, version: i16) -> DescribeLogDirsResponse {
    let topics = request.topics.map(|topics| {
        let indexes = topics.into_iter().map(|it| (it.topic, it.partitions.into_iter().collect::<BTreeSet<i32>>()));
        indexes.fold(BTreeMap::<_, BTreeSet<i32>>::new(), |mut wanted, (topic, indexes)| {
            wanted.entry(topic.0).or_default().extend(indexes);
            wanted
        })
    });
    let is_wanted = |it: &TopicPartition| {
        let wanted = |topics: &BTreeMap<StrBytes, BTreeSet<i32>>| {
            topics.iter().any(|(topic, indexes)| topic.as_str() == &*it.topic && indexes.contains(&it.partition))
        };
        topics.as_ref().is_none_or(wanted)
    };
    let mut moves = services.partitions.moves();
    moves.retain(|it| is_wanted(it.partition()));
    let results = services.partitions.manager().describe(is_wanted).into_iter().map(|dir| {
        let to_here = moves.iter().filter(|it| is_same_dir(&it.target, &dir.path)).map(AsRef::as_ref);
        log_dir(&dir, to_here, version)
    });
    DescribeLogDirsResponse::default().with_results(results.collect())
}

fn is_same_dir(configured: &Path, absolute: &Path) -> bool {
    std::path::absolute(configured).is_ok_and(|path| path == absolute)
}

fn log_dir<'a>(dir: &LogDirInfo, moves: impl Iterator<Item = &'a Move>, version: i16) -> DescribeLogDirsResult {
    let result = DescribeLogDirsResult::default().with_log_dir(text(&dir.path.to_string_lossy()));
    let LogDirContents { volume, sizes } = match &dir.contents {
        Ok(contents) => contents,
        Err(error) => return result.with_error_code(error.error_code().code()),
    };
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (partition, size) in sizes {
        topics.entry(&partition.topic).or_default().push(replica(partition, *size));
    }
    for it in moves {
        let future = replica(it.partition(), it.bytes()).with_is_future_key(true).with_offset_lag(it.offset_lag());
        topics.entry(&it.partition().topic).or_default().push(future);
    }
    let topic = |(name, partitions): (&str, _)| {
        DescribeLogDirsTopic::default().with_name(TopicName(text(name))).with_partitions(partitions)
    };
    let result = result.with_topics(topics.into_iter().map(topic).collect());
    if version < 4 {
        return result;
    }
    let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    result.with_total_bytes(bytes(volume.total_bytes)).with_usable_bytes(bytes(volume.usable_bytes))
}

fn replica(partition: &TopicPartition, bytes: u64) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(partition.partition)
        .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

pub(super) async fn alter(
    ctx: &Context,
    request: AlterReplicaLogDirsRequest,
) -> Result<AlterReplicaLogDirsResponse, Refused> {
    ctx.blocking(move |services| alter_log_dirs(services, request)).await
}

/// A partition that is named with two dirs goes to the last of them.
fn alter_log_dirs(services: &Services, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    let mut targets: BTreeMap<(TopicName, i32), StrBytes> = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics {
            let named = topic.partitions.into_iter().map(|index| ((topic.name.clone(), index), dir.path.clone()));
            targets.extend(named);
        }
    }
    let mut results: BTreeMap<TopicName, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for ((topic, index), path) in targets {
        let altered = services.partitions.alter_log_dir(&topic, index, Path::new(path.as_str()));
        let code = altered.err().map_or(0, |error| error.code());
        let result = AlterReplicaLogDirPartitionResult::default().with_partition_index(index).with_error_code(code);
        results.entry(topic).or_default().push(result);
    }
    let topic =
        |(name, partitions)| AlterReplicaLogDirTopicResult::default().with_topic_name(name).with_partitions(partitions);
    AlterReplicaLogDirsResponse::default().with_results(results.into_iter().map(topic).collect())
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
