//! Staying in a classic group and leaving it: heartbeats, LeaveGroup, sessions that run out.

use kafka_protocol::messages::HeartbeatRequest;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::protocol::StrBytes;

use super::classic::{ClassicGroup, State};
use super::join::join_error;
use super::member::Member;
use super::rebalance::Env;
use super::shard::{Timer, Write};
use super::sync::sync_error;
use crate::protocol::ErrorCode;

impl ClassicGroup {
    pub(super) fn heartbeat(&mut self, env: &mut Env<'_>, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.renew_session(env, &request.member_id);
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Members leave, each for itself or removed by an administrator, who names the instance alone.
    pub(super) fn leave(
        &mut self,
        env: &mut Env<'_>,
        leaving: &[MemberIdentity],
    ) -> (Write, Vec<Result<(), ErrorCode>>) {
        let outcomes: Vec<_> = leaving.iter().map(|identity| self.leave_one(env, identity)).collect();
        let write = match self.state {
            _ if outcomes.iter().all(Result::is_err) => Write::nothing(),
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(env, "members left"),
            State::PreparingRebalance => self.maybe_complete_join(env),
            State::Empty => Write::nothing(),
        };
        (write, outcomes)
    }

    fn leave_one(&mut self, env: &mut Env<'_>, identity: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance_id = identity.group_instance_id.as_ref();
        let id = if identity.member_id.is_empty() {
            instance_id
                .and_then(|instance_id| self.static_member(instance_id))
                .ok_or(ErrorCode::UnknownMemberId)?
                .clone()
        } else {
            identity.member_id.clone()
        };
        if !self.pending_join.contains(&id) && !identity.member_id.is_empty() {
            self.validate_member(&id, instance_id)?;
        }
        tracing::debug!(group = %self.id, member = %id, reason = identity.reason.as_deref(), "member leaves");
        self.drop_member(env, &id);
        Ok(())
    }

    /// A session ran out: the member is gone, unless it waits for us.
    pub(super) fn session_timed_out(&mut self, env: &mut Env<'_>, id: &StrBytes) -> Write {
        if self.pending_join.remove(id) {
            return self.maybe_complete_join_of_any(env);
        }
        if self.member(id).is_none_or(Member::has_satisfied_heartbeat) {
            return Write::nothing();
        }
        tracing::debug!(group = %self.id, member = %id, "member's session timed out");
        self.drop_member(env, id);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(env, "a session timed out"),
            State::PreparingRebalance => self.maybe_complete_join_of_any(env),
            State::Empty => Write::nothing(),
        }
    }

    /// Where a session's end was all that a rebalance waited for, even an initial one is complete.
    fn maybe_complete_join_of_any(&mut self, env: &mut Env<'_>) -> Write {
        let waits = self.state != State::PreparingRebalance || !self.has_all_members_joined();
        if waits { Write::nothing() } else { self.complete_join(env) }
    }

    /// Removes a member. Whoever still waits under its id is told to come again as a new one.
    pub(super) fn drop_member(&mut self, env: &mut Env<'_>, id: &StrBytes) {
        self.answer_join(id, join_error(&StrBytes::new(), ErrorCode::UnknownMemberId));
        self.answer_sync(env, id, sync_error(ErrorCode::UnknownMemberId));
        self.remove(id);
        env.timers.cancel(&Timer::Session { group: self.id.clone(), member: id.clone() });
    }

    pub(super) fn renew_session(&self, env: &mut Env<'_>, id: &StrBytes) {
        if let Some(member) = self.member(id) {
            self.schedule_session(env, &member.id, member.session_timeout_ms);
        }
    }

    /// `id` stays in the timer: it must be the member's own, not a piece of a request.
    pub(super) fn schedule_session(&self, env: &mut Env<'_>, id: &StrBytes, timeout_ms: i32) {
        let session = Timer::Session { group: self.id.clone(), member: id.clone() };
        env.timers.schedule(session, env.now.after_ms(timeout_ms));
    }

    /// Sessions begin when a stored group is loaded; one that has grown too large for the configuration rebalances, so
    /// that its members can commit before some are refused.
    pub(super) fn start(&mut self, env: &mut Env<'_>) {
        for id in self.member_ids() {
            self.renew_session(env, &id);
        }
        if self.len() > env.config.members_max {
            // Nobody has joined yet: there is nothing to write.
            let _ = self.prepare_rebalance(env, "the group is larger than group.max.size");
        }
    }

    /// This broker no longer coordinates the group.
    pub(super) fn stop(&mut self) {
        for id in self.member_ids() {
            self.answer_join(&id, join_error(&id, ErrorCode::NotCoordinator));
            if let Some(reply) = self.member_mut(&id).and_then(|member| member.sync.take()) {
                let _ = reply.send(sync_error(ErrorCode::NotCoordinator));
            }
        }
    }
}
