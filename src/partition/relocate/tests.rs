use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::config::RawConfig;
use crate::log::at_crash_points;
use crate::log::manager::ManagerOptions;
use crate::metadata::{Change, LocalStore, Metadata};
use crate::partition::{Isolation, Read};
use crate::protocol::batch::Batch;
use crate::protocol::builder::BatchBuilder;
use crate::sys;
use crate::types::{NodeId, Offset, Timestamp, TopicId};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

struct Fixture {
    root: tempfile::TempDir,
    metadata: Arc<Metadata>,
    registry: Registry,
    partition: Arc<Partition>,
}

impl Fixture {
    /// A topic with small segments, in the first of two log dirs.
    fn new() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let metadata =
            Arc::new(Metadata::load(Box::new(LocalStore::open(&root.path().join("store")).unwrap())).unwrap());
        let options = ManagerOptions {
            node_id: NodeId(1),
            cluster_id: None,
            producer_id_expiration: Duration::from_secs(3600),
            open_files_max: 1000,
        };
        let manager = LogManager::open(&[root.path().join("a"), root.path().join("b")], &options).unwrap();
        let broker = RawConfig::default().validate().unwrap().0.broker;
        let registry = Registry::new(manager, metadata.clone(), broker);
        let edited = metadata.clone();
        let mut edit = edited.edit();
        let configs = [("segment.bytes", "1048576"), ("index.interval.bytes", "100")];
        let configs = configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        edit.apply(Change::CreateTopic { name: "t".into(), id: TopicId::random(), partitions: 1, configs }).unwrap();
        edit.commit().unwrap();
        let partition = registry.by_name("t", 0).unwrap();
        Fixture { root, metadata, registry, partition }
    }

    fn ask(&self, log_dir: &str) -> Result<(), ErrorCode> {
        self.registry.alter_log_dir("t", 0, &self.root.path().join(log_dir))
    }

    fn dir(&self) -> PathBuf {
        self.registry.manager.dir_of(&self.partition.id).unwrap()
    }
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn append(partition: &Partition, value_bytes: usize) -> Offset {
    let batch = BatchBuilder::new(NOW).record(None, Some(&vec![b'v'; value_bytes])).build().unwrap();
    partition.append_internal(batch, NOW).unwrap().base_offset
}

/// The base offsets of the batches that a read from `offset` on gives.
fn read(partition: &Partition, offset: Offset, is_cached: bool) -> Vec<Offset> {
    let read = Read { offset, bytes_max: 50_000, at_least_one_batch: true, isolation: Isolation::ReadUncommitted };
    let cached = if is_cached { partition.read_cached(read).unwrap() } else { None };
    let (_, found) = cached.unwrap_or_else(|| partition.read(read).unwrap());
    let Some(slice) = found.slice else { return Vec::new() };
    let mut bytes = vec![0; slice.length as usize];
    sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
    let mut bytes = bytes::Bytes::from(bytes);
    let mut offsets = Vec::new();
    while !bytes.is_empty() {
        let batch = Batch::split_from(&mut bytes).unwrap();
        batch.check_crc().unwrap();
        offsets.push(batch.header.base_offset);
    }
    offsets
}

#[test]
fn a_partition_that_could_not_be_opened_at_its_new_place_is_opened_there_at_its_next_use() {
    let fixture = Fixture::new();
    (0..5).for_each(|index| assert_eq!(append(&fixture.partition, 100).0, index));
    let (folder, saved) = (fixture.root.path().join("b/t-0"), fixture.root.path().join("saved"));
    let (from, to) = (folder.clone(), saved.clone());
    // Once the folders are exchanged: a file in the way, as a device would be that fails for a moment.
    let put_in_the_way = move || {
        if from.is_dir() {
            std::fs::rename(&from, &to).unwrap();
            std::fs::write(&from, "in the way").unwrap();
        }
    };
    fixture.ask("b").unwrap();
    at_crash_points(put_in_the_way, || fixture.registry.run_moves());
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&saved, &folder).unwrap();

    assert_eq!(std::fs::read_dir(fixture.root.path().join("a")).unwrap().filter(is_folder).count(), 0);
    let partition = fixture.registry.by_name("t", 0).unwrap();
    assert!(!Arc::ptr_eq(&partition, &fixture.partition));
    assert_eq!(append(&partition, 100), Offset(5));
    assert_eq!(read(&partition, Offset(0), false).len(), 6);
    assert_eq!(fixture.dir(), fixture.root.path().join("b"));
}

fn is_folder(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().path().is_dir()
}

#[test]
fn appends_and_reads_go_on_while_a_partition_moves_back_and_forth() {
    const MOVES: usize = 8;
    /// The log must not grow faster than it is copied, nor all over the disk.
    const APPENDS_MAX: i64 = 20_000;
    let fixture = Fixture::new();
    let partition = &fixture.partition;
    (0..200).for_each(|index| assert_eq!(append(partition, 20_000).0, index));
    let is_over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut expected = partition.offsets().log_end;
            while !is_over.load(Ordering::Acquire) && expected < Offset(APPENDS_MAX) {
                assert_eq!(append(partition, 100), expected);
                expected = expected.plus(1);
            }
        });
        for is_cached in [true, false] {
            scope.spawn(move || {
                let mut rounds = 0;
                while !is_over.load(Ordering::Acquire) || rounds == 0 {
                    let (mut offset, end) = (Offset(0), partition.offsets().high_watermark);
                    while offset < end {
                        for found in read(partition, offset, is_cached) {
                            assert_eq!(found, offset);
                            offset = offset.plus(1);
                        }
                    }
                    partition.offset_of_max_timestamp().unwrap();
                    rounds += 1;
                }
            });
        }
        scope.spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                partition.expire(NOW).unwrap();
                std::thread::yield_now();
            }
        });
        // Also where an assertion fails: the others would never end.
        let _over = OnDrop(is_over);
        for index in 0..MOVES {
            let target = if index % 2 == 0 { "b" } else { "a" };
            fixture.ask(target).unwrap();
            fixture.registry.run_moves();
            assert_eq!(fixture.dir(), fixture.root.path().join(target));
            assert!(fixture.registry.moves().is_empty());
            fixture.registry.manager.checkpoint().unwrap();
        }
    });
    let end = partition.offsets().log_end;
    fixture.registry.close().unwrap();
    let mut offset = Offset(0);
    while offset < end {
        let found = read(partition, offset, false);
        assert_eq!(found.first(), Some(&offset));
        offset = found.last().unwrap().plus(1);
    }
    let count = |dir: &str| {
        std::fs::read_dir(fixture.root.path().join(dir))
            .unwrap()
            .filter(|it| it.as_ref().unwrap().path().is_dir())
            .count()
    };
    assert_eq!((count("a"), count("b")), (1, 0));
}

#[test]
fn a_move_is_refused_by_kafkas_rules() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ask("c"), Err(ErrorCode::LogDirNotFound));
    let (registry, b) = (&fixture.registry, fixture.root.path().join("b"));
    assert_eq!(registry.alter_log_dir("t", 1, &b), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(registry.alter_log_dir("absent", 0, &b), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(registry.alter_log_dir(&"x".repeat(249), 0, &b), Err(ErrorCode::InvalidTopicException));
    assert!(registry.moves().is_empty());
}

#[test]
fn the_dir_that_it_is_in_ends_a_move_and_the_same_target_again_does_not() {
    let fixture = Fixture::new();
    append(&fixture.partition, 10);
    fixture.ask("a").unwrap();
    assert!(fixture.registry.moves().is_empty());
    fixture.ask("b").unwrap();
    let asked = fixture.registry.moves();
    fixture.ask("b").unwrap();
    assert!(Arc::ptr_eq(&asked[0], &fixture.registry.moves()[0]));
    assert_eq!((asked[0].bytes(), asked[0].offset_lag()), (0, 1));
    fixture.ask("a").unwrap();
    assert!(fixture.registry.moves().is_empty());
    fixture.registry.run_moves();
    assert_eq!(fixture.dir(), fixture.root.path().join("a"));
}

#[test]
fn a_deleted_topic_moves_nowhere() {
    let fixture = Fixture::new();
    append(&fixture.partition, 10);
    fixture.ask("b").unwrap();
    let image = fixture.metadata.image();
    fixture.registry.retire(image.topic("t").unwrap()).unwrap();
    fixture.registry.run_moves();
    assert!(fixture.registry.moves().is_empty());
    assert_eq!(
        std::fs::read_dir(fixture.root.path().join("b"))
            .unwrap()
            .filter(|it| it.as_ref().unwrap().path().is_dir())
            .count(),
        0
    );
}

#[test]
fn those_who_wait_for_records_are_woken_by_an_append_behind_the_move() {
    let fixture = Fixture::new();
    append(&fixture.partition, 10);
    let wait = crate::partition::FetchWait::new();
    fixture.partition.waiters().register(&wait, 3);
    fixture.ask("b").unwrap();
    fixture.registry.run_moves();
    append(&fixture.partition, 10);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(wait.news()), [3]);
}
