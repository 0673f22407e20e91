//! Against `kafka-4.3.1-configs.json`: what a Kafka 4.3.1 broker answered to DescribeConfigs for a topic without values
//! of its own and for itself. That broker's server.properties set some keys; theirs say so (`STATIC_BROKER_CONFIG`).

use serde_json::Value;

use super::super::broker_keys::{self, BROKER_KEYS};
use super::super::topic_keys::{self, INTERNAL_SEGMENT_BYTES, TOPIC_KEYS};
use super::*;

/// Broker keys whose default is not Kafka's, on purpose: docs/configuration.md says why.
const OWN_DEFAULTS: [&str; 3] = ["group.initial.rebalance.delay.ms", "log.dir", "queued.max.request.bytes"];
const OWN_KEYS: [&str; 3] = ["cluster.id", "log.initial.task.delay.ms", "log.max.open.files"];

fn answers(resource: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../kafka-4.3.1-configs.json")).unwrap();
    all[resource].as_array().unwrap().clone()
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap().to_owned()
}

fn is_default(answer: &Value) -> bool {
    text(answer, "source") == "DEFAULT_CONFIG"
}

fn same_kind(described: &Described, answer: &Value) {
    let name = &described.name;
    assert_eq!(format!("{:?}", described.kind).to_uppercase(), text(answer, "type"), "{name}");
    assert_eq!(described.read_only, answer["read_only"].as_bool().unwrap(), "{name}");
    assert_eq!(described.sensitive, answer["sensitive"].as_bool().unwrap(), "{name}");
}

fn synonym_names(answer: &Value) -> Vec<String> {
    answer["synonyms"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_unconfigured_topic_is_described_as_kafka_describes_it() {
    let described = BrokerValues::default().describe_topic(&BTreeMap::new());
    let answers = answers("topic");
    assert_eq!(described.len(), answers.len());
    for (described, answer) in described.iter().zip(&answers) {
        assert_eq!(described.name, text(answer, "name"));
        assert_eq!(described.value, answer["default"].as_str().map(str::to_owned), "{}", described.name);
        assert_eq!(described.source, Source::Default, "{}", described.name);
        same_kind(described, answer);
        let mut expected = synonym_names(answer);
        expected.dedup();
        let names: Vec<_> = described.synonyms.iter().map(|(name, ..)| name.clone()).collect();
        assert_eq!(names, expected, "{}", described.name);
    }
}

#[test]
fn an_unconfigured_broker_is_described_as_kafka_describes_it() {
    let described = BrokerValues::default().describe_broker();
    let described: Vec<_> = described.iter().filter(|one| !OWN_KEYS.contains(&one.name.as_str())).collect();
    let answers = answers("broker");
    assert_eq!(described.len(), answers.len());
    for (described, answer) in described.into_iter().zip(&answers) {
        let name = described.name.as_str();
        assert_eq!(name, text(answer, "name"));
        same_kind(described, answer);
        if !is_default(answer) {
            continue;
        }
        let names: Vec<_> = described.synonyms.iter().map(|(name, ..)| name.clone()).collect();
        assert_eq!(names, synonym_names(answer), "{name}");
        if !OWN_DEFAULTS.contains(&name) {
            assert_eq!(described.value, answer["default"].as_str().map(str::to_owned), "{name}");
        }
    }
}

#[test]
fn every_default_of_kafka_is_valid_under_its_own_key() {
    let defaults = |resource| answers(resource).into_iter().filter(|answer| answer["default"] != "(set by the run)");
    for answer in defaults("broker") {
        let key = broker_keys::find(&text(&answer, "name")).unwrap();
        if let Some(default) = answer["default"].as_str() {
            assert_eq!(key.check(default).as_deref(), Ok(default), "{}", key.name);
        }
    }
    for answer in defaults("topic") {
        let (name, default) = (text(&answer, "name"), text(&answer, "default"));
        assert_eq!(topic_keys::find(&name).unwrap().key.check(&default).as_ref(), Ok(&default), "{name}");
    }
}

#[test]
fn every_default_of_ours_is_valid_under_its_own_key() {
    for key in BROKER_KEYS {
        let Some(default) = key.default else { continue };
        assert_eq!(key.check(default).as_deref(), Ok(default), "{}", key.name);
    }
}

#[test]
fn keys_are_sorted_and_what_topics_inherit_from_exists() {
    assert!(BROKER_KEYS.is_sorted_by(|a, b| a.name < b.name));
    assert!(TOPIC_KEYS.is_sorted_by(|a, b| a.key.name < b.key.name));
    for (name, _) in TOPIC_KEYS.iter().flat_map(|topic| topic.synonyms) {
        assert!(broker_keys::find(name).is_some(), "{name}");
    }
}

#[test]
fn what_a_topic_inherits_without_configuration_is_its_own_default() {
    let values = BrokerValues::default();
    for topic in TOPIC_KEYS {
        assert_eq!(values.inherited(topic).as_deref(), topic.key.default, "{}", topic.key.name);
    }
}

#[test]
fn the_documentation_names_the_keys_that_have_effect_and_no_others() {
    let documentation = include_str!("../../../docs/configuration.md");
    let (before, topics) = documentation.split_once("\n## Topic keys").unwrap();
    let (_, brokers) = before.split_once("\n## Broker keys").unwrap();
    let rows = |text: &str| -> Vec<(String, String)> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        rows.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let mut documented: Vec<_> = rows(brokers).into_iter().map(|(name, _)| name).collect();
    documented.sort();
    let acting: Vec<_> = BROKER_KEYS.iter().filter(|key| key.acts).map(|key| key.name).collect();
    assert_eq!(documented, acting);

    let mut documented: Vec<_> = rows(topics).into_iter().map(|(name, rest)| (name, rest.starts_with("yes"))).collect();
    documented.sort();
    let described = TOPIC_KEYS.iter().map(|topic| (topic.key.name.to_owned(), topic.key.acts));
    assert_eq!(documented, described.collect::<Vec<_>>());
}

#[test]
fn the_documentation_states_the_defaults() {
    for line in include_str!("../../../docs/configuration.md").lines() {
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once("` | `")) else { continue };
        let Some(key) = broker_keys::find(name) else { continue };
        let stated = rest.split('`').next().unwrap();
        assert_eq!(stated, key.default.unwrap(), "{name}");
    }
}

#[test]
fn the_internal_segment_size_is_described_only_where_it_is_set() {
    let own = overrides(&[(INTERNAL_SEGMENT_BYTES, "100")]);
    let described = BrokerValues::default().describe_topic(&own);
    assert_eq!(find(&described, INTERNAL_SEGMENT_BYTES).value.as_deref(), Some("100"));
}
