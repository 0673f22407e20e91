use std::collections::BTreeMap;

use super::*;
use crate::config::RawConfig;
use crate::log::manager::{LogManager, ManagerOptions};
use crate::metadata::{Change, LocalStore, Metadata};
use crate::protocol::builder::BatchBuilder;
use crate::types::NodeId;

struct Broker {
    dir: tempfile::TempDir,
    metadata: Arc<Metadata>,
    partitions: Arc<Registry>,
    cleaner: Cleaner,
}

fn broker(topics: &[(&str, &str)]) -> Broker {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&dir.path().join("store")).unwrap();
    let metadata = Arc::new(Metadata::load(Box::new(store)).unwrap());
    for (name, policy) in topics {
        let configs = [("cleanup.policy", *policy), ("internal.segment.bytes", "200"), ("segment.ms", "3600000")];
        let configs: BTreeMap<_, _> = configs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let change = Change::CreateTopic { id: TopicId::random(), name: (*name).into(), partitions: 1, configs };
        let mut edit = metadata.edit();
        edit.apply(change).unwrap();
        edit.commit().unwrap();
    }
    let partitions = open(dir.path(), &metadata);
    Broker { cleaner: Cleaner::new(Arc::clone(&partitions), &config()), partitions, metadata, dir }
}

fn config() -> config::Cleaner {
    RawConfig::default().validate().unwrap().0.logs.cleaner
}

fn open(dir: &std::path::Path, metadata: &Arc<Metadata>) -> Arc<Registry> {
    let options = ManagerOptions {
        node_id: NodeId(1),
        cluster_id: None,
        producer_id_expiration: Duration::from_secs(1),
        open_files_max: 1000,
    };
    let manager = LogManager::open(&[dir.join("log")], &options).unwrap();
    Arc::new(Registry::new(manager, Arc::clone(metadata), RawConfig::default().validate().unwrap().0.broker))
}

impl Broker {
    /// Appends `count` records of one key, two or three of which fill a segment.
    fn put(&self, topic: &str, count: usize) {
        let partition = self.partitions.by_name(topic, 0).unwrap();
        for _ in 0..count {
            let batch = BatchBuilder::new(Timestamp::now()).record(Some(b"key"), Some(b"value")).build().unwrap();
            partition.append_internal(batch, Timestamp::now()).unwrap();
        }
    }

    fn cleaned_to(&self, topic: &str) -> Option<Offset> {
        self.partitions.manager().cleaned_to(&self.partitions.by_name(topic, 0).unwrap().id)
    }
}

#[test]
fn the_dirtiest_of_the_compacted_logs_is_cleaned_first_and_then_the_next() {
    let broker = broker(&[("less", "compact"), ("more", "compact,delete"), ("other", "delete"), ("unused", "compact")]);
    broker.put("less", 20);
    assert!(broker.cleaner.clean_dirtiest(Timestamp::now()));
    let before = broker.cleaned_to("less").unwrap();
    // A little more than half of it is dirty; all of the other one is.
    broker.put("less", 12);
    broker.put("more", 20);
    broker.put("other", 20);
    assert!(broker.cleaner.clean_dirtiest(Timestamp::now()));
    assert!(broker.cleaned_to("more").is_some());
    assert_eq!(broker.cleaned_to("less"), Some(before));
    assert!(broker.cleaner.clean_dirtiest(Timestamp::now()));
    assert!(broker.cleaned_to("less").unwrap() > before);
    assert!(!broker.cleaner.clean_dirtiest(Timestamp::now()), "nothing is left to do");
    assert_eq!(broker.cleaned_to("other"), None);
    assert!(!broker.dir.path().join("log/unused-0").exists(), "a topic without records costs nothing");
}

#[test]
fn a_log_that_is_being_cleaned_is_not_taken_by_another_worker() {
    let broker = broker(&[("a", "compact"), ("b", "compact")]);
    broker.put("a", 20);
    broker.put("b", 20);
    let (first, _) = broker.cleaner.take_dirtiest(Timestamp::now()).unwrap();
    let (second, _) = broker.cleaner.take_dirtiest(Timestamp::now()).unwrap();
    assert_ne!(first.id, second.id);
    assert!(broker.cleaner.take_dirtiest(Timestamp::now()).is_none());
}

#[test]
fn a_log_that_was_not_opened_yet_is_opened_and_cleaned() {
    let broker = broker(&[("a", "compact")]);
    broker.put("a", 20);
    broker.partitions.close().unwrap();
    let Broker { dir, partitions, cleaner, metadata } = broker;
    drop((partitions, cleaner));
    let partitions = open(dir.path(), &metadata);
    assert!(Cleaner::new(partitions, &config()).clean_dirtiest(Timestamp::now()));
}

#[test]
fn a_damaged_log_is_left_alone_and_the_others_are_cleaned() {
    let broker = broker(&[("damaged", "compact"), ("good", "compact")]);
    broker.put("damaged", 20);
    broker.put("good", 20);
    let path = broker.dir.path().join("log/damaged-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let rounds: Vec<bool> = (0..3).map(|_| broker.cleaner.clean_dirtiest(Timestamp::now())).collect();
    assert_eq!(rounds.iter().filter(|cleaned| **cleaned).count(), 1, "{rounds:?}");
    assert_eq!(broker.cleaned_to("damaged"), None);
    assert!(broker.cleaned_to("good").is_some());
    assert_eq!(broker.cleaner.state.lock().uncleanable.len(), 1);
}

#[test]
fn a_checkpoint_outside_of_the_log_is_set_to_its_start() {
    let broker = broker(&[("a", "compact")]);
    broker.put("a", 1);
    let partition = broker.partitions.by_name("a", 0).unwrap();
    broker.partitions.manager().set_cleaned_to(&partition.id, partition.topic_id, Offset(1000)).unwrap();
    assert!(!broker.cleaner.clean_dirtiest(Timestamp::now()));
    assert_eq!(broker.cleaned_to("a"), Some(Offset::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_upkeep_is_told_to_a_cleaning_that_is_under_way() {
    let broker = broker(&[]);
    let (cleaner, mut tasks) = (Arc::new(broker.cleaner), JoinSet::new());
    tasks.spawn(work(Arc::clone(&cleaner), BACKOFF_MIN));
    tokio::time::sleep(BACKOFF_MIN * 3).await;
    assert!(!cleaner.stop.is_stopped());
    tasks.shutdown().await;
    assert!(cleaner.stop.is_stopped());
}

#[test]
fn a_deleted_topic_is_forgotten() {
    let broker = broker(&[("a", "compact")]);
    broker.put("a", 20);
    let (partition, plan) = broker.cleaner.take_dirtiest(Timestamp::now()).unwrap();
    broker.partitions.retire(broker.metadata.image().topic("a").unwrap()).unwrap();
    assert!(!broker.cleaner.settle(&partition, broker.cleaner.clean(&partition, &plan, Timestamp::now())));
    assert!(broker.cleaner.state.lock().uncleanable.is_empty());
    assert!(!broker.dir.path().join("log/a-0").exists(), "the folder does not come back");
}
