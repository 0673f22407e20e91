//! A topic's configuration: checked when it is set, resolved against the broker's when it is used (`LogConfig`).

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::topic_keys::{self, INTERNAL_SEGMENT_BYTES};
use super::{BrokerValues, Compression, InvalidConfig, Kind, TopicConfig};
use crate::types::TimestampType;

impl TopicConfig {
    /// The effective configuration of a topic with these values of its own. Values that do not parse cannot have been
    /// stored (`check_topic_value`); where a store hands one back all the same, the broker's default holds.
    pub fn resolve(broker: &BrokerValues, overrides: &BTreeMap<String, String>) -> TopicConfig {
        let values = Effective { broker, overrides };
        let segment_bytes = values.get(INTERNAL_SEGMENT_BYTES).and_then(|value| value.parse().ok());
        TopicConfig {
            segment_bytes: segment_bytes.unwrap_or_else(|| values.bytes("segment.bytes")),
            segment_ms: values.millis("segment.ms"),
            segment_jitter_ms: values.millis("segment.jitter.ms"),
            segment_index_bytes: values.bytes("segment.index.bytes"),
            index_interval_bytes: values.bytes("index.interval.bytes"),
            max_message_bytes: values.bytes("max.message.bytes") as usize,
            timestamp_type: match values.get("message.timestamp.type").as_deref() {
                Some("LogAppendTime") => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max: values.millis("message.timestamp.before.max.ms"),
            timestamp_after_max: values.millis("message.timestamp.after.max.ms"),
            compact: values.policy_has("compact"),
            delete: values.policy_has("delete"),
            retention: values.limit("retention.ms").map(Duration::from_millis),
            retention_bytes: values.limit("retention.bytes"),
            file_delete_delay: values.millis("file.delete.delay.ms"),
            min_cleanable_dirty_ratio: values.number("min.cleanable.dirty.ratio"),
            min_compaction_lag: values.millis("min.compaction.lag.ms"),
            max_compaction_lag: values.millis("max.compaction.lag.ms"),
            delete_retention: values.millis("delete.retention.ms"),
            flush_messages: values.limit("flush.messages"),
            flush_interval: values.limit("flush.ms").map(Duration::from_millis),
            preallocate: values.get("preallocate").as_deref() == Some("true"),
            compression: values.compression(),
        }
    }
}

/// Whether a topic with these values of its own is compacted, without resolving all of them.
pub fn is_compacted(broker: &BrokerValues, overrides: &BTreeMap<String, String>) -> bool {
    Effective { broker, overrides }.policy_has("compact")
}

/// Kafka's defaults.
impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig::resolve(&BrokerValues::default(), &BTreeMap::new())
    }
}

/// One topic's values over the broker's.
struct Effective<'a> {
    broker: &'a BrokerValues,
    overrides: &'a BTreeMap<String, String>,
}

impl Effective<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let topic = topic_keys::find(name)?;
        let own = self.overrides.get(name).and_then(|value| topic.key.check(value).ok());
        own.or_else(|| self.broker.inherited(topic))
    }

    /// Zero stands in for nothing here: every key that is read so has a default, and none may be negative.
    fn bytes(&self, name: &str) -> u32 {
        self.number(name)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    fn number<N: FromStr + Default>(&self, name: &str) -> N {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// `None` for what stands for no limit: below zero, and the largest of Kafka's longs.
    fn limit(&self, name: &str) -> Option<u64> {
        let limit: i64 = self.get(name)?.parse().ok()?;
        u64::try_from(limit).ok().filter(|_| limit != i64::MAX)
    }

    fn policy_has(&self, policy: &str) -> bool {
        self.get("cleanup.policy").is_some_and(|policies| policies.split(',').any(|one| one == policy))
    }

    /// `LogConfig.getCompression`.
    fn compression(&self) -> Compression {
        let level = |name| self.get(name).and_then(|value| value.parse::<i32>().ok());
        match self.get("compression.type").as_deref() {
            Some("uncompressed") => Compression::Uncompressed,
            Some("gzip") => Compression::Gzip { level: level("compression.gzip.level").filter(|level| *level != -1) },
            Some("snappy") => Compression::Snappy,
            Some("lz4") => Compression::Lz4,
            // Its level has a default, 3.
            Some("zstd") => Compression::Zstd { level: level("compression.zstd.level").unwrap_or_default() },
            _ => Compression::Producer,
        }
    }
}

/// Checks one topic key and value (`LogConfig.validate`): unknown name, wrong type, out of range.
pub fn check_topic_value(name: &str, value: Option<&str>) -> Result<(), InvalidConfig> {
    let Some(value) = value else {
        return Err(InvalidConfig(format!("Null value not supported for topic configs: {name}")));
    };
    let Some(topic) = topic_keys::find(name) else {
        return Err(InvalidConfig(format!("Unknown topic config name: {name}")));
    };
    let checked = topic.key.check(value)?;
    if name == "remote.storage.enable" && checked == "true" {
        let text = "Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage.";
        return Err(InvalidConfig(text.to_owned()));
    }
    Ok(())
}

/// Checks a topic's values against one another, each having passed `check_topic_value` (`LogConfig.validateValues`).
pub fn check_topic(broker: &BrokerValues, overrides: &BTreeMap<String, String>) -> Result<(), InvalidConfig> {
    let values = Effective { broker, overrides };
    let lag = |name| values.get(name).and_then(|value| value.parse::<i64>().ok()).unwrap_or_default();
    let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if min > max {
        let text = "conflict topic config setting min.compaction.lag.ms";
        return Err(InvalidConfig(format!("{text} ({min}) > max.compaction.lag.ms ({max})")));
    }
    Ok(())
}

/// Whether a topic key holds a list, which IncrementalAlterConfigs may append to and subtract from.
pub fn is_topic_list(name: &str) -> bool {
    topic_keys::find(name).is_some_and(|topic| topic.key.kind == Kind::List)
}

/// Of a topic's own values the keys that are known but not acted on, those set to Kafka's default left out.
pub fn without_effect(overrides: &BTreeMap<String, String>) -> Vec<&str> {
    let does_not_act = |name: &str, value: &str| {
        topic_keys::find(name).is_some_and(|topic| !topic.key.acts && topic.key.default != Some(value))
    };
    overrides.iter().filter(|(name, value)| does_not_act(name, value)).map(|(name, _)| name.as_str()).collect()
}
