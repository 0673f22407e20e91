use super::*;

fn static_request(member_id: &StrBytes, instance: &str) -> JoinGroupRequest {
    join_request(member_id).with_group_instance_id(Some(text(instance)))
}

/// A stable group of two static members, at its second generation: the leader `a` and `b`.
fn stable_static_pair(fixture: &Fixture) -> (StrBytes, StrBytes) {
    let a = fixture.join(9, &static_request(&StrBytes::new(), "a")).answer().member_id;
    let b_join = fixture.join(9, &static_request(&StrBytes::new(), "b"));
    assert_eq!(fixture.join(9, &static_request(&a, "a")).answer().generation_id, 2);
    let b = b_join.answer().member_id;
    let waiting = fixture.sync(&b, 2);
    fixture.assign(&a, 2, &[&a, &b]).answer();
    assert_eq!(waiting.answer().assignment, *b.as_bytes());
    (a, b)
}

#[test]
fn a_static_member_joins_without_being_given_an_id_first() {
    let fixture = Fixture::new();
    let response = fixture.join(9, &static_request(&StrBytes::new(), "a")).answer();
    assert_eq!((response.error_code, response.generation_id), (OK, 1));
    assert!(response.member_id.starts_with("a-"));
    assert_eq!(response.members[0].group_instance_id, Some(text("a")));
}

#[test]
fn a_static_follower_restarts_without_a_rebalance_and_keeps_its_assignment() {
    let fixture = Fixture::new();
    let (a, b) = stable_static_pair(&fixture);
    let back = fixture.join(9, &static_request(&StrBytes::new(), "b")).answer();
    assert_eq!((back.error_code, back.generation_id, back.leader), (OK, 2, a.clone()));
    assert_ne!(back.member_id, b);
    assert_eq!(fixture.sync(&back.member_id, 2).answer().assignment, *b.as_bytes());
    assert_eq!(fixture.heartbeat(&a, 2), Ok(()));
    assert_eq!(fixture.state(), Some(State::Stable));
    // The new id is stored.
    assert_eq!(fixture.restarted().heartbeat(&back.member_id, 2), Ok(()));
}

#[test]
fn a_static_leader_restarts_and_is_told_to_skip_the_assignment() {
    let fixture = Fixture::new();
    let (a, b) = stable_static_pair(&fixture);
    let back = fixture.join(9, &static_request(&StrBytes::new(), "a")).answer();
    assert_eq!((back.error_code, back.skip_assignment, back.members.len()), (OK, true, 2));
    assert_eq!(back.leader, back.member_id);
    assert_eq!(fixture.sync(&back.member_id, 2).answer().assignment, *a.as_bytes());
    assert_eq!(fixture.heartbeat(&b, 2), Ok(()));
}

#[test]
fn a_static_leader_of_an_older_version_comes_back_as_if_it_followed() {
    let fixture = Fixture::new();
    let (a, _) = stable_static_pair(&fixture);
    let back = fixture.join(8, &static_request(&StrBytes::new(), "a")).answer();
    assert_eq!((back.error_code, back.skip_assignment, back.members.len()), (OK, false, 0));
    assert_eq!(back.leader, a);
}

#[test]
fn the_one_that_was_replaced_is_fenced() {
    let fixture = Fixture::new();
    let (_, b) = stable_static_pair(&fixture);
    fixture.join(9, &static_request(&StrBytes::new(), "b")).answer();
    let fenced = code(ErrorCode::FencedInstanceId);
    assert_eq!(fixture.join(9, &static_request(&b, "b")).answer().error_code, fenced);
    let sync = sync_request(&b, 2).with_group_instance_id(Some(text("b")));
    assert_eq!(fixture.sync_with(&sync).answer().error_code, fenced);
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_member_id(b.clone())
        .with_group_instance_id(Some(text("b")))
        .with_generation_id(2);
    let outcome = fixture.shard(|session| session.state.heartbeat(&heartbeat, fixture.now));
    assert_eq!(outcome, Err(ErrorCode::FencedInstanceId));
    let leave = leaving(&b).with_group_instance_id(Some(text("b")));
    assert_eq!(fixture.leave(&[leave]), [Err(ErrorCode::FencedInstanceId)]);
    // Without its instance id it is nobody.
    assert_eq!(fixture.heartbeat(&b, 2), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn whoever_waits_under_the_old_id_is_fenced_at_once() {
    let fixture = Fixture::new();
    let (_, b) = stable_static_pair(&fixture);
    let changed = static_request(&b, "b").with_protocols(protocols(&["range"], &["other"]));
    let mut waiting = fixture.join(9, &changed);
    assert!(waiting.is_parked());
    let mut back = fixture.join(9, &static_request(&StrBytes::new(), "b"));
    assert_eq!(waiting.answer().error_code, code(ErrorCode::FencedInstanceId));
    assert!(back.is_parked());
}

#[test]
fn a_static_member_back_while_the_leader_assigns_makes_everybody_join_again() {
    let fixture = Fixture::new();
    let (a, b) = stable_static_pair(&fixture);
    let joining = fixture.join(9, &static_request(&a, "a"));
    fixture.join(9, &static_request(&b, "b").with_protocols(protocols(&["range"], &["other"]))).answer();
    joining.answer();
    let mut back = fixture.join(9, &static_request(&StrBytes::new(), "b"));
    assert!(back.is_parked());
    let late = fixture.assign(&a, 3, &[&a, &b]).answer();
    assert_eq!(late.error_code, code(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.join(9, &static_request(&a, "a")).answer().generation_id, 4);
    assert_eq!(back.answer().generation_id, 4);
}

#[test]
fn a_static_member_back_with_other_protocols_rebalances_only_if_they_change_the_selected_one() {
    let fixture = Fixture::new();
    let both = |id: &StrBytes, instance, names: &[&str]| {
        static_request(id, instance).with_protocols(protocols(names, &["topic"]))
    };
    let a = fixture.join(9, &both(&StrBytes::new(), "a", &["range", "sticky"])).answer().member_id;
    fixture.assign(&a, 1, &[&a]).answer();
    let back = fixture.join(9, &both(&StrBytes::new(), "a", &["range"])).answer();
    assert_eq!((back.generation_id, fixture.state()), (1, Some(State::Stable)));
    let again = fixture.join(9, &both(&StrBytes::new(), "a", &["range", "sticky"])).answer();
    assert_eq!(again.generation_id, 1);
    let changed = fixture.join(9, &both(&StrBytes::new(), "a", &["sticky", "range"])).answer();
    assert_eq!((changed.generation_id, changed.protocol_name), (2, Some(text("sticky"))));
}

#[test]
fn a_replacement_that_cannot_be_stored_leaves_the_old_member_in_place() {
    let mut fixture = Fixture::new();
    let (a, b) = stable_static_pair(&fixture);
    fixture.journal.fail_with(Some(ErrorCode::KafkaStorageError));
    for instance in ["a", "b"] {
        let refused = fixture.join(9, &static_request(&StrBytes::new(), instance)).answer();
        assert_eq!(refused.error_code, code(ErrorCode::NotCoordinator));
    }
    fixture.journal.fail_with(None);
    let mut ids = [a.clone(), b.clone()];
    ids.sort();
    assert_eq!(fixture.member_ids(), ids);
    assert_eq!(fixture.sync(&b, 2).answer().assignment, *b.as_bytes());
    fixture.advance(SESSION_MS - 1);
    // It still leads: its joining again begins a rebalance.
    assert_eq!(fixture.heartbeat(&b, 2), Ok(()));
    assert!(fixture.join(9, &static_request(&a, "a")).is_parked());
    assert_eq!(fixture.state(), Some(State::PreparingRebalance));
}

#[test]
fn a_static_member_that_is_silent_is_not_dropped_by_a_rebalance_but_by_its_session() {
    let mut fixture = Fixture::new();
    let long = |id: &StrBytes, instance| static_request(id, instance).with_session_timeout_ms(300_000);
    let a = fixture.join(9, &long(&StrBytes::new(), "a")).answer().member_id;
    let b_join = fixture.join(9, &long(&StrBytes::new(), "b"));
    fixture.join(9, &long(&a, "a")).answer();
    let b = b_join.answer().member_id;
    fixture.sync(&b, 2);
    fixture.assign(&a, 2, &[&a, &b]).answer();
    let joining = fixture.join(9, &long(&a, "a"));
    fixture.advance(REBALANCE_MS);
    assert_eq!(joining.answer().members.len(), 2);
    assert!(fixture.member_ids().contains(&b));
    fixture.advance(300_000);
    assert!(!fixture.member_ids().contains(&b));
}

#[test]
fn where_only_silent_static_members_are_left_the_rebalance_waits_for_them() {
    let mut fixture = Fixture::new();
    let long = |id: &StrBytes| static_request(id, "a").with_session_timeout_ms(600_000);
    let a = fixture.join(9, &long(&StrBytes::new())).answer().member_id;
    fixture.assign(&a, 1, &[&a]).answer();
    let (new, _) = fixture.enter();
    assert_eq!(fixture.leave(&[leaving(&new)]), [Ok(())]);
    fixture.advance(3 * REBALANCE_MS);
    assert_eq!(fixture.state(), Some(State::PreparingRebalance));
    assert_eq!(fixture.join(9, &long(&a)).answer().generation_id, 2);
}

#[test]
fn silent_static_members_that_give_us_no_time_do_not_keep_us_busy_for_ever() {
    let mut fixture = Fixture::new();
    let hasty = |id: &StrBytes| static_request(id, "a").with_rebalance_timeout_ms(-1);
    let a = fixture.join(9, &hasty(&StrBytes::new())).answer().member_id;
    fixture.assign(&a, 1, &[&a]).answer();
    let (new, _) = fixture.enter();
    assert_eq!(fixture.leave(&[leaving(&new)]), [Ok(())]);
    fixture.advance(SESSION_MS);
    assert_eq!(fixture.state(), Some(State::Empty));
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let fixture = Fixture::new();
    let (_, b) = stable_static_pair(&fixture);
    let remove = |instance| MemberIdentity::default().with_group_instance_id(Some(text(instance)));
    assert_eq!(fixture.leave(&[remove("b"), remove("c")]), [Ok(()), Err(ErrorCode::UnknownMemberId)]);
    assert!(!fixture.member_ids().contains(&b));
    assert_eq!(fixture.state(), Some(State::PreparingRebalance));
}
