use std::fs;

use super::*;
use crate::log::ReadLimit;
use crate::log::checkpoint::REPLICATION_OFFSET_CHECKPOINT;
use crate::protocol::builder::BatchBuilder;
use crate::types::{LeaderEpoch, Timestamp};

const EXPIRATION: Duration = Duration::from_secs(3600);
const NODE: NodeId = NodeId(1);
const UNLIMITED: ReadLimit = ReadLimit { upper: Offset(i64::MAX), bytes_max: u32::MAX, at_least_one_batch: true };

fn options(node_id: NodeId, cluster_id: Option<&str>) -> ManagerOptions<'_> {
    ManagerOptions { node_id, cluster_id, producer_id_expiration: EXPIRATION, open_files_max: 1000 }
}

fn open(dirs: &[PathBuf]) -> LogManager {
    LogManager::open(dirs, &options(NODE, None)).unwrap()
}

fn config() -> TopicConfig {
    TopicConfig { segment_bytes: 1 << 20, ..TopicConfig::default() }
}

fn append(writer: &mut LogWriter) {
    let now = Timestamp::now();
    let batch = BatchBuilder::new(now).record(None, Some(b"value")).build().unwrap();
    writer.append(&mut [batch], LeaderEpoch(0), now).unwrap();
}

/// A manager's life with `appends` records to `topic-0`, and a clean stop.
fn run(dirs: &[PathBuf], topic_id: TopicId, appends: usize) -> Offset {
    let manager = open(dirs);
    let partition = TopicPartition::new("topic", 0);
    let (mut writer, reader) = manager.open_log(&partition, topic_id, config()).unwrap();
    (0..appends).for_each(|_| append(&mut writer));
    writer.close().unwrap();
    manager.close().unwrap();
    reader.end_offset()
}

#[test]
fn a_directory_in_use_is_refused_by_its_holders_pid() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a")];
    let _first = open(&dirs);
    let error = LogManager::open(&dirs, &options(NODE, None)).unwrap_err();
    assert!(matches!(error, ManagerError::InUse { pid, .. } if pid == std::process::id()));
    assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
}

#[test]
fn a_directory_is_free_again_once_its_holder_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a")];
    drop(open(&dirs));
    open(&dirs);
}

#[test]
fn the_cluster_id_is_kept_and_shared_by_new_directories() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    let cluster_id = open(std::slice::from_ref(&a)).cluster_id().to_owned();
    assert_eq!(cluster_id.len(), 22);
    assert_eq!(open(&[a, b.clone()]).cluster_id(), cluster_id);
    assert_eq!(open(&[b]).cluster_id(), cluster_id);
}

#[test]
fn a_directory_of_another_broker_or_cluster_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a")];
    drop(LogManager::open(&dirs, &options(NODE, Some("mine"))).unwrap());
    let refused = |node_id, cluster_id| LogManager::open(&dirs, &options(node_id, cluster_id)).unwrap_err();
    assert!(matches!(refused(NodeId(2), None), ManagerError::WrongIdentity { key: "node.id", .. }));
    assert!(matches!(refused(NODE, Some("other")), ManagerError::WrongIdentity { key: "cluster.id", .. }));
    open(&dirs);
}

#[test]
fn a_log_dir_is_known_by_its_id_wherever_it_is_mounted() {
    let root = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| root.path().join(name));
    assert!(open(&[a.clone(), b.clone()]).unopened().is_empty());
    assert_eq!(open(std::slice::from_ref(&a)).unopened(), std::slice::from_ref(&b));
    fs::rename(&b, &c).unwrap();
    assert!(open(&[a.clone(), c.clone()]).unopened().is_empty());
    assert_eq!(open(&[a.clone(), b.clone()]).unopened(), [b, c.clone()], "an empty one is not taken for it");
    assert!(open(&[a, c]).unopened().is_empty());
}

#[test]
fn a_log_dir_that_has_lost_its_properties_is_the_one_it_was_if_anything_is_in_it() {
    let root = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| root.path().join(name));
    open(&dirs);
    let properties = dirs[1].join("meta.properties");
    let before = fs::read(&properties).unwrap();
    fs::remove_file(&properties).unwrap();
    assert_eq!(open(&dirs).unopened(), [dirs[1].clone()]);
    fs::create_dir(dirs[1].join("topic-0")).unwrap();
    assert!(open(&dirs).unopened().is_empty());
    assert_eq!(fs::read(&properties).unwrap(), before);
}

#[test]
fn a_list_of_log_dirs_that_cannot_be_read_stops_the_start() {
    let root = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| root.path().join(name));
    open(&dirs);
    let list = dirs[0].join("log-dirs-checkpoint");
    fs::write(&list, "0\n1\nx\n").unwrap();
    let error = LogManager::open(&dirs, &options(NODE, None)).unwrap_err().to_string();
    assert!(error.contains("log-dirs-checkpoint: malformed line 'x'"), "{error}");
}

#[test]
fn a_stop_is_clean_only_if_it_was_marked() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let id = TopicId::random();
    assert_eq!(run(&dirs, id, 3), Offset(3));
    assert!(root.path().join(".kafka_cleanshutdown").exists());
    let killed = open(&dirs);
    assert!(killed.was_clean());
    assert!(!root.path().join(".kafka_cleanshutdown").exists(), "the mark is taken away at start");
    drop(killed);
    let manager = open(&dirs);
    assert!(!manager.was_clean());
    let partition = TopicPartition::new("topic", 0);
    let (_, reader) = manager.open_log(&partition, id, config()).unwrap();
    assert_eq!(reader.end_offset(), Offset(3));
}

#[test]
fn the_broker_epoch_in_a_mark_is_kept_until_a_stop_that_is_not_clean() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let mark = root.path().join(".kafka_cleanshutdown");
    let of_none = r#"{"version":0,"brokerEpoch":-1}"#;
    let kafkas = r#"{"version":0,"brokerEpoch":14}"#;
    let endless = format!("{}7}}", kafkas.trim_end_matches('}').repeat(9));
    for (found, kept) in [(kafkas, kafkas), ("", of_none), ("{}", of_none), ("14}", of_none), (&endless, of_none)] {
        fs::write(&mark, found).unwrap();
        run(&dirs, TopicId::random(), 0);
        assert_eq!(fs::read_to_string(&mark).unwrap(), kept, "{found}");
    }
    fs::write(&mark, kafkas).unwrap();
    drop(open(&dirs));
    run(&dirs, TopicId::random(), 0);
    assert_eq!(fs::read_to_string(&mark).unwrap(), of_none);
}

#[test]
fn a_partition_that_was_not_recovered_keeps_its_directory_from_being_clean() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    run(&dirs, TopicId::random(), 3);
    drop(open(&dirs));
    let manager = open(&dirs);
    manager.close().unwrap();
    drop(manager);
    assert!(!open(&dirs).was_clean());
}

#[test]
fn found_partitions_have_the_topic_id_of_their_folder() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let id = TopicId::random();
    run(&dirs, id, 1);
    std::fs::create_dir(root.path().join("other-topic-11")).unwrap();
    std::fs::create_dir(root.path().join("not a partition")).unwrap();
    let expected = [(TopicPartition::new("other-topic", 11), None), (TopicPartition::new("topic", 0), Some(id))];
    assert_eq!(open(&dirs).found(), BTreeMap::from(expected));
}

#[test]
fn checkpoints_name_recovery_points_and_high_watermarks() {
    let root = tempfile::tempdir().unwrap();
    run(&[root.path().to_owned()], TopicId::random(), 3);
    for name in [RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT] {
        assert_eq!(fs::read_to_string(root.path().join(name)).unwrap(), "0\n1\ntopic 0 3\n");
    }
    assert_eq!(fs::read_to_string(root.path().join(LOG_START_OFFSET_CHECKPOINT)).unwrap(), "0\n0\n");
}

#[test]
fn a_log_start_offset_outlives_a_restart_in_which_its_log_was_not_opened() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let id = TopicId::random();
    run(&dirs, id, 5);
    fs::write(root.path().join(LOG_START_OFFSET_CHECKPOINT), "0\n1\ntopic 0 2\n").unwrap();
    open(&dirs).close().unwrap();
    let manager = open(&dirs);
    let (_, reader) = manager.open_log(&TopicPartition::new("topic", 0), id, config()).unwrap();
    assert_eq!((reader.start_offset(), reader.end_offset()), (Offset(2), Offset(5)));
}

#[test]
fn an_unreadable_checkpoint_counts_as_empty() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let id = TopicId::random();
    run(&dirs, id, 5);
    for name in [RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT] {
        fs::write(root.path().join(name), "garbage").unwrap();
    }
    assert_eq!(run(&dirs, id, 0), Offset(5));
}

#[test]
fn a_retired_partition_leaves_its_name_free_and_is_gone_after_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    run(&dirs, TopicId::random(), 3);
    let manager = open(&dirs);
    let partition = TopicPartition::new("topic", 0);
    let never_used = TopicPartition::new("topic", 1);
    let aside = manager.retire([never_used, partition.clone()]).unwrap();
    assert!(aside[0].exists() && !root.path().join("topic-0").exists());
    assert!(manager.retire([partition]).unwrap().is_empty());
    assert!(manager.found().is_empty());
    drop(manager);
    let leftovers = open(&dirs).dirs.remove(0).leftovers;
    assert_eq!(leftovers, aside);
}

#[test]
fn a_topic_made_again_does_not_inherit_the_old_ones_offsets() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let partition = TopicPartition::new("topic", 0);
    run(&dirs, TopicId::random(), 9);
    fs::write(root.path().join(LOG_START_OFFSET_CHECKPOINT), "0\n1\ntopic 0 4\n").unwrap();
    let manager = open(&dirs);
    manager.retire([partition.clone()]).unwrap();
    let id = TopicId::random();
    let (mut writer, reader) = manager.open_log(&partition, id, config()).unwrap();
    assert_eq!((reader.start_offset(), reader.end_offset()), (Offset(0), Offset(0)));
    append(&mut writer);
    // Killed: the checkpoints must not speak of the old topic any more.
    drop((manager, writer));
    let manager = open(&dirs);
    let (_, reader) = manager.open_log(&partition, id, config()).unwrap();
    assert_eq!((reader.start_offset(), reader.end_offset()), (Offset(0), Offset(1)));
}

#[test]
fn a_folder_of_another_topic_is_not_opened() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    run(&dirs, TopicId::random(), 3);
    let error = open(&dirs).open_log(&TopicPartition::new("topic", 0), TopicId::random(), config()).unwrap_err();
    assert!(matches!(error, LogError::WrongTopic { .. }), "{error}");
}

/// Files under `dir` that this process has open.
fn open_files(dir: &std::path::Path) -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap();
    files.filter(|file| fs::read_link(file.as_ref().unwrap().path()).is_ok_and(|path| path.starts_with(dir))).count()
}

#[test]
fn a_checkpoint_moves_recovery_points_to_the_active_segments_and_closes_idle_files() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("topic-0");
    let config = TopicConfig { segment_bytes: 200, ..config() };
    let manager = open(&[root.path().to_owned()]);
    let partition = TopicPartition::new("topic", 0);
    let (mut writer, reader) = manager.open_log(&partition, TopicId::random(), config).unwrap();
    // Two of them fill a segment.
    (0..7).for_each(|_| append(&mut writer));
    manager.checkpoint().unwrap();
    assert_eq!(reader.recovery_point(), Offset(6));
    let checkpoint = root.path().join(RECOVERY_POINT_CHECKPOINT);
    assert_eq!(fs::read_to_string(&checkpoint).unwrap(), "0\n1\ntopic 0 6\n");

    // Nothing has moved: nothing is written.
    fs::remove_file(&checkpoint).unwrap();
    assert_eq!(open_files(&folder), 12, "what was used since the last time stays open");
    manager.checkpoint().unwrap();
    assert!(!checkpoint.exists());
    assert_eq!(open_files(&folder), 1, "only what is not synced");
    append(&mut writer);
    let first = reader.read(Offset(0), UNLIMITED, false).unwrap().slice.unwrap();
    assert_eq!((first.position, reader.end_offset()), (0, Offset(8)));
}

#[test]
fn after_a_crash_only_what_follows_the_checkpoint_is_recovered() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let (id, partition) = (TopicId::random(), TopicPartition::new("topic", 0));
    let config = TopicConfig { segment_bytes: 200, ..config() };
    let manager = open(&dirs);
    let (mut writer, _) = manager.open_log(&partition, id, config.clone()).unwrap();
    (0..7).for_each(|_| append(&mut writer));
    manager.checkpoint().unwrap();
    drop((manager, writer));
    // Recovery would report it.
    fs::write(root.path().join("topic-0").join("00000000000000000000.log"), "damage").unwrap();
    let (_, reader) = open(&dirs).open_log(&partition, id, config).unwrap();
    assert_eq!(reader.end_offset(), Offset(7));
}

#[test]
fn new_partitions_go_where_the_fewest_are_and_known_ones_stay() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a"), root.path().join("b")];
    let manager = open(&dirs);
    let id = TopicId::random();
    for index in 0..4 {
        let partition = TopicPartition::new("topic", index);
        append(&mut manager.open_log(&partition, id, config()).unwrap().0);
    }
    for dir in &dirs {
        assert_eq!(fs::read_dir(dir).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 2);
    }
    drop(manager);
    let manager = open(&dirs);
    for index in 0..4 {
        let partition = TopicPartition::new("topic", index);
        let (_, reader) = manager.open_log(&partition, id, config()).unwrap();
        assert_eq!(reader.end_offset(), Offset(1));
    }
}

#[test]
fn a_partition_with_two_folders_stops_the_start() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a"), root.path().join("b")];
    drop(open(&dirs));
    dirs.iter().for_each(|dir| fs::create_dir(dir.join("topic-0")).unwrap());
    let error = LogManager::open(&dirs, &options(NODE, None)).unwrap_err();
    assert!(matches!(error, ManagerError::Duplicate { .. }), "{error}");
}

#[test]
fn a_failed_dir_gets_no_new_partition_and_no_mark_and_keeps_nothing_from_the_others() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a"), root.path().join("b")];
    let manager = open(&dirs);
    let partition = |index| TopicPartition::new("topic", index);
    let id = TopicId::random();
    for index in 0..2 {
        manager.open_log(&partition(index), id, config()).unwrap();
    }
    let device = LogError::Io { path: dirs[0].clone(), source: io::Error::from_raw_os_error(5) };
    manager.dirs[0].context.fail(&device);
    assert_eq!([0, 1].map(|index| manager.is_offline(&partition(index))), [true, false]);
    assert!(matches!(manager.open_log(&partition(0), id, config()), Err(LogError::DirFailed { .. })));
    for index in 2..5 {
        append(&mut manager.open_log(&partition(index), id, config()).unwrap().0);
        assert!(dirs[1].join(partition(index).to_string()).exists());
    }
    assert!(!manager.have_all_failed());
    manager.close().unwrap();
    assert_eq!([0, 1].map(|dir| dirs[dir].join(".kafka_cleanshutdown").exists()), [false, true]);
    manager.dirs[1].context.fail(&device);
    assert!(manager.have_all_failed());
    assert!(manager.open_log(&partition(9), id, config()).is_err());
}

#[test]
fn a_log_that_was_not_closed_in_order_keeps_its_dir_from_being_clean() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let manager = open(&dirs);
    let partition = TopicPartition::new("topic", 0);
    append(&mut manager.open_log(&partition, TopicId::random(), config()).unwrap().0);
    manager.not_closed(&partition);
    manager.close().unwrap();
    assert!(!root.path().join(".kafka_cleanshutdown").exists());
}

#[test]
fn the_folders_in_a_failed_dir_are_left_where_they_are_and_said_to_be() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().join("a"), root.path().join("b")];
    let manager = open(&dirs);
    let partitions = [0, 1].map(|index| TopicPartition::new("topic", index));
    let id = TopicId::random();
    partitions.iter().for_each(|it| append(&mut manager.open_log(it, id, config()).unwrap().0));
    manager.dirs[0].context.fail(&LogError::Io { path: dirs[0].clone(), source: io::Error::from_raw_os_error(5) });
    assert!(manager.retire(partitions).is_err());
    assert!(dirs[0].join("topic-0").exists() && !dirs[1].join("topic-1").exists());
}

#[test]
fn how_far_a_partition_was_cleaned_outlives_a_restart_and_not_the_partition() {
    let root = tempfile::tempdir().unwrap();
    let dirs = [root.path().to_owned()];
    let path = root.path().join(CLEANER_OFFSET_CHECKPOINT);
    let id = TopicId::random();
    run(&dirs, id, 5);
    assert!(!path.exists(), "nothing was ever cleaned");
    let partition = TopicPartition::new("topic", 0);
    let manager = open(&dirs);
    assert_eq!(manager.cleaned_to(&partition), None);
    manager.set_cleaned_to(&partition, id, Offset(4)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n1\ntopic 0 4\n");
    drop(manager);

    let manager = open(&dirs);
    assert_eq!(manager.cleaned_to(&partition), Some(Offset(4)));
    manager.retire([partition.clone()]).unwrap();
    // Under the same name again: what was cleaned of the old one says nothing about it.
    let _log = manager.open_log(&partition, TopicId::random(), config()).unwrap();
    assert_eq!(manager.cleaned_to(&partition), None);
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n0\n");
    // A cleaning that outlives its topic.
    manager.set_cleaned_to(&partition, id, Offset(4)).unwrap();
    assert_eq!(manager.cleaned_to(&partition), None);
    manager.set_cleaned_to(&TopicPartition::new("gone", 0), id, Offset(1)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n0\n");
}

#[test]
fn a_log_is_opened_while_checkpoints_are_written() {
    let root = tempfile::tempdir().unwrap();
    let manager = open(&[root.path().to_owned()]);
    std::thread::scope(|scope| {
        let disk = crate::sys::power_loss::stalled();
        let writing = scope.spawn(|| manager.close());
        while manager.dirs[0].checkpoints.try_lock().is_some() {
            std::thread::yield_now();
        }
        assert!(manager.state.try_lock_for(Duration::from_secs(10)).is_some(), "it is free while the disk works");
        manager.open_log(&TopicPartition::new("topic", 0), TopicId::random(), config()).unwrap();
        assert!(!writing.is_finished());
        drop(disk);
        writing.join().unwrap().unwrap();
    });
}
