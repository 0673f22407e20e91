use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::RawConfig;
use crate::log::manager::{LogManager, ManagerOptions};
use crate::metadata::{Change, Image, LocalStore, Metadata};
use crate::partition::{Isolation, Read};
use crate::protocol::ErrorCode;
use crate::protocol::builder::BatchBuilder;
use crate::types::{NodeId, TopicId};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const HOUR: Timestamp = Timestamp(NOW.0 + 3_600_001);

/// A broker's logs, with the topic "a" of two partitions and a batch to a segment.
struct Fixture {
    root: tempfile::TempDir,
    metadata: Arc<Metadata>,
    registry: Registry,
}

impl Fixture {
    fn new(configs: &[(&str, &str)]) -> Fixture {
        let fixture = Fixture::on(tempfile::tempdir().unwrap());
        let (id, name) = (TopicId::random(), "a".into());
        fixture.commit(Change::CreateTopic { name, id, partitions: 2, configs: Default::default() });
        fixture.configure(configs);
        fixture
    }

    fn on(root: tempfile::TempDir) -> Fixture {
        let metadata = Metadata::load(Box::new(LocalStore::open(&root.path().join("store")).unwrap())).unwrap();
        let metadata = Arc::new(metadata);
        let options = ManagerOptions {
            node_id: NodeId(1),
            cluster_id: None,
            producer_id_expiration: Duration::from_secs(1),
            open_files_max: 1000,
        };
        let manager = LogManager::open(&[root.path().join("log")], &options).unwrap();
        let broker = RawConfig::default().validate().unwrap().0.broker;
        let registry = Registry::new(manager, metadata.clone(), broker);
        Fixture { root, metadata, registry }
    }

    /// As after a stop; a clean one where the logs were closed.
    fn restart(self) -> Fixture {
        let Fixture { root, metadata, registry } = self;
        drop((metadata, registry));
        Fixture::on(root)
    }

    fn commit(&self, change: Change) -> Arc<Image> {
        let mut edit = self.metadata.edit();
        edit.apply(change).unwrap();
        edit.commit().unwrap()
    }

    fn configure(&self, configs: &[(&str, &str)]) {
        let id = self.metadata.image().topic("a").unwrap().id;
        let all = [&[("internal.segment.bytes", "100"), ("retention.ms", "3600000")], configs].concat();
        let configs = all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let image = self.commit(Change::SetTopicConfigs { id, configs });
        self.registry.reconfigure(image.topic("a").unwrap());
    }

    /// Appends a batch for each timestamp.
    fn filled(&self, index: i32, timestamps: &[i64]) -> Arc<Partition> {
        let partition = self.registry.by_name("a", index).unwrap();
        for timestamp in timestamps {
            let batch = BatchBuilder::new(Timestamp(*timestamp)).record(None, Some(&[0; 20])).build().unwrap();
            partition.append_internal(batch, NOW).unwrap();
        }
        partition
    }

    fn log_dir(&self) -> std::path::PathBuf {
        self.root.path().join("log")
    }

    fn files(&self, folder: &str, extension: &str) -> usize {
        let has_extension = |path: &Path| path.extension().is_some_and(|found| found == extension);
        let entries = std::fs::read_dir(self.log_dir().join(folder)).unwrap();
        entries.filter(|entry| has_extension(&entry.as_ref().unwrap().path())).count()
    }

    fn checkpoint(&self) -> String {
        std::fs::read_to_string(self.log_dir().join("log-start-offset-checkpoint")).unwrap_or_default()
    }
}

fn log_start(partition: &Partition) -> Offset {
    partition.offsets().log_start
}

#[test]
fn a_round_moves_log_starts_makes_them_durable_and_sets_the_files_aside() {
    let fixture = Fixture::new(&[]);
    let (first, second) = (fixture.filled(0, &[NOW.0, NOW.0 + 1, NOW.0 + 2]), fixture.filled(1, &[NOW.0 + 9]));
    round(&fixture.registry, NOW);
    assert_eq!((log_start(&first), fixture.checkpoint().as_str()), (Offset(0), ""));
    round(&fixture.registry, Timestamp(HOUR.0 + 1));
    assert_eq!((log_start(&first), log_start(&second)), (Offset(2), Offset(0)));
    assert_eq!(fixture.checkpoint(), "0\n1\na 0 2\n");
    assert_eq!((fixture.files("a-0", "log"), fixture.files("a-1", "log")), (1, 1));
    assert_eq!(first.reader().recovery_point(), Offset(2), "what stands in for the removed is durable");
    fixture.registry.manager().removals().run(Instant::now() + Duration::from_secs(61));
    assert_eq!(fixture.files("a-0", "deleted"), 0);
}

#[test]
fn no_file_goes_while_the_checkpoint_cannot_be_written() {
    let fixture = Fixture::new(&[]);
    let partition = fixture.filled(0, &[NOW.0, NOW.0]);
    let obstacle = fixture.log_dir().join("log-start-offset-checkpoint.tmp");
    std::fs::create_dir(&obstacle).unwrap();
    round(&fixture.registry, HOUR);
    assert_eq!((log_start(&partition), fixture.files("a-0", "deleted")), (Offset(2), 0));
    std::fs::remove_dir(&obstacle).unwrap();
    round(&fixture.registry, HOUR);
    assert_eq!((fixture.checkpoint().as_str(), fixture.files("a-0", "log")), ("0\n1\na 0 2\n", 1));
}

#[test]
fn what_has_expired_goes_also_where_there_is_no_room_for_a_checkpoint() {
    let fixture = Fixture::new(&[]);
    fixture.filled(0, &[NOW.0, NOW.0]);
    let full = fixture.log_dir().join("log-start-offset-checkpoint.tmp");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    round(&fixture.registry, HOUR);
    assert_eq!(fixture.files("a-0", "log"), 1);
    let _ = std::fs::remove_file(&full);
    let fixture = fixture.restart();
    assert_eq!(log_start(&fixture.registry.by_name("a", 0).unwrap()), Offset(2));
}

#[test]
fn a_partition_that_was_not_opened_is_opened_only_when_something_may_be_due() {
    let fixture = Fixture::new(&[]);
    fixture.filled(0, &[NOW.0]);
    fixture.filled(1, &[NOW.0 + 9]);
    fixture.registry.close().unwrap();
    let fixture = fixture.restart();
    let open_at = |now| {
        let ids = fixture.registry.manager().found().into_keys();
        ids.filter(|id| fixture.registry.if_due(id, now).is_some()).count()
    };
    assert_eq!(open_at(Timestamp(HOUR.0 - 1)), 0);
    round(&fixture.registry, HOUR);
    assert_eq!(open_at(NOW), 1, "the other one is still closed");
    assert_eq!(log_start(&fixture.registry.by_name("a", 0).unwrap()), Offset(1));
    assert_eq!((fixture.files("a-0", "log"), fixture.files("a-1", "deleted")), (1, 0));
}

#[test]
fn an_altered_configuration_counts_from_the_next_round_on() {
    let fixture = Fixture::new(&[]);
    let partition = fixture.filled(0, &[NOW.0, NOW.0, NOW.0]);
    fixture.configure(&[("retention.ms", "-1")]);
    round(&fixture.registry, HOUR);
    assert_eq!(log_start(&partition), Offset(0));
    fixture.configure(&[("retention.ms", "-1"), ("retention.bytes", "80")]);
    round(&fixture.registry, HOUR);
    assert_eq!(log_start(&partition), Offset(2));
    fixture.configure(&[]);
    round(&fixture.registry, HOUR);
    assert_eq!(log_start(&partition), Offset(3));
}

#[test]
fn records_are_deleted_up_to_the_high_watermark_and_not_where_the_policy_has_no_deletion() {
    let fixture = Fixture::new(&[]);
    let partition = fixture.filled(0, &[NOW.0; 3]);
    assert_eq!(partition.delete_before(Some(Offset(4))), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(partition.delete_before(Some(Offset(-2))), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(partition.delete_before(Some(Offset(2))), Ok(()));
    assert_eq!(partition.delete_before(Some(Offset(1))), Ok(()), "nothing to do");
    assert_eq!(log_start(&partition), Offset(2));
    let late = partition.read(Read {
        offset: Offset(1),
        bytes_max: 100,
        at_least_one_batch: true,
        isolation: Isolation::ReadUncommitted,
    });
    assert_eq!(late.unwrap_err(), ErrorCode::OffsetOutOfRange);
    fixture.configure(&[("cleanup.policy", "compact")]);
    assert_eq!(partition.delete_before(None), Err(ErrorCode::PolicyViolation));
    for policy in ["", "compact,delete"] {
        fixture.configure(&[("cleanup.policy", policy)]);
        assert_eq!(partition.delete_before(None), Ok(()));
    }
    assert_eq!(log_start(&partition), Offset(3));
}

#[test]
fn a_log_start_that_was_asked_to_be_durable_outlives_a_crash() {
    let fixture = Fixture::new(&[]);
    for index in [0, 1] {
        fixture.filled(index, &[NOW.0; 3]).delete_before(Some(Offset(2))).unwrap();
    }
    let id = fixture.registry.by_name("a", 0).unwrap().id.clone();
    fixture.registry.manager().checkpoint_start(&id).unwrap();
    assert_eq!(fixture.checkpoint(), "0\n2\na 0 2\na 1 2\n", "all of the log dir with it");
    let fixture = fixture.restart();
    fixture.registry.recover(2);
    assert_eq!(log_start(&fixture.registry.by_name("a", 1).unwrap()), Offset(2));
    assert_eq!(fixture.files("a-1", "log"), 3);
    round(&fixture.registry, NOW);
    assert_eq!(fixture.files("a-1", "log"), 1);
}

#[test]
fn log_starts_that_moved_are_checkpointed_once() {
    let fixture = Fixture::new(&[]);
    fixture.filled(0, &[NOW.0; 3]).delete_before(Some(Offset(2))).unwrap();
    fixture.registry.manager().checkpoint_starts().unwrap();
    assert_eq!(fixture.checkpoint(), "0\n1\na 0 2\n");
    std::fs::remove_file(fixture.log_dir().join("log-start-offset-checkpoint")).unwrap();
    fixture.registry.manager().checkpoint_starts().unwrap();
    assert_eq!(fixture.checkpoint(), "");
}

#[test]
fn a_topic_made_again_loses_nothing_to_the_removal_of_the_old_ones_segments() {
    let fixture = Fixture::new(&[]);
    let old = fixture.filled(0, &[NOW.0; 3]);
    let start = old.expire(HOUR).unwrap().unwrap();
    let topic = fixture.metadata.image().topic("a").unwrap().clone();
    fixture.commit(Change::DeleteTopic { id: topic.id });
    fixture.registry.retire(&topic).unwrap();
    let (id, name) = (TopicId::random(), "a".into());
    fixture.commit(Change::CreateTopic { name, id, partitions: 2, configs: Default::default() });
    fixture.configure(&[]);
    fixture.filled(0, &[HOUR.0; 3]);
    assert!(matches!(remove(&fixture.registry, &old, start), Err(LogError::Retired)));
    assert_eq!((fixture.files("a-0", "log"), fixture.files("a-0", "deleted")), (3, 0));
}

#[tokio::test]
async fn a_round_that_takes_records_wakes_those_who_wait() {
    let fixture = Fixture::new(&[]);
    let partition = fixture.filled(0, &[NOW.0]);
    for forget in [
        |it: &Fixture| round(&it.registry, HOUR),
        |it: &Fixture| {
            it.registry.by_name("a", 0).unwrap().delete_before(None).unwrap();
        },
    ] {
        let wait = crate::partition::FetchWait::new();
        partition.waiters().register(&wait, 7);
        forget(&fixture);
        assert_eq!(wait.news().await, [7]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_round_comes_after_the_initial_delay_or_the_interval_if_that_is_shorter() {
    for (delay, interval, first) in [(30, 300, 30), (30, 5, 5)] {
        let fixture = Fixture::new(&[("retention.ms", "0")]);
        let partition = fixture.filled(0, &[NOW.0]);
        let seconds = Duration::from_secs;
        let task = tokio::spawn(run(Arc::new(fixture.registry), seconds(delay), seconds(interval)));
        tokio::time::sleep(seconds(first) - Duration::from_millis(1)).await;
        assert_eq!(log_start(&partition), Offset(0));
        let wait = crate::partition::FetchWait::new();
        partition.waiters().register(&wait, 1);
        wait.news().await;
        assert_eq!(log_start(&partition), Offset(1));
        task.abort();
    }
}
