//! The request of every API that may be served, laid out as in Kafka's message schemas (4.1, from which `kafka-protocol`
//! is generated). Field names are those of the decoded structs. An API is served only if it stands here.

use kafka_protocol::messages::ApiKey;

use super::shape::Shape;

// Laid out by hand: one field per line, nested as the schemas are.
#[rustfmt::skip]
mod cluster;
#[rustfmt::skip]
mod data;
#[rustfmt::skip]
mod groups;
#[rustfmt::skip]
mod topics;
#[rustfmt::skip]
mod transactions;

/// The shape of an API's request.
pub(super) fn of(api: ApiKey) -> Option<&'static Shape> {
    Some(match api {
        ApiKey::Produce => &data::PRODUCE,
        ApiKey::Fetch => &data::FETCH,
        ApiKey::ListOffsets => &data::LIST_OFFSETS,
        ApiKey::OffsetForLeaderEpoch => &data::OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DeleteRecords => &data::DELETE_RECORDS,
        ApiKey::ApiVersions => &cluster::API_VERSIONS,
        ApiKey::SaslHandshake => &cluster::SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => &cluster::SASL_AUTHENTICATE,
        ApiKey::Metadata => &cluster::METADATA,
        ApiKey::DescribeCluster => &cluster::DESCRIBE_CLUSTER,
        ApiKey::DescribeTopicPartitions => &cluster::DESCRIBE_TOPIC_PARTITIONS,
        ApiKey::DescribeLogDirs => &cluster::DESCRIBE_LOG_DIRS,
        ApiKey::AlterReplicaLogDirs => &cluster::ALTER_REPLICA_LOG_DIRS,
        ApiKey::ElectLeaders => &cluster::ELECT_LEADERS,
        ApiKey::CreateTopics => &topics::CREATE_TOPICS,
        ApiKey::DeleteTopics => &topics::DELETE_TOPICS,
        ApiKey::CreatePartitions => &topics::CREATE_PARTITIONS,
        ApiKey::DescribeConfigs => &topics::DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => &topics::ALTER_CONFIGS,
        ApiKey::IncrementalAlterConfigs => &topics::INCREMENTAL_ALTER_CONFIGS,
        ApiKey::DescribeAcls => &topics::DESCRIBE_ACLS,
        ApiKey::CreateAcls => &topics::CREATE_ACLS,
        ApiKey::DeleteAcls => &topics::DELETE_ACLS,
        ApiKey::FindCoordinator => &groups::FIND_COORDINATOR,
        ApiKey::JoinGroup => &groups::JOIN_GROUP,
        ApiKey::SyncGroup => &groups::SYNC_GROUP,
        ApiKey::Heartbeat => &groups::HEARTBEAT,
        ApiKey::LeaveGroup => &groups::LEAVE_GROUP,
        ApiKey::OffsetCommit => &groups::OFFSET_COMMIT,
        ApiKey::OffsetFetch => &groups::OFFSET_FETCH,
        ApiKey::OffsetDelete => &groups::OFFSET_DELETE,
        ApiKey::DescribeGroups => &groups::DESCRIBE_GROUPS,
        ApiKey::ListGroups => &groups::LIST_GROUPS,
        ApiKey::DeleteGroups => &groups::DELETE_GROUPS,
        ApiKey::ConsumerGroupHeartbeat => &groups::CONSUMER_GROUP_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => &groups::CONSUMER_GROUP_DESCRIBE,
        ApiKey::InitProducerId => &transactions::INIT_PRODUCER_ID,
        ApiKey::AddPartitionsToTxn => &transactions::ADD_PARTITIONS_TO_TXN,
        ApiKey::AddOffsetsToTxn => &transactions::ADD_OFFSETS_TO_TXN,
        ApiKey::EndTxn => &transactions::END_TXN,
        ApiKey::WriteTxnMarkers => &transactions::WRITE_TXN_MARKERS,
        ApiKey::TxnOffsetCommit => &transactions::TXN_OFFSET_COMMIT,
        ApiKey::DescribeProducers => &transactions::DESCRIBE_PRODUCERS,
        ApiKey::DescribeTransactions => &transactions::DESCRIBE_TRANSACTIONS,
        ApiKey::ListTransactions => &transactions::LIST_TRANSACTIONS,
        _ => return None,
    })
}
