//! Data directories made through the crate's own log layer, faster than over the wire.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla::config::TopicConfig;
use ottla::log::manager::{LogManager, ManagerOptions};
use ottla::metadata::LocalStore;
use ottla::protocol::batch::Batch;
use ottla::types::{LeaderEpoch, NodeId, Timestamp, TopicId, TopicPartition};

/// A file system commits what several threads sync in one go.
const THREADS: usize = 16;
const MANY: i32 = 100;
/// A file system in memory, where there is one.
const MEMORY: &str = "/dev/shm";
const APPENDED_AT_ONCE: u64 = 64;
const CLEAN_SHUTDOWN_MARK: &str = ".kafka_cleanshutdown";
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// A topic to be made.
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    /// Of each partition.
    pub batches: u64,
    pub batch: Batch,
}

/// Fills a data directory as a broker that stopped cleanly leaves it. Its topics are adopted at the first start.
pub fn make(dir: &Path, topics: &[Topic]) {
    let partitions: i32 = topics.iter().map(|topic| topic.partitions).sum();
    match tempfile::tempdir_in(MEMORY) {
        // Each partition syncs its files, for which a disk takes minutes.
        Ok(memory) if partitions >= MANY => {
            fill_dir(memory.path(), topics);
            copy(memory.path(), dir);
        }
        _ => fill_dir(dir, topics),
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

fn fill_dir(dir: &Path, topics: &[Topic]) {
    let options = ManagerOptions {
        node_id: NodeId(1),
        cluster_id: None,
        producer_id_expiration: Duration::from_secs(3600),
        open_files_max: 512,
    };
    let manager = LogManager::open(&[dir.to_owned()], &options).unwrap();
    for topic in topics {
        let (id, manager) = (TopicId::random(), &manager);
        std::thread::scope(|scope| {
            for thread in 0..THREADS as i32 {
                let mine = (0..topic.partitions).filter(move |index| index % THREADS as i32 == thread);
                scope.spawn(move || mine.for_each(|index| fill(manager, topic, index, id)));
            }
        });
    }
    manager.close().unwrap();
    // Without a store the directory would be taken for a Kafka's.
    drop(LocalStore::open(&dir.join("__metadata")).unwrap());
}

fn fill(manager: &LogManager, topic: &Topic, index: i32, id: TopicId) {
    let partition = TopicPartition::new(topic.name.as_str(), index);
    let (mut writer, _reader) = manager.open_log(&partition, id, TopicConfig::default()).unwrap();
    let mut left = topic.batches;
    while left > 0 {
        let count = left.min(APPENDED_AT_ONCE);
        let mut batches = vec![topic.batch.clone(); count as usize];
        writer.append(&mut batches, LeaderEpoch(0), Timestamp::now()).unwrap();
        left -= count;
    }
    writer.close().unwrap();
}

/// Makes of a clean stop an unclean one, whose recovery points lie `behind_end` offsets before the logs' ends.
pub fn soil(dir: &Path, behind_end: i64) {
    match std::fs::remove_file(dir.join(CLEAN_SHUTDOWN_MARK)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
    let path: PathBuf = dir.join(RECOVERY_POINTS);
    let text = std::fs::read_to_string(&path).unwrap();
    let moved = text.lines().map(|line| match line.rsplit_once(' ') {
        Some((partition, end)) => format!("{partition} {}\n", (end.parse::<i64>().unwrap() - behind_end).max(0)),
        None => format!("{line}\n"),
    });
    std::fs::write(&path, moved.collect::<String>()).unwrap();
}
