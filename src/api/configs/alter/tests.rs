use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::config::RawConfig;
use crate::metadata::{LocalStore, Metadata};
use crate::types::TopicId;

fn fixture() -> (Metadata, BrokerValues, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap();
    let mut edit = metadata.edit();
    let id = TopicId::random();
    edit.apply(Change::CreateTopic { name: "a".into(), id, partitions: 1, configs: BTreeMap::new() }).unwrap();
    edit.commit().unwrap();
    drop(edit);
    let (config, _) = RawConfig::default().validate().unwrap();
    (metadata, config.broker, dir)
}

fn resource(name: &'static str, operations: &[(&'static str, i8, Option<&'static str>)]) -> AlterConfigsResource {
    let config = |&(key, operation, value): &(&'static str, i8, Option<&'static str>)| {
        AlterableConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str))
    };
    AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_static_str(name))
        .with_configs(operations.iter().map(config).collect())
}

/// Alters and commits; the texts of the refusals.
fn alter(metadata: &Metadata, broker: &BrokerValues, resources: &[AlterConfigsResource]) -> Vec<(ErrorCode, String)> {
    alter_from(Base::OwnValues, metadata, broker, resources)
}

/// The same by AlterConfigs.
fn replace(
    metadata: &Metadata,
    broker: &BrokerValues,
    name: &'static str,
    values: &[(&'static str, Option<&'static str>)],
) -> Vec<(ErrorCode, String)> {
    let config = |&(key, value): &(&'static str, Option<&'static str>)| {
        alter_configs_request::AlterableConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(value.map(StrBytes::from_static_str))
    };
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_static_str(name))
        .with_configs(values.iter().map(config).collect());
    alter_from(Base::NoValues, metadata, broker, &[all_set(resource)])
}

fn alter_from(
    base: Base,
    metadata: &Metadata,
    broker: &BrokerValues,
    resources: &[AlterConfigsResource],
) -> Vec<(ErrorCode, String)> {
    let mut edit = metadata.edit();
    let outcomes = alter_all(&mut edit, broker, base, resources);
    edit.commit().unwrap();
    let refusals = outcomes.into_iter().filter_map(Result::err);
    refusals.map(|refusal| (refusal.code, refusal.message.unwrap())).collect()
}

fn own(metadata: &Metadata) -> Vec<(String, String)> {
    metadata.image().topic("a").unwrap().configs.clone().into_iter().collect()
}

#[test]
fn values_are_set_and_given_back_to_the_default() {
    let (metadata, broker, _dir) = fixture();
    let set = resource("a", &[("retention.ms", SET, Some("5")), ("segment.ms", SET, Some("6"))]);
    assert_eq!(alter(&metadata, &broker, std::slice::from_ref(&set)), []);
    let version = metadata.image().version;
    assert_eq!(alter(&metadata, &broker, &[set]), []);
    assert_eq!(metadata.image().version, version, "what changes nothing is not written");
    assert_eq!(alter(&metadata, &broker, &[resource("a", &[("retention.ms", DELETE, None)])]), []);
    assert_eq!(own(&metadata), [("segment.ms".to_owned(), "6".to_owned())]);
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let (metadata, broker, _dir) = fixture();
    let key = "cleanup.policy";
    let policy = |policy: &str| [(key.to_owned(), policy.to_owned())];
    assert_eq!(alter(&metadata, &broker, &[resource("a", &[(key, APPEND, Some("compact"))])]), []);
    assert_eq!(own(&metadata), policy("delete,compact"));
    assert_eq!(alter(&metadata, &broker, &[resource("a", &[(key, APPEND, Some("compact"))])]), []);
    assert_eq!(own(&metadata), policy("delete,compact"));
    assert_eq!(alter(&metadata, &broker, &[resource("a", &[(key, SUBTRACT, Some("delete"))])]), []);
    assert_eq!(own(&metadata), policy("compact"));
    let refused = alter(&metadata, &broker, &[resource("a", &[("retention.ms", APPEND, Some("5"))])]);
    let text = "Can't APPEND to key retention.ms because its type is not LIST.".to_owned();
    assert_eq!(refused, [(ErrorCode::InvalidConfig, text)]);
}

#[test]
fn refusals_are_in_kafkas_words_and_change_nothing() {
    let (metadata, broker, _dir) = fixture();
    let good = ("segment.ms", SET, Some("6"));
    let brokers = resource("1", &[]).with_resource_type(BROKER);
    let strange = resource("1", &[]).with_resource_type(3);
    let cases = [
        (resource("a", &[good, ("x", SET, Some("1"))]), ErrorCode::InvalidConfig, "Unknown topic config name: x"),
        (resource("a", &[good, good]), ErrorCode::InvalidRequest, "Error due to duplicate config keys"),
        (resource("a", &[("x", SET, None)]), ErrorCode::InvalidRequest, "Null value not supported for : x"),
        (resource("a", &[("segment.ms", 9, Some("1"))]), ErrorCode::InvalidRequest, "Unknown operations type 9"),
        (resource("b", &[good]), ErrorCode::UnknownTopicOrPartition, "The topic 'b' does not exist."),
        (resource("", &[good]), ErrorCode::InvalidRequest, "Default topic resources are not allowed."),
        (strange, ErrorCode::InvalidRequest, "Unknown resource type 3"),
        (
            brokers,
            ErrorCode::InvalidRequest,
            "Only the configuration of topics can be altered at run time; brokers are configured at start.",
        ),
    ];
    for (resource, code, text) in cases {
        assert_eq!(alter(&metadata, &broker, &[resource]), [(code, text.to_owned())]);
    }
    assert_eq!(own(&metadata), []);
}

#[test]
fn a_resource_named_twice_is_refused_both_times() {
    let (metadata, broker, _dir) = fixture();
    let set = resource("a", &[("segment.ms", SET, Some("6"))]);
    let refused = (ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned());
    assert_eq!(alter(&metadata, &broker, &[set.clone(), set]), [refused.clone(), refused]);
    assert_eq!(own(&metadata), []);
}

#[test]
fn alter_configs_leaves_a_topic_with_the_values_it_names_and_no_others() {
    let (metadata, broker, _dir) = fixture();
    alter(&metadata, &broker, &[resource("a", &[("retention.ms", SET, Some("5")), ("segment.ms", SET, Some("6"))])]);
    assert_eq!(replace(&metadata, &broker, "a", &[("segment.ms", Some("7")), ("flush.ms", Some("8"))]), []);
    let values = [("flush.ms", "8"), ("segment.ms", "7")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(own(&metadata), values);
    assert_eq!(replace(&metadata, &broker, "a", &[]), []);
    assert_eq!(own(&metadata), []);
}

#[test]
fn alter_configs_is_refused_in_the_same_words() {
    let (metadata, broker, _dir) = fixture();
    alter(&metadata, &broker, &[resource("a", &[("retention.ms", SET, Some("5"))])]);
    let good = ("segment.ms", Some("6"));
    let cases = [
        ("a", ("x", Some("1")), ErrorCode::InvalidConfig, "Unknown topic config name: x"),
        ("a", good, ErrorCode::InvalidRequest, "Error due to duplicate config keys"),
        ("a", ("x", None), ErrorCode::InvalidRequest, "Null value not supported for : x"),
        ("b", ("flush.ms", Some("1")), ErrorCode::UnknownTopicOrPartition, "The topic 'b' does not exist."),
    ];
    for (name, other, code, text) in cases {
        assert_eq!(replace(&metadata, &broker, name, &[good, other]), [(code, text.to_owned())]);
    }
    assert_eq!(own(&metadata), [("retention.ms".to_owned(), "5".to_owned())]);
}
