//! One shard of the group coordinator: the groups and offsets of one partition of `__consumer_offsets`
//! (Kafka's `GroupCoordinatorShard`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::classic::{ClassicGroup, State};
use super::join::{Replaced, join_error};
use super::member::{Caller, JoinReply, SyncReply};
use super::offsets::Offsets;
use super::rebalance::Env;
use super::records::{self, GroupValue, Key, OffsetKey, OffsetValue};
use super::sync::sync_error;
use crate::config::Groups;
use crate::coordinator::state_machine::{self, Now, Record, StateMachine, Stored};
use crate::coordinator::timers::Timers;
use crate::protocol::ErrorCode;
use crate::types::ProducerId;

pub(super) type Write = state_machine::Write<Then>;

/// What a write of the group protocol leads to.
#[derive(Debug)]
pub(super) enum Then {
    /// The leader's assignment goes to the members.
    Assigned { group: StrBytes, generation: i32, assignments: HashMap<StrBytes, Bytes> },
    /// A static member goes on under its new id.
    Replaced { group: StrBytes, replaced: Box<Replaced> },
    /// The group has become empty. If that could not be stored, a later load finds the generation before, whose members
    /// time out (`GroupMetadataManager.completeClassicGroupJoin` only warns, too).
    Emptied { group: StrBytes },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Members have had their time to join.
    Join {
        group: StrBytes,
    },
    /// Members have had their time to sync.
    Sync {
        group: StrBytes,
    },
    /// A member, or one that was given an id and has not joined, was silent for too long.
    Session {
        group: StrBytes,
        member: StrBytes,
    },
    ExpireOffsets,
}

/// Answers a call at once. A client that is gone needs no answer.
pub(super) fn answer<T>(reply: oneshot::Sender<T>, response: T) -> Write {
    let _ = reply.send(response);
    Write::nothing()
}

#[derive(Debug)]
pub(super) struct GroupShard {
    config: Arc<Groups>,
    groups: HashMap<StrBytes, ClassicGroup>,
    offsets: Offsets,
    timers: Timers<Timer>,
    /// Key versions that were met and are not read, each said once in the broker's log.
    skipped: BTreeSet<i16>,
}

/// The group protocol.
impl GroupShard {
    pub(super) fn config(&self) -> &Groups {
        &self.config
    }

    pub(super) fn group(&self, id: &StrBytes) -> Option<&ClassicGroup> {
        self.groups.get(id)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &ClassicGroup> {
        self.groups.values()
    }

    /// A group, and what it works with.
    fn group_mut(&mut self, id: &StrBytes, now: Now) -> Option<(&mut ClassicGroup, Env<'_>)> {
        let group = self.groups.get_mut(id)?;
        Some((group, Env { config: &self.config, timers: &mut self.timers, now }))
    }

    /// What was to be done with a group that is gone meanwhile is done.
    fn with_group(
        &mut self,
        id: &StrBytes,
        now: Now,
        operation: impl FnOnce(&mut ClassicGroup, &mut Env<'_>) -> Write,
    ) -> Write {
        let Some((group, mut env)) = self.group_mut(id, now) else { return Write::nothing() };
        operation(group, &mut env)
    }

    pub(super) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// A member that does not know its id makes the group where there is none. It is stored at once, so that a load
    /// finds every group that has ever been seen.
    pub(super) fn create_for(&self, request: &JoinGroupRequest, now: Now) -> Write {
        if self.groups.contains_key(&request.group_id.0) || !request.member_id.is_empty() {
            return Write::nothing();
        }
        let mut group = ClassicGroup::new(request.group_id.0.clone());
        group.state_timestamp = Some(now.wall);
        Write::replayed(vec![group.record()])
    }

    pub(super) fn join(&mut self, caller: &Caller, request: &JoinGroupRequest, reply: JoinReply, now: Now) -> Write {
        match self.group_mut(&request.group_id.0, now) {
            Some((group, mut env)) => group.join(&mut env, caller, request, reply),
            None => answer(reply, join_error(&request.member_id, ErrorCode::UnknownMemberId)),
        }
    }

    pub(super) fn sync(&mut self, request: &SyncGroupRequest, reply: SyncReply, now: Now) -> Write {
        match self.group_mut(&request.group_id.0, now) {
            Some((group, mut env)) => group.sync(&mut env, request, reply),
            None => answer(reply, sync_error(ErrorCode::UnknownMemberId)),
        }
    }

    pub(super) fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now) -> Result<(), ErrorCode> {
        let (group, mut env) = self.group_mut(&request.group_id.0, now).ok_or(ErrorCode::UnknownMemberId)?;
        group.heartbeat(&mut env, request)
    }

    pub(super) fn leave(
        &mut self,
        group: &StrBytes,
        leaving: &[MemberIdentity],
        now: Now,
    ) -> (Write, Vec<Result<(), ErrorCode>>) {
        match self.group_mut(group, now) {
            Some((group, mut env)) => group.leave(&mut env, leaving),
            None => (Write::nothing(), vec![Err(ErrorCode::UnknownMemberId); leaving.len()]),
        }
    }

    /// A commit counts as a sign of life.
    pub(super) fn renew_session(&mut self, group: &StrBytes, member: &StrBytes, now: Now) {
        let Some((group, mut env)) = self.group_mut(group, now) else { return };
        if matches!(group.state, State::Stable | State::PreparingRebalance) {
            group.renew_session(&mut env, member);
        }
    }
}

/// Groups and offsets that go.
impl GroupShard {
    pub(super) fn delete(&self, id: &StrBytes) -> Result<Write, ErrorCode> {
        let group = self.groups.get(id).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state != State::Empty {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let mut records = tombstones(self.offsets.keys_of(id));
        records.push(records::group_record(id, None));
        Ok(Write::replayed(records))
    }

    pub(super) fn topic_deleted(&self, topic: &StrBytes) -> Write {
        Write::replayed(tombstones(self.offsets.keys_of_topic(topic)))
    }
}

pub(super) fn tombstones(keys: impl IntoIterator<Item = OffsetKey>) -> Vec<Record> {
    keys.into_iter().map(|key| key.record(None)).collect()
}

impl StateMachine for GroupShard {
    type Config = Groups;
    type Then = Then;

    fn new(config: &Arc<Groups>) -> GroupShard {
        GroupShard {
            config: config.clone(),
            groups: HashMap::new(),
            offsets: Offsets::default(),
            timers: Timers::default(),
            skipped: BTreeSet::new(),
        }
    }

    fn replay(&mut self, record: Stored<'_>) -> Result<(), String> {
        match (Key::decode(record.key).map_err(|error| error.to_string())?, record.value) {
            (Key::Offset(key), None) => self.offsets.remove(&key),
            (Key::Offset(key), Some(value)) => {
                let value = OffsetValue::decode(value).map_err(|error| error.to_string())?;
                // Offsets without a group record: a simple group, whose consumers assign their partitions themselves.
                let group = self.groups.entry(key.group.clone());
                group.or_insert_with(|| ClassicGroup::new(key.group.clone()));
                self.offsets.put(key, record.producer_id, record.offset, value);
            }
            (Key::Group(id), None) => {
                self.groups.remove(&id);
            }
            (Key::Group(id), Some(value)) => {
                let value = GroupValue::decode(value).map_err(|error| error.to_string())?;
                self.groups.insert(id.clone(), ClassicGroup::loaded(id, value));
            }
            (Key::Other(version), _) => {
                if self.skipped.insert(version) {
                    tracing::debug!(kind = version, offset = %record.offset, "group records kept but not used: of a protocol not served");
                }
            }
        }
        Ok(())
    }

    fn end_transaction(&mut self, producer_id: ProducerId, committed: bool) {
        self.offsets.end_transaction(producer_id, committed);
    }

    fn loaded(&mut self, now: Now) {
        let mut env = Env { config: &self.config, timers: &mut self.timers, now };
        for group in self.groups.values_mut() {
            group.start(&mut env);
        }
        let interval = self.config.offsets_retention_check_interval;
        self.timers.schedule(Timer::ExpireOffsets, now.after(interval));
    }

    fn complete(&mut self, then: Then, outcome: Result<(), ErrorCode>, now: Now) -> Write {
        match then {
            Then::Assigned { group, generation, assignments } => self
                .with_group(&group, now, |group, env| group.assignment_stored(env, generation, assignments, outcome)),
            Then::Replaced { group, replaced } => self.with_group(&group, now, |group, env| {
                group.static_member_stored(env, *replaced, outcome);
                Write::nothing()
            }),
            Then::Emptied { group } => {
                if let Err(error) = outcome {
                    tracing::warn!(%group, %error, "could not store that the group is empty");
                }
                Write::nothing()
            }
        }
    }

    fn next_deadline(&self) -> Option<tokio::time::Instant> {
        self.timers.next()
    }

    fn fire(&mut self, now: Now) -> Option<Write> {
        Some(match self.timers.pop_due(now.instant)? {
            Timer::Join { group } => self.with_group(&group, now, ClassicGroup::join_timed_out),
            Timer::Sync { group } => self.with_group(&group, now, ClassicGroup::sync_timed_out),
            Timer::Session { group, member } => {
                self.with_group(&group, now, |group, env| group.session_timed_out(env, &member))
            }
            Timer::ExpireOffsets => {
                let (write, pause) = self.expire_offsets(now.wall);
                self.timers.schedule(Timer::ExpireOffsets, now.after(pause));
                write
            }
        })
    }

    fn unload(&mut self) {
        for group in self.groups.values_mut() {
            group.stop();
        }
        self.timers.clear();
    }
}
