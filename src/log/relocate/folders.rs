//! The folders of a move, and how one takes the other's place.
//!
//! When a switch begins, the future folder is whole, durable, and marked as such. The live folder is set aside, durably; then the
//! future one gets its name, durably; then the mark goes. So there are never two live folders. A start that finds none, but a
//! future one with the mark, gives that the name, once it sees all log dirs; every other future folder is what is left of a move,
//! and goes. (Kafka renames the future folder first, and does not start where it finds both.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{COMPLETE_MARK, crash_point};
use crate::log::error::{IoContext, LogError};
use crate::log::names::{FolderName, FolderState, set_aside_folder_name};
use crate::sys;
use crate::types::TopicPartition;

/// Where a log is, where its copy is, and what they will be called.
#[derive(Debug)]
pub(in crate::log) struct Folders {
    live: PathBuf,
    aside: PathBuf,
    pub(in crate::log) future: PathBuf,
    pub(in crate::log) next_live: PathBuf,
}

/// Why the folders could not be exchanged.
#[derive(Debug)]
pub(in crate::log) struct NotExchanged {
    pub(in crate::log) error: LogError,
    /// All is as it was before. Else only a start can tell.
    pub(in crate::log) is_undone: bool,
}

impl Folders {
    pub(in crate::log) fn of(partition: &TopicPartition, log_dir: &Path, next_log_dir: &Path) -> Folders {
        Folders {
            live: log_dir.join(partition.to_string()),
            aside: log_dir.join(set_aside_folder_name(partition, FolderState::Delete)),
            future: next_log_dir.join(set_aside_folder_name(partition, FolderState::Future)),
            next_live: next_log_dir.join(partition.to_string()),
        }
    }

    /// The future folder becomes the live one. Gives the folder that is no longer needed.
    pub(in crate::log) fn exchange(&self) -> Result<PathBuf, NotExchanged> {
        crash_point();
        let set_aside = rename_durably(&self.live, &self.aside);
        if let Err(error) = set_aside.and_then(|()| rename_durably(&self.future, &self.next_live)) {
            return Err(NotExchanged { error, is_undone: self.undo() });
        }
        // A later move would not be misled by it, nor would a start.
        let _ = sys::remove_file(&self.next_live.join(COMPLETE_MARK));
        Ok(self.aside.clone())
    }

    /// The future folder first: with the other order a crash would leave two live ones.
    fn undo(&self) -> bool {
        let back = |from: &Path, to: &Path| if to.exists() { Ok(()) } else { rename_durably(from, to) };
        back(&self.next_live, &self.future).and_then(|()| back(&self.aside, &self.live)).is_ok()
    }
}

/// What a start has to do before it looks for partitions: finishes the switches that a crash has interrupted. Where a log dir
/// is `unopened`, a live folder may be in that one: nothing is finished, and the future folders are given that a later start
/// may need.
pub(in crate::log) fn finish_switches(log_dirs: &[PathBuf], unopened: &[PathBuf]) -> Result<Vec<PathBuf>, LogError> {
    let mut live = BTreeSet::new();
    let mut complete = BTreeMap::new();
    for log_dir in log_dirs {
        for entry in std::fs::read_dir(log_dir).at(log_dir)? {
            let name = entry.at(log_dir)?.file_name();
            let Some(folder) = name.to_str().and_then(FolderName::parse) else { continue };
            match folder.state {
                FolderState::Live => drop(live.insert(folder.partition)),
                FolderState::Future if log_dir.join(&name).join(COMPLETE_MARK).exists() => {
                    complete.insert(folder.partition, (log_dir, log_dir.join(&name)));
                }
                FolderState::Future | FolderState::Delete | FolderState::Stray => {}
            }
        }
    }
    complete.retain(|partition, _| !live.contains(partition));
    if !unopened.is_empty() {
        let kept: Vec<PathBuf> = complete.into_values().map(|(_, future)| future).collect();
        for future in &kept {
            tracing::error!(folder = %future.display(), "a move is not finished before all log dirs can be opened; its partition is offline");
        }
        return Ok(kept);
    }
    for (partition, (log_dir, future)) in complete {
        let folder = log_dir.join(partition.to_string());
        rename_durably(&future, &folder)?;
        let _ = sys::remove_file(&folder.join(COMPLETE_MARK));
        tracing::info!(folder = %folder.display(), "a move to this log dir, which a crash had interrupted, was finished");
    }
    Ok(Vec::new())
}

fn rename_durably(from: &Path, to: &Path) -> Result<(), LogError> {
    sys::rename(from, to).at(from)?;
    crash_point();
    to.parent().map_or(Ok(()), |log_dir| sys::sync_dir(log_dir).at(log_dir))
}
