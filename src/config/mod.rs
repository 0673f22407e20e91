//! Configuration under Kafka's names: raw keys and values from several sources, checked against Kafka's definitions
//! once, at start, into the typed values below. Nothing else in the broker parses a configuration string.
//!
//! Precedence, rising: built-in default, `--config` file, `KAFKA_*` environment, `--override` and flags.

mod broker_keys;
mod container;
mod key;
mod listeners;
mod load;
mod properties;
mod raw;
mod topic;
mod topic_keys;
mod values;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use self::container::MOUNTED_FILE;
pub use self::listeners::reachable;
pub use self::raw::RawConfig;
pub use self::topic::{check_topic, check_topic_value, is_compacted, is_topic_list, without_effect};
pub use self::values::BrokerValues;
use crate::types::{NodeId, TimestampType};

const NODE_ID: &str = "node.id";

/// Everything the broker was told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// `node.id`.
    pub node_id: NodeId,
    /// `cluster.id` given by the user (our key; else what meta.properties says, else a fresh one).
    pub cluster_id: Option<String>,
    /// `listeners`, bound in this order.
    pub listeners: Vec<Listener>,
    /// `log.dirs` or `log.dir`; the first one holds the metadata.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`: where a Kafka kept its cluster metadata, if not in one of `log_dirs`. Only read, by `adopt`.
    pub kafka_metadata_dir: Option<PathBuf>,
    /// `--adopt`: take over what a Kafka left in the log dirs, or what a lost metadata store knew.
    pub adopt: bool,
    pub network: Network,
    pub topics: Topics,
    pub groups: Groups,
    pub logs: Logs,
    /// `fetch.max.bytes`: ceiling of one Fetch answer.
    pub fetch_max_bytes: u32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// `max.request.partition.size.limit`: partitions in one DescribeTopicPartitions answer.
    pub request_partitions_max: usize,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// The broker's keys as they stand, for DescribeConfigs and for the defaults of topics.
    pub broker: BrokerValues,
}

impl Config {
    /// Goes by the node id that the log dirs were given, unless one was configured: then it must be the same.
    pub fn take_node_id(&mut self, found: NodeId) {
        if !self.broker.is_said(NODE_ID) {
            self.node_id = found;
            self.broker.say_node_id(found);
        }
    }
}

/// One entry of `listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Upper case, as in `listener.security.protocol.map`.
    pub name: String,
    /// Where to bind; a name is resolved by the loader, an empty host binds all addresses.
    pub address: SocketAddr,
    /// From `advertised.listeners`: (host, port). `None`: clients are told the address at which they reached us.
    pub advertised: Option<(String, u16)>,
}

/// Limits of connections and requests.
#[derive(Debug, Clone)]
pub struct Network {
    /// `socket.request.max.bytes`: largest frame.
    pub request_bytes_max: usize,
    /// `queued.max.request.bytes`: bytes of requests in memory at once, over all connections.
    pub queued_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `max.connections.per.ip.overrides`, names resolved.
    pub connections_per_ip_overrides: HashMap<IpAddr, usize>,
    /// `connections.max.idle.ms`.
    pub idle_max: Option<Duration>,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
    /// `socket.send.buffer.bytes`, `socket.receive.buffer.bytes`; `None` leaves the system's choice (-1).
    pub send_buffer_bytes: Option<u32>,
    pub receive_buffer_bytes: Option<u32>,
}

/// What creating topics goes by.
#[derive(Debug, Clone)]
pub struct Topics {
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_enabled: bool,
}

/// What is done to logs by the clock, and with how much of the machine.
#[derive(Debug, Clone)]
pub struct Logs {
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.initial.task.delay.ms`, internal to Kafka: when retention first comes, unless its interval is shorter.
    pub initial_delay: Duration,
    /// `log.flush.start.offset.checkpoint.interval.ms`: log starts.
    pub start_checkpoint_interval: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`: recovery points, and sealed segments with them.
    pub checkpoint_interval: Duration,
    /// `log.flush.scheduler.interval.ms`: how often `flush.ms` is looked at; `None` for Kafka's default, never.
    pub flush_check_interval: Option<Duration>,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads: usize,
    /// `log.max.open.files`, our own: log and index files open at once; `None`: half of what the process may open.
    pub open_files_max: Option<usize>,
    pub cleaner: Cleaner,
}

/// The log cleaner (`CleanerConfig`).
#[derive(Debug, Clone)]
pub struct Cleaner {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.backoff.ms`: the pause where there was nothing to clean.
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`: memory of the offset maps of all threads.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: how full an offset map may get.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: of all threads.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`: read and written, of all threads; `None` without limit.
    pub io_bytes_per_second: Option<f64>,
}

/// The group coordinator's limits.
#[derive(Debug, Clone)]
pub struct Groups {
    /// `group.initial.rebalance.delay.ms`: 0 here, 3000 in Kafka.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`, `group.max.session.timeout.ms`.
    pub session_timeout_min: Duration,
    pub session_timeout_max: Duration,
    /// `group.max.size`: members of one group.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.topic.num.partitions`, `offsets.topic.segment.bytes`.
    pub offsets_partitions: i32,
    pub offsets_segment_bytes: u32,
    /// `offsets.retention.minutes`, `offsets.retention.check.interval.ms`.
    pub offsets_retention: Duration,
    pub offsets_retention_check_interval: Duration,
}

/// A topic's effective configuration: its own values over the broker's defaults, typed.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    pub segment_bytes: u32,
    pub segment_ms: Duration,
    pub segment_jitter_ms: Duration,
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    pub max_message_bytes: usize,
    pub timestamp_type: TimestampType,
    pub timestamp_before_max: Duration,
    pub timestamp_after_max: Duration,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `retention.ms`; `None` for -1, without limit.
    pub retention: Option<Duration>,
    /// `retention.bytes`; `None` for -1, without limit.
    pub retention_bytes: Option<u64>,
    pub file_delete_delay: Duration,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag: Duration,
    pub max_compaction_lag: Duration,
    /// `delete.retention.ms`: how long compaction keeps tombstones and markers.
    pub delete_retention: Duration,
    /// `flush.messages`: records after which an append waits for the disk; `None` for Kafka's default, never.
    pub flush_messages: Option<u64>,
    /// `flush.ms`: how long appended records may wait for the disk; `None` for Kafka's default, for ever.
    pub flush_interval: Option<Duration>,
    /// `preallocate`: a new segment's file gets its full length at once.
    pub preallocate: bool,
    pub compression: Compression,
}

/// `compression.type`, with its codec's level: what the batches of producers are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// What they were sent in.
    Producer,
    Uncompressed,
    /// `compression.gzip.level`, 1 to 9; `None` (-1 in the configuration) leaves it to the codec.
    Gzip {
        level: Option<i32>,
    },
    Snappy,
    Lz4,
    /// `compression.zstd.level`, -131072 to 22.
    Zstd {
        level: i32,
    },
}

/// Where a value came from: `DescribeConfigsResponse.ConfigSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    DynamicTopic,
    DynamicBroker,
    StaticBroker,
    Default,
}

/// `ConfigDef.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// One key as DescribeConfigs answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    /// `None` for a sensitive value, or where there is none.
    pub value: Option<String>,
    pub source: Source,
    pub read_only: bool,
    pub sensitive: bool,
    pub kind: Kind,
    /// The value and the ones it hides, the most specific first.
    pub synonyms: Vec<(String, Option<String>, Source)>,
}

/// A configuration that was refused; the text names the key, the value and what is allowed, in Kafka's words where a
/// client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(pub String);

#[cfg(test)]
mod tests;
