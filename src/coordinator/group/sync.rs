//! Syncing a classic group: the leader assigns, everybody gets its part
//! (`GroupMetadataManager.classicGroupSyncToClassicGroup` and what it calls).

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::classic::{ClassicGroup, State};
use super::member::SyncReply;
use super::rebalance::Env;
use super::shard::{Then, Timer, Write, answer};
use crate::protocol::ErrorCode;

pub(super) fn sync_error(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.code())
}

impl ClassicGroup {
    pub(super) fn sync(&mut self, env: &mut Env<'_>, request: &SyncGroupRequest, reply: SyncReply) -> Write {
        let id = &request.member_id;
        if let Err(error) = self.validate_sync(request) {
            return answer(reply, sync_error(error));
        }
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            env.timers.cancel(&Timer::Sync { group: self.id.clone() });
        }
        if self.state == State::Stable {
            let assignment = self.member(id).map(|member| member.assignment.clone()).unwrap_or_default();
            return answer(reply, self.synced(assignment));
        }
        if let Some(member) = self.member_mut(id) {
            member.sync = Some(reply);
        }
        if !self.is_leader(id) {
            return Write::nothing();
        }
        let given = request.assignments.iter();
        let assignments: HashMap<StrBytes, Bytes> =
            given.map(|given| (given.member_id.clone(), Bytes::copy_from_slice(&given.assignment))).collect();
        let record = self.record_with(&assignments);
        Write::then(record, Then::Assigned { group: self.id.clone(), generation: self.generation, assignments })
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        // A group without members knows nobody.
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        let differs = |named: &Option<StrBytes>, ours: &Option<StrBytes>| named.is_some() && named != ours;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The leader's assignment is stored and goes out, or could not be stored and everybody starts again.
    pub(super) fn assignment_stored(
        &mut self,
        env: &mut Env<'_>,
        generation: i32,
        mut assignments: HashMap<StrBytes, Bytes>,
        outcome: Result<(), ErrorCode>,
    ) -> Write {
        if self.state != State::CompletingRebalance || self.generation != generation {
            return Write::nothing();
        }
        if let Err(error) = outcome {
            self.reset_assignments(env, error);
            return self.prepare_rebalance(env, "the assignment could not be stored");
        }
        for member in self.members_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        for id in self.member_ids() {
            let assignment = self.member(&id).map(|member| member.assignment.clone()).unwrap_or_default();
            let response = self.synced(assignment);
            self.answer_sync(env, &id, response);
        }
        self.transition_to(State::Stable, env.now.wall);
        Write::nothing()
    }

    /// Not every member has asked for its assignment in time: the silent ones are out.
    pub(super) fn sync_timed_out(&mut self, env: &mut Env<'_>) -> Write {
        let waited = matches!(self.state, State::CompletingRebalance | State::Stable) && !self.pending_sync.is_empty();
        if !waited {
            return Write::nothing();
        }
        for id in std::mem::take(&mut self.pending_sync) {
            tracing::debug!(group = %self.id, member = %id, "member did not sync in time and is removed");
            self.drop_member(env, &id);
        }
        self.prepare_rebalance(env, "members did not sync in time")
    }

    fn synced(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(self.protocol.clone())
            .with_assignment(assignment)
    }

    pub(super) fn reset_assignments(&mut self, env: &mut Env<'_>, error: ErrorCode) {
        for id in self.member_ids() {
            if let Some(member) = self.member_mut(&id) {
                member.assignment = Bytes::new();
            }
            self.answer_sync(env, &id, sync_error(error));
        }
    }

    /// Answers a parked sync; the session starts afresh, as it may have run out unnoticed meanwhile.
    pub(super) fn answer_sync(&mut self, env: &mut Env<'_>, id: &StrBytes, response: SyncGroupResponse) {
        let Some(reply) = self.member_mut(id).and_then(|member| member.sync.take()) else { return };
        // The client may be gone; then its session ends the member.
        let _ = reply.send(response);
        self.renew_session(env, id);
    }
}
