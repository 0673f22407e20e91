//! What is replayed is what was live.

use proptest::prelude::*;

use super::*;
use crate::coordinator::group::records::{GroupValue, Key, OffsetValue};
use crate::coordinator::state_machine::StateMachine;
use crate::protocol::records::BatchRecords;

#[test]
fn a_restart_finds_the_same_groups_members_and_offsets() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let mut restarted = fixture.restarted();
    assert_eq!(restarted.state(), Some(State::Stable));
    assert_eq!(restarted.heartbeat(&first, 2), Ok(()));
    assert_eq!(restarted.sync(&second, 2).answer().assignment, *second.as_bytes());
    // The loaded leader still leads, and sessions run from the load on.
    assert!(restarted.rejoin(&first).is_parked());
    fixture.advance(1);
    restarted.advance(SESSION_MS);
    assert!(!restarted.member_ids().contains(&second));
}

#[test]
fn a_restart_in_the_middle_of_a_rebalance_finds_the_generation_before() {
    let fixture = Fixture::new();
    let (first, _) = fixture.stable_pair();
    let (third, _join) = fixture.enter();
    let restarted = fixture.restarted();
    assert_eq!((restarted.state(), restarted.generation()), (Some(State::Stable), 2));
    assert_eq!(restarted.heartbeat(&first, 2), Ok(()));
    assert_eq!(restarted.rejoin(&third).answer().error_code, code(ErrorCode::UnknownMemberId));
}

#[test]
fn a_pending_member_is_not_stored() {
    let fixture = Fixture::new();
    let pending = fixture.new_id();
    let restarted = fixture.restarted();
    assert_eq!(restarted.state(), Some(State::Empty));
    assert_eq!(restarted.rejoin(&pending).answer().error_code, code(ErrorCode::UnknownMemberId));
}

#[derive(Debug, Clone)]
enum Step {
    Enter,
    EnterStatic(u8),
    Rejoin(usize, bool),
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    Commit(usize, i32, i64),
    CommitSimple(i32, i64),
    DeleteGroup,
    DeleteTopic,
    Advance(i32),
    Fail(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Enter),
        2 => (0..2u8).prop_map(Step::EnterStatic),
        6 => (0..8usize, any::<bool>()).prop_map(|(member, changed)| Step::Rejoin(member, changed)),
        8 => (0..8usize).prop_map(Step::Sync),
        4 => (0..8usize).prop_map(Step::Heartbeat),
        1 => (0..8usize).prop_map(Step::Leave),
        4 => (0..8usize, 0..3i32, 0..100i64).prop_map(|(member, partition, offset)| Step::Commit(member, partition, offset)),
        1 => (0..3i32, 0..100i64).prop_map(|(partition, offset)| Step::CommitSimple(partition, offset)),
        1 => Just(Step::DeleteGroup),
        1 => Just(Step::DeleteTopic),
        4 => prop_oneof![0..3_000i32, 0..30_000i32, Just(700_000), Just(8 * 24 * 3600 * 1000)].prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::Fail),
    ]
}

#[derive(Debug, Default)]
struct Clients {
    /// Every id that was ever given, with its instance.
    ids: Vec<(StrBytes, Option<StrBytes>)>,
    calls: Vec<Call<JoinGroupResponse>>,
}

impl Clients {
    fn id(&self, member: usize) -> (StrBytes, Option<StrBytes>) {
        let back = self.ids.len().checked_sub(1 + member % self.ids.len().max(1));
        back.and_then(|index| self.ids.get(index)).cloned().unwrap_or_default()
    }

    fn take_answers(&mut self) {
        self.calls.retain_mut(|call| match call.0.try_recv() {
            Ok(answer) if !answer.member_id.is_empty() => {
                let instance = answer.member_id.split_once('-').map(|(name, _)| text(name));
                self.ids.push((answer.member_id, instance.filter(|name| **name != *"client")));
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Ok(_) | Err(oneshot::error::TryRecvError::Closed) => false,
        });
    }
}

fn run(fixture: &mut Fixture, clients: &mut Clients, step: &Step) {
    let join = |request: JoinGroupRequest| {
        let (reply, answer) = oneshot::channel();
        fixture.shard(|session| {
            let create = session.state.create_for(&request, fixture.now);
            if session.write(create).is_ok() {
                let write = session.state.join(&caller(9), &request, reply, fixture.now);
                let _ = session.write(write);
            }
        });
        Call(answer)
    };
    match *step {
        Step::Enter => clients.calls.push(join(join_request(&StrBytes::new()))),
        Step::EnterStatic(instance) => {
            let request = join_request(&StrBytes::new()).with_group_instance_id(Some(text(&format!("s{instance}"))));
            clients.calls.push(join(request));
        }
        Step::Rejoin(member, changed) => {
            let (id, instance) = clients.id(member);
            let topics: &[&str] = if changed { &["topic", "topic-2"] } else { &["topic"] };
            let request = join_request(&id).with_group_instance_id(instance);
            clients.calls.push(join(request.with_protocols(protocols(&["range"], topics))));
        }
        Step::Sync(member) => {
            let (id, _) = clients.id(member);
            if fixture.state().is_some() {
                let generation = fixture.generation();
                drop(fixture.assign(&id, generation, &[&id]));
            }
        }
        Step::Heartbeat(member) if fixture.state().is_some() => {
            let _ = fixture.heartbeat(&clients.id(member).0, fixture.generation());
        }
        Step::Heartbeat(_) => {}
        Step::Leave(member) => drop(fixture.leave(&[leaving(&clients.id(member).0)])),
        Step::Commit(member, partition, offset) if fixture.state().is_some() => {
            fixture.commit_of_member(&clients.id(member).0, partition, offset);
        }
        Step::Commit(..) => {}
        Step::CommitSimple(partition, offset) => drop(fixture.commit("topic-2", partition, offset)),
        Step::DeleteGroup => fixture.shard(|session| {
            if let Ok(tombstones) = session.state.delete(&text(GROUP)) {
                let _ = session.write(tombstones);
            }
        }),
        Step::DeleteTopic => fixture.shard(|session| {
            let tombstones = session.state.topic_deleted(&text("topic"));
            let _ = session.write(tombstones);
        }),
        Step::Advance(ms) => fixture.advance(ms),
        Step::Fail(fails) => fixture.journal.fail_with(fails.then_some(ErrorCode::KafkaStorageError)),
    }
    clients.take_answers();
}

/// The last group record in the log.
fn stored_group(fixture: &Fixture) -> Option<GroupValue> {
    let mut stored = None;
    for batch in fixture.journal.batches(0) {
        for record in &BatchRecords::open(&batch, 1 << 20).unwrap() {
            let record = record.unwrap();
            if let Ok(Key::Group(_)) = Key::decode(record.key.unwrap()) {
                stored = record.value.map(|value| GroupValue::decode(value).unwrap());
            }
        }
    }
    stored
}

/// A group as a load leaves it: of Stable, the record is older than the state by an instant.
fn settled(mut value: GroupValue) -> GroupValue {
    if !value.members.is_empty() {
        value.current_state_timestamp = None;
    }
    value
}

impl Fixture {
    fn commit_of_member(&self, id: &StrBytes, partition: i32, offset: i64) {
        use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        use kafka_protocol::messages::{OffsetCommitRequest, TopicName};
        let partition =
            OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(offset);
        let topic =
            OffsetCommitRequestTopic::default().with_name(TopicName(text("topic"))).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_member_id(id.clone())
            .with_generation_id_or_member_epoch(self.generation())
            .with_topics(vec![topic]);
        self.commit_as(9, &request);
    }

    fn value(&self) -> Option<GroupValue> {
        self.shard(|session| session.state.group(&text(GROUP)).map(|group| settled(group.value())))
    }

    fn offsets(&self) -> Vec<(StrBytes, i32, OffsetValue)> {
        self.shard(|session| {
            let group = text(GROUP);
            let offsets = session.state.offsets().of(&group);
            offsets.map(|(topic, partition, value)| (topic.clone(), partition, value.clone())).collect()
        })
    }

    fn subscriptions(&self) -> [bool; 2] {
        self.shard(|session| {
            let group = session.state.group(&text(GROUP)).unwrap();
            ["topic", "topic-2"].map(|topic| group.is_subscribed_to(&text(topic)))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn replaying_the_log_gives_the_state_that_was_live(steps in prop::collection::vec(step(), 1..80)) {
        let mut fixture = Fixture::new();
        let mut clients = Clients::default();
        for step in &steps {
            run(&mut fixture, &mut clients, step);
            let restarted = fixture.restarted();
            // Offsets are what the log says, at every moment, and so is whether there is a group.
            prop_assert_eq!(restarted.offsets(), fixture.offsets());
            prop_assert_eq!(restarted.state().is_some(), fixture.state().is_some());
            let stored_generation = stored_group(&fixture).map_or(0, |value| value.generation);
            match fixture.state() {
                // That it became empty could not be stored: a load finds the generation before, which times out.
                Some(State::Empty) if stored_generation != fixture.generation() => {
                    prop_assert!(stored_generation < fixture.generation());
                }
                // At rest it is as it was stored.
                Some(State::Stable | State::Empty) => {
                    prop_assert_eq!(restarted.value(), fixture.value());
                    prop_assert_eq!(restarted.subscriptions(), fixture.subscriptions());
                }
                // On the move, it is stored as it last rested.
                Some(State::PreparingRebalance | State::CompletingRebalance) => {
                    prop_assert!(restarted.generation() <= fixture.generation());
                }
                None => {}
            }
        }
        // Whatever happened, time clears the group of members, and then of itself.
        fixture.journal.fail_with(None);
        fixture.advance(600_000);
        prop_assert!(matches!(fixture.state(), None | Some(State::Empty)));
        fixture.advance(8 * 24 * 3600 * 1000);
        prop_assert_eq!(fixture.state(), None);
        prop_assert_eq!(fixture.shard(|session| session.state.groups().count()), 0);
        prop_assert!(fixture.shard(|session| session.state.next_deadline()).is_some());
    }
}
