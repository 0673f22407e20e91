//! A plausible request of every served API in every version, as a body to mutate.
//!
//! They name topics and groups that do not exist and only validate what they would create, so that mutants of them
//! change little.

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::batch::Batch;
use super::encoded;

const TOPIC_ID: Uuid = Uuid::from_u128(0x1234);

/// The body of a request, or none where the API is not known here.
pub fn sample(api: ApiKey, v: i16) -> Option<Bytes> {
    Some(match api {
        ApiKey::Produce => encoded(&produce(v), v),
        ApiKey::Fetch => encoded(&fetch(v), v),
        ApiKey::ListOffsets => encoded(&list_offsets(), v),
        ApiKey::OffsetForLeaderEpoch => encoded(&offset_for_leader_epoch(), v),
        ApiKey::Metadata => encoded(&metadata(v), v),
        ApiKey::DescribeCluster => encoded(&DescribeClusterRequest::default(), v),
        ApiKey::DescribeTopicPartitions => encoded(&describe_topic_partitions(), v),
        ApiKey::ApiVersions => encoded(&api_versions(v), v),
        ApiKey::CreateTopics => encoded(&create_topics(), v),
        ApiKey::DeleteTopics => encoded(&delete_topics(v), v),
        ApiKey::DeleteRecords => encoded(&delete_records(), v),
        ApiKey::AlterReplicaLogDirs => encoded(&alter_replica_log_dirs(), v),
        ApiKey::DescribeLogDirs => encoded(&describe_log_dirs(), v),
        ApiKey::CreatePartitions => encoded(&create_partitions(), v),
        ApiKey::DescribeConfigs => encoded(&describe_configs(), v),
        ApiKey::IncrementalAlterConfigs => encoded(&incremental_alter_configs(), v),
        ApiKey::AlterConfigs => encoded(&alter_configs(), v),
        ApiKey::FindCoordinator => encoded(&find_coordinator(v), v),
        ApiKey::JoinGroup => encoded(&join_group(v), v),
        ApiKey::SyncGroup => encoded(&sync_group(v), v),
        ApiKey::Heartbeat => encoded(&heartbeat(), v),
        ApiKey::LeaveGroup => encoded(&leave_group(v), v),
        ApiKey::OffsetCommit => encoded(&offset_commit(), v),
        ApiKey::OffsetFetch => encoded(&offset_fetch(v), v),
        ApiKey::OffsetDelete => encoded(&offset_delete(), v),
        ApiKey::DescribeGroups => encoded(&DescribeGroupsRequest::default().with_groups(vec![group()]), v),
        ApiKey::ListGroups => encoded(&list_groups(v), v),
        ApiKey::DeleteGroups => encoded(&DeleteGroupsRequest::default().with_groups_names(vec![group()]), v),
        ApiKey::InitProducerId => encoded(&InitProducerIdRequest::default().with_transaction_timeout_ms(1000), v),
        _ => return None,
    })
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("absent"))
}

fn group() -> GroupId {
    GroupId(text("absent-group"))
}

fn produce(v: i16) -> ProduceRequest {
    use produce_request::*;
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(Batch::of("value").encode()));
    let data = TopicProduceData::default().with_partition_data(vec![partition]);
    let data = if v >= 13 { data.with_topic_id(TOPIC_ID) } else { data.with_name(topic()) };
    ProduceRequest::default().with_acks(-1).with_timeout_ms(100).with_topic_data(vec![data])
}

fn fetch(v: i16) -> FetchRequest {
    use fetch_request::*;
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1024);
    let wanted = FetchTopic::default().with_partitions(vec![partition]);
    let wanted = if v >= 13 { wanted.with_topic_id(TOPIC_ID) } else { wanted.with_topic(topic()) };
    FetchRequest::default().with_max_wait_ms(1).with_max_bytes(4096).with_topics(vec![wanted])
}

fn list_offsets() -> ListOffsetsRequest {
    use list_offsets_request::*;
    let partition = ListOffsetsPartition::default().with_timestamp(-1);
    let wanted = ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted])
}

fn offset_for_leader_epoch() -> OffsetForLeaderEpochRequest {
    use offset_for_leader_epoch_request::*;
    let partition = OffsetForLeaderPartition::default().with_leader_epoch(0);
    let wanted = OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(vec![partition]);
    OffsetForLeaderEpochRequest::default().with_topics(vec![wanted])
}

fn metadata(v: i16) -> MetadataRequest {
    let wanted = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    if v >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
}

fn describe_topic_partitions() -> DescribeTopicPartitionsRequest {
    use describe_topic_partitions_request::*;
    let cursor = Cursor::default().with_topic_name(topic()).with_partition_index(1);
    DescribeTopicPartitionsRequest::default()
        .with_topics(vec![TopicRequest::default().with_name(topic())])
        .with_cursor(Some(cursor))
}

fn api_versions(v: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default();
    if v < 3 {
        return request;
    }
    request.with_client_software_name(text("test")).with_client_software_version(text("1.0"))
}

fn create_topics() -> CreateTopicsRequest {
    use create_topics_request::*;
    let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let by_count = CreatableTopic::default()
        .with_name(TopicName(text("counted")))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let by_assignment = CreatableTopic::default()
        .with_name(TopicName(text("assigned")))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)])]);
    CreateTopicsRequest::default()
        .with_topics(vec![by_count, by_assignment])
        .with_timeout_ms(100)
        .with_validate_only(true)
}

fn delete_topics(v: i16) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(100);
    if v < 6 {
        return request.with_topic_names(vec![topic()]);
    }
    let by_name = delete_topics_request::DeleteTopicState::default().with_name(Some(topic()));
    let by_id = delete_topics_request::DeleteTopicState::default().with_name(None).with_topic_id(TOPIC_ID);
    request.with_topics(vec![by_name, by_id])
}

fn delete_records() -> DeleteRecordsRequest {
    use delete_records_request::*;
    let partition = DeleteRecordsPartition::default().with_offset(-1);
    let topic = DeleteRecordsTopic::default().with_name(topic()).with_partitions(vec![partition]);
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(100)
}

fn create_partitions() -> CreatePartitionsRequest {
    use create_partitions_request::*;
    let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let grown =
        CreatePartitionsTopic::default().with_name(topic()).with_count(2).with_assignments(Some(vec![assignment]));
    CreatePartitionsRequest::default().with_topics(vec![grown]).with_timeout_ms(100).with_validate_only(true)
}

fn describe_configs() -> DescribeConfigsRequest {
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("absent"))
        .with_configuration_keys(Some(vec![text("retention.ms")]));
    DescribeConfigsRequest::default().with_resources(vec![resource])
}

fn incremental_alter_configs() -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::*;
    let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("absent"))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(true)
}

fn alter_configs() -> AlterConfigsRequest {
    use alter_configs_request::*;
    let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("absent"))
        .with_configs(vec![config]);
    AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(true)
}

fn alter_replica_log_dirs() -> AlterReplicaLogDirsRequest {
    use alter_replica_log_dirs_request::*;
    let moved = AlterReplicaLogDirTopic::default().with_name(topic()).with_partitions(vec![0, 1]);
    let dir = AlterReplicaLogDir::default().with_path(text("/absent")).with_topics(vec![moved]);
    AlterReplicaLogDirsRequest::default().with_dirs(vec![dir])
}

fn describe_log_dirs() -> DescribeLogDirsRequest {
    let wanted =
        describe_log_dirs_request::DescribableLogDirTopic::default().with_topic(topic()).with_partitions(vec![0, 1]);
    DescribeLogDirsRequest::default().with_topics(Some(vec![wanted]))
}

fn find_coordinator(v: i16) -> FindCoordinatorRequest {
    let key = text("absent-group");
    if v >= 4 {
        return FindCoordinatorRequest::default().with_coordinator_keys(vec![key]);
    }
    FindCoordinatorRequest::default().with_key(key)
}

fn join_group(v: i16) -> JoinGroupRequest {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"));
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(6000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if v >= 5 { request.with_group_instance_id(Some(text("instance"))) } else { request }
}

fn sync_group(v: i16) -> SyncGroupRequest {
    let assignment = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(text("member"))
        .with_assignment(Bytes::from_static(b"assignment"));
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text("member"))
        .with_assignments(vec![assignment]);
    if v < 5 {
        return request;
    }
    request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
}

fn heartbeat() -> HeartbeatRequest {
    HeartbeatRequest::default().with_group_id(group()).with_member_id(text("member"))
}

fn leave_group(v: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group());
    if v < 3 {
        return request.with_member_id(text("member"));
    }
    let leaving = leave_group_request::MemberIdentity::default().with_member_id(text("member"));
    request.with_members(vec![leaving])
}

fn offset_commit() -> OffsetCommitRequest {
    use offset_commit_request::*;
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(1)
        .with_committed_metadata(Some(text("metadata")));
    let committed = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![committed])
}

fn offset_fetch(v: i16) -> OffsetFetchRequest {
    use offset_fetch_request::*;
    if v < 8 {
        let wanted = OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![0, 1]);
        return OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![wanted]));
    }
    let wanted = OffsetFetchRequestTopics::default().with_name(topic()).with_partition_indexes(vec![0, 1]);
    let wanted_of = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![wanted]));
    OffsetFetchRequest::default().with_groups(vec![wanted_of])
}

fn offset_delete() -> OffsetDeleteRequest {
    use offset_delete_request::*;
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(1);
    let deleted = OffsetDeleteRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
    OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![deleted])
}

fn list_groups(v: i16) -> ListGroupsRequest {
    let request = ListGroupsRequest::default();
    if v >= 4 { request.with_states_filter(vec![text("Stable")]) } else { request }
}
