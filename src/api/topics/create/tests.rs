use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
use kafka_protocol::protocol::Encodable;

use super::*;
use crate::config::RawConfig;
use crate::metadata::LocalStore;

struct Fixture {
    metadata: Metadata,
    config: Config,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let metadata = Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap();
        let (config, _) = RawConfig::default().validate().unwrap();
        Fixture { metadata, config, _dir: dir }
    }

    fn create(&self, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
        create_topics(&self.metadata, &self.config, CreateTopicsRequest::default().with_topics(topics), true)
    }

    /// The one topic's error and text.
    fn refusal(&self, topic: CreatableTopic) -> (ErrorCode, String) {
        let result = self.create(vec![topic]).remove(0);
        (ErrorCode::try_from_code(result.error_code).unwrap(), result.error_message.unwrap().to_string())
    }
}

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}

fn with_config(topic: CreatableTopic, key: &'static str, value: Option<&'static str>) -> CreatableTopic {
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str(key))
        .with_value(value.map(StrBytes::from_static_str));
    topic.with_configs(vec![config])
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(index, brokers): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(brokers.iter().map(|&id| BrokerId(id)).collect())
    };
    topic(name, -1).with_replication_factor(-1).with_assignments(assignments.iter().map(assignment).collect())
}

#[test]
fn what_was_made_is_told_with_its_id_counts_and_configs() {
    let fixture = Fixture::new();
    let results = fixture.create(vec![with_config(topic("a", -1), "retention.ms", Some("5")), topic("b", 7)]);
    assert_eq!(results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(results.iter().map(|result| result.num_partitions).collect::<Vec<_>>(), [1, 7]);
    let image = fixture.metadata.image();
    assert_eq!(results[0].topic_id, image.topic("a").unwrap().id.0);
    assert_eq!(image.topic("b").unwrap().partitions, 7);
    let configs = results[0].configs.as_ref().unwrap();
    let retention = configs.iter().find(|config| config.name.as_str() == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("5"));
    assert_eq!(retention.config_source, 1);
    assert_eq!(results[1].configs.as_ref().unwrap().len(), configs.len());
}

#[test]
fn validate_only_judges_and_makes_nothing() {
    let fixture = Fixture::new();
    let request =
        CreateTopicsRequest::default().with_topics(vec![topic("a", 3), topic("a b", 3)]).with_validate_only(true);
    let results = create_topics(&fixture.metadata, &fixture.config, request, true);
    assert_eq!(results[0].error_code, 0);
    assert_eq!(results[1].error_code, ErrorCode::InvalidTopicException.code());
    assert_eq!(fixture.metadata.image().topics().count(), 0);
}

#[test]
fn a_bad_topic_does_not_stop_the_good_ones() {
    let fixture = Fixture::new();
    let results = fixture.create(vec![
        topic("a", 1),
        topic("a", 2),
        topic("b", 0),
        topic("c", 1),
        topic("c.d", 1),
        topic("c_d", 1),
    ]);
    let codes: Vec<(&str, i16)> = results.iter().map(|result| (result.name.as_str(), result.error_code)).collect();
    let invalid_name = ErrorCode::InvalidTopicException.code();
    assert_eq!(codes, [("a", 42), ("b", 37), ("c", 0), ("c.d", 0), ("c_d", invalid_name)]);
    assert_eq!(results[0].error_message.as_deref(), Some("Duplicate topic name."));
    let made: Vec<String> = fixture.metadata.image().topics().map(|topic| topic.name.to_string()).collect();
    assert_eq!(made, ["c", "c.d"]);
}

#[test]
fn counts_are_judged_in_kafkas_words() {
    let fixture = Fixture::new();
    let (code, text) = fixture.refusal(topic("a", 1).with_replication_factor(3));
    assert_eq!(code, ErrorCode::InvalidReplicationFactor);
    assert_eq!(
        text,
        "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only \
         1 broker(s) are registered."
    );
    let (code, text) = fixture.refusal(topic("a", 1).with_replication_factor(0));
    let expected = "Replication factor must be larger than 0, or -1 to use the default value.";
    assert_eq!((code, text.as_str()), (ErrorCode::InvalidReplicationFactor, expected));
    for partitions in [0, -2, i32::MIN] {
        let (code, text) = fixture.refusal(topic("a", partitions));
        let expected = "Number of partitions was set to an invalid non-positive value.";
        assert_eq!((code, text.as_str()), (ErrorCode::InvalidPartitions, expected));
    }
}

#[test]
fn more_partitions_than_a_request_may_ask_for_are_refused_together() {
    let fixture = Fixture::new();
    let results = fixture.create(vec![topic("a", 5000), topic("b", 5000), topic("c", 1)]);
    for result in &results {
        assert_eq!(result.error_code, ErrorCode::PolicyViolation.code());
        assert_eq!(result.error_message.as_deref(), Some("Excessively large number of partitions per request."));
    }
    assert_eq!(fixture.create(vec![topic("a", 10_000)])[0].error_code, 0);
}

#[test]
fn configs_are_judged_in_kafkas_words() {
    let fixture = Fixture::new();
    let (code, text) = fixture.refusal(with_config(topic("a", 1), "retention.ms", None));
    let expected = "Null value not supported for topic configs: retention.ms";
    assert_eq!((code, text.as_str()), (ErrorCode::InvalidConfig, expected));
    let (code, text) = fixture.refusal(with_config(topic("a", 1), "no.such.key", Some("1")));
    assert_eq!((code, text.as_str()), (ErrorCode::InvalidConfig, "Unknown topic config name: no.such.key"));
}

#[test]
fn assignments_are_honoured_where_they_name_this_broker_only() {
    let fixture = Fixture::new();
    assert_eq!(fixture.create(vec![assigned("a", &[(1, &[1]), (0, &[1]), (2, &[1])])])[0].num_partitions, 3);
    let code = |topic| fixture.refusal(topic).0;
    assert_eq!(code(assigned("b", &[(0, &[1]), (0, &[1])])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(code(assigned("b", &[(0, &[1]), (2, &[1])])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(code(assigned("b", &[(-1, &[1])])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(code(assigned("b", &[(0, &[2])])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(code(assigned("b", &[(0, &[1])]).with_num_partitions(1)), ErrorCode::InvalidRequest);
    assert_eq!(code(assigned("b", &[(0, &[1])]).with_replication_factor(1)), ErrorCode::InvalidRequest);
}

#[test]
fn kafkas_own_metadata_topic_cannot_be_made() {
    assert_eq!(Fixture::new().refusal(topic(CLUSTER_METADATA, 1)).0, ErrorCode::TopicAuthorizationFailed);
}

#[test]
fn the_answer_can_be_written_in_every_version() {
    for version in 2..=7 {
        let fixture = Fixture::new();
        let request = CreateTopicsRequest::default().with_topics(vec![topic("a", 1), topic("", 1)]);
        let results = create_topics(&fixture.metadata, &fixture.config, request, version >= CONFIGS_SINCE);
        let response = CreateTopicsResponse::default().with_topics(results);
        response.encode(&mut bytes::BytesMut::new(), version).unwrap();
    }
}
