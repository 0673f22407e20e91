//! Records of `__consumer_offsets` in the JSON that Kafka's `--offsets-decoder` prints, as far as the group coordinator
//! reads them; of the others, version and bytes.

use crate::cli::value::{Fields, Value, base64};
use crate::coordinator::group::records::{
    Assignment, GroupValue, Key, MemberValue, OffsetValue, RecordError, Subscription, TopicPartitions,
};
use crate::types::{Timestamp, TopicId};

/// The members of other protocol types put into their metadata what they like.
const CONSUMER_PROTOCOL: &str = "consumer";
const TOMBSTONE: &str = "<DELETE>";

/// What to print for key and payload.
pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<(Value, Value), RecordError> {
    let decoded = Key::decode(key)?;
    let payload = match value {
        None => Value::from(TOMBSTONE),
        Some(value) => {
            let data = match &decoded {
                Key::Offset(_) => offset_value(value)?.into(),
                Key::Group(_) => group_value(value)?.into(),
                Key::Other(_) => bytes_behind_version(value),
            };
            vec![("version", version_text(value)), ("data", data)].into()
        }
    };
    let data = match decoded {
        Key::Offset(key) => {
            vec![("group", key.group.into()), ("topic", key.topic.into()), ("partition", key.partition.into())].into()
        }
        Key::Group(group) => vec![("group", Value::from(group))].into(),
        Key::Other(_) => bytes_behind_version(key),
    };
    Ok((vec![("type", version_text(key)), ("data", data)].into(), payload))
}

/// A value that was decoded has its version in front.
fn version_of(bytes: &[u8]) -> i16 {
    bytes.first_chunk().map_or(-1, |version| i16::from_be_bytes(*version))
}

fn version_text(bytes: &[u8]) -> Value {
    version_of(bytes).to_string().into()
}

fn bytes_behind_version(bytes: &[u8]) -> Value {
    base64(bytes.get(2..).unwrap_or_default())
}

fn offset_value(bytes: &[u8]) -> Result<Fields, RecordError> {
    let value = OffsetValue::decode(bytes)?;
    let mut fields = vec![("offset", value.offset.0.into())];
    if version_of(bytes) >= 3 {
        fields.push(("leaderEpoch", value.leader_epoch.0.into()));
    }
    fields.push(("metadata", value.metadata.into()));
    fields.push(("commitTimestamp", value.commit_timestamp.0.into()));
    if version_of(bytes) == 1 {
        fields.push(("expireTimestamp", value.expire_timestamp.unwrap_or(Timestamp::NONE).0.into()));
    }
    if value.topic_id != TopicId::ZERO {
        fields.push(("topicId", value.topic_id.to_string().into()));
    }
    Ok(fields)
}

fn group_value(bytes: &[u8]) -> Result<Fields, RecordError> {
    let value = GroupValue::decode(bytes)?;
    let version = version_of(bytes);
    let is_consumer = value.protocol_type.as_str() == CONSUMER_PROTOCOL;
    let mut fields = vec![
        ("protocolType", value.protocol_type.into()),
        ("generation", value.generation.into()),
        ("protocol", value.protocol.into()),
        ("leader", value.leader.into()),
    ];
    if version >= 2 {
        fields.push(("currentStateTimestamp", value.current_state_timestamp.unwrap_or(Timestamp::NONE).0.into()));
    }
    let members: Vec<Fields> =
        value.members.into_iter().map(|member| member_value(member, version, is_consumer)).collect();
    fields.push(("members", members.into()));
    Ok(fields)
}

fn member_value(member: MemberValue, version: i16, is_consumer: bool) -> Fields {
    let mut fields = vec![("memberId", member.member_id.into())];
    if version >= 3 {
        fields.push(("groupInstanceId", member.group_instance_id.into()));
    }
    fields.push(("clientId", member.client_id.into()));
    fields.push(("clientHost", member.client_host.into()));
    if version >= 1 {
        fields.push(("rebalanceTimeout", member.rebalance_timeout_ms.into()));
    }
    fields.push(("sessionTimeout", member.session_timeout_ms.into()));
    let subscription = is_consumer.then(|| Subscription::decode(&member.subscription).ok()).flatten();
    let assignment = is_consumer.then(|| Assignment::decode(&member.assignment).ok()).flatten();
    fields.push(("subscription", subscription.map_or_else(|| base64(&member.subscription), subscription_value)));
    fields.push(("assignment", assignment.map_or_else(|| base64(&member.assignment), assignment_value)));
    fields
}

fn subscription_value(subscription: Subscription) -> Value {
    let mut fields = vec![
        ("topics", subscription.topics.into()),
        ("userData", subscription.user_data.map(|data| base64(&data)).into()),
    ];
    if let Some(owned) = subscription.owned_partitions {
        fields.push(("ownedPartitions", topic_partitions(owned)));
    }
    if let Some(generation) = subscription.generation {
        fields.push(("generationId", generation.into()));
    }
    if let Some(rack_id) = subscription.rack_id {
        fields.push(("rackId", rack_id.into()));
    }
    fields.into()
}

fn assignment_value(assignment: Assignment) -> Value {
    vec![
        ("assignedPartitions", topic_partitions(assignment.partitions)),
        ("userData", assignment.user_data.map(|data| base64(&data)).into()),
    ]
    .into()
}

fn topic_partitions(topics: Vec<TopicPartitions>) -> Value {
    let fields = |it: TopicPartitions| vec![("topic", it.topic.into()), ("partitions", Value::from(it.partitions))];
    topics.into_iter().map(fields).collect::<Vec<Fields>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::value::Text;

    const KEY: &[u8] = b"\0\x01\0\x01g\0\x01t\0\0\0\x03";

    fn text(key: &[u8], value: Option<&[u8]>) -> (String, String) {
        let (key, payload) = decode(key, value).unwrap();
        (Text(&key).to_string(), Text(&payload).to_string())
    }

    #[test]
    fn an_offset_that_expires_has_the_fields_of_its_version() {
        let value =
            [&[0, 1][..], &5_i64.to_be_bytes(), b"\0\x01m", &6_i64.to_be_bytes(), &7_i64.to_be_bytes()].concat();
        let key = r#"{"type":"1","data":{"group":"g","topic":"t","partition":3}}"#;
        let payload = r#"{"version":"1","data":{"offset":5,"metadata":"m","commitTimestamp":6,"expireTimestamp":7}}"#;
        assert_eq!(text(KEY, Some(&value)), (key.to_owned(), payload.to_owned()));
        assert_eq!(text(KEY, None).1, "<DELETE>");
    }

    #[test]
    fn what_the_coordinator_does_not_read_keeps_its_bytes() {
        let expected = (r#"{"type":"9","data":"/w=="}"#.to_owned(), r#"{"version":"4","data":"AQI="}"#.to_owned());
        assert_eq!(text(&[0, 9, 0xff], Some(&[0, 4, 1, 2])), expected);
    }

    #[test]
    fn metadata_of_members_that_are_no_consumers_is_bytes() {
        let member = b"\0\x01m\0\x01c\0\x01h\0\0\0\x09\0\0\0\x02\0\0\0\0\0\0";
        let value = [&[0, 0][..], b"\0\x01p\0\0\0\x01\xff\xff\xff\xff\0\0\0\x01", member].concat();
        let payload = r#"{"version":"0","data":{"protocolType":"p","generation":1,"protocol":null,"leader":null,"members":[{"memberId":"m","clientId":"c","clientHost":"h","sessionTimeout":9,"subscription":"AAA=","assignment":""}]}}"#;
        assert_eq!(text(b"\0\x02\0\x01g", Some(&value)).1, payload);
    }

    #[test]
    fn a_record_that_ends_early_is_an_error() {
        assert!(decode(&KEY[..5], None).is_err());
        assert!(decode(KEY, Some(&[0, 4, 1])).is_err());
    }
}
