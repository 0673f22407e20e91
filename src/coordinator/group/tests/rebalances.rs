use super::*;

#[test]
fn the_first_member_makes_the_group_leads_it_and_is_assigned_what_it_assigns() {
    let fixture = Fixture::new();
    let (id, join) = fixture.enter();
    let response = join.answer();
    assert_eq!((response.error_code, response.generation_id), (OK, 1));
    assert_eq!((response.leader, response.protocol_name), (id.clone(), Some(text("range"))));
    assert_eq!(response.protocol_type, Some(text("consumer")));
    assert_eq!(response.members.len(), 1);
    assert_eq!(response.members[0].metadata, subscription(&["topic"]));
    let sync = fixture.assign(&id, 1, &[&id]).answer();
    assert_eq!((sync.error_code, sync.protocol_name), (OK, Some(text("range"))));
    assert_eq!(sync.assignment, *id.as_bytes());
    assert_eq!(fixture.state(), Some(State::Stable));
}

#[test]
fn two_members_join_and_sync() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    assert_eq!(fixture.heartbeat(&first, 2), Ok(()));
    assert_eq!(fixture.heartbeat(&second, 2), Ok(()));
}

#[test]
fn members_before_v4_join_without_being_given_an_id_first() {
    let fixture = Fixture::new();
    let response = fixture.join(3, &join_request(&StrBytes::new())).answer();
    assert_eq!((response.error_code, response.generation_id), (OK, 1));
    assert!(response.member_id.starts_with("client-"));
}

#[test]
fn a_follower_that_syncs_early_waits_for_the_leader_and_one_that_syncs_late_is_answered_at_once() {
    let fixture = Fixture::new();
    let (first, second) = fixture.two_joined();
    let mut early = fixture.sync(&second, 2);
    assert!(early.is_parked());
    fixture.assign(&first, 2, &[&first, &second]).answer();
    assert_eq!(early.answer().assignment, *second.as_bytes());
    assert_eq!(fixture.sync(&second, 2).answer().assignment, *second.as_bytes());
}

#[test]
fn a_member_that_the_leader_forgot_gets_an_empty_assignment() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let third = fixture.new_id();
    for call in [fixture.rejoin(&third), fixture.rejoin(&first), fixture.rejoin(&second)] {
        assert_eq!(call.answer().generation_id, 3);
    }
    let waiting = fixture.sync(&third, 3);
    fixture.assign(&first, 3, &[&first, &second]).answer();
    let response = waiting.answer();
    assert_eq!((response.error_code, response.assignment.len()), (OK, 0));
}

#[test]
fn a_new_member_makes_the_others_join_again_as_their_heartbeats_tell_them() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let (third, mut third_join) = fixture.enter();
    assert_eq!(fixture.heartbeat(&first, 2), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.sync(&second, 2).answer().error_code, code(ErrorCode::RebalanceInProgress));
    let mut second_join = fixture.rejoin(&second);
    assert!(second_join.is_parked() && third_join.is_parked());
    let leader = fixture.rejoin(&first).answer();
    assert_eq!((leader.generation_id, leader.members.len()), (3, 3));
    assert_eq!(second_join.answer().members.len(), 0);
    assert_eq!(third_join.answer().member_id, third);
}

#[test]
fn a_cooperative_rebalance_is_two_in_a_row_each_begun_by_a_member_that_joins_again() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    // Having given partitions up, the follower joins again with other owned partitions in its metadata.
    let changed = join_request(&second).with_protocols(protocols(&["range"], &["topic", "more"]));
    let mut follower = fixture.join(9, &changed);
    assert!(follower.is_parked());
    assert_eq!(fixture.heartbeat(&first, 2), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.rejoin(&first).answer().generation_id, 3);
    assert_eq!(follower.answer().generation_id, 3);
    fixture.sync(&second, 3);
    fixture.assign(&first, 3, &[&first, &second]).answer();
    let mut leader = fixture.rejoin(&first);
    assert!(leader.is_parked());
    fixture.join(9, &changed).answer();
    assert_eq!(leader.answer().generation_id, 4);
}

#[test]
fn a_follower_that_joins_again_unchanged_is_told_the_current_generation() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let response = fixture.rejoin(&second).answer();
    assert_eq!((response.error_code, response.generation_id, response.leader), (OK, 2, first));
    assert_eq!(fixture.state(), Some(State::Stable));
}

#[test]
fn a_join_repeated_before_the_sync_is_answered_again_without_a_rebalance() {
    let fixture = Fixture::new();
    let (first, join) = fixture.enter();
    join.answer();
    let again = fixture.rejoin(&first).answer();
    assert_eq!((again.generation_id, again.members.len()), (1, 1));
    assert_eq!(fixture.state(), Some(State::CompletingRebalance));
}

#[test]
fn waiting_syncs_are_sent_to_join_again_when_a_member_comes() {
    let fixture = Fixture::new();
    let (_first, second) = fixture.two_joined();
    let waiting = fixture.sync(&second, 2);
    let (_third, _join) = fixture.enter();
    assert_eq!(waiting.answer().error_code, code(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.state(), Some(State::PreparingRebalance));
}

#[test]
fn the_protocol_with_the_most_votes_among_those_that_all_offer_is_selected() {
    let fixture = Fixture::new();
    let join =
        |id: &StrBytes, names: &[&str]| fixture.join(9, &join_request(id).with_protocols(protocols(names, &["topic"])));
    let [a, b, c] = [fixture.new_id(), fixture.new_id(), fixture.new_id()];
    join(&a, &["sticky", "range", "mine"]).answer();
    let waiting = [join(&b, &["range", "sticky"]), join(&c, &["range", "sticky", "theirs"])];
    assert_eq!(join(&a, &["sticky", "range", "mine"]).answer().protocol_name, Some(text("range")));
    for call in waiting {
        assert_eq!(call.answer().protocol_name, Some(text("range")));
    }
}

#[test]
fn a_member_that_shares_no_protocol_with_the_others_is_refused() {
    let fixture = Fixture::new();
    fixture.stable_pair();
    let refused = |request: JoinGroupRequest| fixture.join(9, &request).answer().error_code;
    let new = || join_request(&StrBytes::new());
    let inconsistent = code(ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(new().with_protocols(protocols(&["sticky"], &["topic"]))), inconsistent);
    assert_eq!(refused(new().with_protocol_type(text("connect"))), inconsistent);
    assert_eq!(refused(new().with_protocols(vec![])), inconsistent);
    assert_eq!(fixture.state(), Some(State::Stable));
}

#[test]
fn an_empty_group_takes_any_protocol_but_not_none() {
    let fixture = Fixture::new();
    let (id, join) = fixture.enter();
    join.answer();
    assert_eq!(fixture.leave(&[leaving(&id)]), [Ok(())]);
    let nothing = join_request(&StrBytes::new()).with_protocols(vec![]);
    assert_eq!(fixture.join(9, &nothing).answer().error_code, code(ErrorCode::InconsistentGroupProtocol));
    let connect = join_request(&StrBytes::new()).with_protocol_type(text("connect"));
    let response = fixture.join(3, &connect).answer();
    assert_eq!((response.error_code, response.protocol_type), (OK, Some(text("connect"))));
}

#[test]
fn the_initial_rebalance_waits_for_more_members_and_longer_while_they_come() {
    let delay = Duration::from_secs(3);
    let mut fixture = Fixture::with(Groups { initial_rebalance_delay: delay, ..config() });
    let (_, mut first) = fixture.enter();
    fixture.advance(2_000);
    let (_, mut second) = fixture.enter();
    fixture.advance(1_500);
    assert!(first.is_parked() && second.is_parked());
    fixture.advance(2_600);
    assert_eq!(first.answer().generation_id, 1);
    assert_eq!(second.answer().generation_id, 1);
}

#[test]
fn the_initial_rebalance_ends_with_the_rebalance_timeout_however_many_come() {
    let delay = Duration::from_secs(3);
    let mut fixture = Fixture::with(Groups { initial_rebalance_delay: delay, ..config() });
    let (id, mut first) = {
        let id = fixture.new_id();
        (id.clone(), fixture.join(9, &join_request(&id).with_rebalance_timeout_ms(10_000)))
    };
    let mut others = Vec::new();
    for _ in 0..3 {
        assert!(first.is_parked());
        let new = fixture.new_id();
        others.push(fixture.join(9, &join_request(&new).with_rebalance_timeout_ms(10_000)));
        fixture.advance(3_000);
    }
    fixture.advance(1_000);
    assert_eq!(first.answer().member_id, id);
    assert_eq!(fixture.generation(), 1);
}

#[test]
fn the_rebalance_timeout_drops_the_slow() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let mut joining = fixture.rejoin(&first);
    for _ in 0..7 {
        fixture.advance(8_000);
        assert_eq!(fixture.heartbeat(&second, 2), Err(ErrorCode::RebalanceInProgress));
        assert!(joining.is_parked());
    }
    fixture.advance(4_000);
    let response = joining.answer();
    assert_eq!((response.generation_id, response.members.len()), (3, 1));
    assert_eq!(fixture.heartbeat(&second, 2), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn where_the_leader_is_too_slow_another_leads() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let (third, third_join) = fixture.enter();
    let second_join = fixture.rejoin(&second);
    fixture.advance(8_000);
    assert_eq!(fixture.heartbeat(&first, 2), Err(ErrorCode::RebalanceInProgress));
    fixture.advance(REBALANCE_MS);
    let (second_answer, third_answer) = (second_join.answer(), third_join.answer());
    assert_eq!(second_answer.leader, third_answer.leader);
    assert_eq!(second_answer.members.len() + third_answer.members.len(), 2);
    assert!([second, third].contains(&second_answer.leader));
}

#[test]
fn members_that_do_not_sync_in_time_are_dropped() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let joining = fixture.rejoin(&first);
    let changed = join_request(&second).with_protocols(protocols(&["range"], &["other"]));
    fixture.join(9, &changed).answer();
    joining.answer();
    fixture.assign(&first, 3, &[&first, &second]).answer();
    for _ in 0..8 {
        fixture.advance(8_000);
        let _ = fixture.heartbeat(&first, 3);
        let _ = fixture.heartbeat(&second, 3);
    }
    assert_eq!(fixture.member_ids(), [first]);
    assert_eq!(fixture.state(), Some(State::PreparingRebalance));
}

#[test]
fn a_member_that_gives_no_time_to_rebalance_can_still_sync() {
    let fixture = Fixture::new();
    let request = join_request(&StrBytes::new()).with_rebalance_timeout_ms(0);
    let id = fixture.join(3, &request).answer().member_id;
    assert_eq!(fixture.assign(&id, 1, &[&id]).answer().error_code, OK);
}

#[test]
fn a_leader_that_never_assigns_is_dropped_and_the_waiting_join_again() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let joining = fixture.rejoin(&first);
    fixture.join(9, &join_request(&second).with_protocols(protocols(&["range"], &["other"]))).answer();
    joining.answer();
    let waiting = fixture.sync(&second, 3);
    for _ in 0..8 {
        fixture.advance(8_000);
        let _ = fixture.heartbeat(&first, 3);
    }
    assert_eq!(waiting.answer().error_code, code(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.member_ids(), [second]);
}

#[test]
fn a_sync_of_another_generation_or_protocol_is_refused() {
    let fixture = Fixture::new();
    let (first, _) = fixture.stable_pair();
    let refused = |request: SyncGroupRequest| fixture.sync_with(&request).answer().error_code;
    assert_eq!(refused(sync_request(&first, 1)), code(ErrorCode::IllegalGeneration));
    assert_eq!(refused(sync_request(&text("stranger"), 2)), code(ErrorCode::UnknownMemberId));
    let inconsistent = code(ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(sync_request(&first, 2).with_protocol_name(Some(text("sticky")))), inconsistent);
    assert_eq!(refused(sync_request(&first, 2).with_protocol_type(Some(text("connect")))), inconsistent);
    let named =
        sync_request(&first, 2).with_protocol_name(Some(text("range"))).with_protocol_type(Some(text("consumer")));
    assert_eq!(refused(named), OK);
    assert_eq!(refused(sync_request(&first, 2).with_group_id(GroupId(text("none")))), code(ErrorCode::UnknownMemberId));
}

#[test]
fn an_assignment_that_cannot_be_stored_is_given_to_nobody_and_everybody_joins_again() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let joining = fixture.rejoin(&first);
    fixture.join(9, &join_request(&second).with_protocols(protocols(&["range"], &["other"]))).answer();
    joining.answer();
    let waiting = fixture.sync(&second, 3);
    fixture.journal.fail_with(Some(ErrorCode::KafkaStorageError));
    let refused = fixture.assign(&first, 3, &[&first, &second]).answer();
    assert_eq!((refused.error_code, refused.assignment.len()), (code(ErrorCode::NotCoordinator), 0));
    assert_eq!(waiting.answer().error_code, code(ErrorCode::NotCoordinator));
    assert_eq!(fixture.state(), Some(State::PreparingRebalance));
}
