use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::protocol::ErrorCode;
use crate::types::{TopicId, TopicPartition};

fn create(name: &str, partitions: i32) -> Change {
    Change::CreateTopic { name: name.into(), id: TopicId::random(), partitions, configs: BTreeMap::new() }
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn open(dir: &tempfile::TempDir) -> Metadata {
    Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap()
}

fn topics(image: &Image) -> Vec<Topic> {
    image.topics().map(|topic| topic.as_ref().clone()).collect()
}

/// What a change is refused with on an image that holds `a.b` with 3 partitions.
fn refusal(change: impl FnOnce(TopicId) -> Change) -> (ErrorCode, String) {
    let mut image = Image::default();
    change::apply(&mut image, &create("a.b", 3)).unwrap();
    let before = topics(&image);
    let error = change::apply(&mut image, &change(before[0].id)).unwrap_err();
    assert_eq!(topics(&image), before, "a refused change leaves the image as it was");
    (error.error_code(), error.to_string())
}

#[test]
fn new_names_are_judged_in_kafkas_words() {
    let exists = refusal(|_| create("a.b", 1));
    assert_eq!(exists, (ErrorCode::TopicAlreadyExists, "Topic 'a.b' already exists.".to_owned()));
    let collides = "Topic 'a_b' collides with existing topic: a.b".to_owned();
    assert_eq!(refusal(|_| create("a_b", 1)), (ErrorCode::InvalidTopicException, collides));
    let (code, text) = refusal(|_| create("no/slash", 1));
    assert_eq!(code, ErrorCode::InvalidTopicException);
    assert!(text.starts_with("Topic name is invalid: 'no/slash' contains"), "{text}");
}

#[test]
fn a_name_may_be_used_again_after_its_like_was_deleted() {
    let mut image = Image::default();
    change::apply(&mut image, &create("a.b", 3)).unwrap();
    let id = image.topic("a.b").unwrap().id;
    change::apply(&mut image, &Change::DeleteTopic { id }).unwrap();
    assert_eq!((image.partitions(), image.topics().count()), (0, 0));
    change::apply(&mut image, &create("a_b", 1)).unwrap();
    assert_eq!(
        refusal(|id| Change::CreateTopic { name: "b".into(), id, partitions: 1, configs: BTreeMap::new() }).0,
        ErrorCode::InvalidTopicException
    );
}

#[test]
fn partitions_only_grow() {
    let grown = |partitions| refusal(|id| Change::SetPartitions { id, partitions });
    assert_eq!(grown(3), (ErrorCode::InvalidPartitions, "Topic already has 3 partition(s).".to_owned()));
    let text = "The topic a.b currently has 3 partition(s); 2 would not be an increase.".to_owned();
    assert_eq!(grown(2), (ErrorCode::InvalidPartitions, text));
    assert_eq!(grown(i32::MIN).0, ErrorCode::InvalidPartitions);
    assert_eq!(refusal(|_| create("b", 0)).0, ErrorCode::InvalidPartitions);
}

#[test]
fn all_partitions_together_are_limited() {
    let limit = i32::try_from(change::PARTITIONS_MAX).unwrap();
    assert_eq!(refusal(|_| create("b", limit - 2)).0, ErrorCode::PolicyViolation);
    assert_eq!(refusal(|id| Change::SetPartitions { id, partitions: i32::MAX }).0, ErrorCode::PolicyViolation);
    let mut image = Image::default();
    change::apply(&mut image, &create("a", limit)).unwrap();
    assert_eq!(image.partitions(), change::PARTITIONS_MAX);
}

#[test]
fn unknown_topics_and_bad_values_are_refused() {
    let unknown = TopicId::random();
    assert_eq!(refusal(|_| Change::DeleteTopic { id: unknown }).0, ErrorCode::UnknownTopicId);
    assert_eq!(refusal(|_| Change::SetPartitions { id: unknown, partitions: 9 }).0, ErrorCode::UnknownTopicId);
    let set = |pairs: &[(&str, &str)]| refusal(|id| Change::SetTopicConfigs { id, configs: configs(pairs) });
    assert_eq!(set(&[("nope", "1")]), (ErrorCode::InvalidConfig, "Unknown topic config name: nope".to_owned()));
    assert_eq!(set(&[("retention.ms", "soon")]).0, ErrorCode::InvalidConfig);
    let long = "x".repeat(40_000);
    assert!(set(&[("leader.replication.throttled.replicas", long.as_str())]).1.contains("maximum value size of 32767"));
}

#[tokio::test]
async fn a_commit_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(&dir);
    let error = metadata.commit(vec![create("a", 1), create("a", 1)]).await.unwrap_err();
    assert_eq!(error, ChangeError::TopicExists("a".into()));
    assert_eq!((metadata.image().version, metadata.image().topics().count()), (0, 0));
    let held = metadata.image();
    let image = metadata.commit(vec![create("a", 1), create("b", 2)]).await.unwrap();
    assert_eq!((image.version, image.topics().count()), (1, 2));
    assert_eq!(held.topics().count(), 0, "an image that is held does not change");
    drop(metadata);
    assert_eq!(topics(&open(&dir).image()), topics(&image));
}

#[test]
fn an_edit_that_is_dropped_or_empty_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(&dir);
    metadata.edit().apply(create("a", 1)).unwrap();
    assert_eq!(metadata.edit().commit().unwrap().version, 0);
    assert!(metadata.image().topic("a").is_none());
}

#[tokio::test]
async fn blocks_of_producer_ids_that_are_asked_for_together_do_not_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Arc::new(open(&dir));
    let allocate = |metadata: Arc<Metadata>| async move { metadata.allocate_producer_ids().await.unwrap().start };
    let asked: Vec<_> = (0..20).map(|_| tokio::spawn(allocate(metadata.clone()))).collect();
    let mut blocks = Vec::new();
    for block in asked {
        blocks.push(block.await.unwrap());
    }
    blocks.sort_unstable();
    assert_eq!(blocks, Vec::from_iter((0..20).map(|block| block * PRODUCER_ID_BLOCK_SIZE)));
}

fn groups() -> crate::config::Groups {
    crate::config::RawConfig::default().validate().unwrap().0.groups
}

#[tokio::test]
async fn the_topic_of_the_group_coordinator_can_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let image = open(&dir).commit(vec![Change::create_consumer_offsets(&groups())]).await.unwrap();
    let topic = image.topic(CONSUMER_OFFSETS).unwrap();
    assert!(topic.is_internal());
    assert_eq!(topic.partitions, 50);
    assert_eq!(topic.configs.get("cleanup.policy").map(String::as_str), Some("compact"));
}

fn folders(entries: &[(&str, i32, Option<TopicId>)]) -> BTreeMap<TopicPartition, Option<TopicId>> {
    entries.iter().map(|(name, index, id)| (TopicPartition::new(*name, *index), *id)).collect()
}

#[tokio::test]
async fn folders_of_unknown_topics_become_topics() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(&dir);
    let id = TopicId::random();
    let found = folders(&[("a", 0, None), ("a", 4, Some(id)), ("b", 0, None), ("c", i32::MAX, None)]);
    assert_eq!(metadata.adopt(found.clone(), true, groups()).await.unwrap(), BTreeMap::new());
    let image = metadata.image();
    let seen: Vec<(&str, i32)> = image.topics().map(|topic| (topic.name.as_ref(), topic.partitions)).collect();
    assert_eq!(seen, [("a", 5), ("b", 1)], "c would have more partitions than there can be");
    assert_eq!(image.topic("a").unwrap().id, id);
    drop(metadata);

    let metadata = open(&dir);
    metadata.adopt(found.clone(), true, groups()).await.unwrap();
    assert_eq!(topics(&metadata.image()), topics(&image), "what is known is not adopted again");
}

#[tokio::test]
async fn committed_offsets_are_found_again_where_their_topic_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(&dir);
    let id = TopicId::random();
    metadata.adopt(folders(&[(CONSUMER_OFFSETS, 12, Some(id))]), true, groups()).await.unwrap();
    let image = metadata.image();
    let topic = image.topic(CONSUMER_OFFSETS).unwrap();
    assert_eq!((topic.id, topic.partitions), (id, 50), "a group is looked for in the partition it was stored in");
    assert_eq!(topic.configs.get("cleanup.policy").map(String::as_str), Some("compact"));
}

#[tokio::test]
async fn a_topic_whose_deletion_was_cut_short_is_not_adopted_again() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(&dir);
    metadata.commit(vec![create("a", 1), create("b", 1)]).await.unwrap();
    let [a, b] = ["a", "b"].map(|name| metadata.image().topic(name).unwrap().id);
    metadata.commit(vec![Change::DeleteTopic { id: a }, Change::DeleteTopic { id: b }]).await.unwrap();
    drop(metadata);

    let metadata = open(&dir);
    let found = folders(&[("a", 0, Some(a))]);
    let leftovers = BTreeMap::from([(TopicPartition::new("a", 0), a)]);
    assert_eq!(metadata.adopt(found.clone(), true, groups()).await.unwrap(), leftovers);
    assert_eq!(metadata.image().topics().count(), 0);
    assert_eq!(metadata.shared.store.deleted().unwrap(), [a].into(), "b left no folder: nothing to remember");
    metadata.deletions_finished(&[a]).unwrap();
    assert_eq!(metadata.shared.store.deleted().unwrap(), [].into());
}

/// A change as a client might ask for it, of one of a few topics.
#[derive(Debug, Clone)]
enum Asked {
    Create(u8, i32),
    Delete(u8),
    Grow(u8, i32),
    Retention(u8, i64),
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        (0..6u8, 0..5i32).prop_map(|(topic, partitions)| Asked::Create(topic, partitions)),
        (0..6u8).prop_map(Asked::Delete),
        (0..6u8, 0..9i32).prop_map(|(topic, partitions)| Asked::Grow(topic, partitions)),
        (0..6u8, -3..100i64).prop_map(|(topic, millis)| Asked::Retention(topic, millis)),
    ]
}

fn change_for(image: &Image, asked: &Asked) -> Change {
    // Names that collide with each other, and ids of topics that are not there.
    let name = |topic: u8| ["a", "b.c", "b_c", "d", "e-f", "g."][usize::from(topic)];
    let id = |topic| image.topic(name(topic)).map_or(TopicId::ZERO, |topic| topic.id);
    match *asked {
        Asked::Create(topic, partitions) => create(name(topic), partitions),
        Asked::Delete(topic) => Change::DeleteTopic { id: id(topic) },
        Asked::Grow(topic, partitions) => Change::SetPartitions { id: id(topic), partitions },
        Asked::Retention(topic, millis) => {
            let configs = configs(&[("retention.ms", &millis.to_string())]);
            Change::SetTopicConfigs { id: id(topic), configs }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_loaded_is_what_was_in_force(batches in prop::collection::vec(prop::collection::vec(asked(), 1..5), 1..10)) {
        let dir = tempfile::tempdir().unwrap();
        let metadata = open(&dir);
        for batch in batches {
            let mut edit = metadata.edit();
            for asked in &batch {
                let change = change_for(edit.image(), asked);
                // Refused or not: both are fine.
                let _ = edit.apply(change);
            }
            edit.commit().unwrap();
        }
        let live = metadata.image();
        drop(metadata);
        let loaded = open(&dir).image();
        prop_assert_eq!(topics(&loaded), topics(&live));
        prop_assert_eq!((loaded.version, loaded.partitions()), (live.version, live.partitions()));
        for topic in live.topics() {
            prop_assert_eq!(loaded.topic_by_id(topic.id), Some(topic));
        }
        let counted: i64 = live.topics().map(|topic| i64::from(topic.partitions)).sum();
        prop_assert_eq!(live.partitions(), counted);
    }
}
