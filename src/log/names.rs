//! Names of topics, and of the folders and files of their partitions.

use uuid::Uuid;

use crate::types::{Offset, TopicPartition};

pub const CONSUMER_OFFSETS_TOPIC: &str = "__consumer_offsets";
pub const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";
pub const SHARE_GROUP_STATE_TOPIC: &str = "__share_group_state";

const TOPIC_NAME_LEN_MAX: usize = 249;
/// NAME_MAX of Linux's file systems.
const FOLDER_NAME_LEN_MAX: usize = 255;
const OFFSET_DIGITS: usize = 20;

/// Why a name is no topic name; the texts are those that Kafka's clients know (`Topic.validate`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Dots(String),
    #[error("Topic name is invalid: the length of '{0}' is longer than the max allowed length {TOPIC_NAME_LEN_MAX}")]
    TooLong(String),
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    BadCharacter(String),
}

/// Checks a topic's name by Kafka's rules.
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    if name.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidTopicName::Dots(name.to_owned()));
    }
    // Java counts UTF-16 units; the two agree for every name that the last rule lets pass.
    if name.encode_utf16().count() > TOPIC_NAME_LEN_MAX {
        return Err(InvalidTopicName::TooLong(name.to_owned()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(InvalidTopicName::BadCharacter(name.to_owned()));
    }
    Ok(())
}

/// Topics that clients may not create or write (`Topic.isInternal`).
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS_TOPIC | TRANSACTION_STATE_TOPIC | SHARE_GROUP_STATE_TOPIC)
}

/// What a file of a partition's folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TxnIndex,
    ProducerSnapshot,
}

impl FileKind {
    pub const ALL: [FileKind; 5] =
        [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex, FileKind::ProducerSnapshot];

    pub fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::OffsetIndex => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::ProducerSnapshot => ".snapshot",
        }
    }
}

/// Whether a file is in use, or on its way in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    Live,
    /// `.deleted`: waits for `file.delete.delay.ms`.
    Deleted,
    /// `.cleaned`: the cleaner is writing it.
    Cleaned,
    /// `.swap`: takes the place of the segments it was cleaned from.
    Swap,
}

impl FileState {
    const ALL: [FileState; 4] = [FileState::Live, FileState::Deleted, FileState::Cleaned, FileState::Swap];

    pub fn suffix(self) -> &'static str {
        match self {
            FileState::Live => "",
            FileState::Deleted => ".deleted",
            FileState::Cleaned => ".cleaned",
            FileState::Swap => ".swap",
        }
    }
}

/// A file that belongs to a segment, or to the offset at which a producer snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName {
    pub offset: Offset,
    pub kind: FileKind,
    pub state: FileState,
}

impl FileName {
    pub fn live(offset: Offset, kind: FileKind) -> FileName {
        FileName { offset, kind, state: FileState::Live }
    }

    /// The name under which the file waits for its removal.
    pub fn deleted(self) -> FileName {
        FileName { state: FileState::Deleted, ..self }
    }

    /// `None` for a name that is not one of a segment's files.
    pub fn parse(name: &str) -> Option<FileName> {
        let (digits, suffix) = name.split_at_checked(OFFSET_DIGITS)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let offset = Offset(digits.parse().ok()?);
        FileKind::ALL.into_iter().find_map(|kind| {
            let state = suffix.strip_prefix(kind.suffix())?;
            let state = FileState::ALL.into_iter().find(|known| known.suffix() == state)?;
            Some(FileName { offset, kind, state })
        })
    }
}

/// 20 digits, so that names sort as their offsets do.
impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:0width$}{}{}", self.offset.0, self.kind.suffix(), self.state.suffix(), width = OFFSET_DIGITS)
    }
}

/// What a partition's folder is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderState {
    Live,
    /// `-delete`: waits for `file.delete.delay.ms`. The topic's name may have been cut to fit.
    Delete,
    /// `-future`: takes the partition's place once it has caught up.
    Future,
    /// `-stray`: on disk, but not in the metadata.
    Stray,
}

impl FolderState {
    fn suffix(self) -> &'static str {
        match self {
            FolderState::Live => "",
            FolderState::Delete => "-delete",
            FolderState::Future => "-future",
            FolderState::Stray => "-stray",
        }
    }
}

/// A partition's folder, read off its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderName {
    pub partition: TopicPartition,
    pub state: FolderState,
}

impl FolderName {
    /// `topic-partition`, or `topic-partition.uniqueId-delete` and the like; topics may contain dashes
    /// (`LocalLog.parseTopicPartitionName`). `None` for a name that is neither.
    pub fn parse(name: &str) -> Option<FolderName> {
        let marked = [FolderState::Delete, FolderState::Future, FolderState::Stray]
            .into_iter()
            .find_map(|state| Some((state, name.strip_suffix(state.suffix())?)));
        let (state, name) = match marked {
            None => (FolderState::Live, name),
            Some((state, rest)) => {
                let (name, unique_id) = rest.rsplit_once('.')?;
                if unique_id.is_empty() || rest.contains(char::is_whitespace) {
                    return None;
                }
                (state, name)
            }
        };
        let (topic, partition) = name.rsplit_once('-')?;
        if topic.is_empty() || !partition.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let partition = TopicPartition::new(topic, partition.parse::<i32>().ok()?);
        Some(FolderName { partition, state })
    }
}

/// A name to set a folder aside under: never used before, and short enough.
pub fn set_aside_folder_name(partition: &TopicPartition, state: FolderState) -> String {
    let suffix = format!("-{}.{}{}", partition.partition, Uuid::new_v4().simple(), state.suffix());
    let topic_len_max = FOLDER_NAME_LEN_MAX.saturating_sub(suffix.len());
    let topic: String = partition.topic.chars().take(topic_len_max).collect();
    topic + &suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_refused_in_kafkas_words() {
        let long = "x".repeat(250);
        let prefix = "Topic name is invalid: ";
        for (name, message) in [
            ("", "the empty string is not allowed".to_owned()),
            (".", "'.' is not allowed".to_owned()),
            ("..", "'..' is not allowed".to_owned()),
            (long.as_str(), format!("the length of '{long}' is longer than the max allowed length 249")),
            (
                "a/b",
                "'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned(),
            ),
        ] {
            assert_eq!(validate_topic_name(name).unwrap_err().to_string(), format!("{prefix}{message}"));
        }
        for name in ["a", "...", "A-b_c.9", &"x".repeat(249)] {
            assert_eq!(validate_topic_name(name), Ok(()));
        }
        assert!(validate_topic_name("köln").is_err());
    }

    #[test]
    fn file_names_go_both_ways() {
        for kind in FileKind::ALL {
            for state in FileState::ALL {
                let name = FileName { offset: Offset(12_345), kind, state };
                assert_eq!(FileName::parse(&name.to_string()), Some(name));
            }
        }
        assert_eq!(FileName::live(Offset(79), FileKind::Log).to_string(), "00000000000000000079.log");
    }

    #[test]
    fn other_files_of_a_folder_are_not_taken_for_a_segments() {
        for name in [
            "leader-epoch-checkpoint",
            "partition.metadata",
            "00000000000000000000-0000000000.checkpoint",
            "0.log",
            "+0000000000000000001.log",
            "99999999999999999999.log",
            "00000000000000000000.log.tmp",
            "ääääääääääääääääääääää",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn folder_names_with_dashes_and_marks_are_told_apart() {
        let parsed = |name: &str| FolderName::parse(name).map(|folder| (folder.partition.to_string(), folder.state));
        assert_eq!(parsed("a-b-c-12"), Some(("a-b-c-12".to_owned(), FolderState::Live)));
        assert_eq!(parsed("t.x-0.0af-delete"), Some(("t.x-0".to_owned(), FolderState::Delete)));
        assert_eq!(parsed("t-3.0af-future"), Some(("t-3".to_owned(), FolderState::Future)));
        assert_eq!(parsed("t-3.0af-stray"), Some(("t-3".to_owned(), FolderState::Stray)));
        for name in ["t", "-1", "t-", "t-x", "t--delete", "t-0-delete", "t-99999999999", "t-+1"] {
            assert_eq!(parsed(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_set_aside_keeps_within_the_file_systems_limit() {
        let partition = TopicPartition::new("x".repeat(249), 7);
        let name = set_aside_folder_name(&partition, FolderState::Delete);
        assert_eq!(name.len(), 255);
        assert_eq!(FolderName::parse(&name).map(|folder| folder.state), Some(FolderState::Delete));
        assert_ne!(name, set_aside_folder_name(&partition, FolderState::Delete));
    }
}
