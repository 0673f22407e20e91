//! How long offsets are kept, and what is in use (`ClassicGroup.offsetExpirationCondition`,
//! `OffsetMetadataManager.cleanupExpiredOffsets`).

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

use super::classic::{ClassicGroup, State};
use super::records::{self, OffsetKey, OffsetValue};
use super::shard::{GroupShard, Write, tombstones};
use crate::types::Timestamp;

/// The protocol type of consumers; only they are known to subscribe to topics.
const CONSUMER: &str = "consumer";
/// Tombstones that one expiry writes at most; the rest follow shortly, so that nobody waits long for the shard.
const TOMBSTONES_MAX: usize = 10_000;
const EXPIRY_PAUSE: Duration = Duration::from_secs(1);

impl GroupShard {
    /// Offsets past their retention go, and empty groups that have none left (`cleanupGroupMetadata`). Also how long to
    /// wait until the next look.
    pub(super) fn expire_offsets(&self, now: Timestamp) -> (Write, Duration) {
        let mut records = Vec::new();
        let mut pause = self.config().offsets_retention_check_interval;
        for group in self.groups() {
            if records.len() >= TOMBSTONES_MAX {
                pause = pause.min(EXPIRY_PAUSE);
                break;
            }
            let all = self.offsets().of(&group.id).count();
            let expired: Vec<_> = self.expired_of(group, now).collect();
            let none_left = expired.len() == all && !self.offsets().has_open_transaction(&group.id);
            records.extend(tombstones(expired));
            if none_left && group.state == State::Empty {
                records.push(records::group_record(&group.id, None));
            }
        }
        (Write::replayed(records), pause)
    }

    fn expired_of<'a>(&'a self, group: &'a ClassicGroup, now: Timestamp) -> impl Iterator<Item = OffsetKey> + 'a {
        let retention_ms = i64::try_from(self.config().offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let is_expired = move |topic: &StrBytes, value: &OffsetValue| {
            let Some(start) = group.retention_start(topic, value.commit_timestamp) else { return false };
            match value.expire_timestamp {
                Some(expire) => now >= expire,
                None => now.0.saturating_sub(start.0) >= retention_ms,
            }
        };
        let of_group = self.offsets().of(&group.id);
        of_group
            .filter(move |(topic, partition, value)| {
                is_expired(topic, value) && !self.offsets().has_pending(&group.id, topic, *partition)
            })
            .map(|(topic, partition, _)| OffsetKey { group: group.id.clone(), topic: topic.clone(), partition })
    }
}

impl ClassicGroup {
    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_ref().is_some_and(|protocol_type| **protocol_type == *CONSUMER)
    }

    /// Whether offsets of the topic are in use. Consumers whose subscription cannot be read count as subscribed.
    pub(super) fn is_subscribed_to(&self, topic: &StrBytes) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(super) fn refresh_subscribed_topics(&mut self) {
        self.subscribed_topics = self.compute_subscribed_topics();
    }

    fn compute_subscribed_topics(&self) -> Option<BTreeSet<StrBytes>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members() {
            topics.extend(records::subscribed_topics(&member.metadata(self.protocol.as_ref()))?);
        }
        Some(topics)
    }

    /// From when on the retention of an offset counts (`ClassicGroup.offsetExpirationCondition`): since the group became
    /// empty, or since the commit where the group is simple or the topic no longer subscribed. `None`: it does not expire.
    fn retention_start(&self, topic: &StrBytes, commit: Timestamp) -> Option<Timestamp> {
        if self.is_subscribed_to(topic) {
            return None;
        }
        match (&self.protocol_type, self.state) {
            (None, _) => Some(commit),
            (Some(_), State::Empty) => Some(self.state_timestamp.unwrap_or(commit)),
            (Some(_), State::Stable) if self.uses_consumer_protocol() && self.subscribed_topics.is_some() => {
                Some(commit)
            }
            (Some(_), _) => None,
        }
    }
}
