use proptest::prelude::*;

use super::*;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn offset_key() -> OffsetKey {
    OffsetKey { group: text("g"), topic: text("t"), partition: 3 }
}

fn offset_value() -> OffsetValue {
    OffsetValue {
        offset: Offset(42),
        leader_epoch: LeaderEpoch(7),
        metadata: text("m"),
        commit_timestamp: Timestamp(1000),
        expire_timestamp: None,
        topic_id: TopicId::ZERO,
    }
}

fn group_value() -> GroupValue {
    GroupValue {
        protocol_type: text("consumer"),
        generation: 5,
        protocol: Some(text("range")),
        leader: Some(text("m1")),
        current_state_timestamp: Some(Timestamp(1000)),
        members: vec![MemberValue {
            member_id: text("m1"),
            group_instance_id: None,
            client_id: text("c"),
            client_host: text("/h"),
            rebalance_timeout_ms: 60_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"as"),
        }],
    }
}

#[test]
fn an_offset_has_the_bytes_of_its_schema() {
    let record = offset_key().record(Some(&offset_value()));
    assert_eq!(hex(&record.key), "0001000167000174 00000003".replace(' ', ""));
    let value = "0004 000000000000002a 00000007 02 6d 00000000000003e8 00".replace(' ', "");
    assert_eq!(hex(&record.value.unwrap()), value);
}

#[test]
fn a_topic_id_goes_into_a_tagged_field_and_is_found_there() {
    let value = OffsetValue { topic_id: TopicId(Uuid::from_u128(0xabc)), ..offset_value() };
    let bytes = offset_key().record(Some(&value)).value.unwrap();
    assert!(hex(&bytes).ends_with(&format!("010010{:032x}", 0xabc)));
    assert_eq!(OffsetValue::decode(&bytes), Ok(value));
}

#[test]
fn an_expiry_is_stored_in_the_one_version_that_has_a_place_for_it() {
    let value =
        OffsetValue { expire_timestamp: Some(Timestamp(2000)), leader_epoch: LeaderEpoch::NONE, ..offset_value() };
    let bytes = offset_key().record(Some(&value)).value.unwrap();
    assert_eq!(hex(&bytes), "0001 000000000000002a 0001 6d 00000000000003e8 00000000000007d0".replace(' ', ""));
    assert_eq!(OffsetValue::decode(&bytes), Ok(value));
}

#[test]
fn offsets_of_every_version_are_read() {
    let expected = OffsetValue { leader_epoch: LeaderEpoch::NONE, ..offset_value() };
    for version in ["0000", "0002"] {
        let bytes = unhex(&format!("{version} 000000000000002a 0001 6d 00000000000003e8"));
        assert_eq!(OffsetValue::decode(&bytes), Ok(expected.clone()));
    }
    let bytes = unhex("0001 000000000000002a 0001 6d 00000000000003e8 ffffffffffffffff");
    assert_eq!(OffsetValue::decode(&bytes), Ok(expected));
    let bytes = unhex("0003 000000000000002a 00000007 0001 6d 00000000000003e8");
    assert_eq!(OffsetValue::decode(&bytes), Ok(offset_value()));
    // A tag of a later Kafka is passed over.
    let bytes = unhex("0004 000000000000002a 00000007 02 6d 00000000000003e8 01 05 02 aabb");
    assert_eq!(OffsetValue::decode(&bytes), Ok(offset_value()));
}

#[test]
fn a_group_has_the_bytes_of_its_schema() {
    let record = group_record(&text("g"), Some(&group_value()));
    assert_eq!(hex(&record.key), "0002000167");
    let value = "0003 0008 636f6e73756d6572 00000005 0005 72616e6765 0002 6d31 00000000000003e8 00000001
        0002 6d31 ffff 0001 63 0002 2f68 0000ea60 00002710 00000001 73 00000002 6173";
    assert_eq!(hex(&record.value.unwrap()), hex(&unhex(value)));
}

#[test]
fn groups_of_every_version_are_read() {
    let member = |rebalance| {
        let mut member = group_value().members.remove(0);
        member.rebalance_timeout_ms = rebalance;
        vec![member]
    };
    let head = "0008 636f6e73756d6572 00000005 0005 72616e6765 0002 6d31";
    let oldest = format!("0000 {head} 00000001 0002 6d31 0001 63 0002 2f68 00002710 00000001 73 00000002 6173");
    let without_timestamp = GroupValue { current_state_timestamp: None, ..group_value() };
    let expected = GroupValue { members: member(10_000), ..without_timestamp.clone() };
    assert_eq!(GroupValue::decode(&unhex(&oldest)), Ok(expected));
    let rest = "0002 6d31 0001 63 0002 2f68 0000ea60 00002710 00000001 73 00000002 6173";
    assert_eq!(GroupValue::decode(&unhex(&format!("0001 {head} 00000001 {rest}"))), Ok(without_timestamp));
    let second = format!("0002 {head} 00000000000003e8 00000001 {rest}");
    assert_eq!(GroupValue::decode(&unhex(&second)), Ok(group_value()));
    let flexible = "0004 09 636f6e73756d6572 00000005 06 72616e6765 03 6d31 00000000000003e8 02
        03 6d31 00 02 63 03 2f68 0000ea60 00002710 02 73 03 6173 00 00";
    assert_eq!(GroupValue::decode(&unhex(flexible)), Ok(group_value()));
}

#[test]
fn keys_are_told_apart_and_unknown_ones_are_named() {
    let key = offset_key().record(None);
    assert_eq!((Key::decode(&key.key), key.value), (Ok(Key::Offset(offset_key())), None));
    let mut legacy = key.key.to_vec();
    legacy[1] = 0;
    assert_eq!(Key::decode(&legacy), Ok(Key::Offset(offset_key())));
    assert_eq!(Key::decode(&group_record(&text("g"), None).key), Ok(Key::Group(text("g"))));
    assert_eq!(Key::decode(&[0, 3, 1, 2, 3]), Ok(Key::Other(3)));
}

#[test]
fn a_value_of_a_later_version_is_not_guessed_at() {
    let unknown = |what, version| Err(RecordError::UnknownVersion { what, version });
    assert_eq!(OffsetValue::decode(&[0, 5, 0]), unknown("offset", 5));
    assert_eq!(GroupValue::decode(&[0xff, 0xff]).map(drop), unknown("group", -1).map(drop));
}

#[test]
fn a_record_cut_short_anywhere_is_refused() {
    let offset = offset_key().record(Some(&offset_value())).value.unwrap();
    let group = group_record(&text("g"), Some(&group_value())).value.unwrap();
    for end in 0..offset.len() {
        assert!(OffsetValue::decode(&offset[..end]).is_err());
    }
    for end in 0..group.len() {
        assert!(GroupValue::decode(&group[..end]).is_err());
    }
}

#[test]
fn a_count_of_members_larger_than_the_record_allocates_nothing() {
    let bytes = unhex("0003 0000 00000005 ffff ffff 0000000000000000 7fffffff");
    let truncated = RecordError::Wire { what: "group", source: WireError::Truncated };
    assert_eq!(GroupValue::decode(&bytes), Err(truncated));
}

#[test]
fn a_subscription_of_any_version_gives_its_topics_and_garbage_gives_none() {
    // Version 1 has more after the topics and the user data.
    let bytes = unhex("0001 00000002 0001 61 0002 6263 ffffffff 00000000");
    assert_eq!(subscribed_topics(&bytes), Some(vec![text("a"), text("bc")]));
    assert_eq!(subscribed_topics(b""), None);
    assert_eq!(subscribed_topics(&unhex("0000 7fffffff 0001 61")), None);
}

proptest! {
    #[test]
    fn no_bytes_from_the_disk_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0..6u8) {
        let mut bytes = bytes;
        bytes.splice(0..0, [0, version]);
        let _ = Key::decode(&bytes);
        let _ = OffsetValue::decode(&bytes);
        let _ = GroupValue::decode(&bytes);
        let _ = subscribed_topics(&bytes);
    }

    #[test]
    fn what_is_written_is_read(
        offset in any::<i64>(), epoch in any::<i32>(), metadata in ".{0,300}", time in any::<i64>(), id in any::<u128>(),
    ) {
        let value = OffsetValue {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(epoch),
            metadata: text(&metadata),
            commit_timestamp: Timestamp(time),
            expire_timestamp: None,
            topic_id: TopicId(Uuid::from_u128(id)),
        };
        let record = offset_key().record(Some(&value));
        prop_assert_eq!(OffsetValue::decode(&record.value.unwrap()), Ok(value));
    }
}
