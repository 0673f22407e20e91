//! Joining a classic group (`GroupMetadataManager.classicGroupJoinToClassicGroup` and what it calls).

use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::classic::{ClassicGroup, State};
use super::member::{Caller, JoinReply, Member, owned, protocols_of};
use super::rebalance::Env;
use super::shard::{Then, Timer, Write, answer};
use super::sync::sync_error;
use crate::protocol::ErrorCode;

/// A new member waits this long for its first join to be answered: it cannot send heartbeats before, and a client that
/// gave up must not stay (`classicGroupNewMemberJoinTimeoutMs`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;
/// Ids of one group that are given out and not taken up. Each is kept for a session, and asking for one costs nothing.
const PENDING_JOIN_MAX: usize = 10_000;
/// First version of JoinGroup by which a member is given an id before it may join (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// First version of JoinGroup in which a leader can be told not to assign (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// A static member that has been replaced, until that is stored.
#[derive(Debug)]
pub(super) struct Replaced {
    old: Member,
    new_id: StrBytes,
    leader: Option<StrBytes>,
    version: i16,
}

pub(super) fn join_error(member_id: &StrBytes, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_member_id(member_id.clone())
        .with_error_code(error.code())
        .with_protocol_name(None)
}

impl ClassicGroup {
    pub(super) fn join(
        &mut self,
        env: &mut Env<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        reply: JoinReply,
    ) -> Write {
        let id = &request.member_id;
        tracing::debug!(group = %self.id, member = %id, reason = request.reason.as_deref(), "join");
        if !self.has_room_for(id, env.config.members_max) {
            self.drop_member(env, id);
            // A client that is gone needs no answer, here and below.
            let _ = reply.send(join_error(&StrBytes::new(), ErrorCode::GroupMaxSizeReached));
            // The others may have waited for nobody else. In Kafka they go on until their time to join is over.
            return self.maybe_complete_join(env);
        }
        if !self.supports(&request.protocol_type, request.protocols.iter().map(|protocol| &protocol.name)) {
            return answer(reply, join_error(id, ErrorCode::InconsistentGroupProtocol));
        }
        if id.is_empty() {
            return self.join_new(env, caller, request, reply);
        }
        // A pending id belongs to a dynamic member; with an instance id it is a stranger's.
        if self.pending_join.contains(id) && request.group_instance_id.is_none() {
            return self.add_and_rebalance(env, caller, request, owned(id), reply);
        }
        if let Err(error) = self.validate_member(id, request.group_instance_id.as_ref()) {
            return answer(reply, join_error(id, error));
        }
        self.join_again(env, request, reply)
    }

    /// While members join, the number of those that wait counts, so that the last to come are the ones refused.
    fn has_room_for(&self, id: &StrBytes, members_max: usize) -> bool {
        let member = self.member(id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.join.is_some()) || self.awaiting_join() < members_max
            }
            State::CompletingRebalance | State::Stable => member.is_some() || self.len() < members_max,
        }
    }

    fn join_new(&mut self, env: &mut Env<'_>, caller: &Caller, request: &JoinGroupRequest, reply: JoinReply) -> Write {
        let name = request.group_instance_id.as_ref().unwrap_or(&caller.client_id);
        let new_id = StrBytes::from_string(format!("{name}-{}", Uuid::new_v4()));
        if let Some(instance_id) = &request.group_instance_id {
            return match self.static_member(instance_id).cloned() {
                Some(old_id) => self.replace_static(env, caller, request, &old_id, new_id, reply),
                None => self.add_and_rebalance(env, caller, request, new_id, reply),
            };
        }
        if caller.version < MEMBER_ID_REQUIRED_SINCE {
            return self.add_and_rebalance(env, caller, request, new_id, reply);
        }
        if self.pending_join.len() >= PENDING_JOIN_MAX {
            return answer(reply, join_error(&StrBytes::new(), ErrorCode::GroupMaxSizeReached));
        }
        self.pending_join.insert(new_id.clone());
        let session = Timer::Session { group: self.id.clone(), member: new_id.clone() };
        env.timers.schedule(session, env.now.after_ms(request.session_timeout_ms));
        answer(reply, join_error(&new_id, ErrorCode::MemberIdRequired))
    }

    fn join_again(&mut self, env: &mut Env<'_>, request: &JoinGroupRequest, reply: JoinReply) -> Write {
        let id = &request.member_id;
        let same = self.member(id).is_some_and(|member| member.matches(&request.protocols));
        let rebalance = match self.state {
            State::PreparingRebalance => true,
            // It may have missed the answer to its join.
            State::CompletingRebalance => !same,
            // A leader joins again when something changed that its own metadata does not show.
            State::Stable => !same || self.is_leader(id),
            State::Empty => {
                return answer(reply, join_error(id, ErrorCode::UnknownMemberId));
            }
        };
        if !rebalance {
            return answer(reply, self.joined(id));
        }
        let timeouts_ms = (request.rebalance_timeout_ms, request.session_timeout_ms);
        self.update(id, protocols_of(&request.protocols), timeouts_ms, reply);
        self.rebalance_or_complete_join(env, "a member joins again")
    }

    fn add_and_rebalance(
        &mut self,
        env: &mut Env<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        id: StrBytes,
        reply: JoinReply,
    ) -> Write {
        let mut member = Member::new(id.clone(), caller, request, protocols_of(&request.protocols));
        member.join = Some(reply);
        if let Some(initial) = &mut self.initial {
            initial.new_member_added = true;
        }
        self.add(member, &request.protocol_type);
        self.schedule_session(env, &id, NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.rebalance_or_complete_join(env, "a new member joins")
    }

    /// A static member comes back without its id (KIP-345). Where that changes nothing for the others there is no
    /// rebalance; only the new id is stored.
    fn replace_static(
        &mut self,
        env: &mut Env<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        old_id: &StrBytes,
        new_id: StrBytes,
        reply: JoinReply,
    ) -> Write {
        // Whoever still waits under the old id is a duplicate of this member.
        self.answer_join(old_id, join_error(old_id, ErrorCode::FencedInstanceId));
        self.answer_sync(env, old_id, sync_error(ErrorCode::FencedInstanceId));
        let Some(old) = self.take(old_id) else { return Write::nothing() };
        let leader = self.leader.clone();
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        // Kafka keeps the old member's client id and host.
        let known = Caller { client_id: old.client_id.clone(), client_host: old.client_host.clone(), ..*caller };
        let mut new = Member::new(new_id.clone(), &known, request, protocols_of(&request.protocols));
        new.assignment = old.assignment.clone();
        new.is_new = false;
        new.join = Some(reply);
        self.insert(new);
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        self.schedule_session(env, &new_id, old.session_timeout_ms);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                let replaced = Box::new(Replaced { old, new_id, leader, version: caller.version });
                Write::then(self.record(), Then::Replaced { group: self.id.clone(), replaced })
            }
            // The old id may already be with the leader: its assignment would not find the new one.
            State::Stable | State::CompletingRebalance | State::Empty => {
                self.prepare_rebalance(env, "a static member changed")
            }
            State::PreparingRebalance => self.maybe_complete_join(env),
        }
    }

    /// The new id of a static member is stored, or could not be and is taken back.
    pub(super) fn static_member_stored(
        &mut self,
        env: &mut Env<'_>,
        replaced: Replaced,
        outcome: Result<(), ErrorCode>,
    ) {
        let Replaced { old, new_id, leader, version } = replaced;
        if let Err(error) = outcome {
            self.answer_join(&new_id, join_error(&StrBytes::new(), error));
            self.take(&new_id);
            self.leader = leader;
            let (old_id, session_timeout_ms) = (old.id.clone(), old.session_timeout_ms);
            self.insert(old);
            if self.pending_sync.remove(&new_id) {
                self.pending_sync.insert(old_id.clone());
            }
            self.schedule_session(env, &old_id, session_timeout_ms);
            return;
        }
        // Kafka leaves this to the next rebalance, and to a load: until then it might expire offsets that are in use.
        self.refresh_subscribed_topics();
        let response = if version >= SKIP_ASSIGNMENT_SINCE {
            let is_leader = self.is_leader(&new_id);
            self.joined(&new_id).with_skip_assignment(is_leader)
        } else {
            // A leader that cannot be told to skip its assignment must not find itself leading: it is given the name of
            // the leader before it, and no members.
            self.joined(&new_id).with_members(Vec::new()).with_leader(leader.unwrap_or_default())
        };
        self.answer_join(&new_id, response);
    }
}
