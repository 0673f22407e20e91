//! What users of the rdkafka crate do every day.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{AlterConfig, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::groups::GroupInfo;
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, Timestamp, TopicPartitionList};

use crate::clients::{
    admin, admin_options, assigned, bootstrap, consumer, create, new_topic, only, read, read_and_compare, records, send, unique,
    until, Settings, Writer, API_TIME_MAX,
};
use crate::formula::{timestamp, LONGEST_VALUE};
use crate::{Outcome, PROFILE};

const GROUP_RECORDS: usize = 2_000;

type Check = Box<dyn FnOnce() -> Outcome + Send>;

pub fn all() -> Vec<(String, Check)> {
    let mut checks: Vec<(String, Check)> = Vec::new();
    let mut add = |name: &str, check: fn() -> Outcome| checks.push((name.to_owned(), Box::new(check)));
    add("topics/a-created-topic-is-listed-and-described", created_topic_is_described);
    add("topics/a-replica-assignment-is-kept", replica_assignment);
    add("topics/validate-only-creates-nothing", validate_only);
    add("topics/bad-requests-get-their-errors", bad_topics);
    add("topics/a-deleted-topic-is-gone", delete_topic);
    add("topics/partitions-can-be-added", create_partitions);
    add("topics/an-unknown-topic-gives-its-error", unknown_topic);
    add("topics/producing-to-a-missing-topic-creates-it", auto_create);
    add("configs/of-a-topic-are-described-and-altered", configs);
    add("cluster/is-described", cluster);
    add("records/acks-none-and-leader-arrive-too", acks);
    add("records/stamped-by-the-broker-with-log-append-time", log_append_time);
    add("idempotent/all-records-in-order-none-missing", idempotent);
    add("sizes/a-record-at-the-limit-goes-through", at_the_limit);
    add("sizes/a-record-over-the-limit-is-refused", over_the_limit);
    add("offsets/beginning-and-end", watermarks);
    add("offsets/by-timestamp", by_timestamp);
    add("offsets/seek-and-read-on", seek);
    add("offsets/out-of-range-gives-its-error", out_of_range);
    add("groups/cooperative-sticky-keeps-what-stays", cooperative_join);
    add("groups/a-static-member-comes-back-to-its-partitions", static_member);
    add("groups/a-second-static-member-fences-the-first", fenced_member);
    add("groups/are-listed-described-and-deleted", groups);
    add("groups/offsets-are-committed-and-found", committed_offsets);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        checks.push((format!("records/{codec}-come-back-byte-for-byte"), Box::new(move || round_trip(codec))));
    }
    for assignor in ["range", "roundrobin", "cooperative-sticky"] {
        let name = format!("groups/{assignor}-one-member-leaves-nothing-lost-nothing-twice");
        checks.push((name, Box::new(move || one_member_leaves(assignor))));
    }
    checks
}

fn expect_error(outcome: Outcome<impl Debug>, expected: Code) {
    let error = outcome.expect_err("no error");
    let code = match error.downcast_ref::<KafkaError>() {
        Some(error) => error.rdkafka_error_code(),
        None => error.downcast_ref::<Code>().copied(),
    };
    assert_eq!(code, Some(expected), "{error}");
}

fn value_to<'a>(topic: &'a str, partition: i32, value: &'a [u8]) -> BaseRecord<'a, [u8], [u8]> {
    BaseRecord::to(topic).partition(partition).payload(value)
}

// Topics

fn partitions_of(topic: &str) -> Outcome<Vec<Vec<i32>>> {
    let metadata = consumer(&[])?.fetch_metadata(Some(topic), API_TIME_MAX)?;
    let topic = &metadata.topics()[0];
    if let Some(error) = topic.error() {
        return Err(Code::from(error).into());
    }
    Ok(topic.partitions().iter().map(|partition| partition.replicas().to_vec()).collect())
}

fn is_listed(topic: &str) -> Outcome<bool> {
    let metadata = consumer(&[])?.fetch_metadata(None, API_TIME_MAX)?;
    Ok(metadata.topics().iter().any(|listed| listed.name() == topic))
}

fn broker_id() -> Outcome<i32> {
    Ok(consumer(&[])?.fetch_metadata(None, API_TIME_MAX)?.brokers()[0].id())
}

fn created_topic_is_described() -> Outcome {
    let topic = new_topic(3, &[("retention.ms", "3600000")])?;
    assert!(is_listed(&topic)?, "not listed");
    assert_eq!(partitions_of(&topic)?, vec![vec![broker_id()?]; 3], "replicas");
    assert_eq!(topic_config(&topic, "retention.ms")?.as_deref(), Some("3600000"));
    Ok(())
}

fn replica_assignment() -> Outcome {
    let name = unique("rust");
    let broker = [broker_id()?];
    create(NewTopic::new(&name, 2, TopicReplication::Variable(&[&broker, &broker])), &admin_options())??;
    assert_eq!(partitions_of(&name)?, [broker, broker], "replicas");
    Ok(())
}

fn validate_only() -> Outcome {
    let name = unique("rust");
    create(NewTopic::new(&name, 1, TopicReplication::Fixed(1)), &admin_options().validate_only(true))??;
    assert!(!is_listed(&name)?, "it was created");
    Ok(())
}

fn bad_topics() -> Outcome {
    let taken = new_topic(1, &[])?;
    let fresh = unique("rust");
    let refusal = |topic: NewTopic| create(topic, &admin_options()).map(Result::err);
    let replicas = TopicReplication::Fixed;
    assert_eq!(refusal(NewTopic::new(&taken, 1, replicas(1)))?, Some(Code::TopicAlreadyExists));
    assert_eq!(refusal(NewTopic::new("no spaces, please", 1, replicas(1)))?, Some(Code::InvalidTopic));
    assert_eq!(refusal(NewTopic::new(&fresh, 1, replicas(9)))?, Some(Code::InvalidReplicationFactor));
    assert_eq!(refusal(NewTopic::new(&fresh, 1, replicas(1)).set("no.such.config", "1"))?, Some(Code::InvalidConfig));
    Ok(())
}

fn delete_topic() -> Outcome {
    let topic = new_topic(1, &[])?;
    let delete = || -> Outcome<_> { Ok(only(block_on(admin()?.delete_topics(&[&topic], &admin_options()))?)) };
    delete()??;
    until("topic gone from the list", || Ok(!is_listed(&topic)?))?;
    assert_eq!(delete()?, Err(Code::UnknownTopicOrPartition));
    Ok(())
}

fn create_partitions() -> Outcome {
    let topic = new_topic(1, &[])?;
    let grow = |count| -> Outcome<_> {
        Ok(only(block_on(admin()?.create_partitions([&NewPartitions::new(&topic, count)], &admin_options()))?))
    };
    grow(4)??;
    assert_eq!(partitions_of(&topic)?.len(), 4, "partitions");
    assert_eq!(grow(2)?, Err(Code::InvalidPartitions));
    Ok(())
}

fn unknown_topic() -> Outcome {
    let missing = unique("missing");
    expect_error(partitions_of(&missing), Code::UnknownTopicOrPartition);
    let subscribed = consumer(&[])?;
    subscribed.subscribe(&[&missing])?;
    expect_error(read(&subscribed, 1), Code::UnknownTopicOrPartition);
    Ok(())
}

fn auto_create() -> Outcome {
    let topic = unique("auto");
    send(&[], &topic, 10, PROFILE)?;
    assert!(is_listed(&topic)?, "not listed");
    read_and_compare(&topic, 10, PROFILE)
}

// Configs and cluster

fn topic_config(topic: &str, name: &str) -> Outcome<Option<String>> {
    let described = block_on(admin()?.describe_configs([&ResourceSpecifier::Topic(topic)], &admin_options()))?;
    let resource: ConfigResource = described.into_iter().next().expect("one resource")?;
    Ok(resource.get(name).and_then(|entry| entry.value.clone()))
}

fn configs() -> Outcome {
    let topic = new_topic(1, &[])?;
    let alter = |name: &str, value: &str| -> Outcome<_> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set(name, value);
        Ok(only(block_on(admin()?.alter_configs([&change], &admin_options()))?))
    };
    assert_eq!(topic_config(&topic, "max.message.bytes")?.as_deref(), Some("1048588"));
    alter("retention.ms", "60000")??;
    assert_eq!(topic_config(&topic, "retention.ms")?.as_deref(), Some("60000"));
    alter("cleanup.policy", "compact")??;
    assert_eq!(topic_config(&topic, "cleanup.policy")?.as_deref(), Some("compact"));
    assert_eq!(topic_config(&topic, "retention.ms")?.as_deref(), Some("604800000"), "what AlterConfigs leaves out returns to its default");
    // The crate does not hand on the error of a single resource; that nothing changed shows that there was one.
    alter("retention.ms", "a while")??;
    assert_eq!(topic_config(&topic, "cleanup.policy")?.as_deref(), Some("compact"));
    assert_eq!(topic_config(&topic, "retention.ms")?.as_deref(), Some("604800000"));
    Ok(())
}

fn cluster() -> Outcome {
    let client = consumer(&[])?;
    let metadata = client.fetch_metadata(None, API_TIME_MAX)?;
    let addresses: Vec<String> = metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
    assert!(addresses.contains(&bootstrap()), "brokers are {addresses:?}");
    assert!(client.client().fetch_cluster_id(API_TIME_MAX).is_some(), "no cluster id");
    Ok(())
}

// Records

fn round_trip(codec: &str) -> Outcome {
    let topic = new_topic(1, &[])?;
    send(&[("compression.type", codec)], &topic, records(), PROFILE)?;
    read_and_compare(&topic, records(), PROFILE)
}

fn acks() -> Outcome {
    let topic = new_topic(1, &[])?;
    for acks in ["0", "1"] {
        Writer::new(&[("acks", acks)])?.send(value_to(&topic, 0, acks.as_bytes()))?;
    }
    let seen = read(&assigned(&topic, 1, Offset::Beginning)?, 2)?;
    assert_eq!(seen.iter().map(Message::payload).collect::<Vec<_>>(), [Some(&b"0"[..]), Some(b"1")]);
    Ok(())
}

fn log_append_time() -> Outcome {
    let topic = new_topic(1, &[("message.timestamp.type", "LogAppendTime")])?;
    let before = Timestamp::now().to_millis();
    send(&[("compression.type", "zstd")], &topic, 100, PROFILE)?;
    for message in read(&assigned(&topic, 1, Offset::Beginning)?, 100)? {
        match message.timestamp() {
            Timestamp::LogAppendTime(time_ms) => assert!(Some(time_ms) >= before, "stamped at {time_ms}"),
            other => panic!("timestamp is {other:?}"),
        }
    }
    Ok(())
}

fn idempotent() -> Outcome {
    let topic = new_topic(1, &[])?;
    let small_batches = [("enable.idempotence", "true"), ("batch.num.messages", "50"), ("max.in.flight", "5")];
    let offsets = send(&small_batches, &topic, records(), PROFILE)?;
    assert!(offsets.into_iter().eq(0..records() as i64), "acknowledged out of order");
    read_and_compare(&topic, records(), PROFILE)
}

// Sizes

fn at_the_limit() -> Outcome {
    let topic = new_topic(1, &[])?;
    Writer::new(&[])?.send(value_to(&topic, 0, &vec![b'v'; LONGEST_VALUE]))?;
    assert_eq!(read(&assigned(&topic, 1, Offset::Beginning)?, 1)?[0].payload().map(<[u8]>::len), Some(LONGEST_VALUE));
    Ok(())
}

fn over_the_limit() -> Outcome {
    let topic = new_topic(1, &[])?;
    let writer = Writer::new(&[])?;
    expect_error(writer.send(value_to(&topic, 0, &vec![b'v'; LONGEST_VALUE + 1])), Code::MessageSizeTooLarge);
    assert_eq!(writer.send(value_to(&topic, 0, b"small"))?, 0, "offset of the next record");
    Ok(())
}

// Offsets

fn watermarks() -> Outcome {
    let topic = new_topic(1, &[])?;
    send(&[], &topic, 100, PROFILE)?;
    assert_eq!(consumer(&[])?.fetch_watermarks(&topic, 0, API_TIME_MAX)?, (0, 100));
    Ok(())
}

fn by_timestamp() -> Outcome {
    let topic = new_topic(1, &[])?;
    send(&[], &topic, 100, PROFILE)?;
    let client = consumer(&[])?;
    let at = |time_ms| -> Outcome<Offset> {
        let mut query = TopicPartitionList::new();
        query.add_partition_offset(&topic, 0, Offset::Offset(time_ms))?;
        Ok(client.offsets_for_times(query, API_TIME_MAX)?.elements()[0].offset())
    };
    assert_eq!(at(timestamp(0))?, Offset::Offset(0), "at the first time");
    assert_eq!(at(timestamp(50))?, Offset::Offset(50), "at a time");
    assert_eq!(at(timestamp(50) + 1)?, Offset::Offset(51), "between two times");
    assert_eq!(at(timestamp(100))?, Offset::End, "past the end");
    Ok(())
}

fn seek() -> Outcome {
    let topic = new_topic(1, &[])?;
    send(&[("compression.type", "gzip")], &topic, 1_000, PROFILE)?;
    let reader = assigned(&topic, 1, Offset::Beginning)?;
    assert_eq!(read(&reader, 1)?[0].offset(), 0, "first offset");
    for from in [700, 10, 999] {
        reader.seek(&topic, 0, Offset::Offset(from), API_TIME_MAX)?;
        assert_eq!(read(&reader, 1)?[0].offset(), from, "offset after the seek");
    }
    Ok(())
}

fn out_of_range() -> Outcome {
    let topic = new_topic(1, &[])?;
    send(&[], &topic, 10, PROFILE)?;
    let mut far = TopicPartitionList::new();
    far.add_partition_offset(&topic, 0, Offset::Offset(1_000))?;
    let resets = consumer(&[])?;
    resets.assign(&far)?;
    assert_eq!(read(&resets, 1)?[0].offset(), 0, "offset after the reset");
    let fails = consumer(&[("auto.offset.reset", "error")])?;
    fails.assign(&far)?;
    expect_error(read(&fails, 1), Code::AutoOffsetReset);
    Ok(())
}

// Groups

/// Which member committed each record of a group. A record counts once its commit went through, so none may count twice.
#[derive(Default)]
struct Tally {
    owners: HashMap<(i32, i64), &'static str>,
    twice: Vec<String>,
}

impl Tally {
    fn add(&mut self, member: &'static str, partition: i32, offset: i64) {
        if let Some(before) = self.owners.insert((partition, offset), member) {
            self.twice.push(format!("{partition}@{offset} ({before}, then {member})"));
        }
    }

    fn expect_each_once(&self, count: usize) {
        assert_eq!(self.owners.len(), count, "records seen");
        assert!(self.twice.is_empty(), "{} records twice: {:?}", self.twice.len(), &self.twice[..self.twice.len().min(3)]);
    }

    fn expect_seen_by(&self, member: &str) {
        assert!(self.owners.values().any(|owner| *owner == member), "'{member}' saw nothing");
    }
}

struct Member {
    name: &'static str,
    consumer: BaseConsumer,
}

impl Member {
    fn join(name: &'static str, group: &str, topic: &str, settings: Settings) -> Outcome<Self> {
        let consumer = consumer(&[&[("group.id", group)], settings].concat())?;
        consumer.subscribe(&[topic])?;
        Ok(Self { name, consumer })
    }

    fn partitions(&self) -> Outcome<Vec<i32>> {
        let mut partitions: Vec<i32> = self.consumer.assignment()?.elements().iter().map(|one| one.partition()).collect();
        partitions.sort_unstable();
        Ok(partitions)
    }

    fn count(&self) -> Outcome<usize> {
        Ok(self.partitions()?.len())
    }

    /// Polls once. Where the group rebalances before the commit, the record is read again by whoever owns its partition then.
    fn step(&self, tally: &mut Tally) -> Outcome {
        let Some(message) = self.consumer.poll(Duration::from_millis(20)) else { return Ok(()) };
        let message = message?;
        match self.consumer.commit_message(&message, CommitMode::Sync) {
            Ok(()) => tally.add(self.name, message.partition(), message.offset()),
            Err(KafkaError::ConsumerCommit(Code::RebalanceInProgress | Code::IllegalGeneration | Code::UnknownMemberId)) => {
                if self.partitions()?.contains(&message.partition()) {
                    self.consumer.seek(message.topic(), message.partition(), Offset::Offset(message.offset()), API_TIME_MAX)?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Lets the members poll in turn until the condition holds.
fn run(what: &str, tally: &mut Tally, members: &[&Member], condition: impl Fn(&Tally) -> Outcome<bool>) -> Outcome {
    until(what, || {
        members.iter().try_for_each(|member| member.step(tally))?;
        condition(tally)
    })
}

fn send_to(topic: &str, partitions: usize, count: usize) -> Outcome {
    let writer = Writer::new(&[("batch.num.messages", "20")])?;
    for i in 0..count {
        writer.queue(value_to(topic, (i % partitions) as i32, i.to_string().as_bytes()))?;
    }
    writer.settle()?;
    Ok(())
}

fn one_member_leaves(assignor: &'static str) -> Outcome {
    let topic = new_topic(4, &[])?;
    let group = unique("group");
    let settings = [("partition.assignment.strategy", assignor)];
    let mut tally = Tally::default();
    let stays = Member::join("stays", &group, &topic, &settings)?;
    let leaves = Member::join("leaves", &group, &topic, &settings)?;
    run("two partitions each", &mut tally, &[&stays, &leaves], |_| Ok(stays.count()? == 2 && leaves.count()? == 2))?;

    send_to(&topic, 4, GROUP_RECORDS)?;
    run("half of the records seen", &mut tally, &[&stays, &leaves], |tally| Ok(tally.owners.len() >= GROUP_RECORDS / 2))?;
    drop(leaves);
    run("all records seen", &mut tally, &[&stays], |tally| Ok(tally.owners.len() >= GROUP_RECORDS && stays.count()? == 4))?;
    tally.expect_each_once(GROUP_RECORDS);
    tally.expect_seen_by("stays");
    tally.expect_seen_by("leaves");
    drop(stays);

    let comes_later = Member::join("comes later", &group, &topic, &settings)?;
    run("all partitions at the new member", &mut tally, &[&comes_later], |_| Ok(comes_later.count()? == 4))?;
    send_to(&topic, 1, 1)?;
    run("the one record after the committed offsets", &mut tally, &[&comes_later], |tally| Ok(tally.owners.len() > GROUP_RECORDS))?;
    tally.expect_each_once(GROUP_RECORDS + 1);
    Ok(())
}

fn cooperative_join() -> Outcome {
    let topic = new_topic(4, &[])?;
    let group = unique("group");
    let settings = [("partition.assignment.strategy", "cooperative-sticky")];
    let mut tally = Tally::default();
    let first = Member::join("first", &group, &topic, &settings)?;
    run("all partitions at the first", &mut tally, &[&first], |_| Ok(first.count()? == 4))?;
    let second = Member::join("second", &group, &topic, &settings)?;
    run("two partitions each", &mut tally, &[&first, &second], |_| {
        assert!(first.count()? >= 2, "the first member lost a partition that it keeps");
        Ok(first.count()? == 2 && second.count()? == 2)
    })
}

fn static_member() -> Outcome {
    let topic = new_topic(4, &[])?;
    let group = unique("group");
    let mut tally = Tally::default();
    let stays = Member::join("stays", &group, &topic, &[("group.instance.id", "stays")])?;
    let restarts = Member::join("restarts", &group, &topic, &[("group.instance.id", "restarts")])?;
    run("two partitions each", &mut tally, &[&stays, &restarts], |_| Ok(stays.count()? == 2 && restarts.count()? == 2))?;
    let before = restarts.partitions()?;
    drop(restarts);
    let again = Member::join("restarts", &group, &topic, &[("group.instance.id", "restarts")])?;
    run("partitions assigned again", &mut tally, &[&stays, &again], |_| {
        assert_eq!(stays.count()?, 2, "partitions of the other");
        Ok(again.count()? == 2)
    })?;
    assert_eq!(again.partitions()?, before, "partitions of the member that came back");
    Ok(())
}

fn fenced_member() -> Outcome {
    let topic = new_topic(1, &[])?;
    let group = unique("group");
    let mut tally = Tally::default();
    let first = Member::join("first", &group, &topic, &[("group.instance.id", "same")])?;
    run("partition assigned", &mut tally, &[&first], |_| Ok(first.count()? == 1))?;
    let second = Member::join("second", &group, &topic, &[("group.instance.id", "same")])?;
    run("partition assigned to the second", &mut tally, &[&second], |_| Ok(second.count()? == 1))?;
    until("the first fenced", || {
        let _ = first.consumer.poll(Duration::from_millis(20));
        Ok(first.consumer.client().fatal_error().is_some_and(|(code, _)| code == Code::FencedInstanceId))
    })
}

fn groups() -> Outcome {
    let topic = new_topic(2, &[])?;
    let group = unique("group");
    let client = consumer(&[])?;
    let state = || -> Outcome<Option<String>> {
        let listed = client.fetch_group_list(None, API_TIME_MAX)?;
        Ok(listed.groups().iter().find(|listed| listed.name() == group).map(|listed| listed.state().to_owned()))
    };
    let delete = || -> Outcome<_> { Ok(only(block_on(admin()?.delete_groups(&[&group], &admin_options()))?)) };
    let member = Member::join("only", &group, &topic, &[])?;
    run("partitions assigned", &mut Tally::default(), &[&member], |_| Ok(member.count()? == 2))?;

    let listed = client.fetch_group_list(Some(&group), API_TIME_MAX)?;
    let stable = &listed.groups()[0];
    let members: Vec<&str> = stable.members().iter().map(|member| member.client_id()).collect();
    let parts: [fn(&GroupInfo) -> &str; 3] = [GroupInfo::state, GroupInfo::protocol_type, GroupInfo::protocol];
    assert_eq!(parts.map(|part| part(stable)), ["Stable", "consumer", "range"], "group");
    assert_eq!(members, ["ottla-compat"], "client ids");
    assert_eq!(delete()?, Err(Code::NonEmptyGroup));

    drop(member);
    until("group empty", || Ok(state()?.as_deref() == Some("Empty")))?;
    delete()??;
    assert_eq!(state()?, None, "still listed");
    Ok(())
}

fn committed_offsets() -> Outcome {
    let topic = new_topic(2, &[])?;
    let group = unique("group");
    let query = || -> Outcome<TopicPartitionList> {
        let mut both = TopicPartitionList::new();
        both.add_partition_range(&topic, 0, 1);
        Ok(consumer(&[("group.id", &group)])?.committed_offsets(both, API_TIME_MAX)?)
    };
    let offsets = |list: &TopicPartitionList| list.elements().iter().map(|one| one.offset()).collect::<Vec<_>>();
    assert_eq!(offsets(&query()?), [Offset::Invalid, Offset::Invalid], "offsets of a new group");
    let mut commit = TopicPartitionList::new();
    commit.add_partition_offset(&topic, 0, Offset::Offset(7))?;
    commit.elements()[0].set_metadata("a note");
    consumer(&[("group.id", &group)])?.commit(&commit, CommitMode::Sync)?;
    let found = query()?;
    assert_eq!(offsets(&found), [Offset::Offset(7), Offset::Invalid], "offsets");
    assert_eq!(found.elements()[0].metadata(), "a note", "metadata");
    Ok(())
}
