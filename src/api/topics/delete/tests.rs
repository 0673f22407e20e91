use super::*;
use crate::metadata::{LocalStore, Metadata};

fn fixture() -> (Metadata, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap();
    let mut edit = metadata.edit();
    for name in ["a", "b", "c"] {
        let id = TopicId::random();
        edit.apply(Change::CreateTopic { name: name.into(), id, partitions: 1, configs: Default::default() }).unwrap();
    }
    edit.commit().unwrap();
    drop(edit);
    (metadata, dir)
}

fn by_name(name: &'static str) -> Target {
    Target { name: Some(TopicName(StrBytes::from_static_str(name))), id: Uuid::nil() }
}

fn by_id(metadata: &Metadata, name: &str) -> Target {
    Target { name: None, id: metadata.image().topic(name).unwrap().id.0 }
}

/// What each target comes to: the name of the topic deleted, or the refusal's text.
fn deleted(metadata: &Metadata, targets: Vec<Target>) -> Vec<Result<String, String>> {
    let mut edit = metadata.edit();
    let outcomes = apply_deletions(&mut edit, targets);
    edit.commit().unwrap();
    let outcome = |outcome: Result<Arc<Topic>, Refusal>| match outcome {
        Ok(topic) => Ok(topic.name.to_string()),
        Err(refusal) => Err(refusal.message.unwrap()),
    };
    outcomes.into_iter().map(|(_, result)| outcome(result)).collect()
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let (metadata, _dir) = fixture();
    let targets = vec![by_name("a"), by_id(&metadata, "b")];
    assert_eq!(deleted(&metadata, targets), [Ok("a".to_owned()), Ok("b".to_owned())]);
    assert_eq!(metadata.image().topics().count(), 1);
}

#[test]
fn unknown_topics_are_refused_by_what_they_were_named_by() {
    let (metadata, _dir) = fixture();
    let targets = vec![by_name("gone"), Target { name: None, id: TopicId::random().0 }];
    let texts = ["This server does not host this topic-partition.", "This server does not host this topic ID."];
    assert_eq!(deleted(&metadata, targets), texts.map(|text| Err(text.to_owned())));
}

#[test]
fn a_topic_named_twice_is_not_deleted() {
    let (metadata, _dir) = fixture();
    let (b, c) = (by_id(&metadata, "b"), by_id(&metadata, "c"));
    let targets = vec![by_name("a"), by_name("a"), b.clone(), b, by_name("c"), c];
    let both_ways = "The provided topic name maps to an ID that was already supplied.";
    let texts = ["Duplicate topic name.", "Duplicate topic id.", both_ways, both_ways];
    assert_eq!(deleted(&metadata, targets), texts.map(|text| Err(text.to_owned())));
    assert_eq!(metadata.image().topics().count(), 3);
}

#[test]
fn a_target_has_a_name_or_an_id_but_not_both() {
    let (metadata, _dir) = fixture();
    let both = Target { id: by_id(&metadata, "a").id, ..by_name("a") };
    let targets = vec![Target { name: None, id: Uuid::nil() }, both];
    let texts = ["Neither topic name nor id were specified.", "You may not specify both topic name and topic id."];
    assert_eq!(deleted(&metadata, targets), texts.map(|text| Err(text.to_owned())));
}

#[test]
fn disabled_deletion_is_told_in_the_code_that_the_version_has() {
    let code = |version| disabled(vec![by_name("a")], version)[0].error_code;
    assert_eq!(code(2), ErrorCode::InvalidRequest.code());
    assert_eq!(code(3), ErrorCode::TopicDeletionDisabled.code());
}
