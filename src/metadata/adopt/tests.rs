use std::fs;
use std::time::Duration;

use super::*;
use crate::config::RawConfig;
use crate::log::checkpoint;
use crate::log::epoch_cache::EpochEntry;
use crate::log::manager::ManagerOptions;
use crate::types::{NodeId, Offset};

fn config(dirs: &[&Path]) -> Config {
    let mut raw = RawConfig::default();
    raw.data(&dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>());
    raw.validate().unwrap().0
}

fn groups() -> Groups {
    config(&[Path::new("/x")]).groups
}

/// Folders with an id and an epoch each.
fn folders(entries: &[(&str, i32, Option<TopicId>, i32)]) -> BTreeMap<Arc<str>, OnDisk> {
    let partition = |(name, index, ..): &(&str, i32, _, _)| TopicPartition::new(*name, *index);
    let epochs: BTreeMap<_, _> = entries.iter().map(|entry| (partition(entry), LeaderEpoch(entry.3))).collect();
    let ids = entries.iter().map(|entry| (partition(entry), entry.2)).collect();
    on_disk(&ids, |partition| epochs.get(partition).copied())
}

fn cluster(topics: &[(TopicId, &str, &[i32])]) -> ClusterMetadata {
    let topic = |(id, name, epochs): &(TopicId, &str, &[i32])| {
        let partitions = (0..).zip(epochs.iter().map(|epoch| LeaderEpoch(*epoch))).collect();
        (*id, KafkaTopic { name: (*name).to_owned().into(), partitions })
    };
    let mut cluster = ClusterMetadata::of_a_new_cluster();
    cluster.topics = topics.iter().map(topic).collect();
    cluster
}

/// Name, id, partitions, leader epoch.
fn seen(topics: &[Topic]) -> Vec<(&str, TopicId, i32, i32)> {
    topics.iter().map(|topic| (&*topic.name, topic.id, topic.partitions, topic.leader_epoch.0)).collect()
}

#[test]
fn a_topic_is_as_large_and_as_late_as_the_metadata_or_its_folders_say() {
    let [a, b] = [TopicId::random(), TopicId::random()];
    let found = folders(&[("a", 0, Some(a), 1), ("b", 4, Some(b), 9)]);
    let topics = topics(&found, &cluster(&[(a, "a", &[3, 7, 2]), (b, "b", &[5])]), &groups());
    assert_eq!(seen(&topics), [("a", a, 3, 7), ("b", b, 5, 9)]);
}

#[test]
fn a_topic_without_folders_is_there_where_the_metadata_is_whole() {
    let [a, b] = [TopicId::random(), TopicId::random()];
    let mut kafka = cluster(&[(a, "a", &[0, 0]), (b, "none", &[])]);
    assert_eq!(seen(&topics(&folders(&[]), &kafka, &groups())), [("a", a, 2, 0)]);
    kafka.is_complete = false;
    assert_eq!(topics(&folders(&[]), &kafka, &groups()), []);
}

#[test]
fn a_folder_of_another_topic_of_that_name_keeps_its_id() {
    let [ours, theirs] = [TopicId::random(), TopicId::random()];
    let kafka = cluster(&[(theirs, "t", &[8, 8])]);
    let of = |found: &[(&str, i32, Option<TopicId>, i32)]| {
        let topics = topics(&folders(found), &kafka, &groups());
        (topics[0].id, topics[0].partitions)
    };
    assert_eq!(of(&[("t", 0, Some(ours), 0)]), (ours, 1));
    assert_eq!(of(&[("t", 0, Some(ours), 0), ("t", 1, Some(theirs), 0)]), (theirs, 2), "partition 0 is a stray");
    assert_eq!(of(&[("t", 0, None, 0)]), (theirs, 2));
}

#[test]
fn the_partitions_of_consumer_offsets_are_kafkas_where_none_is_missing_and_else_ours() {
    let partitions = |indices: &[i32]| {
        let found: Vec<_> = indices.iter().map(|index| (CONSUMER_OFFSETS, *index, None, 0)).collect();
        topics(&folders(&found), &ClusterMetadata::default(), &groups())[0].partitions
    };
    assert_eq!(partitions(&[0, 1, 2]), 3);
    assert_eq!(partitions(&[0, 2]), 50);
    assert_eq!(partitions(&[12, 70]), 71);
}

#[test]
fn kafkas_own_topics_do_not_lose_what_no_default_would_keep() {
    let of = |name: &str| {
        let topics = topics(&folders(&[(name, 0, None, 0)]), &ClusterMetadata::default(), &groups());
        topics[0].configs.clone()
    };
    assert_eq!(of(TRANSACTION_STATE)["cleanup.policy"], "compact");
    assert_eq!(of(CONSUMER_OFFSETS)["cleanup.policy"], "compact");
    assert_eq!(of(SHARE_GROUP_STATE)["retention.ms"], "-1");
    assert_eq!(of("t"), BTreeMap::new());
}

#[test]
fn an_impossible_topic_does_not_keep_the_others_away() {
    let topic = |name: &str, partitions| Topic {
        name: name.into(),
        id: TopicId::random(),
        partitions,
        configs: BTreeMap::new(),
        leader_epoch: LeaderEpoch(3),
    };
    let (changes, image) = creating(vec![topic("a.b", 1), topic("a_b", 1), topic("c", i32::MAX), topic("d", 2)]);
    let names: Vec<_> = image.topics().map(|topic| (&*topic.name, topic.leader_epoch.0)).collect();
    assert_eq!((names, changes.len()), (vec![("a.b", 3), ("d", 3)], 4));
}

/// Partition folders in two dirs, as Kafka or we leave them.
fn two_dirs() -> (tempfile::TempDir, Config, [TopicId; 2]) {
    let root = tempfile::tempdir().unwrap();
    let ids = [TopicId::random(), TopicId::random()];
    let dirs = [root.path().join("one"), root.path().join("two")];
    for (folder, id) in [(dirs[0].join("a-0"), ids[0]), (dirs[1].join("a-1"), ids[0]), (dirs[1].join("b-0"), ids[1])] {
        fs::create_dir_all(&folder).unwrap();
        checkpoint::write_partition_metadata(&folder.join("partition.metadata"), id).unwrap();
    }
    let epoch = EpochEntry { epoch: LeaderEpoch(4), start_offset: Offset::ZERO };
    checkpoint::write_epochs(&dirs[1].join("a-1/leader-epoch-checkpoint"), &[epoch]).unwrap();
    let config = config(&[&dirs[0], &dirs[1]]);
    (root, config, ids)
}

fn manager(config: &Config) -> LogManager {
    let options = ManagerOptions {
        node_id: NodeId(1),
        cluster_id: None,
        producer_id_expiration: Duration::from_secs(1),
        open_files_max: 100,
    };
    LogManager::open(&config.log_dirs, &options).unwrap()
}

#[tokio::test]
async fn a_lost_store_gets_its_topics_back_from_all_directories() {
    let (_root, config, [a, b]) = two_dirs();
    let store_dir = config.log_dirs[0].join("__metadata");
    let manager = manager(&config);
    let metadata = Metadata::load(Box::new(take_over(&store_dir, &manager, &config).unwrap())).unwrap();
    let topics: Vec<Topic> = metadata.image().topics().map(|topic| topic.as_ref().clone()).collect();
    assert_eq!(seen(&topics), [("a", a, 2, 4), ("b", b, 1, 0)]);
    let ids = metadata.allocate_producer_ids().await.unwrap();
    assert!(ids.start > 1_700_000_000_000, "none that the lost store may have handed out: {}", ids.start);
    drop(metadata);

    let metadata = Metadata::load(Box::new(LocalStore::open(&store_dir).unwrap())).unwrap();
    metadata.adopt(manager.found(), true, config.groups.clone()).await.unwrap();
    let again: Vec<Topic> = metadata.image().topics().map(|topic| topic.as_ref().clone()).collect();
    assert_eq!(again, topics, "what is known is not adopted again");
}

#[test]
fn a_store_that_could_not_be_made_whole_is_none() {
    let (_root, config, _) = two_dirs();
    let store_dir = config.log_dirs[0].join("__metadata");
    fs::create_dir_all(store_dir.join("metadata.redb.tmp")).unwrap();
    assert!(take_over(&store_dir, &manager(&config), &config).is_err());
    assert!(!LocalStore::exists(&store_dir));
}

#[tokio::test]
async fn producer_ids_go_on_where_kafkas_ended_if_that_is_later() {
    let (_root, mut config, _) = two_dirs();
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join(kafka::FOLDER);
    fs::create_dir(&folder).unwrap();
    let next = i64::MAX / 2;
    let value = [&[1, 15, 0][..], &[0; 12], &next.to_be_bytes(), &[0]].concat();
    let batch = crate::protocol::builder::BatchBuilder::new(Timestamp(1)).record(None, Some(&value)).build().unwrap();
    fs::write(folder.join("00000000000000000000.log"), batch.bytes).unwrap();
    config.kafka_metadata_dir = Some(elsewhere.path().to_owned());
    let store = take_over(&config.log_dirs[0].join("__metadata"), &manager(&config), &config).unwrap();
    let metadata = Metadata::load(Box::new(store)).unwrap();
    assert_eq!(metadata.allocate_producer_ids().await.unwrap().start, next);
}
