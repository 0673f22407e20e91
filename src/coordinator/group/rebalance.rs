//! How a classic group moves from one generation to the next (Kafka's `GroupMetadataManager`, the classic half):
//! everybody joins, the leader assigns, everybody syncs; and what happens where somebody does not in time.

use std::time::Duration;

use tokio::time::Instant;

use super::classic::{ClassicGroup, InitialRebalance, State};
use super::shard::{Then, Timer, Write};
use crate::config::Groups;
use crate::coordinator::state_machine::Now;
use crate::coordinator::timers::Timers;
use crate::protocol::ErrorCode;

/// Members are waited for at least so long.
const REBALANCE_TIMEOUT_MIN_MS: i32 = 100;

/// What a group works with beside its own state.
#[derive(Debug)]
pub(super) struct Env<'a> {
    pub(super) config: &'a Groups,
    pub(super) timers: &'a mut Timers<Timer>,
    pub(super) now: Now,
}

impl ClassicGroup {
    pub(super) fn rebalance_or_complete_join(&mut self, env: &mut Env<'_>, reason: &str) -> Write {
        match self.state {
            State::PreparingRebalance => self.maybe_complete_join(env),
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(env, reason),
        }
    }

    pub(super) fn prepare_rebalance(&mut self, env: &mut Env<'_>, reason: &str) -> Write {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(env, ErrorCode::RebalanceInProgress);
        }
        self.pending_sync.clear();
        env.timers.cancel(&Timer::Sync { group: self.id.clone() });
        let is_initial = self.state == State::Empty;
        self.transition_to(State::PreparingRebalance, env.now.wall);
        tracing::debug!(group = %self.id, generation = self.generation, reason, "preparing to rebalance");
        if is_initial {
            let delay = env.config.initial_rebalance_delay;
            let longest = Duration::from_millis(u64::try_from(self.rebalance_timeout_ms()).unwrap_or(0));
            let remaining = longest.saturating_sub(delay);
            self.initial = Some(InitialRebalance { delay, remaining, new_member_added: false });
            env.timers.schedule(Timer::Join { group: self.id.clone() }, env.now.after(delay));
            return Write::nothing();
        }
        if self.has_all_members_joined() {
            return self.complete_join(env);
        }
        env.timers.schedule(Timer::Join { group: self.id.clone() }, self.rebalance_deadline(env));
        Write::nothing()
    }

    /// An initial rebalance completes by its timer only.
    pub(super) fn maybe_complete_join(&mut self, env: &mut Env<'_>) -> Write {
        let waits = self.state != State::PreparingRebalance || self.initial.is_some() || !self.has_all_members_joined();
        if waits { Write::nothing() } else { self.complete_join(env) }
    }

    /// The time to join is over.
    pub(super) fn join_timed_out(&mut self, env: &mut Env<'_>) -> Write {
        if self.state != State::PreparingRebalance {
            return Write::nothing();
        }
        match self.initial {
            Some(initial) if initial.new_member_added && !initial.remaining.is_zero() => {
                let delay = env.config.initial_rebalance_delay.min(initial.remaining);
                let remaining = initial.remaining.saturating_sub(initial.delay);
                self.initial = Some(InitialRebalance { delay, remaining, new_member_added: false });
                env.timers.schedule(Timer::Join { group: self.id.clone() }, env.now.after(delay));
                Write::nothing()
            }
            _ => self.complete_join(env),
        }
    }

    /// Those who have joined make the next generation; dynamic members that have not are out.
    pub(super) fn complete_join(&mut self, env: &mut Env<'_>) -> Write {
        env.timers.cancel(&Timer::Join { group: self.id.clone() });
        let late = self.members().filter(|member| member.join.is_none() && member.instance_id.is_none());
        for id in late.map(|member| member.id.clone()).collect::<Vec<_>>() {
            tracing::debug!(group = %self.id, member = %id, "member did not join in time and is removed");
            self.drop_member(env, &id);
        }
        if !self.elect_joined_leader() && self.len() > 0 {
            // Only static members are left and none has come: wait until they do or their sessions end.
            env.timers.schedule(Timer::Join { group: self.id.clone() }, self.rebalance_deadline(env));
            return Write::nothing();
        }
        self.init_next_generation(env.now.wall);
        if self.state == State::Empty {
            tracing::debug!(group = %self.id, generation = self.generation, "group is now empty");
            return Write::then(self.record(), Then::Emptied { group: self.id.clone() });
        }
        tracing::debug!(group = %self.id, generation = self.generation, members = self.len(), "all members have joined");
        for id in self.member_ids() {
            let response = self.joined(&id);
            self.answer_join(&id, response);
            self.renew_session(env, &id);
            if let Some(member) = self.member_mut(&id) {
                member.is_new = false;
            }
            self.pending_sync.insert(id);
        }
        env.timers.schedule(Timer::Sync { group: self.id.clone() }, self.rebalance_deadline(env));
        Write::nothing()
    }

    /// Members may name no time at all: then nobody could ever sync, and waiting for static members would never end.
    fn rebalance_deadline(&self, env: &Env<'_>) -> Instant {
        env.now.after_ms(self.rebalance_timeout_ms().max(REBALANCE_TIMEOUT_MIN_MS))
    }
}
