//! Kafka's small text files: offset and leader-epoch checkpoints, `partition.metadata`, `meta.properties`. Each is
//! replaced as a whole: written beside, and renamed. Those of a log dir are durable at once; those of a partition, which
//! appends write, with the log's next flush.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::log::epoch_cache::EpochEntry;
use crate::sys;
use crate::types::{DirectoryId, LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};

pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
pub const REPLICATION_OFFSET_CHECKPOINT: &str = "replication-offset-checkpoint";
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";
pub const META_PROPERTIES: &str = "meta.properties";
/// The log dirs beside the first, which has this file.
pub const LOG_DIRS_CHECKPOINT: &str = "log-dirs-checkpoint";

/// Room for the offsets of a million partitions; no more than this is read into memory.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },
}

impl CheckpointError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError + '_ {
        move |source| CheckpointError::Io { path: path.to_owned(), source }
    }

    fn malformed(path: &Path) -> impl FnOnce(String) -> CheckpointError + '_ {
        move |problem| CheckpointError::Malformed { path: path.to_owned(), problem }
    }
}

/// Offsets by partition, in the file's order; none if there is no file.
pub fn read_offsets(path: &Path) -> Result<Vec<(TopicPartition, Offset)>, CheckpointError> {
    read_entries(path, |line| {
        let [topic, partition, offset] = fields(line)?;
        Some((TopicPartition::new(topic, partition.parse::<i32>().ok()?), Offset(offset.parse().ok()?)))
    })
}

pub fn write_offsets<'a>(
    path: &Path,
    offsets: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<(), CheckpointError> {
    let line = |(at, offset): (&TopicPartition, Offset)| format!("{} {} {offset}", at.topic, at.partition);
    replace_durably(path, entries_text(offsets.into_iter().map(line)).as_bytes())
}

/// Leader epochs and where they start, in the file's order; none if there is no file.
pub fn read_epochs(path: &Path) -> Result<Vec<EpochEntry>, CheckpointError> {
    read_entries(path, |line| {
        let [epoch, start_offset] = fields(line)?;
        Some(EpochEntry { epoch: LeaderEpoch(epoch.parse().ok()?), start_offset: Offset(start_offset.parse().ok()?) })
    })
}

pub fn write_epochs(path: &Path, epochs: &[EpochEntry]) -> Result<(), CheckpointError> {
    let line = |entry: &EpochEntry| format!("{} {}", entry.epoch.0, entry.start_offset);
    replace(path, entries_text(epochs.iter().map(line)).as_bytes())
}

/// The topic id of a partition's folder; `None` if it has no `partition.metadata`.
pub fn read_partition_metadata(path: &Path) -> Result<Option<TopicId>, CheckpointError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    parse_partition_metadata(&text).map(Some).map_err(CheckpointError::malformed(path))
}

fn parse_partition_metadata(text: &str) -> Result<TopicId, String> {
    let mut lines = text.lines();
    let mut value_of = |name: &str| {
        let line = lines.next().unwrap_or_default();
        match fields(line) {
            Some([found, value]) if found.strip_suffix(':') == Some(name) => Ok(value),
            _ => Err(format!("'{line}' where '{name}: …' is expected")),
        }
    };
    let version = value_of("version")?;
    if version != "0" {
        return Err(format!("version {version}; only 0 is known"));
    }
    let id = value_of("topic_id")?;
    match TopicId::parse(id) {
        Some(topic_id) if topic_id != TopicId::ZERO => Ok(topic_id),
        _ => Err(format!("'{id}' is no topic id")),
    }
}

pub fn write_partition_metadata(path: &Path, topic_id: TopicId) -> Result<(), CheckpointError> {
    replace(path, format!("version: 0\ntopic_id: {topic_id}").as_bytes())
}

/// What a log dir says of itself, in version 1 (Kafka's `MetaProperties`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// Absent where a Kafka before 3.7 wrote the file.
    pub directory_id: Option<DirectoryId>,
}

/// `None` for a log dir that is not formatted yet.
pub fn read_meta_properties(path: &Path) -> Result<Option<MetaProperties>, CheckpointError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    parse_meta_properties(&text).map(Some).map_err(CheckpointError::malformed(path))
}

fn parse_meta_properties(text: &str) -> Result<MetaProperties, String> {
    let (mut version, mut cluster_id, mut node_id, mut directory_id) = (None, None, None, None);
    let is_property = |line: &&str| !line.is_empty() && !line.starts_with(['#', '!']);
    for line in text.lines().map(str::trim).filter(is_property) {
        let (key, value) = line.split_once('=').ok_or_else(|| format!("'{line}' is no 'key=value'"))?;
        // `java.util.Properties` escapes its separators with a backslash.
        let value = value.replace('\\', "").trim().to_owned();
        match key.trim() {
            "version" => version = Some(value),
            "cluster.id" => cluster_id = Some(value),
            "node.id" => node_id = Some(value.parse().map_err(|_| format!("node.id '{value}' is no number"))?),
            "directory.id" => {
                let id = DirectoryId::parse(&value).ok_or_else(|| format!("directory.id '{value}' is no id"))?;
                directory_id = Some(id);
            }
            _ => {}
        }
    }
    if version.as_deref() != Some("1") {
        return Err(format!("version {}; only 1 is known", version.as_deref().unwrap_or("0")));
    }
    let cluster_id = cluster_id.ok_or("cluster.id is missing")?;
    Ok(MetaProperties { cluster_id, node_id: NodeId(node_id.ok_or("node.id is missing")?), directory_id })
}

/// Writes the properties in Kafka's order, without the date that it puts above them.
pub fn write_meta_properties(path: &Path, properties: &MetaProperties) -> Result<(), CheckpointError> {
    let directory = properties.directory_id.map(|id| format!("directory.id={id}\n")).unwrap_or_default();
    // A cluster id is free text: escape what `java.util.Properties` would take for a separator or a comment.
    let mut cluster_id = String::new();
    for character in properties.cluster_id.chars() {
        if matches!(character, '=' | ':' | '#' | '!' | '\\') {
            cluster_id.push('\\');
        }
        cluster_id.push(character);
    }
    let text = format!("node.id={}\n{directory}version=1\ncluster.id={cluster_id}\n", properties.node_id.0);
    replace_durably(path, text.as_bytes())
}

/// Ids of log dirs and where they were, in the file's order; none if there is no file.
pub fn read_log_dirs(path: &Path) -> Result<Vec<(DirectoryId, PathBuf)>, CheckpointError> {
    read_entries(path, |line| {
        let (id, dir) = line.split_once(' ')?;
        Some((DirectoryId::parse(id)?, PathBuf::from(dir)))
    })
}

pub fn write_log_dirs<'a>(
    path: &Path,
    dirs: impl IntoIterator<Item = (&'a DirectoryId, &'a PathBuf)>,
) -> Result<(), CheckpointError> {
    let line = |(id, dir): (&DirectoryId, &PathBuf)| format!("{id} {}", dir.display());
    replace_durably(path, entries_text(dirs.into_iter().map(line)).as_bytes())
}

/// Kafka's `CheckpointFile`: a line for the version, one for the number of entries, one for each entry.
fn read_entries<T>(path: &Path, entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, CheckpointError> {
    let Some(text) = read_text(path)? else { return Ok(Vec::new()) };
    parse_entries(&text, entry).map_err(CheckpointError::malformed(path))
}

fn parse_entries<T>(text: &str, entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let mut lines = text.lines();
    // Kafka makes the file before it first fills it.
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version != "0" {
        return Err(format!("version '{version}'; only 0 is known"));
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let entries = lines
        .map(|line| entry(line).ok_or_else(|| format!("malformed line '{line}'")))
        .collect::<Result<Vec<T>, String>>()?;
    if count.parse() != Ok(entries.len()) {
        return Err(format!("'{count}' entries announced, {} found", entries.len()));
    }
    Ok(entries)
}

fn entries_text(lines: impl Iterator<Item = String>) -> String {
    let (mut count, mut entries) = (0, String::new());
    for line in lines {
        count += 1;
        entries.push_str(&line);
        entries.push('\n');
    }
    format!("0\n{count}\n{entries}")
}

/// Exactly `N` fields between white space.
fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    line.split_whitespace().collect::<Vec<_>>().try_into().ok()
}

fn read_text(path: &Path) -> Result<Option<String>, CheckpointError> {
    let Some(bytes) = read_bytes(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| CheckpointError::malformed(path)("not UTF-8".to_owned()))
}

/// All of a file that must not be large; `None` if there is none.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CheckpointError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(CheckpointError::io(path))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CheckpointError::malformed(path)(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

/// Replaces a file so that a process that dies leaves the old content or the new one, never a part.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), CheckpointError> {
    let replace = || sys::rename(&write_beside(path, content)?.0, path);
    replace().map_err(CheckpointError::io(path))
}

/// As [`replace`], for a machine that loses its power.
fn replace_durably(path: &Path, content: &[u8]) -> Result<(), CheckpointError> {
    let replace = || {
        let (beside, file) = write_beside(path, content)?;
        sys::fsync(&file)?;
        sys::rename(&beside, path)?;
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => sys::sync_dir(dir),
            _ => sys::sync_dir(Path::new(".")),
        }
    };
    replace().map_err(CheckpointError::io(path))
}

fn write_beside(path: &Path, content: &[u8]) -> io::Result<(PathBuf, File)> {
    let beside = path.with_added_extension("tmp");
    let write = || {
        let file = sys::create(&beside)?;
        sys::pwrite_all(&file, content, 0)?;
        io::Result::Ok(file)
    };
    // On a full disk half a file would only take up room.
    let file = write().inspect_err(|_| drop(sys::remove_file_if_exists(&beside)))?;
    Ok((beside, file))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn offset_line(line: &str) -> Option<i64> {
        let [only] = fields(line)?;
        only.parse().ok()
    }

    #[test]
    fn entries_are_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINT_CHECKPOINT);
        let offsets =
            vec![(TopicPartition::new("a-b", 3), Offset(9)), (TopicPartition::new("a-b", 0), Offset(i64::MAX))];
        write_offsets(&path, offsets.iter().map(|(at, offset)| (at, *offset))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("0\n2\na-b 3 9\na-b 0 {}\n", i64::MAX));
        assert_eq!(read_offsets(&path).unwrap(), offsets);
    }

    #[test]
    fn a_missing_or_empty_checkpoint_has_no_entries() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LEADER_EPOCH_CHECKPOINT);
        assert_eq!(read_epochs(&path).unwrap(), []);
        fs::write(&path, "").unwrap();
        assert_eq!(read_epochs(&path).unwrap(), []);
    }

    #[test]
    fn a_checkpoint_that_is_not_whole_is_refused() {
        for text in ["1\n0\n", "0\n2\n7\n", "0\n0\n7\n", "0\n1\nx\n", "0\n-1\n", "x\n", "0\n1\n7 7\n", "0\n\n"] {
            assert!(parse_entries(text, offset_line).is_err(), "{text:?}");
        }
        assert_eq!(parse_entries("0\n2\n7\n8", offset_line), Ok(vec![7, 8]));
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LEADER_EPOCH_CHECKPOINT);
        fs::write(&path, "0\n1\nnine 0\n").unwrap();
        let message = read_epochs(&path).unwrap_err().to_string();
        assert_eq!(message, format!("{}: malformed line 'nine 0'", path.display()));
    }

    #[test]
    fn writing_leaves_no_file_beside() {
        let dir = tempfile::tempdir().unwrap();
        write_epochs(&dir.path().join(LEADER_EPOCH_CHECKPOINT), &[]).unwrap();
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [LEADER_EPOCH_CHECKPOINT]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PARTITION_METADATA);
        let id = TopicId::random();
        write_partition_metadata(&path, id).unwrap();
        fs::create_dir(dir.path().join("partition.metadata.tmp")).unwrap();
        assert!(write_partition_metadata(&path, TopicId::random()).is_err());
        assert_eq!(read_partition_metadata(&path).unwrap(), Some(id));
    }

    #[test]
    fn partition_metadata_of_another_version_or_without_an_id_is_refused() {
        let id = TopicId::random();
        assert_eq!(parse_partition_metadata(&format!("version: 0\ntopic_id: {id}\n")), Ok(id));
        let zero = TopicId::ZERO;
        for text in [
            format!("version: 1\ntopic_id: {id}"),
            format!("version: 0\ntopic_id: {zero}"),
            format!("topic_id: {id}"),
            "version: 0\ntopic_id: short".to_owned(),
            String::new(),
        ] {
            assert!(parse_partition_metadata(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn meta_properties_go_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(META_PROPERTIES);
        assert_eq!(read_meta_properties(&path).unwrap(), None);
        for (cluster_id, directory_id) in [("my=cluster:1#!", None), ("abc", Some(DirectoryId::random()))] {
            let properties = MetaProperties { cluster_id: cluster_id.to_owned(), node_id: NodeId(4), directory_id };
            write_meta_properties(&path, &properties).unwrap();
            assert_eq!(read_meta_properties(&path).unwrap(), Some(properties));
        }
    }

    #[test]
    fn meta_properties_that_lack_something_say_what() {
        for (text, problem) in [
            ("broker.id=1\nversion=0\n", "version 0; only 1 is known"),
            ("node.id=1\n", "version 0; only 1 is known"),
            ("version=1\nnode.id=1\n", "cluster.id is missing"),
            ("version=1\ncluster.id=x\n", "node.id is missing"),
            ("version=1\ncluster.id=x\nnode.id=one\n", "node.id 'one' is no number"),
            ("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=?\n", "directory.id '?' is no id"),
            ("version\n", "'version' is no 'key=value'"),
        ] {
            assert_eq!(parse_meta_properties(text), Err(problem.to_owned()));
        }
    }
}
