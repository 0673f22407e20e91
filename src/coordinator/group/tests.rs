//! The state machine under a clock of its own: time moves only by `Fixture::advance`.

mod administration;
mod kafka_data;
mod membership;
mod offset_commits;
mod offset_deletes;
mod rebalances;
mod replay;
mod service;
mod static_members;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::classic::State;
use super::member::Caller;
use super::shard::GroupShard;
use crate::config::Groups;
use crate::coordinator::runtime::{Runtime, Session};
use crate::coordinator::state_machine::Now;
use crate::coordinator::testing::MemoryJournal;
use crate::protocol::ErrorCode;
use crate::types::Timestamp;

const GROUP: &str = "group";
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;
const OK: i16 = 0;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn code(error: ErrorCode) -> i16 {
    error.code()
}

fn config() -> Groups {
    Groups {
        initial_rebalance_delay: Duration::ZERO,
        session_timeout_min: Duration::from_secs(6),
        session_timeout_max: Duration::from_secs(1800),
        members_max: usize::MAX,
        offset_metadata_bytes_max: 4096,
        offsets_partitions: 1,
        offsets_segment_bytes: 1 << 20,
        offsets_retention: Duration::from_secs(7 * 24 * 3600),
        offsets_retention_check_interval: Duration::from_secs(600),
    }
}

fn caller(version: i16) -> Caller {
    Caller { client_id: text("client"), client_host: text("/127.0.0.1"), version }
}

/// A consumer's metadata: version 0, the topics, no user data.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

fn protocols(names: &[&str], topics: &[&str]) -> Vec<JoinGroupRequestProtocol> {
    let protocol =
        |name: &&str| JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(subscription(topics));
    names.iter().map(protocol).collect()
}

fn join_request(member_id: &StrBytes) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_session_timeout_ms(SESSION_MS)
        .with_rebalance_timeout_ms(REBALANCE_MS)
        .with_member_id(member_id.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(protocols(&["range"], &["topic"]))
}

fn sync_request(member_id: &StrBytes, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_member_id(member_id.clone())
        .with_generation_id(generation)
}

fn leaving(member_id: &StrBytes) -> MemberIdentity {
    MemberIdentity::default().with_member_id(member_id.clone())
}

/// A call that may be parked.
#[derive(Debug)]
struct Call<T>(oneshot::Receiver<T>);

impl<T: std::fmt::Debug> Call<T> {
    fn answer(mut self) -> T {
        self.0.try_recv().expect("the call should have been answered")
    }

    fn is_parked(&mut self) -> bool {
        matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

#[derive(Debug)]
struct Fixture {
    runtime: Runtime<GroupShard, MemoryJournal>,
    journal: MemoryJournal,
    config: Groups,
    now: Now,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(config())
    }

    fn with(config: Groups) -> Fixture {
        let now = Now { instant: Instant::now(), wall: Timestamp(1_700_000_000_000) };
        Fixture::over(MemoryJournal::new(1), config, now)
    }

    fn over(journal: MemoryJournal, config: Groups, now: Now) -> Fixture {
        let runtime = Runtime::new(config.clone(), journal.clone());
        runtime.load(now);
        Fixture { runtime, journal, config, now }
    }

    /// A broker that starts over the same log.
    fn restarted(&self) -> Fixture {
        Fixture::over(self.journal.clone(), self.config.clone(), self.now)
    }

    /// Lets time pass; timers fire at their deadlines.
    fn advance(&mut self, ms: i32) {
        let target = self.now.after_ms(ms);
        while let Some(deadline) = self.next_deadline().filter(|deadline| *deadline <= target) {
            self.move_to(deadline);
            self.runtime.fire_due(self.now);
        }
        self.move_to(target);
    }

    fn move_to(&mut self, instant: Instant) {
        let passed = instant.saturating_duration_since(self.now.instant);
        self.now = Now { instant, wall: Timestamp(self.now.wall.0 + passed.as_millis() as i64) };
    }

    fn next_deadline(&self) -> Option<Instant> {
        use crate::coordinator::state_machine::StateMachine;
        self.shard(|session| session.state.next_deadline())
    }

    fn shard<R>(&self, operation: impl FnOnce(&mut Session<'_, GroupShard, MemoryJournal>) -> R) -> R {
        self.runtime.on(GROUP, self.now, operation).unwrap()
    }

    fn join(&self, version: i16, request: &JoinGroupRequest) -> Call<JoinGroupResponse> {
        let (reply, answer) = oneshot::channel();
        self.shard(|session| {
            let create = session.state.create_for(request, self.now);
            session.write(create).unwrap();
            let write = session.state.join(&caller(version), request, reply, self.now);
            let _ = session.write(write);
        });
        Call(answer)
    }

    /// A new dynamic member's id, as the first of its two joins gives it.
    fn new_id(&self) -> StrBytes {
        let response = self.join(9, &join_request(&StrBytes::new())).answer();
        assert_eq!(response.error_code, code(ErrorCode::MemberIdRequired));
        response.member_id
    }

    /// A new dynamic member, and its parked join.
    fn enter(&self) -> (StrBytes, Call<JoinGroupResponse>) {
        let id = self.new_id();
        let call = self.rejoin(&id);
        (id, call)
    }

    /// The leader and a follower of generation 2, which neither has synced yet.
    fn two_joined(&self) -> (StrBytes, StrBytes) {
        let (first, join) = self.enter();
        join.answer();
        let second = self.new_id();
        let second_join = self.rejoin(&second);
        self.rejoin(&first).answer();
        second_join.answer();
        (first, second)
    }

    fn rejoin(&self, id: &StrBytes) -> Call<JoinGroupResponse> {
        self.join(9, &join_request(id))
    }

    fn sync_with(&self, request: &SyncGroupRequest) -> Call<SyncGroupResponse> {
        let (reply, answer) = oneshot::channel();
        self.shard(|session| {
            let write = session.state.sync(request, reply, self.now);
            let _ = session.write(write);
        });
        Call(answer)
    }

    fn sync(&self, id: &StrBytes, generation: i32) -> Call<SyncGroupResponse> {
        self.sync_with(&sync_request(id, generation))
    }

    /// The leader's sync: every member is assigned its own id.
    fn assign(&self, leader: &StrBytes, generation: i32, members: &[&StrBytes]) -> Call<SyncGroupResponse> {
        let assignment = |id: &&StrBytes| {
            let bytes = Bytes::copy_from_slice(id.as_bytes());
            SyncGroupRequestAssignment::default().with_member_id((*id).clone()).with_assignment(bytes)
        };
        let assignments = members.iter().map(assignment).collect();
        self.sync_with(&sync_request(leader, generation).with_assignments(assignments))
    }

    fn heartbeat(&self, id: &StrBytes, generation: i32) -> Result<(), ErrorCode> {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_member_id(id.clone())
            .with_generation_id(generation);
        self.shard(|session| session.state.heartbeat(&request, self.now))
    }

    fn leave(&self, members: &[MemberIdentity]) -> Vec<Result<(), ErrorCode>> {
        self.shard(|session| {
            let (write, outcomes) = session.state.leave(&text(GROUP), members, self.now);
            let _ = session.write(write);
            outcomes
        })
    }

    fn state(&self) -> Option<State> {
        self.shard(|session| session.state.group(&text(GROUP)).map(|group| group.state))
    }

    fn generation(&self) -> i32 {
        self.shard(|session| session.state.group(&text(GROUP)).unwrap().generation)
    }

    fn member_ids(&self) -> Vec<StrBytes> {
        self.shard(|session| session.state.group(&text(GROUP)).unwrap().member_ids())
    }

    /// A stable group of two, at its second generation: the leader and the other.
    fn stable_pair(&self) -> (StrBytes, StrBytes) {
        let (first, join) = self.enter();
        assert_eq!(join.answer().generation_id, 1);
        let second = self.new_id();
        let mut second_join = self.rejoin(&second);
        assert!(second_join.is_parked());
        let leader = self.rejoin(&first).answer();
        assert_eq!((leader.error_code, leader.generation_id, leader.members.len()), (OK, 2, 2));
        assert_eq!(second_join.answer().leader, first);
        let waiting = self.sync(&second, 2);
        assert_eq!(self.assign(&first, 2, &[&first, &second]).answer().error_code, OK);
        assert_eq!(waiting.answer().assignment, *second.as_bytes());
        assert_eq!(self.state(), Some(State::Stable));
        (first, second)
    }
}
