//! A group of the classic protocol (Kafka's `ClassicGroup`): who is in it, what they agree on. How it moves from one
//! generation to the next is in `rebalance`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::JoinGroupResponse;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::protocol::StrBytes;

use super::member::{JoinReply, Member, Protocol};
use super::records::{self, GroupValue};
use crate::coordinator::state_machine::Record;
use crate::protocol::ErrorCode;
use crate::types::Timestamp;

/// Kafka's `ClassicGroupState`. A dead group is one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No members; may hold offsets.
    Empty,
    /// Waits for its members to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    Stable,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The first rebalance after a group was empty: it waits a while for more members (`group.initial.rebalance.delay.ms`).
#[derive(Debug, Clone, Copy)]
pub(super) struct InitialRebalance {
    pub(super) delay: Duration,
    /// How much longer new members may draw it out.
    pub(super) remaining: Duration,
    pub(super) new_member_added: bool,
}

#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: StrBytes,
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<StrBytes>,
    /// The protocol that was selected for this generation.
    pub(super) protocol: Option<StrBytes>,
    pub(super) leader: Option<StrBytes>,
    /// In the order of their ids, so that what follows from the order is repeatable.
    members: BTreeMap<StrBytes, Member>,
    /// Instance id → member id (KIP-345).
    static_members: HashMap<StrBytes, StrBytes>,
    /// Ids that were given out (KIP-394) and have not joined yet.
    pub(super) pending_join: HashSet<StrBytes>,
    /// Members that have not asked for their assignment yet.
    pub(super) pending_sync: HashSet<StrBytes>,
    /// How many members have a join parked.
    awaiting_join: usize,
    /// How many members offer each protocol.
    offered: HashMap<StrBytes, usize>,
    /// What the members subscribe to; `None` where they are no consumers or do not say it in a way we can read.
    pub(super) subscribed_topics: Option<BTreeSet<StrBytes>>,
    pub(super) state_timestamp: Option<Timestamp>,
    pub(super) initial: Option<InitialRebalance>,
}

impl ClassicGroup {
    pub(super) fn new(id: StrBytes) -> ClassicGroup {
        ClassicGroup {
            id,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_join: HashSet::new(),
            pending_sync: HashSet::new(),
            awaiting_join: 0,
            offered: HashMap::new(),
            subscribed_topics: None,
            state_timestamp: None,
            initial: None,
        }
    }

    /// A group as it was stored.
    pub(super) fn loaded(id: StrBytes, value: GroupValue) -> ClassicGroup {
        let mut group = ClassicGroup::new(id);
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|protocol_type| !protocol_type.is_empty());
        group.protocol = value.protocol;
        group.leader = value.leader;
        group.state_timestamp = value.current_state_timestamp;
        for member in value.members {
            group.insert(Member::loaded(member, group.protocol.clone().unwrap_or_default()));
        }
        group.refresh_subscribed_topics();
        group
    }

    pub(super) fn value(&self) -> GroupValue {
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_timestamp,
            members: self.members.values().map(|member| member.value(self.protocol.as_ref())).collect(),
        }
    }

    pub(super) fn record(&self) -> Record {
        records::group_record(&self.id, Some(&self.value()))
    }

    /// The record of the generation that the leader has just assigned.
    pub(super) fn record_with(&self, assignments: &HashMap<StrBytes, Bytes>) -> Record {
        let mut value = self.value();
        for member in &mut value.members {
            member.assignment = assignments.get(&member.member_id).cloned().unwrap_or_default();
        }
        records::group_record(&self.id, Some(&value))
    }

    pub(super) fn transition_to(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.state_timestamp = Some(now);
        if state != State::PreparingRebalance {
            self.initial = None;
        }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub(super) fn member_ids(&self) -> Vec<StrBytes> {
        self.members.keys().cloned().collect()
    }

    pub(super) fn member(&self, id: &StrBytes) -> Option<&Member> {
        self.members.get(id)
    }

    pub(super) fn member_mut(&mut self, id: &StrBytes) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn static_member(&self, instance_id: &StrBytes) -> Option<&StrBytes> {
        self.static_members.get(instance_id)
    }

    pub(super) fn is_leader(&self, id: &StrBytes) -> bool {
        self.leader.as_ref() == Some(id)
    }

    pub(super) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    pub(super) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// The longest that any member asks to be waited for.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// Adds a member; the first one says what kind of group it is, and leads it.
    pub(super) fn add(&mut self, member: Member, protocol_type: &StrBytes) {
        if self.members.is_empty() {
            self.protocol_type = Some(super::member::owned(protocol_type));
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.insert(member);
    }

    pub(super) fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        self.pending_join.remove(&member.id);
        self.count_offered(&member.protocols, 1);
        self.awaiting_join += usize::from(member.join.is_some());
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out without choosing another leader.
    pub(super) fn take(&mut self, id: &StrBytes) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.count_offered(&member.protocols, -1);
        self.awaiting_join -= usize::from(member.join.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        Some(member)
    }

    /// Removes a member, or an id that was given out.
    pub(super) fn remove(&mut self, id: &StrBytes) {
        self.take(id);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
    }

    /// A member joins again: what it offers now, and the call to be answered.
    pub(super) fn update(
        &mut self,
        id: &StrBytes,
        protocols: Vec<Protocol>,
        timeouts_ms: (i32, i32),
        reply: JoinReply,
    ) {
        let Some(mut member) = self.take(id) else { return };
        member.protocols = protocols;
        (member.rebalance_timeout_ms, member.session_timeout_ms) = timeouts_ms;
        // An earlier call of this member that is still parked ends here: its client has given up on it.
        member.join = Some(reply);
        self.insert(member);
    }

    /// Answers a parked join, if there is one.
    pub(super) fn answer_join(&mut self, id: &StrBytes, response: JoinGroupResponse) {
        let Some(reply) = self.members.get_mut(id).and_then(|member| member.join.take()) else { return };
        self.awaiting_join -= 1;
        // The client may be gone; then its session ends the member.
        let _ = reply.send(response);
    }

    fn count_offered(&mut self, protocols: &[Protocol], step: isize) {
        for protocol in protocols {
            let count = self.offered.entry(protocol.name.clone()).or_default();
            *count = count.saturating_add_signed(step);
            if *count == 0 {
                self.offered.remove(&protocol.name);
            }
        }
    }

    /// Whether a member that offers these could take part: one of them is offered by everybody.
    pub(super) fn supports<'a>(
        &self,
        protocol_type: &StrBytes,
        mut protocols: impl ExactSizeIterator<Item = &'a StrBytes>,
    ) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && protocols.len() > 0;
        }
        self.protocol_type.as_ref() == Some(protocol_type) && protocols.any(|name| self.is_offered_by_all(name))
    }

    fn is_offered_by_all(&self, protocol: &StrBytes) -> bool {
        self.offered.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// Each member votes for the first of its protocols that everybody offers; of equal counts, the first by name.
    pub(super) fn select_protocol(&self) -> Option<StrBytes> {
        let candidates: HashSet<&StrBytes> = self.offered.keys().filter(|name| self.is_offered_by_all(name)).collect();
        let mut votes: BTreeMap<&StrBytes, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(|member| member.vote(&candidates)) {
            *votes.entry(vote).or_default() += 1;
        }
        // `max_by_key` gives the last of equals.
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone())
    }

    /// Keeps the leader if it has joined again, else elects one that has; `false` where nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &&Member| member.join.is_some();
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader)).filter(has_joined);
        let elected = leader.or_else(|| self.members.values().find(has_joined));
        match elected.map(|member| member.id.clone()) {
            Some(leader) => self.leader = Some(leader),
            None => return false,
        }
        true
    }

    /// The next generation begins, with whoever is left.
    pub(super) fn init_next_generation(&mut self, now: Timestamp) {
        // Generations that wrap would look like "none" (-1) to a client.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.select_protocol();
        self.refresh_subscribed_topics();
        let state = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.transition_to(state, now);
        self.pending_sync.clear();
    }

    /// The members as the leader needs them.
    pub(super) fn joined_members(&self) -> Vec<JoinGroupResponseMember> {
        let member = |member: &Member| {
            JoinGroupResponseMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance_id.clone())
                .with_metadata(member.metadata(self.protocol.as_ref()))
        };
        self.members.values().map(member).collect()
    }

    /// The answer to a join that is part of the current generation; the leader gets the members.
    pub(super) fn joined(&self, id: &StrBytes) -> JoinGroupResponse {
        JoinGroupResponse::default()
            .with_member_id(id.clone())
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(self.protocol.clone())
            .with_leader(self.leader.clone().unwrap_or_default())
            .with_members(if self.is_leader(id) { self.joined_members() } else { Vec::new() })
    }

    /// Whether a request speaks for a member: the instance id, if given, belongs to that member id.
    pub(super) fn validate_member(&self, id: &StrBytes, instance_id: Option<&StrBytes>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// `ClassicGroup.validateOffsetCommit`.
    pub(super) fn validate_offset_commit(
        &self,
        id: &StrBytes,
        instance_id: Option<&StrBytes>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        // A consumer that assigns its partitions itself, or an admin client.
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_member(id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // It knows the generation but not yet its assignment.
        if self.state == State::CompletingRebalance { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }
}
