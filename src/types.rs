//! Newtypes for the numbers that must not be mixed up: offsets, epochs and ids.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Position of a record in a partition's log; dense from the log start offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub i64);

impl Offset {
    pub const ZERO: Offset = Offset(0);

    /// The offset `count` records further on. Saturates: an offset that came from a disk must not overflow.
    pub fn plus(self, count: i64) -> Offset {
        Offset(self.0.saturating_add(count))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch; -1 where Kafka says "no timestamp".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const NONE: Timestamp = Timestamp(-1);

    /// Wall clock.
    pub fn now() -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What a batch's timestamps say (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// Epoch of a partition's leader (KIP-101).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// "Not known", as sent by old clients.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

/// Id of an idempotent or transactional producer (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// A producer without idempotence.
    pub const NONE: ProducerId = ProducerId(-1);
}

/// Incarnation of a producer id; a lower one is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

impl ProducerEpoch {
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

/// Id of a broker in its cluster (`node.id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

/// Id of a topic (KIP-516): outlives its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub Uuid);

impl TopicId {
    pub const ZERO: TopicId = TopicId(Uuid::nil());

    /// A fresh random id, never one of Kafka's reserved ones, and never one whose text form starts with a dash
    /// (`org.apache.kafka.common.Uuid.randomUuid`).
    pub fn random() -> TopicId {
        loop {
            let id = TopicId(Uuid::new_v4());
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// Kafka's text form: URL-safe base64 without padding.
    pub fn parse(text: &str) -> Option<TopicId> {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
        Uuid::from_slice(&bytes).ok().map(TopicId)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::Engine;
        f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

/// Id of a log dir (KIP-858), in the text form of topic ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(pub Uuid);

impl DirectoryId {
    pub fn random() -> DirectoryId {
        DirectoryId(TopicId::random().0)
    }

    pub fn parse(text: &str) -> Option<DirectoryId> {
        TopicId::parse(text).map(|id| DirectoryId(id.0))
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TopicId(self.0).fmt(f)
    }
}

/// A partition by its topic's name, as people and folder names write it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

/// `topic-partition`: also the name of its folder.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
