use super::*;

#[test]
fn a_member_leaves_and_the_others_rebalance() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    assert_eq!(fixture.leave(&[leaving(&second)]), [Ok(())]);
    assert_eq!(fixture.heartbeat(&first, 2), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.heartbeat(&second, 2), Err(ErrorCode::UnknownMemberId));
    let response = fixture.rejoin(&first).answer();
    assert_eq!((response.generation_id, response.members.len()), (3, 1));
}

#[test]
fn when_the_last_member_leaves_the_group_is_empty_and_its_generation_moves_on() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    assert_eq!(fixture.leave(&[leaving(&first), leaving(&second)]), [Ok(()), Ok(())]);
    assert_eq!((fixture.state(), fixture.generation()), (Some(State::Empty), 3));
}

#[test]
fn leaving_tells_of_each_member_how_it_fared() {
    let fixture = Fixture::new();
    let (first, _) = fixture.stable_pair();
    let outcomes = fixture.leave(&[leaving(&text("stranger")), leaving(&first), leaving(&StrBytes::new())]);
    assert_eq!(outcomes, [Err(ErrorCode::UnknownMemberId), Ok(()), Err(ErrorCode::UnknownMemberId)]);
    assert_eq!(fixture.leave(&[leaving(&text("stranger"))]), [Err(ErrorCode::UnknownMemberId)]);
}

#[test]
fn a_waiting_join_of_a_member_that_is_removed_is_sent_to_come_as_a_new_one() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let joining = fixture.rejoin(&first);
    assert_eq!(fixture.leave(&[leaving(&first)]), [Ok(())]);
    assert_eq!(joining.answer().error_code, code(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.rejoin(&second).answer().leader, second);
}

#[test]
fn the_last_member_waited_for_leaves_and_the_rebalance_is_complete() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let mut joining = fixture.rejoin(&first);
    assert!(joining.is_parked());
    assert_eq!(fixture.leave(&[leaving(&second)]), [Ok(())]);
    assert_eq!(joining.answer().generation_id, 3);
}

#[test]
fn a_session_timeout_rebalances() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    fixture.advance(9_000);
    assert_eq!(fixture.heartbeat(&first, 2), Ok(()));
    fixture.advance(2_000);
    assert_eq!(fixture.heartbeat(&first, 2), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.heartbeat(&second, 2), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.rejoin(&first).answer().members.len(), 1);
}

#[test]
fn heartbeats_keep_a_session_for_ever() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    for _ in 0..100 {
        fixture.advance(9_999);
        assert_eq!(fixture.heartbeat(&first, 2), Ok(()));
        assert_eq!(fixture.heartbeat(&second, 2), Ok(()));
    }
}

#[test]
fn when_all_sessions_time_out_the_group_is_empty() {
    let mut fixture = Fixture::new();
    fixture.stable_pair();
    fixture.advance(SESSION_MS);
    assert_eq!(fixture.state(), Some(State::Empty));
    assert_eq!(fixture.restarted().state(), Some(State::Empty));
}

#[test]
fn a_member_whose_join_waits_for_us_does_not_time_out() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let mut joining = fixture.rejoin(&first);
    for _ in 0..5 {
        fixture.advance(9_000);
        let _ = fixture.heartbeat(&second, 2);
    }
    assert!(joining.is_parked());
    assert_eq!(fixture.rejoin(&second).answer().generation_id, 3);
    joining.answer();
}

#[test]
fn a_member_whose_sync_waits_for_the_leader_does_not_time_out() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let joining = fixture.rejoin(&first);
    fixture.join(9, &join_request(&second).with_protocols(protocols(&["range"], &["other"]))).answer();
    joining.answer();
    let mut waiting = fixture.sync(&second, 3);
    for _ in 0..4 {
        fixture.advance(9_000);
        assert_eq!(fixture.heartbeat(&first, 3), Ok(()));
    }
    assert!(waiting.is_parked());
    fixture.assign(&first, 3, &[&first, &second]).answer();
    assert_eq!(waiting.answer().error_code, OK);
}

#[test]
fn a_client_that_goes_away_while_it_waits_leaves_a_member_that_times_out() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    drop(fixture.rejoin(&first));
    assert_eq!(fixture.rejoin(&second).answer().generation_id, 3);
    fixture.advance(5_000);
    assert_eq!(fixture.heartbeat(&second, 3), Ok(()));
    fixture.advance(6_000);
    assert_eq!(fixture.member_ids(), [second]);
}

#[test]
fn a_new_member_whose_first_join_waits_too_long_is_dropped() {
    let mut fixture = Fixture::new();
    let (first, _) = fixture.stable_pair();
    // Hours to rebalance, so that only the limit for new members can end it.
    let patient = join_request(&first).with_rebalance_timeout_ms(36_000_000).with_session_timeout_ms(1_800_000);
    let mut leader = fixture.join(9, &patient);
    let other = fixture.member_ids().into_iter().find(|id| *id != first).unwrap();
    let (new, new_join) = fixture.enter();
    for _ in 0..38 {
        fixture.advance(8_000);
        let _ = fixture.heartbeat(&other, 2);
    }
    assert!(leader.is_parked());
    assert_eq!(new_join.answer().error_code, code(ErrorCode::UnknownMemberId));
    assert!(!fixture.member_ids().contains(&new));
}

#[test]
fn a_pending_member_holds_a_rebalance_up_until_it_expires() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let pending = fixture.new_id();
    let first_join = fixture.rejoin(&first);
    let mut second_join = fixture.rejoin(&second);
    assert!(second_join.is_parked());
    fixture.advance(SESSION_MS);
    assert_eq!(first_join.answer().generation_id, 3);
    assert_eq!(second_join.answer().generation_id, 3);
    assert_eq!(fixture.rejoin(&pending).answer().error_code, code(ErrorCode::UnknownMemberId));
}

#[test]
fn a_pending_member_may_leave() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let pending = fixture.new_id();
    let first_join = fixture.rejoin(&first);
    let second_join = fixture.rejoin(&second);
    assert_eq!(fixture.leave(&[leaving(&pending)]), [Ok(())]);
    assert_eq!((first_join.answer().error_code, second_join.answer().error_code), (OK, OK));
}

#[test]
fn ids_that_nobody_takes_up_are_given_out_up_to_a_limit_and_again_when_they_expire() {
    let mut fixture = Fixture::new();
    for _ in 0..10_000 {
        fixture.new_id();
    }
    let refused = fixture.join(9, &join_request(&StrBytes::new())).answer();
    assert_eq!(refused.error_code, code(ErrorCode::GroupMaxSizeReached));
    fixture.advance(SESSION_MS);
    fixture.new_id();
}

#[test]
fn a_member_is_not_known_before_it_has_joined() {
    let fixture = Fixture::new();
    let pending = fixture.new_id();
    assert_eq!(fixture.heartbeat(&pending, 0), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn heartbeats_of_strangers_and_of_other_generations_are_refused() {
    let fixture = Fixture::new();
    assert_eq!(fixture.heartbeat(&text("m"), 0), Err(ErrorCode::UnknownMemberId));
    let (first, _) = fixture.stable_pair();
    assert_eq!(fixture.heartbeat(&text("stranger"), 2), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.heartbeat(&first, 1), Err(ErrorCode::IllegalGeneration));
    assert_eq!(fixture.heartbeat(&first, 3), Err(ErrorCode::IllegalGeneration));
}

#[test]
fn an_id_that_no_group_gave_is_unknown() {
    let fixture = Fixture::new();
    let unknown = code(ErrorCode::UnknownMemberId);
    assert_eq!(fixture.rejoin(&text("made-up")).answer().error_code, unknown);
    assert_eq!(fixture.state(), None);
    fixture.stable_pair();
    assert_eq!(fixture.rejoin(&text("made-up")).answer().error_code, unknown);
}

#[test]
fn a_full_group_takes_its_members_back_but_nobody_new() {
    let fixture = Fixture::with(Groups { members_max: 2, ..config() });
    let (first, second) = fixture.stable_pair();
    let refused = fixture.join(9, &join_request(&StrBytes::new())).answer();
    assert_eq!((refused.error_code, refused.member_id), (code(ErrorCode::GroupMaxSizeReached), StrBytes::new()));
    let joining = fixture.rejoin(&first);
    assert_eq!(fixture.rejoin(&second).answer().error_code, OK);
    assert_eq!(joining.answer().members.len(), 2);
}

#[test]
fn a_rebalance_does_not_wait_for_a_member_that_has_just_been_refused() {
    let fixture = Fixture::with(Groups { members_max: 2, ..config() });
    let (first, join) = fixture.enter();
    join.answer();
    fixture.assign(&first, 1, &[&first]).answer();
    let [second, third] = [fixture.new_id(), fixture.new_id()];
    let (mut leader, mut follower) = (fixture.rejoin(&first), fixture.rejoin(&second));
    assert!(leader.is_parked() && follower.is_parked());
    assert_eq!(fixture.rejoin(&third).answer().error_code, code(ErrorCode::GroupMaxSizeReached));
    assert_eq!((leader.answer().generation_id, follower.answer().generation_id), (2, 2));
}

#[test]
fn of_a_loaded_group_that_is_too_large_now_the_last_to_come_are_refused() {
    let fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    let smaller = Groups { members_max: 1, ..config() };
    let restarted = Fixture::over(fixture.journal.clone(), smaller, fixture.now);
    assert_eq!(restarted.heartbeat(&first, 2), Err(ErrorCode::RebalanceInProgress));
    let joining = restarted.rejoin(&second);
    assert_eq!(restarted.rejoin(&first).answer().error_code, code(ErrorCode::GroupMaxSizeReached));
    assert_eq!(restarted.leave(&[leaving(&first)]), [Err(ErrorCode::UnknownMemberId)]);
    drop(joining);
}

#[test]
fn a_group_whose_creation_cannot_be_stored_is_not_there() {
    let fixture = Fixture::new();
    fixture.journal.fail_with(Some(ErrorCode::KafkaStorageError));
    let request = join_request(&StrBytes::new());
    let create = fixture.shard(|session| {
        let create = session.state.create_for(&request, fixture.now);
        session.write(create)
    });
    assert_eq!(create, Err(ErrorCode::NotCoordinator));
    assert_eq!(fixture.state(), None);
}
