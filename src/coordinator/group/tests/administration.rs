use kafka_protocol::messages::ListGroupsRequest;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::protocol::Encodable;

use super::*;

fn describe(fixture: &Fixture, group: &str, version: i16) -> DescribedGroup {
    let described = fixture.shard(|session| session.state.describe(&GroupId(text(group)), version));
    described.encode(&mut bytes::BytesMut::new(), version).unwrap();
    described
}

fn list(fixture: &Fixture, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
    let filter = |names: &[&str]| names.iter().map(|name| text(name)).collect();
    let request = ListGroupsRequest::default().with_states_filter(filter(states)).with_types_filter(filter(types));
    fixture.shard(|session| session.state.list(&request))
}

fn delete(fixture: &Fixture, group: &str) -> Result<(), ErrorCode> {
    fixture.shard(|session| {
        let tombstones = session.state.delete(&text(group))?;
        session.write(tombstones)
    })
}

#[test]
fn a_stable_group_is_described_with_what_its_members_said_and_got() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let described = describe(&fixture, GROUP, 6);
    assert_eq!((described.error_code, described.group_state.as_str()), (OK, "Stable"));
    assert_eq!((described.protocol_type.as_str(), described.protocol_data.as_str()), ("consumer", "range"));
    assert_eq!(described.members.len(), 2);
    for member in &described.members {
        assert!([&first, &second].contains(&&member.member_id));
        assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("client", "/127.0.0.1"));
        assert_eq!(member.member_metadata, subscription(&["topic"]));
        assert_eq!(member.member_assignment, *member.member_id.as_bytes());
    }
}

#[test]
fn a_group_that_rebalances_is_described_without_protocol_and_assignments() {
    let fixture = Fixture::new();
    fixture.stable_pair();
    let (_third, _join) = fixture.enter();
    let described = describe(&fixture, GROUP, 0);
    assert_eq!((described.group_state.as_str(), described.protocol_data.as_str()), ("PreparingRebalance", ""));
    assert!(described.members.iter().all(|member| member.member_assignment.is_empty()));
    assert!(described.members.iter().all(|member| member.member_metadata.is_empty()));
}

#[test]
fn an_unknown_group_is_dead_and_since_v6_not_found() {
    let fixture = Fixture::new();
    let old = describe(&fixture, "none", 5);
    assert_eq!((old.error_code, old.group_state.as_str()), (OK, "Dead"));
    let new = describe(&fixture, "none", 6);
    assert_eq!((new.error_code, new.group_state.as_str()), (code(ErrorCode::GroupIdNotFound), "Dead"));
    assert_eq!(new.error_message, Some(text("Group none not found.")));
}

#[test]
fn groups_are_listed_by_state_and_type_in_any_case() {
    let fixture = Fixture::new();
    fixture.stable_pair();
    let all = list(&fixture, &[], &[]);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].group_id.as_str(), all[0].protocol_type.as_str()), (GROUP, "consumer"));
    assert_eq!((all[0].group_state.as_str(), all[0].group_type.as_str()), ("Stable", "classic"));
    assert_eq!(list(&fixture, &["empty", "STABLE"], &["Classic"]).len(), 1);
    assert_eq!(list(&fixture, &["Empty"], &[]).len(), 0);
    assert_eq!(list(&fixture, &[], &["consumer"]).len(), 0);
    assert_eq!(list(&fixture, &[], &["nonsense"]).len(), 0);
}

#[test]
fn only_an_empty_group_is_deleted_and_its_offsets_with_it() {
    let fixture = Fixture::new();
    assert_eq!(delete(&fixture, GROUP), Err(ErrorCode::GroupIdNotFound));
    let (first, second) = fixture.stable_pair();
    assert_eq!(delete(&fixture, GROUP), Err(ErrorCode::NonEmptyGroup));
    fixture.leave(&[leaving(&first), leaving(&second)]);
    assert_eq!(fixture.commit("topic", 0, 5), OK);
    assert_eq!(delete(&fixture, GROUP), Ok(()));
    for fixture in [&fixture, &fixture.restarted()] {
        assert_eq!((fixture.state(), fixture.all_offsets()), (None, vec![]));
    }
}

#[test]
fn a_group_that_could_not_be_deleted_is_still_there() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    fixture.journal.fail_with(Some(ErrorCode::KafkaStorageError));
    assert_eq!(delete(&fixture, GROUP), Err(ErrorCode::NotCoordinator));
    assert_eq!((fixture.state(), fixture.all_offsets().len()), (Some(State::Empty), 1));
}
