//! The broker's keys and values, and how DescribeConfigs answers them (`kafka.server.ConfigHelper`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::broker_keys::{self, BROKER_KEYS};
use super::key::{Key, split_list};
use super::topic_keys::{INTERNAL_SEGMENT_BYTES, TOPIC_KEYS, TopicKey};
use super::{Described, InvalidConfig, NODE_ID, Source};
use crate::types::NodeId;

/// The broker's effective keys and values as strings, each with where it came from.
#[derive(Debug, Clone, Default)]
pub struct BrokerValues {
    /// Checked values of the keys that were said; the others stand at their defaults.
    said: BTreeMap<&'static str, String>,
}

type Synonym = (String, Option<String>, Source);

impl BrokerValues {
    pub(super) fn new(said: BTreeMap<&'static str, String>) -> BrokerValues {
        BrokerValues { said }
    }

    /// Every topic key, with the topic's own values over the broker's, by name.
    pub fn describe_topic(&self, overrides: &BTreeMap<String, String>) -> Vec<Described> {
        TOPIC_KEYS
            .iter()
            .filter(|topic| topic.key.name != INTERNAL_SEGMENT_BYTES || overrides.contains_key(INTERNAL_SEGMENT_BYTES))
            .map(|topic| self.describe_topic_key(topic, overrides))
            .collect()
    }

    fn describe_topic_key(&self, topic: &'static TopicKey, overrides: &BTreeMap<String, String>) -> Described {
        // A key inherited from several is described by the first of them only (TOPIC_CONFIG_SYNONYMS).
        let inherited = topic.synonyms.first().and_then(|(name, _)| broker_keys::find(name));
        let mut synonyms = inherited.map(|key| self.synonyms(key)).unwrap_or_default();
        let own = overrides.get(topic.key.name).map(|value| topic.key.check(value).unwrap_or_else(|_| value.clone()));
        if own.is_some() {
            synonyms.insert(0, (topic.key.name.to_owned(), own.clone(), Source::DynamicTopic));
        }
        describe(&topic.key, own.or_else(|| self.inherited(topic)), synonyms)
    }

    /// Every broker key, by name.
    pub fn describe_broker(&self) -> Vec<Described> {
        let value = |key: &Key| self.text(key.name).map(str::to_owned);
        BROKER_KEYS.iter().map(|key| describe(key, value(key), self.synonyms(key))).collect()
    }

    /// The value of a topic that has none of its own (`KafkaConfig.extractLogConfigMap`).
    pub(super) fn inherited(&self, topic: &TopicKey) -> Option<String> {
        let said = topic.synonyms.iter().find_map(|(name, factor)| self.text(name).map(|value| (value, *factor)));
        let Some((value, factor)) = said else { return topic.key.default.map(str::to_owned) };
        match value.parse::<i64>() {
            // Any retention below zero is none at all, -1; the other keys with units cannot be negative.
            Ok(number) if factor != 1 || topic.key.name == "retention.ms" => {
                Some(number.saturating_mul(factor).max(-1).to_string())
            }
            _ => Some(value.to_owned()),
        }
    }

    /// `ConfigHelper.configSynonyms`: what was said of the names, then what stands by default, the most specific first;
    /// nothing from before the first mention of the key itself.
    fn synonyms(&self, key: &'static Key) -> Vec<Synonym> {
        let names = synonym_names(key);
        let said = names.iter().filter_map(|&name| Some((name, self.said.get(name)?.as_str(), Source::StaticBroker)));
        let defaults = names.iter().filter_map(|&name| Some((name, default(name)?, Source::Default)));
        said.chain(defaults)
            .skip_while(|&(name, ..)| name != key.name)
            .map(|(name, value, source)| (name.to_owned(), (!key.sensitive()).then(|| value.to_owned()), source))
            .collect()
    }

    /// As if `node.id` had been configured.
    pub(super) fn say_node_id(&mut self, id: NodeId) {
        for name in [NODE_ID, "broker.id"] {
            self.said.insert(name, id.0.to_string());
        }
    }

    pub(super) fn is_said(&self, name: &str) -> bool {
        self.said.contains_key(name)
    }

    /// What was said of the key, else its default.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.said.get(name).map(String::as_str).or_else(|| default(name))
    }

    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.text(name).map(split_list).unwrap_or_default()
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    pub(super) fn number<N: TryFrom<i64>>(&self, name: &str) -> Result<N, InvalidConfig> {
        let text = self.text(name).unwrap_or_default();
        let number = text.parse::<i64>().ok().and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| InvalidConfig(format!("Invalid value {text} for configuration {name}: out of range")))
    }

    pub(super) fn float(&self, name: &str) -> Result<f64, InvalidConfig> {
        let text = self.text(name).unwrap_or_default();
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| InvalidConfig(format!("Invalid value {text} for configuration {name}: not a number")))
    }

    pub(super) fn millis(&self, name: &str) -> Result<Duration, InvalidConfig> {
        self.number(name).map(Duration::from_millis)
    }
}

fn default(name: &str) -> Option<&'static str> {
    broker_keys::find(name)?.default
}

/// `DynamicBrokerConfig.brokerConfigSynonyms`: one thing said in several units, the finest first.
fn synonym_names(key: &'static Key) -> &'static [&'static str] {
    match key.name {
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        _ => std::slice::from_ref(&key.name),
    }
}

fn describe(key: &Key, value: Option<String>, synonyms: Vec<Synonym>) -> Described {
    Described {
        name: key.name.to_owned(),
        value: value.filter(|_| !key.sensitive()),
        source: synonyms.first().map_or(Source::Default, |(_, _, source)| *source),
        read_only: key.read_only,
        sensitive: key.sensitive(),
        kind: key.kind,
        synonyms,
    }
}
