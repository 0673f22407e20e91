//! Administration as a client sees it on the wire: what is answered, and that it takes effect.

mod support;

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AlterConfigsRequest, CreateTopicsRequest, FindCoordinatorRequest, GroupId, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use support::batch::Batch;
use support::{Broker, Client};

const NONE: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_CONFIG: i16 = 40;
const GROUP_ID_NOT_FOUND: i16 = 69;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("t"))
}

fn group() -> GroupId {
    GroupId(text("g"))
}

fn client_of_a_topic(broker: &Broker) -> Client {
    let mut client = broker.connect();
    let topic = CreatableTopic::default().with_name(topic()).with_num_partitions(1).with_replication_factor(1);
    let response = client.request(5, &CreateTopicsRequest::default().with_topics(vec![topic]));
    assert_eq!(response.topics[0].error_code, NONE);
    client
}

fn alter(client: &mut Client, version: i16, configs: &[(&'static str, &'static str)], validate_only: bool) -> i16 {
    let config = |(key, value): &(&'static str, &'static str)| {
        AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(topic().0)
        .with_configs(configs.iter().map(config).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate_only);
    let response = client.request(version, &request).responses.remove(0);
    assert_eq!((response.resource_type, response.resource_name), (2, topic().0));
    response.error_code
}

fn produce(client: &mut Client) -> i16 {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(Batch::of("value").encode()));
    let data = TopicProduceData::default().with_name(topic()).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![data]);
    client.request(9, &request).responses[0].partition_responses[0].error_code
}

#[test]
fn altered_configs_are_in_force_at_once_and_those_not_named_no_longer() {
    let broker = Broker::start();
    let mut client = client_of_a_topic(&broker);
    assert_eq!(produce(&mut client), NONE);
    for version in 0..=2 {
        let tiny = [("max.message.bytes", "10")];
        assert_eq!(alter(&mut client, version, &tiny, true), NONE);
        assert_eq!(produce(&mut client), NONE, "it was only validated");
        assert_eq!(alter(&mut client, version, &tiny, false), NONE);
        assert_eq!(produce(&mut client), MESSAGE_TOO_LARGE);
        assert_eq!(alter(&mut client, version, &[("max.message.bytes", "-1")], false), INVALID_CONFIG);
        assert_eq!(produce(&mut client), MESSAGE_TOO_LARGE);
        assert_eq!(alter(&mut client, version, &[("retention.ms", "1000")], false), NONE);
        assert_eq!(produce(&mut client), NONE);
    }
}

fn commit(client: &mut Client) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
    let topic = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    client.request(8, &request).topics[0].partitions[0].error_code
}

fn committed(client: &mut Client) -> i64 {
    let topic = OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
    client.request(7, &request).topics[0].partitions[0].committed_offset
}

fn delete(client: &mut Client) -> OffsetDeleteResponse {
    let partition = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
    let topic =
        OffsetDeleteRequestTopic::default().with_name(topic()).with_partitions(vec![partition(0), partition(1)]);
    client.request(0, &OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic]))
}

#[test]
fn a_deleted_offset_is_gone_and_stays_gone() {
    let broker = Broker::start();
    let mut client = client_of_a_topic(&broker);
    client.request(3, &FindCoordinatorRequest::default().with_key(group().0));
    let unknown_group = delete(&mut client);
    assert_eq!((unknown_group.error_code, unknown_group.topics.len()), (GROUP_ID_NOT_FOUND, 0));
    assert_eq!(commit(&mut client), NONE);
    assert_eq!(committed(&mut client), 5);
    let deleted = delete(&mut client);
    let codes: Vec<i16> = deleted.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!((deleted.error_code, codes), (NONE, vec![NONE, UNKNOWN_TOPIC_OR_PARTITION]));
    assert_eq!(committed(&mut client), -1);
    let data = broker.data().clone();
    broker.kill();
    assert_eq!(committed(&mut Broker::start_on(&data, &[]).connect()), -1);
}
