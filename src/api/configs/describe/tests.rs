use kafka_protocol::protocol::Encodable;

use super::*;
use crate::config::RawConfig;
use crate::metadata::{Change, LocalStore, Metadata};
use crate::types::TopicId;

fn describe(resources: Vec<DescribeConfigsResource>, synonyms: bool) -> Vec<DescribeConfigsResult> {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap();
    let mut edit = metadata.edit();
    let configs = [("segment.bytes".to_owned(), "1048576".to_owned())].into();
    edit.apply(Change::CreateTopic { name: "a".into(), id: TopicId::random(), partitions: 1, configs }).unwrap();
    let image = edit.commit().unwrap();
    let (config, _) = RawConfig::default().validate().unwrap();
    let request = DescribeConfigsRequest::default().with_resources(resources).with_include_synonyms(synonyms);
    let response = describe_all(&image, &config, request);
    for version in 1..=4 {
        response.encode(&mut bytes::BytesMut::new(), version).unwrap();
    }
    response.results
}

fn resource(resource_type: i8, name: &'static str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(StrBytes::from_static_str(name))
        .with_configuration_keys(None)
}

fn keys(resource: DescribeConfigsResource, keys: &[&'static str]) -> DescribeConfigsResource {
    resource.with_configuration_keys(Some(keys.iter().map(|key| StrBytes::from_static_str(key)).collect()))
}

#[test]
fn a_topics_value_is_told_with_its_source_type_and_what_it_hides() {
    let results = describe(vec![keys(resource(TOPIC, "a"), &["segment.bytes", "no.such.key"])], true);
    let [entry] = results[0].configs.as_slice() else { panic!("{results:?}") };
    assert_eq!((entry.value.as_deref(), entry.config_source, entry.config_type), (Some("1048576"), 1, 3));
    assert_eq!(entry.synonyms.first().and_then(|synonym| synonym.value.as_deref()), Some("1048576"));
    assert!(entry.synonyms.iter().any(|synonym| synonym.source == 5), "the default is hidden, not gone");
    assert_eq!(entry.documentation, None);
}

#[test]
fn without_keys_every_key_is_told_and_synonyms_only_where_asked_for() {
    let entries = |resource| describe(vec![resource], false).remove(0).configs;
    let absent = entries(resource(TOPIC, "a"));
    assert!(absent.len() > 20);
    assert!(absent.iter().all(|entry| entry.synonyms.is_empty()));
    assert_eq!(entries(keys(resource(TOPIC, "a"), &[])), absent);
}

#[test]
fn this_broker_is_told_by_its_node_id_only() {
    let brokers = [resource(BROKER, "1"), resource(BROKER, ""), resource(BROKER, "2"), resource(BROKER, "x")];
    let results = describe(brokers.to_vec(), false);
    assert!(results[0].configs.iter().any(|entry| entry.name.as_str() == "num.partitions"));
    assert_eq!((results[1].error_code, results[1].configs.len()), (0, 0));
    let text = "Unexpected broker id, expected 1 or empty string, but received 2";
    assert_eq!(results[2].error_message.as_deref(), Some(text));
    assert_eq!(results[3].error_message.as_deref(), Some("Broker id must be an integer, but it is: x"));
}

#[test]
fn what_is_not_there_is_refused_by_itself() {
    let others = [resource(TOPIC, "gone"), resource(TOPIC, "a b"), resource(GROUP, "g"), resource(GROUP, "")];
    let codes: Vec<i16> = describe(others.to_vec(), false).iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::UnknownTopicOrPartition.code(), ErrorCode::InvalidTopicException.code(), 0, 42]);
    let loggers = describe(vec![resource(BROKER_LOGGER, "1"), resource(CLIENT_METRICS, "m")], false);
    assert_eq!(loggers.iter().map(|result| result.error_code).collect::<Vec<_>>(), [42, 0]);
}

#[test]
fn a_resource_named_twice_is_answered_once() {
    let results = describe(vec![resource(BROKER, "1"), resource(TOPIC, "1"), resource(BROKER, "1")], false);
    let types: Vec<i8> = results.iter().map(|result| result.resource_type).collect();
    assert_eq!(types, [BROKER, TOPIC]);
}

#[test]
fn an_unknown_type_spoils_the_request() {
    let results = describe(vec![resource(TOPIC, "a"), resource(3, "b")], false);
    for result in results {
        assert_eq!(result.error_code, ErrorCode::InvalidRequest.code());
        let text = "Unexpected resource type UNKNOWN for resource b";
        assert_eq!(result.error_message.as_deref(), Some(text));
    }
}
