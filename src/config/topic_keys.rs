//! Every topic key of Kafka 4.3.1 with its ranges (`LogConfig.CONFIG`), and the broker keys from which a topic inherits its
//! value where it has none of its own (`ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS`).

use super::Kind::{Boolean, Double, Int, List, Long, String};
use super::key::Valid::{AtLeast, Between, GzipLevel, ThrottledReplicas};
use super::key::{CLEANUP_POLICIES, CODECS, Key, TIMESTAMP_TYPES, dynamic};

#[derive(Debug)]
pub(super) struct TopicKey {
    pub(super) key: Key,
    /// Broker keys in the order in which they are asked, each with what its value is multiplied by.
    pub(super) synonyms: &'static [(&'static str, i64)],
}

const fn topic(key: Key, synonyms: &'static [(&'static str, i64)]) -> TopicKey {
    TopicKey { key, synonyms }
}

const AS_IS: i64 = 1;
const MINUTES: i64 = 60_000;
const HOURS: i64 = 60 * MINUTES;

/// Not described unless it is set: the segment size without `segment.bytes`' lower bound, for tests (`defineInternal`).
pub(super) const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";

#[rustfmt::skip] // One key a line.
pub(super) static TOPIC_KEYS: &[TopicKey] = &[
    topic(dynamic("cleanup.policy", List, Some("delete")).valid(CLEANUP_POLICIES).acts(), &[("log.cleanup.policy", AS_IS)]),
    topic(dynamic("compression.gzip.level", Int, Some("-1")).valid(GzipLevel).acts(), &[("compression.gzip.level", AS_IS)]),
    topic(dynamic("compression.lz4.level", Int, Some("9")).valid(Between(1, 17)), &[("compression.lz4.level", AS_IS)]),
    topic(dynamic("compression.type", String, Some("producer")).valid(CODECS).acts(), &[("compression.type", AS_IS)]),
    topic(dynamic("compression.zstd.level", Int, Some("3")).valid(Between(-131072, 22)).acts(), &[("compression.zstd.level", AS_IS)]),
    topic(dynamic("delete.retention.ms", Long, Some("86400000")).valid(AtLeast(0)).acts(), &[("log.cleaner.delete.retention.ms", AS_IS)]),
    topic(dynamic("file.delete.delay.ms", Long, Some("60000")).valid(AtLeast(0)).acts(), &[("log.segment.delete.delay.ms", AS_IS)]),
    topic(dynamic("flush.messages", Long, Some("9223372036854775807")).valid(AtLeast(1)).acts(), &[("log.flush.interval.messages", AS_IS)]),
    topic(dynamic("flush.ms", Long, Some("9223372036854775807")).valid(AtLeast(0)).acts(), &[("log.flush.interval.ms", AS_IS), ("log.flush.scheduler.interval.ms", AS_IS)]),
    topic(dynamic("follower.replication.throttled.replicas", List, Some("")).valid(ThrottledReplicas), &[]),
    topic(dynamic("index.interval.bytes", Int, Some("4096")).valid(AtLeast(0)).acts(), &[("log.index.interval.bytes", AS_IS)]),
    topic(dynamic(INTERNAL_SEGMENT_BYTES, Int, None).valid(AtLeast(1)).acts(), &[]),
    topic(dynamic("leader.replication.throttled.replicas", List, Some("")).valid(ThrottledReplicas), &[]),
    topic(dynamic("local.retention.bytes", Long, Some("-2")).valid(AtLeast(-2)), &[("log.local.retention.bytes", AS_IS)]),
    topic(dynamic("local.retention.ms", Long, Some("-2")).valid(AtLeast(-2)), &[("log.local.retention.ms", AS_IS)]),
    topic(dynamic("max.compaction.lag.ms", Long, Some("9223372036854775807")).valid(AtLeast(1)).acts(), &[("log.cleaner.max.compaction.lag.ms", AS_IS)]),
    topic(dynamic("max.message.bytes", Int, Some("1048588")).valid(AtLeast(0)).acts(), &[("message.max.bytes", AS_IS)]),
    topic(dynamic("message.timestamp.after.max.ms", Long, Some("3600000")).valid(AtLeast(0)).acts(), &[("log.message.timestamp.after.max.ms", AS_IS)]),
    topic(dynamic("message.timestamp.before.max.ms", Long, Some("9223372036854775807")).valid(AtLeast(0)).acts(), &[("log.message.timestamp.before.max.ms", AS_IS)]),
    topic(dynamic("message.timestamp.type", String, Some("CreateTime")).valid(TIMESTAMP_TYPES).acts(), &[("log.message.timestamp.type", AS_IS)]),
    topic(dynamic("min.cleanable.dirty.ratio", Double, Some("0.5")).valid(Between(0, 1)).acts(), &[("log.cleaner.min.cleanable.ratio", AS_IS)]),
    topic(dynamic("min.compaction.lag.ms", Long, Some("0")).valid(AtLeast(0)).acts(), &[("log.cleaner.min.compaction.lag.ms", AS_IS)]),
    topic(dynamic("min.insync.replicas", Int, Some("1")).valid(AtLeast(1)), &[("min.insync.replicas", AS_IS)]),
    topic(dynamic("preallocate", Boolean, Some("false")).acts(), &[("log.preallocate", AS_IS)]),
    topic(dynamic("remote.log.copy.disable", Boolean, Some("false")), &[]),
    topic(dynamic("remote.log.delete.on.disable", Boolean, Some("false")), &[]),
    topic(dynamic("remote.storage.enable", Boolean, Some("false")), &[]),
    topic(dynamic("retention.bytes", Long, Some("-1")).acts(), &[("log.retention.bytes", AS_IS)]),
    topic(dynamic("retention.ms", Long, Some("604800000")).valid(AtLeast(-1)).acts(), &[("log.retention.ms", AS_IS), ("log.retention.minutes", MINUTES), ("log.retention.hours", HOURS)]),
    topic(dynamic("segment.bytes", Int, Some("1073741824")).valid(AtLeast(1048576)).acts(), &[("log.segment.bytes", AS_IS)]),
    topic(dynamic("segment.index.bytes", Int, Some("10485760")).valid(AtLeast(4)).acts(), &[("log.index.size.max.bytes", AS_IS)]),
    topic(dynamic("segment.jitter.ms", Long, Some("0")).valid(AtLeast(0)).acts(), &[("log.roll.jitter.ms", AS_IS), ("log.roll.jitter.hours", HOURS)]),
    topic(dynamic("segment.ms", Long, Some("604800000")).valid(AtLeast(1)).acts(), &[("log.roll.ms", AS_IS), ("log.roll.hours", HOURS)]),
    topic(dynamic("unclean.leader.election.enable", Boolean, Some("false")), &[("unclean.leader.election.enable", AS_IS)]),
];

pub(super) fn find(name: &str) -> Option<&'static TopicKey> {
    let index = TOPIC_KEYS.binary_search_by(|topic| topic.key.name.cmp(name)).ok()?;
    TOPIC_KEYS.get(index)
}
