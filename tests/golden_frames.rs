//! Frames written out byte by byte from the published protocol, read and written by the broker's own path: header,
//! guard, decoder; and the encoder of responses.

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, FetchRequest,
    FindCoordinatorResponse, GroupId, JoinGroupRequest, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use ottla::protocol::{frame, guard};
use uuid::Uuid;

/// Bytes from hex digits in pairs; what follows `//` on a line names the field.
fn hex(text: &str) -> Bytes {
    let digits = text.lines().flat_map(|line| line.split("//").next().unwrap().split_whitespace());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic_name(name: &'static str) -> TopicName {
    TopicName(text(name))
}

/// Reads a frame without its length prefix and compares the client id and the whole request.
#[track_caller]
fn reads<R: Request + PartialEq + std::fmt::Debug>(frame: &str, version: i16, client_id: Option<&str>, expected: R) {
    let head = frame::parse(hex(frame)).unwrap();
    assert_eq!((head.api_key, head.api_version, head.correlation_id), (R::KEY, version, 0x01020304));
    assert_eq!(head.client_id.as_deref(), client_id);
    let api = ApiKey::try_from(head.api_key).unwrap();
    assert_eq!(guard::check(api, version, &head.body), Ok(()));
    let mut body = head.body;
    assert_eq!(R::decode(&mut body, version).unwrap(), expected);
    assert!(body.is_empty());
}

/// Writes a response and compares the whole frame.
#[track_caller]
fn writes(api: ApiKey, version: i16, response: &impl Encodable, frame: &str) {
    let encoded = frame::encode_response(api, version, 0x01020304, response).unwrap();
    assert_eq!(encoded, hex(frame), "{encoded:02x?}");
}

#[test]
fn api_versions_request_v0() {
    let frame = "
        00 12 00 00         // api_key 18, version 0
        01 02 03 04         // correlation_id
        00 02 6d 65         // client_id me";
    reads(frame, 0, Some("me"), ApiVersionsRequest::default());
}

#[test]
fn api_versions_request_v3() {
    let frame = "
        00 12 00 03         // api_key 18, version 3
        01 02 03 04         // correlation_id
        ff ff               // client_id null
        00                  // header: no tagged fields
        05 6a 61 76 61      // client_software_name java
        04 34 2e 31         // client_software_version 4.1
        00                  // no tagged fields";
    let expected =
        ApiVersionsRequest::default().with_client_software_name(text("java")).with_client_software_version(text("4.1"));
    reads(frame, 3, None, expected);
}

#[test]
fn metadata_request_v1() {
    let frame = "
        00 03 00 01 01 02 03 04 00 00   // Metadata v1, client_id empty
        00 00 00 02                     // two topics
        00 01 61                        // a
        00 02 62 62                     // bb";
    let topic = |name| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    reads(frame, 1, Some(""), MetadataRequest::default().with_topics(Some(vec![topic("a"), topic("bb")])));
}

#[test]
fn metadata_request_v1_of_all_topics() {
    let frame = "
        00 03 00 01 01 02 03 04 00 00   // Metadata v1, client_id empty
        ff ff ff ff                     // topics null: all";
    reads(frame, 1, Some(""), MetadataRequest::default().with_topics(None));
}

#[test]
fn metadata_request_v12() {
    let frame = "
        00 03 00 0c 01 02 03 04 00 01 63 00                     // Metadata v12, client_id c
        03                                                      // two topics
        00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f         // topic_id
        00                                                      // name null
        00                                                      // no tagged fields
        00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00         // topic_id zero
        02 61                                                   // name a
        00                                                      // no tagged fields
        00                                                      // allow_auto_topic_creation false
        01                                                      // include_topic_authorized_operations true
        00                                                      // no tagged fields";
    let id = Uuid::from_u128(0x000102030405060708090a0b0c0d0e0f);
    let by_id = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
    let by_name = MetadataRequestTopic::default().with_name(Some(topic_name("a")));
    let expected = MetadataRequest::default()
        .with_topics(Some(vec![by_id, by_name]))
        .with_allow_auto_topic_creation(false)
        .with_include_topic_authorized_operations(true);
    reads(frame, 12, Some("c"), expected);
}

#[test]
fn create_topics_request_v2() {
    let frame = "
        00 13 00 02 01 02 03 04 ff ff   // CreateTopics v2, client_id null
        00 00 00 01                     // one topic
        00 01 74                        // name t
        ff ff ff ff                     // num_partitions -1: by assignment
        ff ff                           // replication_factor -1
        00 00 00 01                     // one assignment
        00 00 00 00                     // partition 0
        00 00 00 02 00 00 00 01 00 00 00 02   // on brokers 1, 2
        00 00 00 01                     // one config
        00 01 6b                        // name k
        ff ff                           // value null
        00 00 75 30                     // timeout_ms 30000
        01                              // validate_only";
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
    let topic = CreatableTopic::default()
        .with_name(topic_name("t"))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assignment])
        .with_configs(vec![CreatableTopicConfig::default().with_name(text("k")).with_value(None)]);
    let expected = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30000);
    reads(frame, 2, None, expected.with_validate_only(true));
}

#[test]
fn create_topics_request_v7() {
    let frame = "
        00 13 00 07 01 02 03 04 ff ff 00   // CreateTopics v7, client_id null
        02                                 // one topic
        02 74                              // name t
        00 00 00 03                        // num_partitions 3
        00 01                              // replication_factor 1
        01                                 // no assignments
        02                                 // one config
        02 6b 02 76 00                     // k = v, no tagged fields
        00                                 // topic: no tagged fields
        00 00 75 30                        // timeout_ms 30000
        00                                 // validate_only false
        00                                 // no tagged fields";
    let topic = CreatableTopic::default()
        .with_name(topic_name("t"))
        .with_num_partitions(3)
        .with_replication_factor(1)
        .with_configs(vec![CreatableTopicConfig::default().with_name(text("k")).with_value(Some(text("v")))]);
    reads(frame, 7, None, CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30000));
}

#[test]
fn produce_request_v9() {
    let frame = "
        00 00 00 09 01 02 03 04 00 01 70 00   // Produce v9, client_id p
        00                                    // transactional_id null
        ff ff                                 // acks -1: all
        00 00 05 dc                           // timeout_ms 1500
        02                                    // one topic
        02 74                                 // name t
        03                                    // two partitions
        00 00 00 00 04 aa bb cc 00            // 0: three bytes of records, no tagged fields
        00 00 00 07 00 00                     // 7: records null, no tagged fields
        00                                    // topic: no tagged fields
        00                                    // no tagged fields";
    let records = Bytes::from_static(&[0xaa, 0xbb, 0xcc]);
    let partitions = vec![
        PartitionProduceData::default().with_index(0).with_records(Some(records)),
        PartitionProduceData::default().with_index(7).with_records(None),
    ];
    let topic = TopicProduceData::default().with_name(topic_name("t")).with_partition_data(partitions);
    let expected = ProduceRequest::default().with_acks(-1).with_timeout_ms(1500).with_topic_data(vec![topic]);
    reads(frame, 9, Some("p"), expected);
}

#[test]
fn fetch_request_v17() {
    let frame = "
        00 01 00 11 01 02 03 04 00 01 63 00                     // Fetch v17, client_id c
        00 00 01 f4                                             // max_wait_ms 500
        00 00 00 01                                             // min_bytes 1
        00 10 00 00                                             // max_bytes 1048576
        01                                                      // isolation_level read_committed
        00 00 00 09 00 00 00 01                                 // session_id 9, epoch 1
        02                                                      // one topic
        00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f         // topic_id
        02                                                      // one partition
        00 00 00 02                                             // partition 2
        00 00 00 05                                             // current_leader_epoch 5
        00 00 00 00 00 00 00 2a                                 // fetch_offset 42
        ff ff ff ff                                             // last_fetched_epoch -1
        ff ff ff ff ff ff ff ff                                 // log_start_offset -1
        00 00 10 00                                             // partition_max_bytes 4096
        01                                                      // one tagged field
        00 10 00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff   // tag 0: replica_directory_id
        00                                                      // topic: no tagged fields
        01                                                      // no forgotten topics
        03 65 75                                                // rack_id eu
        02                                                      // two tagged fields
        00 03 03 63 6c                                          // tag 0: cluster_id cl
        01 0d 00 00 00 03 00 00 00 00 00 00 00 04 00            // tag 1: replica_state 3, epoch 4, no tagged fields";
    let partition = FetchPartition::default()
        .with_partition(2)
        .with_current_leader_epoch(5)
        .with_fetch_offset(42)
        .with_last_fetched_epoch(-1)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(4096)
        .with_replica_directory_id(Uuid::from_u128(0x00112233445566778899aabbccddeeff));
    let topic = FetchTopic::default()
        .with_topic_id(Uuid::from_u128(0x000102030405060708090a0b0c0d0e0f))
        .with_partitions(vec![partition]);
    let expected = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(1048576)
        .with_isolation_level(1)
        .with_session_id(9)
        .with_session_epoch(1)
        .with_topics(vec![topic])
        .with_rack_id(text("eu"))
        .with_cluster_id(Some(text("cl")))
        .with_replica_state(ReplicaState::default().with_replica_id(BrokerId(3)).with_replica_epoch(4));
    reads(frame, 17, Some("c"), expected);
}

#[test]
fn join_group_request_v0() {
    let frame = "
        00 0b 00 00 01 02 03 04 00 01 63      // JoinGroup v0, client_id c
        00 01 67                              // group_id g
        00 00 27 10                           // session_timeout_ms 10000
        00 00                                 // member_id empty
        00 08 63 6f 6e 73 75 6d 65 72         // protocol_type consumer
        00 00 00 01                           // one protocol
        00 05 72 61 6e 67 65                  // name range
        00 00 00 02 00 01                     // metadata, two bytes";
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(&[0, 1]));
    let expected = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(10000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    reads(frame, 0, Some("c"), expected);
}

#[test]
fn join_group_request_v9() {
    let frame = "
        00 0b 00 09 01 02 03 04 00 01 63 00   // JoinGroup v9, client_id c
        02 67                                 // group_id g
        00 00 27 10                           // session_timeout_ms 10000
        00 00 ea 60                           // rebalance_timeout_ms 60000
        02 6d                                 // member_id m
        02 69                                 // group_instance_id i
        09 63 6f 6e 73 75 6d 65 72            // protocol_type consumer
        02                                    // one protocol
        06 72 61 6e 67 65 03 00 01 00         // range, two bytes of metadata, no tagged fields
        04 77 68 79                           // reason why
        00                                    // no tagged fields";
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(&[0, 1]));
    let expected = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(10000)
        .with_rebalance_timeout_ms(60000)
        .with_member_id(text("m"))
        .with_group_instance_id(Some(text("i")))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
        .with_reason(Some(text("why")));
    reads(frame, 9, Some("c"), expected);
}

#[test]
fn offset_commit_request_v2() {
    let frame = "
        00 08 00 02 01 02 03 04 00 01 63      // OffsetCommit v2, client_id c
        00 01 67                              // group_id g
        00 00 00 03                           // generation_id 3
        00 01 6d                              // member_id m
        ff ff ff ff ff ff ff ff               // retention_time_ms -1
        00 00 00 01                           // one topic
        00 01 74                              // name t
        00 00 00 01                           // one partition
        00 00 00 04                           // partition 4
        00 00 00 00 00 00 00 2a               // committed_offset 42
        ff ff                                 // committed_metadata null";
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(4)
        .with_committed_offset(42)
        .with_committed_metadata(None);
    let topic = OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let expected = OffsetCommitRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id_or_member_epoch(3)
        .with_member_id(text("m"))
        .with_topics(vec![topic]);
    reads(frame, 2, Some("c"), expected);
}

#[test]
fn api_versions_response_v0() {
    let produce = ApiVersion::default().with_api_key(0).with_min_version(0).with_max_version(13);
    let api_versions = ApiVersion::default().with_api_key(18).with_min_version(0).with_max_version(4);
    let response = ApiVersionsResponse::default().with_error_code(35).with_api_keys(vec![produce, api_versions]);
    let frame = "
        00 00 00 16             // 22 bytes
        01 02 03 04             // correlation_id
        00 23                   // error_code UNSUPPORTED_VERSION
        00 00 00 02             // two APIs
        00 00 00 00 00 0d       // Produce 0-13
        00 12 00 00 00 04       // ApiVersions 0-4";
    writes(ApiKey::ApiVersions, 0, &response, frame);
}

#[test]
fn api_versions_response_v3() {
    let fetch = ApiVersion::default().with_api_key(1).with_min_version(4).with_max_version(18);
    let response = ApiVersionsResponse::default().with_api_keys(vec![fetch]);
    let frame = "
        00 00 00 13             // 19 bytes
        01 02 03 04             // correlation_id, and no tagged fields: header v0
        00 00                   // error_code
        02                      // one API
        00 01 00 04 00 12 00    // Fetch 4-18, no tagged fields
        00 00 00 00             // throttle_time_ms
        00                      // no tagged fields";
    writes(ApiKey::ApiVersions, 3, &response, frame);
}

#[test]
fn metadata_response_v1() {
    let broker = MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_host(text("h")).with_port(9092);
    let partition = MetadataResponsePartition::default()
        .with_partition_index(0)
        .with_leader_id(BrokerId(1))
        .with_replica_nodes(vec![BrokerId(1)])
        .with_isr_nodes(vec![BrokerId(1)]);
    let topic = MetadataResponseTopic::default().with_name(Some(topic_name("t"))).with_partitions(vec![partition]);
    let response =
        MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(BrokerId(1)).with_topics(vec![topic]);
    let frame = "
        00 00 00 41                         // 65 bytes
        01 02 03 04                         // correlation_id
        00 00 00 01                         // one broker
        00 00 00 01 00 01 68 00 00 23 84 ff ff   // 1 at h:9092, rack null
        00 00 00 01                         // controller_id 1
        00 00 00 01                         // one topic
        00 00 00 01 74 00                   // error_code, name t, is_internal
        00 00 00 01                         // one partition
        00 00 00 00 00 00 00 00 00 01       // error_code, partition 0, leader_id 1
        00 00 00 01 00 00 00 01             // replica_nodes 1
        00 00 00 01 00 00 00 01             // isr_nodes 1";
    writes(ApiKey::Metadata, 1, &response, frame);
}

#[test]
fn produce_response_v9() {
    let error = BatchIndexAndErrorMessage::default().with_batch_index(2).with_batch_index_error_message(None);
    let partition = PartitionProduceResponse::default()
        .with_index(1)
        .with_error_code(87)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(0)
        .with_record_errors(vec![error])
        .with_error_message(Some(text("no")));
    let topic = TopicProduceResponse::default().with_name(topic_name("t")).with_partition_responses(vec![partition]);
    let response = ProduceResponse::default().with_responses(vec![topic]);
    let frame = "
        00 00 00 38                         // 56 bytes
        01 02 03 04 00                      // correlation_id, no tagged fields: header v1
        02                                  // one topic
        02 74                               // name t
        02                                  // one partition
        00 00 00 01                         // index 1
        00 57                               // error_code INVALID_RECORD
        ff ff ff ff ff ff ff ff             // base_offset -1
        ff ff ff ff ff ff ff ff             // log_append_time_ms -1
        00 00 00 00 00 00 00 00             // log_start_offset 0
        02                                  // one record error
        00 00 00 02 00 00                   // batch_index 2, message null, no tagged fields
        03 6e 6f                            // error_message no
        00                                  // partition: no tagged fields
        00                                  // topic: no tagged fields
        00 00 00 00                         // throttle_time_ms
        00                                  // no tagged fields";
    writes(ApiKey::Produce, 9, &response, frame);
}

#[test]
fn find_coordinator_response_v0() {
    let response = FindCoordinatorResponse::default().with_node_id(BrokerId(1)).with_host(text("h")).with_port(9092);
    let frame = "
        00 00 00 11             // 17 bytes
        01 02 03 04             // correlation_id
        00 00                   // error_code
        00 00 00 01             // node_id 1
        00 01 68                // host h
        00 00 23 84             // port 9092";
    writes(ApiKey::FindCoordinator, 0, &response, frame);
}
