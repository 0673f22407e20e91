use super::*;
use crate::config::{Config, RawConfig};
use crate::metadata::{CONSUMER_OFFSETS, Change, LocalStore, Metadata, TRANSACTION_STATE};

fn named(name: &'static str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_static_str(name))))
}

fn with_id(id: TopicId) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(None).with_topic_id(id.0)
}

fn names(names: &[&'static str]) -> Result<Wanted, Vec<MetadataResponseTopic>> {
    Ok(Wanted::Names(names.iter().map(|name| TopicName(StrBytes::from_static_str(name))).collect()))
}

#[test]
fn nobody_named_means_everybody_and_an_empty_list_only_in_the_first_version() {
    assert_eq!(wanted(0, Some(vec![])), Ok(Wanted::All));
    assert_eq!(wanted(1, None), Ok(Wanted::All));
    assert_eq!(wanted(1, Some(vec![])), names(&[]));
}

#[test]
fn topics_are_answered_once_in_the_order_asked_for() {
    assert_eq!(wanted(5, Some(vec![named("b"), named("a"), named("b")])), names(&["b", "a"]));
    let (one, two) = (TopicId::random(), TopicId::random());
    let ids = Some(vec![with_id(two), named("a"), with_id(one), with_id(two)]);
    assert_eq!(wanted(12, ids), Ok(Wanted::Ids(vec![two, one])), "names are not looked at beside ids");
}

#[test]
fn ids_and_null_names_are_refused_before_the_version_that_has_them() {
    for version in [10, 11] {
        let topics = wanted(version, Some(vec![named("a"), with_id(TopicId::random())])).unwrap_err();
        assert!(
            topics.iter().all(|topic| topic.error_code == ErrorCode::InvalidRequest.code() && topic.name.is_some())
        );
        assert_eq!(topics.len(), 2);
    }
}

#[test]
fn a_missing_topic_is_unknown_and_an_impossible_one_invalid() {
    assert_eq!(missing_code("a"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(missing_code("a b"), ErrorCode::InvalidTopicException);
}

fn auto_created(overrides: &[&str], wanted: &[&str]) -> (auto_create::Refusals, Arc<Image>) {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap();
    let mut raw = RawConfig::default();
    overrides.iter().for_each(|assignment| raw.assign(assignment).unwrap());
    let (config, _): (Config, _) = raw.validate().unwrap();
    let mut edit = metadata.edit();
    let configs = Default::default();
    edit.apply(Change::CreateTopic { name: "a.b".into(), id: TopicId::random(), partitions: 1, configs }).unwrap();
    edit.commit().unwrap();
    drop(edit);
    let refusals = auto_create::create(&metadata, &config, wanted.iter().map(|name| (*name).to_owned()).collect());
    (refusals, metadata.image())
}

#[test]
fn topics_are_made_with_the_brokers_defaults_and_internal_ones_with_their_own() {
    let (refusals, image) = auto_created(&["num.partitions=7"], &["x", CONSUMER_OFFSETS]);
    assert_eq!(refusals, auto_create::Refusals::new());
    assert_eq!(image.topic("x").unwrap().partitions, 7);
    assert_eq!(image.topic(CONSUMER_OFFSETS).unwrap().partitions, 50);
}

#[test]
fn what_cannot_be_made_says_why_and_does_not_stop_the_rest() {
    let (refusals, image) = auto_created(&[], &["a_b", "a b", TRANSACTION_STATE, "x", "a.b"]);
    let expected = [
        ("a_b", ErrorCode::InvalidTopicException),
        ("a b", ErrorCode::InvalidTopicException),
        (TRANSACTION_STATE, ErrorCode::UnknownTopicOrPartition),
    ];
    assert_eq!(refusals, expected.map(|(name, code)| (name.to_owned(), code)).into());
    assert!(image.topic("x").is_some());
}

#[test]
fn one_request_makes_no_more_partitions_than_create_topics_would() {
    let (refusals, image) = auto_created(&["num.partitions=6000"], &["x", "y", "z"]);
    assert_eq!(refusals.into_keys().collect::<Vec<_>>(), ["z"]);
    assert_eq!(image.partitions(), 12_001);
}
