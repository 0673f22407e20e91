//! A log dir: what lies in it, its identity and checkpoints, and each partition.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::finding::{Counts, Finding, Report, Watch};
use super::partition::{Checkpointed, names, verify_kraft, verify_partition};
use super::segment::verify_batches;
use super::{CLEANER_OFFSET_CHECKPOINT, Content, problem};
use crate::log::checkpoint::{
    self, LOG_DIRS_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, META_PROPERTIES, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
use crate::log::log_dir::{CLEAN_SHUTDOWN_FILE, LOCK_FILE};
use crate::log::manager::CLUSTER_METADATA_TOPIC;
use crate::log::names::{FileKind, FileName, FileState, FolderName, FolderState};
use crate::sys;
use crate::types::{Offset, TopicPartition};

/// The folder of the metadata store, which is not the log's.
const METADATA_FOLDER: &str = "__metadata";
const LEFT_ALONE: &str = "left alone";
const STOPS_THE_START: &str = "stops the start";
const COUNTS_AS_EMPTY: &str =
    "counts as empty: more is recovered than needed, deleted records may come back, none is lost";

type Checkpoints = BTreeMap<TopicPartition, Checkpointed>;
/// Which of a partition's offsets a checkpoint holds.
type Place = fn(&mut Checkpointed) -> &mut Option<Offset>;

/// How much there is to read: the files with batches, which all else is small beside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    pub files: u64,
    pub bytes: u64,
}

/// Adds up the partitions' logs.
pub fn survey(dir: &Path) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for name in names(dir)? {
        if name.to_str().and_then(FolderName::parse).is_none_or(|folder| folder.state == FolderState::Delete) {
            continue;
        }
        for file in fs::read_dir(dir.join(name))? {
            let file = file?;
            let name = file.file_name().to_str().and_then(FileName::parse);
            if name.is_some_and(|name| (name.kind, name.state) == (FileKind::Log, FileState::Live)) {
                survey.files += 1;
                survey.bytes += file.metadata().map_or(0, |metadata| metadata.len());
            }
        }
    }
    Ok(survey)
}

/// The process that holds the dir's lock, if one does: files may move while they are read.
pub fn lock_holder(dir: &Path) -> Option<u32> {
    sys::lock_holder(&dir.join(LOCK_FILE)).ok()?
}

/// Reads everything in a log dir and tells `watch` what is wrong. An error: the dir itself cannot be listed.
pub fn verify_log_dir(dir: &Path, watch: &mut dyn Watch) -> io::Result<Counts> {
    let mut report = Report { counts: Counts { dirs: 1, ..Counts::default() }, watch };
    let names = names(dir)?;
    verify_identity(&dir.join(META_PROPERTIES), &mut report);
    let mut checkpoints = read_checkpoints(dir, &mut report);
    let was_clean = dir.join(CLEAN_SHUTDOWN_FILE).exists();
    checkpoints.values_mut().for_each(|checkpointed| checkpointed.was_clean = was_clean);
    for name in names {
        let path = dir.join(&name);
        let name = name.to_string_lossy();
        if !path.is_dir() {
            verify_file(&path, &name, &mut report);
            continue;
        }
        match FolderName::parse(&name) {
            Some(folder) => verify_folder(&path, &folder, &mut checkpoints, &mut report),
            None if name == METADATA_FOLDER => {}
            None => report.found(Finding::note(&path, "not a folder of a log dir", LEFT_ALONE)),
        }
    }
    Ok(report.counts)
}

fn verify_folder(path: &Path, folder: &FolderName, checkpoints: &mut Checkpoints, report: &mut Report<'_>) {
    let verified = match folder.state {
        FolderState::Delete => {
            return report.found(Finding::note(path, "a deleted partition", "removed after the next start"));
        }
        FolderState::Live if &*folder.partition.topic == CLUSTER_METADATA_TOPIC => verify_kraft(path, report),
        FolderState::Live => verify_partition(path, checkpoints.remove(&folder.partition).unwrap_or_default(), report),
        FolderState::Future | FolderState::Stray => {
            let what = if folder.state == FolderState::Stray { "a partition set aside" } else { "a copy not finished" };
            report.found(Finding::note(path, what, LEFT_ALONE));
            verify_partition(path, Checkpointed::default(), report)
        }
    };
    report.counts.partitions += 1;
    if let Err(error) = verified {
        report.found(Finding::damage(path, error, "the partition does not open"));
    }
}

fn verify_file(path: &Path, name: &str, report: &mut Report<'_>) {
    match Content::of(name) {
        // Looked at before.
        Some(Content::Offsets | Content::MetaProperties) => {}
        Some(Content::KraftSnapshot) => verify_batches(path, report),
        None if matches!(name, LOCK_FILE | CLEAN_SHUTDOWN_FILE) => {}
        None if name == LOG_DIRS_CHECKPOINT => {
            if let Err(error) = checkpoint::read_log_dirs(path) {
                report.found(Finding::damage(path, problem(error), STOPS_THE_START));
            }
        }
        None if name.ends_with(".tmp") => {
            report.found(Finding::note(path, "a write that was interrupted", LEFT_ALONE));
        }
        _ => report.found(Finding::note(path, "not a file of a log dir", LEFT_ALONE)),
    }
}

fn verify_identity(path: &Path, report: &mut Report<'_>) {
    match checkpoint::read_meta_properties(path) {
        Ok(Some(_)) => {}
        Ok(None) => report.found(Finding::note(path, "missing", "written by the next start")),
        Err(error) => report.found(Finding::damage(path, problem(error), STOPS_THE_START)),
    }
}

fn read_checkpoints(dir: &Path, report: &mut Report<'_>) -> Checkpoints {
    let mut checkpoints = Checkpoints::new();
    let places: [(&str, Place); 4] = [
        (RECOVERY_POINT_CHECKPOINT, |it| &mut it.recovery_point),
        (LOG_START_OFFSET_CHECKPOINT, |it| &mut it.log_start),
        (REPLICATION_OFFSET_CHECKPOINT, |it| &mut it.high_watermark),
        (CLEANER_OFFSET_CHECKPOINT, |it| &mut it.cleaned),
    ];
    for (name, place) in places {
        let path = dir.join(name);
        match checkpoint::read_offsets(&path) {
            Ok(offsets) => {
                for (partition, offset) in offsets {
                    *place(checkpoints.entry(partition).or_default()) = Some(offset);
                }
            }
            Err(error) => report.found(Finding::damage(&path, problem(error), COUNTS_AS_EMPTY)),
        }
    }
    checkpoints
}
