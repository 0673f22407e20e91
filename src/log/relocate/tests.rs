use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::TopicConfig;
use crate::log::manager::{LogManager, ManagerOptions, Switched};
use crate::log::names::{FileState, FolderName, FolderState};
use crate::log::{LogWriter, ReadLimit};
use crate::protocol::batch::Batch;
use crate::protocol::builder::BatchBuilder;
use crate::types::{LeaderEpoch, NodeId, Timestamp, TopicPartition};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const ANY_NUMBER: u64 = u64::MAX;

type Hook = Box<dyn FnMut()>;

thread_local! {
    static CRASH: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Called by what is tested whenever a crash would leave something else than before.
pub(super) fn crash_point() {
    // Taken out meanwhile: what the hook does may come by here itself.
    let hook = CRASH.with_borrow_mut(Option::take);
    if let Some(mut hook) = hook {
        hook();
        CRASH.set(Some(hook));
    }
}

/// Has `hook` called at each crash point of this thread's `work`.
pub(crate) fn at_crash_points<T>(hook: impl FnMut() + 'static, work: impl FnOnce() -> T) -> T {
    CRASH.set(Some(Box::new(hook)));
    let done = work();
    CRASH.set(None);
    done
}

/// Two log dirs, and a log in the first of them.
struct Fixture {
    root: tempfile::TempDir,
    manager: LogManager,
    partition: TopicPartition,
    topic_id: TopicId,
    writer: LogWriter,
    reader: LogReader,
}

impl Fixture {
    /// With two or three batches in a segment.
    fn new() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let (partition, topic_id) = (TopicPartition::new("topic", 0), TopicId::random());
        let manager = manager(root.path());
        let (writer, reader) = manager.open_log(&partition, topic_id, config()).unwrap();
        Fixture { root, manager, partition, topic_id, writer, reader }
    }

    fn append(&mut self, count: usize) {
        for _ in 0..count {
            let value = format!("value {}", self.reader.end_offset());
            let batch = BatchBuilder::new(NOW).record(None, Some(value.as_bytes())).build().unwrap();
            self.writer.append(&mut [batch], LeaderEpoch(0), NOW).unwrap();
        }
    }

    fn future(&self, log_dir: &str) -> FutureLog {
        let target = self.root.path().join(log_dir);
        self.manager.begin_move(&self.partition, &self.reader, &target, Arc::default()).unwrap()
    }

    fn switch(&mut self, future: &mut FutureLog) -> Switched {
        let switched = self.manager.switch(&self.partition, &mut self.writer, future, ANY_NUMBER).unwrap().unwrap();
        self.reader = switched.reader.as_ref().unwrap().clone();
        switched
    }

    fn move_to(&mut self, log_dir: &str) -> Switched {
        let mut future = self.future(log_dir);
        future.catch_up().unwrap();
        self.switch(&mut future)
    }
}

fn config() -> TopicConfig {
    TopicConfig {
        segment_bytes: 200,
        index_interval_bytes: 0,
        file_delete_delay: Duration::ZERO,
        ..TopicConfig::default()
    }
}

fn manager(root: &Path) -> LogManager {
    LogManager::open(&[root.join("a"), root.join("b")], &options()).unwrap()
}

fn options() -> ManagerOptions<'static> {
    ManagerOptions {
        node_id: NodeId(1),
        cluster_id: None,
        producer_id_expiration: Duration::from_secs(3600),
        open_files_max: 1000,
    }
}

/// Base offsets and bytes of the batches from `from` on.
fn read(reader: &LogReader, from: Offset) -> Vec<(Offset, bytes::Bytes)> {
    let limit = ReadLimit { upper: Offset(i64::MAX), bytes_max: u32::MAX, at_least_one_batch: true };
    let (mut offset, mut found) = (from, Vec::new());
    while let Some(slice) = reader.read(offset, limit, false).unwrap().slice {
        let mut bytes = vec![0; slice.length as usize];
        sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
        let mut bytes = bytes::Bytes::from(bytes);
        while !bytes.is_empty() {
            let batch = Batch::split_from(&mut bytes).unwrap();
            batch.check_crc().unwrap();
            offset = batch.header.next_offset();
            found.push((batch.header.base_offset, batch.bytes));
        }
    }
    found
}

fn folders(root: &Path, state: FolderState) -> usize {
    let in_dir = |dir: &str| fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = in_dir("a").chain(in_dir("b"));
    names.filter(|name| FolderName::parse(name.to_str().unwrap()).is_some_and(|it| it.state == state)).count()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy_tree(&path, &to) } else { assert!(fs::copy(&path, &to).is_ok()) }
    }
}

#[test]
fn a_crash_at_any_point_leaves_one_live_folder_and_every_record() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    fixture.writer.advance_start(Offset(3)).unwrap();
    fixture.manager.checkpoint_start(&fixture.partition).unwrap();
    let crashes: Rc<RefCell<Vec<tempfile::TempDir>>> = Rc::default();
    let (into, root) = (Rc::clone(&crashes), fixture.root.path().to_owned());
    CRASH.set(Some(Box::new(move || {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(&root, copy.path());
        into.borrow_mut().push(copy);
    })));
    let mut future = fixture.future("b");
    future.catch_up().unwrap();
    fixture.append(2);
    fixture.switch(&mut future);
    crash_point();
    CRASH.set(None);

    let expected = read(&fixture.reader, Offset(3));
    assert_eq!(expected.len(), 9);
    let (mut live_before, mut in_b) = (BTreeSet::new(), BTreeSet::new());
    for crash in crashes.take() {
        live_before.insert(folders(crash.path(), FolderState::Live));
        let manager = manager(crash.path());
        assert_eq!(folders(crash.path(), FolderState::Live), 1);
        in_b.insert(manager.dir_of(&fixture.partition).unwrap() == crash.path().join("b"));
        let (_, reader) = manager.open_log(&fixture.partition, fixture.topic_id, config()).unwrap();
        assert_eq!(reader.start_offset(), Offset(3));
        let found = read(&reader, Offset(3));
        assert_eq!(found, expected[..found.len()]);
        // Of what was copied before the last two were appended.
        assert!(found.len() >= 7, "{} batches", found.len());
    }
    assert_eq!(live_before, BTreeSet::from([0, 1]), "there is a moment without a live folder, and none with two");
    assert_eq!(in_b, BTreeSet::from([false, true]));
}

#[test]
fn a_move_is_not_finished_while_the_dir_that_may_hold_the_live_folder_cannot_be_opened() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let crashes: Rc<RefCell<Vec<tempfile::TempDir>>> = Rc::default();
    let (into, root) = (Rc::clone(&crashes), fixture.root.path().to_owned());
    let is_complete = |root: &Path| {
        let mut in_b = fs::read_dir(root.join("b")).unwrap().map(|entry| entry.unwrap().path());
        in_b.any(|folder| folder.is_dir() && folder.join(COMPLETE_MARK).exists())
    };
    let copy_if_complete = move || {
        if is_complete(&root) {
            let copy = tempfile::tempdir().unwrap();
            copy_tree(&root, copy.path());
            into.borrow_mut().push(copy);
        }
    };
    // The second of the log dirs is the one that a start can do without.
    let mut future = fixture.future("b");
    future.catch_up().unwrap();
    at_crash_points(copy_if_complete, || fixture.switch(&mut future));
    let expected = read(&fixture.reader, Offset(0));
    let mut live_before = BTreeSet::new();
    for crash in crashes.take() {
        let dirs = ["b", "a"].map(|dir| crash.path().join(dir));
        live_before.insert(folders(crash.path(), FolderState::Live));
        let (away, future) = (crash.path().join("away"), folders(crash.path(), FolderState::Future));
        fs::rename(&dirs[1], &away).unwrap();
        fs::write(&dirs[1], "not a folder").unwrap();
        let without = LogManager::open(&dirs, &options()).unwrap();
        assert_eq!(without.unopened(), [dirs[1].clone()]);
        assert_eq!(without.is_known(&fixture.partition), future == 0, "offline, unless it was renamed before");
        drop(without);
        fs::remove_file(&dirs[1]).unwrap();
        fs::rename(&away, &dirs[1]).unwrap();
        assert_eq!(folders(crash.path(), FolderState::Future), future);
        let manager = LogManager::open(&dirs, &options()).unwrap();
        assert_eq!(folders(crash.path(), FolderState::Live), 1);
        let (_, reader) = manager.open_log(&fixture.partition, fixture.topic_id, config()).unwrap();
        assert_eq!(read(&reader, Offset(0)), expected);
    }
    assert_eq!(live_before, BTreeSet::from([0, 1]));
}

#[test]
fn the_folder_that_is_left_and_the_new_one_hold_the_same_files() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let leftover = fixture.move_to("b").leftover.unwrap();
    let files = |dir: &Path| {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap()));
        files.collect::<BTreeMap<_, _>>()
    };
    let old = files(&leftover);
    assert_eq!(files(&fixture.root.path().join("b").join("topic-0")), old);
    for suffix in ["log", "index", "timeindex", "snapshot", "metadata"] {
        assert!(old.keys().any(|name| name.to_str().unwrap().ends_with(suffix)), "{suffix}");
    }
    assert!(old.contains_key(std::ffi::OsStr::new("leader-epoch-checkpoint")));
}

#[test]
fn appends_go_on_in_the_new_place_and_back_and_a_clean_stop_keeps_all() {
    let mut fixture = Fixture::new();
    for target in ["b", "a", "b"] {
        fixture.append(5);
        let leftover = fixture.move_to(target).leftover.unwrap();
        fs::remove_dir_all(leftover).unwrap();
    }
    fixture.append(5);
    let all = read(&fixture.reader, Offset(0));
    assert_eq!(all.iter().map(|(offset, _)| offset.0).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    fixture.writer.close().unwrap();
    fixture.manager.close().unwrap();
    let Fixture { root, manager: stopped, partition, topic_id, .. } = fixture;
    drop(stopped);
    let manager = manager(root.path());
    assert!(manager.was_clean());
    assert_eq!(manager.dir_of(&partition).unwrap(), root.path().join("b"));
    let (_, reader) = manager.open_log(&partition, topic_id, config()).unwrap();
    assert_eq!(read(&reader, Offset(0)), all);
}

#[test]
fn an_old_reader_is_told_that_its_files_are_gone_and_what_it_was_given_stays_readable() {
    let mut fixture = Fixture::new();
    fixture.append(5);
    let limit = ReadLimit { upper: Offset(i64::MAX), bytes_max: u32::MAX, at_least_one_batch: true };
    let old = fixture.reader.clone();
    let slice = old.read(Offset(0), limit, false).unwrap().slice.unwrap();
    let leftover = fixture.move_to("b").leftover.unwrap();
    fs::remove_dir_all(leftover).unwrap();
    assert!(matches!(old.read(Offset(0), limit, false), Err(LogError::Gone)));
    let mut bytes = vec![0; slice.length as usize];
    sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
    // Nothing is left to flush, and nothing fails for it.
    old.flush_sealed().unwrap();
    fixture.manager.checkpoint().unwrap();
}

#[test]
fn a_new_partition_goes_to_the_dir_that_a_move_has_left_emptier() {
    let mut fixture = Fixture::new();
    fixture.append(1);
    fixture.move_to("b");
    let other = TopicPartition::new("topic", 1);
    fixture.manager.open_log(&other, fixture.topic_id, config()).unwrap();
    assert_eq!(fixture.manager.dir_of(&other).unwrap(), fixture.root.path().join("a"));
}

#[test]
fn segments_that_retention_removes_under_the_copy_leave_it() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let mut future = fixture.future("b");
    future.catch_up().unwrap();
    let copied = future.progress.bytes();
    fixture.writer.advance_start(Offset(6)).unwrap();
    fixture.manager.checkpoint_start(&fixture.partition).unwrap();
    while fixture.writer.remove_before(Offset(6), Instant::now()).unwrap() {}
    fixture.switch(&mut future);
    assert!(future.progress.bytes() < copied);
    assert_eq!(future.progress.bytes(), fixture.reader.size_bytes());
    assert_eq!(read(&fixture.reader, Offset(6)).len(), 4);
    assert!(matches!(
        fixture.reader.read(Offset(5), ReadLimit { upper: Offset(10), bytes_max: 1, at_least_one_batch: true }, false),
        Err(LogError::OffsetOutOfRange { .. })
    ));
}

#[test]
fn a_segment_that_was_replaced_is_copied_anew() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let mut future = fixture.future("b");
    future.catch_up().unwrap();
    assert_eq!(future.catch_up().unwrap(), 0);
    // Another segment with the same files: what compaction puts in an old one's place.
    let shared = Arc::clone(&fixture.reader.shared);
    let first = Arc::clone(shared.view().segments.get(0).unwrap());
    let (interval, open_files) = (first.index_interval_bytes, &shared.context.open_files);
    let new = Segment::existing(FileState::Live, &shared.dir, first.base_offset, first.size(), interval, open_files);
    new.seal(None);
    shared.view.write().segments.replace(0..1, vec![Arc::new(new)]);
    assert_eq!(future.catch_up().unwrap(), first.size());
    fixture.switch(&mut future);
    assert_eq!(read(&fixture.reader, Offset(0)).len(), 10);
}

#[test]
fn a_producers_retry_is_known_after_the_move_further_back_than_a_snapshot_tells() {
    let mut fixture = Fixture::new();
    let batch = |sequence| {
        let batch = BatchBuilder::new(NOW).record(None, Some(b"value")).build().unwrap();
        let mut header = batch.header;
        (header.producer_id, header.producer_epoch, header.base_sequence) =
            (crate::types::ProducerId(7), crate::types::ProducerEpoch(0), sequence);
        Batch { header, ..batch }
    };
    let append =
        |fixture: &mut Fixture, sequence| fixture.writer.append(&mut [batch(sequence)], LeaderEpoch(0), NOW).unwrap();
    assert!((0..3).all(|sequence| !append(&mut fixture, sequence).duplicate));
    fixture.move_to("b");
    let retried = append(&mut fixture, 0);
    assert!(retried.duplicate);
    assert_eq!(retried.base_offset, Offset(0));
    assert!(!append(&mut fixture, 3).duplicate);
}

#[test]
fn a_log_without_a_folder_is_placed_anew() {
    let mut fixture = Fixture::new();
    assert!(fixture.move_to("b").leftover.is_none());
    fixture.append(1);
    assert!(fixture.root.path().join("b").join("topic-0").is_dir());
    assert_eq!(folders(fixture.root.path(), FolderState::Live), 1);
    assert_eq!(folders(fixture.root.path(), FolderState::Future), 0);
}

#[test]
fn what_a_cancelled_move_has_copied_goes_with_it() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let mut future = fixture.future("b");
    future.catch_up().unwrap();
    assert_eq!(folders(fixture.root.path(), FolderState::Future), 1);
    future.progress.cancel();
    let switched = fixture.manager.switch(&fixture.partition, &mut fixture.writer, &mut future, ANY_NUMBER);
    assert!(matches!(switched, Err(LogError::MoveCancelled)));
    drop(future);
    assert_eq!(folders(fixture.root.path(), FolderState::Future), 0);
    fixture.append(1);
    assert_eq!(read(&fixture.reader, Offset(0)).len(), 11);
}

#[test]
fn a_switch_that_fails_leaves_the_log_where_it_is() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let mut future = fixture.future("b");
    future.catch_up().unwrap();
    // The name is taken.
    fs::create_dir_all(fixture.root.path().join("b").join("topic-0").join("x")).unwrap();
    fixture.manager.switch(&fixture.partition, &mut fixture.writer, &mut future, ANY_NUMBER).unwrap_err();
    assert!(!future.context.has_failed(), "nothing speaks against the disk");
    drop(future);
    fs::remove_dir_all(fixture.root.path().join("b").join("topic-0")).unwrap();
    fixture.append(1);
    assert_eq!(read(&fixture.reader, Offset(0)).len(), 11);
    assert_eq!(fixture.manager.dir_of(&fixture.partition).unwrap(), fixture.root.path().join("a"));
    assert_eq!(folders(fixture.root.path(), FolderState::Live), 1);
}

#[test]
fn a_copy_that_cannot_be_written_is_held_against_its_log_dir_and_not_against_the_other() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let mut future = fixture.future("b");
    // A device is not made empty by opening it, and takes no byte.
    fs::create_dir_all(&future.folders.future).unwrap();
    let log = future.folders.future.join("00000000000000000000.log");
    std::os::unix::fs::symlink("/dev/full", log).unwrap();
    assert!(matches!(future.catch_up(), Err(LogError::DiskFull { path }) if path.ends_with("b")));
    // Nor can a folder be written to, which says nothing about the disk.
    fs::remove_file(future.folders.future.join("00000000000000000000.log")).unwrap();
    fs::create_dir(future.folders.future.join("00000000000000000000.log")).unwrap();
    assert!(matches!(future.catch_up(), Err(LogError::Io { .. })));
    fixture.append(1);
    assert_eq!(read(&fixture.reader, Offset(0)).len(), 11);
}

#[test]
fn sizes_are_told_of_logs_that_are_open_and_of_those_that_are_not() {
    let mut fixture = Fixture::new();
    fixture.append(10);
    let size = fixture.reader.size_bytes();
    let sizes = |manager: &LogManager| {
        let dirs = manager.describe(|_| true);
        dirs.into_iter().flat_map(|dir| dir.contents.unwrap().sizes.into_values()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&fixture.manager), [size]);
    fixture.writer.close().unwrap();
    let Fixture { root, manager: stopped, .. } = fixture;
    drop(stopped);
    assert_eq!(sizes(&manager(root.path())), [size]);
}
