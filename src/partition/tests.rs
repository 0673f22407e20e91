use std::time::Duration;

use super::*;
use crate::config::BrokerValues;
use crate::log::{DirContext, OpenOptions};
use crate::protocol::builder::BatchBuilder;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn open(dir: &std::path::Path) -> Partition {
    let id = TopicPartition::new("topic", 0);
    let config = TopicConfig::resolve(&BrokerValues::default(), &std::collections::BTreeMap::new());
    let (writer, reader) = crate::log::open(OpenOptions {
        dir: dir.join(id.to_string()),
        topic_id: TopicId::ZERO,
        config: config.clone(),
        producer_id_expiration: Duration::from_secs(3600),
        log_start_offset: Offset::ZERO,
        recovery_point: Offset::ZERO,
        cleaned: false,
        clean: true,
        context: DirContext::detached(dir),
    })
    .unwrap();
    Partition::new(id, TopicId::ZERO, LeaderEpoch(0), config, writer, reader)
}

fn append(partition: &Partition) -> Result<Appended, ErrorCode> {
    partition.append_internal(BatchBuilder::new(NOW).record(None, Some(b"value")).build().unwrap(), NOW)
}

#[test]
fn a_request_that_meets_a_deletion_is_told_of_it() {
    let root = tempfile::tempdir().unwrap();
    append(&open(root.path())).unwrap();
    // No file of it is open yet.
    let partition = open(root.path());
    partition.retire();
    std::fs::remove_dir_all(root.path().join("topic-0")).unwrap();
    assert_eq!(partition.offset_for_timestamp(NOW), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(append(&partition), Err(ErrorCode::UnknownTopicOrPartition));
    let read = partition.read(Read {
        offset: Offset(0),
        bytes_max: 100,
        at_least_one_batch: true,
        isolation: Isolation::ReadUncommitted,
    });
    assert_eq!(read.unwrap_err(), ErrorCode::UnknownTopicOrPartition);
    assert!(!root.path().join("topic-0").exists());
}

#[tokio::test]
async fn a_deletion_wakes_those_who_wait() {
    let root = tempfile::tempdir().unwrap();
    let partition = open(root.path());
    let wait = FetchWait::new();
    partition.waiters().register(&wait, 7);
    partition.retire();
    assert_eq!(wait.news().await, [7]);
}

#[tokio::test]
async fn who_registers_with_a_deleted_partition_is_woken_at_once() {
    let root = tempfile::tempdir().unwrap();
    let partition = open(root.path());
    partition.retire();
    let wait = FetchWait::new();
    partition.waiters().register(&wait, 7);
    assert_eq!(wait.news().await, [7]);
}

#[test]
fn an_append_wakes_once_who_registered_often() {
    let (waiters, wait) = (Waiters::default(), FetchWait::new());
    (0..3).for_each(|_| waiters.register(&wait, 7));
    waiters.wake();
    waiters.wake();
    assert_eq!(wait.take_news(), [7]);
    waiters.register(&wait, 7);
    waiters.wake();
    assert_eq!(wait.take_news(), [7]);
}
