//! OffsetCommit 2–9, OffsetFetch 1–9, OffsetDelete 0: where the consumers of a group go on.
//!
//! - A commit for a partition that does not exist gets UNKNOWN_TOPIC_OR_PARTITION, the others of the request are stored.
//! - A fetch for a partition without a committed offset gets offset -1 and no error, be its topic known or not.
//! - A delete is refused for partitions that do not exist, and for topics to which members of the group are subscribed
//!   (KIP-496). Where there was nothing to delete, that is no error.
//! - Of a group that is named several times in one OffsetFetch, the first is answered; one that names more than
//!   [`PARTITIONS_MAX`] partitions closes the connection.
//! - Versions: OffsetCommit 2–4 name a retention of their own, 9 knows GROUP_ID_NOT_FOUND. OffsetFetch 2 can ask for all
//!   of a group's offsets and has an error of its own for the group, 7 waits out open transactions (KIP-447), 8 asks
//!   for several groups (KIP-709). Member id and epoch of OffsetFetch 9 are for KIP-848 groups and mean nothing here.

use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};

use super::group_admin::each_once;
use super::{Context, Refused};
use crate::metadata::Image;
use crate::protocol::ErrorCode;
use crate::types::TopicId;

/// First version of OffsetFetch that asks for several groups.
const SEVERAL_GROUPS_SINCE: i16 = 8;
/// Partitions that an OffsetFetch may name: 4 bytes each in the request become over 80 in memory for the answer.
const PARTITIONS_MAX: usize = 1_000_000;
/// First version of OffsetFetch with an error for the whole group.
const GROUP_ERROR_SINCE: i16 = 2;

pub(super) async fn commit(ctx: &Context, request: OffsetCommitRequest) -> Result<OffsetCommitResponse, Refused> {
    let image = ctx.services.metadata.image();
    let topic_id = |topic: &str, partition| topic_id(&image, topic, partition);
    Ok(ctx.services.groups.commit(ctx.version, &request, topic_id).await)
}

pub(super) async fn delete(ctx: &Context, request: OffsetDeleteRequest) -> Result<OffsetDeleteResponse, Refused> {
    let image = ctx.services.metadata.image();
    let exists = |topic: &str, partition| topic_id(&image, topic, partition).is_some();
    let response = OffsetDeleteResponse::default();
    Ok(match ctx.services.groups.delete_offsets(&request, exists).await {
        Ok(topics) => response.with_topics(topics),
        Err(error) => response.with_error_code(error.code()),
    })
}

/// The id of the topic, if it has that partition.
fn topic_id(image: &Image, topic: &str, partition: i32) -> Option<TopicId> {
    let topic = image.topic(topic)?;
    (0..topic.partitions).contains(&partition).then_some(topic.id)
}

pub(super) async fn fetch(ctx: &Context, request: OffsetFetchRequest) -> Result<OffsetFetchResponse, Refused> {
    let image = ctx.services.metadata.image();
    let fetch_group = |group: &OffsetFetchRequestGroup| {
        let topic_id = |topic: &str| image.topic(topic).map(|topic| topic.id);
        ctx.services.groups.fetch(group, request.require_stable, topic_id)
    };
    if ctx.version < SEVERAL_GROUPS_SINCE {
        let group = single_group(&request);
        check_partitions(std::slice::from_ref(&group))?;
        return Ok(single_response(ctx.version, &group, fetch_group(&group)));
    }
    check_partitions(&request.groups)?;
    let groups = each_once(&request.groups, |group| &group.group_id);
    let groups = groups.map(|group| group_response(group, fetch_group(group)));
    Ok(OffsetFetchResponse::default().with_groups(groups.collect()))
}

fn check_partitions(groups: &[OffsetFetchRequestGroup]) -> Result<(), Refused> {
    let topics = groups.iter().filter_map(|group| group.topics.as_ref()).flatten();
    let partitions: usize = topics.map(|topic| topic.partition_indexes.len()).sum();
    if partitions <= PARTITIONS_MAX {
        return Ok(());
    }
    Err(Refused(format!("{partitions} partitions are named where {PARTITIONS_MAX} may be")))
}

fn group_response(
    group: &OffsetFetchRequestGroup,
    fetched: Result<Vec<OffsetFetchResponseTopics>, ErrorCode>,
) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
    match fetched {
        Ok(topics) => response.with_topics(topics),
        Err(error) => response.with_error_code(error.code()),
    }
}

/// The group of an older request, in the newer form.
fn single_group(request: &OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.as_ref().map(|topics| {
        let topics = topics.iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name.clone())
                .with_partition_indexes(topic.partition_indexes.clone())
        });
        topics.collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(request.group_id.clone()).with_topics(topics)
}

fn single_response(
    version: i16,
    group: &OffsetFetchRequestGroup,
    fetched: Result<Vec<OffsetFetchResponseTopics>, ErrorCode>,
) -> OffsetFetchResponse {
    let response = OffsetFetchResponse::default();
    match fetched {
        Ok(topics) => response.with_topics(topics.into_iter().map(single_topic).collect()),
        Err(error) if version >= GROUP_ERROR_SINCE => response.with_error_code(error.code()),
        Err(error) => response.with_topics(failed_topics(group, error)),
    }
}

fn single_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |partition: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    };
    let partitions = topic.partitions.into_iter().map(partition).collect();
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
}

/// The group's error, said of each partition.
fn failed_topics(group: &OffsetFetchRequestGroup, error: ErrorCode) -> Vec<OffsetFetchResponseTopic> {
    let topics = group.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(-1)
                .with_metadata(Some(Default::default()))
                .with_error_code(error.code())
        });
        OffsetFetchResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
    use kafka_protocol::messages::{GroupId, TopicName};
    use kafka_protocol::protocol::Encodable;

    use super::*;

    fn old_request() -> OffsetFetchRequest {
        let topic = OffsetFetchRequestTopic::default().with_name(TopicName("t".into())).with_partition_indexes(vec![3]);
        OffsetFetchRequest::default().with_group_id(GroupId("g".into())).with_topics(Some(vec![topic]))
    }

    fn fetched() -> Vec<OffsetFetchResponseTopics> {
        let partition = OffsetFetchResponsePartitions::default()
            .with_partition_index(3)
            .with_committed_offset(42)
            .with_committed_leader_epoch(5)
            .with_metadata(Some("note".into()));
        vec![OffsetFetchResponseTopics::default().with_name(TopicName("t".into())).with_partitions(vec![partition])]
    }

    #[test]
    fn a_request_that_names_more_partitions_than_there_can_be_is_refused() {
        let group = |partitions| {
            let topic = OffsetFetchRequestTopics::default().with_partition_indexes(vec![0; partitions]);
            OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]))
        };
        assert!(check_partitions(&[group(PARTITIONS_MAX - 1), group(1)]).is_ok());
        assert!(check_partitions(&[group(PARTITIONS_MAX), group(1)]).is_err());
        assert!(check_partitions(&[OffsetFetchRequestGroup::default().with_topics(None)]).is_ok());
    }

    #[test]
    fn every_version_gets_the_offset_in_its_own_form() {
        let group = single_group(&old_request());
        for version in 1..=9 {
            let response = if version < SEVERAL_GROUPS_SINCE {
                single_response(version, &group, Ok(fetched()))
            } else {
                OffsetFetchResponse::default().with_groups(vec![group_response(&group, Ok(fetched()))])
            };
            response.encode(&mut bytes::BytesMut::new(), version).unwrap();
            let offset = match response.groups.first() {
                Some(group) => group.topics[0].partitions[0].committed_offset,
                None => response.topics[0].partitions[0].committed_offset,
            };
            assert_eq!(offset, 42);
        }
    }

    #[test]
    fn a_group_error_is_said_where_the_version_has_a_place_for_it() {
        let group = single_group(&old_request());
        let error = ErrorCode::NotCoordinator;
        let oldest = single_response(1, &group, Err(error));
        assert_eq!(oldest.topics[0].partitions[0].error_code, error.code());
        assert_eq!(oldest.topics[0].partitions[0].committed_offset, -1);
        assert_eq!(single_response(2, &group, Err(error)).error_code, error.code());
        assert_eq!(group_response(&group, Err(error)).error_code, error.code());
    }

    #[test]
    fn asking_for_all_topics_survives_the_conversion() {
        assert_eq!(single_group(&OffsetFetchRequest::default().with_topics(None)).topics, None);
        assert_eq!(single_group(&old_request()).topics.unwrap()[0].partition_indexes, [3]);
    }
}
