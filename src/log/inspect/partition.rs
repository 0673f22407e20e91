//! One partition's folder: which files there are, its segments in order, and the small files beside them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::finding::{Finding, Report};
use super::segment::{Place, Walk, verify_batches, verify_segment};
use super::{Content, problem};
use crate::log::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use crate::log::epoch_cache::{EpochCache, EpochEntry};
use crate::log::names::{FileKind, FileName, FileState};
use crate::log::producer_snapshot;
use crate::log::producer_state::ProducerState;
use crate::types::{Offset, Timestamp};

const LEFT_ALONE: &str = "left alone";
const SNAPSHOT_SKIPPED: &str = "passed over for an older one, and more of the log is replayed";
const EPOCHS_FROM_LOG: &str = "leader epochs are taken from the log instead";
const ID_UNKNOWN: &str = "the topic's id is taken from the metadata store; if that is lost, from nowhere";

/// What the log dir's checkpoints say of a partition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checkpointed {
    pub(super) recovery_point: Option<Offset>,
    pub(super) log_start: Option<Offset>,
    pub(super) high_watermark: Option<Offset>,
    pub(super) cleaned: Option<Offset>,
    /// The dir was stopped cleanly: the recovery point is where the log ended.
    pub(super) was_clean: bool,
}

pub(super) fn verify_partition(folder: &Path, checkpointed: Checkpointed, report: &mut Report<'_>) -> io::Result<()> {
    let files = list(folder, report)?;
    let live = |kind| files.iter().filter(move |file| (file.kind, file.state) == (kind, FileState::Live));
    let mut bases: Vec<Offset> = live(FileKind::Log).map(|file| file.offset).collect();
    bases.sort();
    for file in files.iter().filter(|file| file.state == FileState::Live && bases.binary_search(&file.offset).is_err())
    {
        if !matches!(file.kind, FileKind::Log | FileKind::ProducerSnapshot) {
            report.found(Finding::note(&folder.join(file.to_string()), "belongs to no segment", LEFT_ALONE));
        }
    }
    let (end, epoch_disagrees) = verify_segments(folder, &bases, checkpointed, report);
    for file in live(FileKind::ProducerSnapshot) {
        verify_snapshot(&folder.join(file.to_string()), file.offset, end, report);
    }
    verify_epochs(&folder.join(LEADER_EPOCH_CHECKPOINT), end, epoch_disagrees, report);
    verify_metadata(&folder.join(PARTITION_METADATA), report);
    if let Some(end) = end {
        verify_checkpointed(folder, checkpointed, bases.first().copied(), end, report);
    }
    Ok(())
}

/// Kafka's own log of cluster metadata: nothing but its batches.
pub(super) fn verify_kraft(folder: &Path, report: &mut Report<'_>) -> io::Result<()> {
    for name in names(folder)? {
        let content = name.to_str().and_then(Content::of);
        if matches!(content, Some(Content::Log(_) | Content::KraftSnapshot)) {
            verify_batches(&folder.join(&name), report);
        }
    }
    Ok(())
}

/// A segment's files; others are named.
fn list(folder: &Path, report: &mut Report<'_>) -> io::Result<Vec<FileName>> {
    let mut files = Vec::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        let name = name.to_string_lossy();
        match FileName::parse(&name) {
            Some(file) => files.push(file),
            None if matches!(&*name, LEADER_EPOCH_CHECKPOINT | PARTITION_METADATA) => {}
            None if name.ends_with(".tmp") => {
                report.found(Finding::note(&path, "a write that was interrupted", LEFT_ALONE))
            }
            None => report.found(Finding::note(&path, "not a file of a partition", LEFT_ALONE)),
        }
    }
    for file in &files {
        let interrupted = match file.state {
            FileState::Live | FileState::Deleted => continue,
            FileState::Cleaned => "a compaction was interrupted before it replaced segments",
            FileState::Swap => "a compaction was interrupted while it replaced segments",
        };
        report.found(Finding::note(
            &folder.join(file.to_string()),
            interrupted,
            "settled when the partition is opened",
        ));
    }
    Ok(files)
}

/// Names in order, so that findings come in the same order every time.
pub(super) fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The log end offset, `None` where damage hides it; and the first batch with another leader epoch than the checkpoint's.
fn verify_segments(
    folder: &Path,
    bases: &[Offset],
    checkpointed: Checkpointed,
    report: &mut Report<'_>,
) -> (Option<Offset>, Option<Finding>) {
    let recovery_point = checkpointed.recovery_point.unwrap_or(Offset::ZERO);
    let first_recovered = bases.partition_point(|base| *base <= recovery_point).saturating_sub(1);
    let epochs = checkpoint::read_epochs(&folder.join(LEADER_EPOCH_CHECKPOINT)).unwrap_or_default();
    let mut walk = Walk {
        expected: Offset::ZERO,
        producers: ProducerState::default(),
        ended: HashMap::new(),
        epochs: EpochCache::from_entries(epochs),
        epoch_disagrees: None,
        intact: true,
        is_dense: true,
        is_over: false,
    };
    if let Some(first) = bases.first() {
        walk.expected = *first;
        // Older segments are gone; transactions that began in them are in the snapshot taken where they ended.
        let snapshot = folder.join(FileName::live(*first, FileKind::ProducerSnapshot).to_string());
        walk.producers.load(producer_snapshot::read(&snapshot).unwrap_or_default(), Timestamp(0), i64::MAX);
    }
    let log = |base: Offset| folder.join(FileName::live(base, FileKind::Log).to_string());
    let is_empty = |base: &Offset| fs::metadata(log(*base)).is_ok_and(|log| log.len() == 0);
    // Empty segments at the end go with the torn tail before them.
    let last = bases.len() - bases.iter().rev().take_while(|base| is_empty(base)).count();
    for (index, base_offset) in bases.iter().enumerate() {
        let place = Place {
            base_offset: *base_offset,
            is_last: index + 1 >= last,
            next_base: bases.get(index + 1).copied(),
            is_recovered: index >= first_recovered,
            is_later: index > first_recovered,
            recovery_point,
            log_start: checkpointed.log_start.unwrap_or(Offset::ZERO),
        };
        verify_segment(folder, place, &mut walk, report);
    }
    (walk.intact.then_some(walk.expected), walk.epoch_disagrees)
}

fn verify_snapshot(path: &Path, at: Offset, end: Option<Offset>, report: &mut Report<'_>) {
    if let Err(error) = producer_snapshot::read_at(path, at) {
        let what = match error {
            producer_snapshot::SnapshotError::File(error) => problem(error),
            other => other.to_string(),
        };
        report.found(Finding::damage(path, what, SNAPSHOT_SKIPPED));
    } else if let Some(end) = end.filter(|end| at > *end) {
        let what = format!("of offset {at}, where the log ends at {end}");
        report.found(Finding::note(path, what, "removed when the partition is opened"));
    }
}

fn verify_epochs(path: &Path, end: Option<Offset>, disagrees: Option<Finding>, report: &mut Report<'_>) {
    let epochs = match checkpoint::read_epochs(path) {
        Ok(epochs) => epochs,
        Err(error) => return report.found(Finding::damage(path, problem(error), EPOCHS_FROM_LOG)),
    };
    let rises = |(before, after): &(&EpochEntry, &EpochEntry)| {
        before.epoch < after.epoch && before.start_offset < after.start_offset
    };
    if let Some((before, after)) = epochs.iter().zip(epochs.iter().skip(1)).find(|pair| !rises(pair)) {
        let text = |entry: &EpochEntry| format!("epoch {} from offset {}", entry.epoch.0, entry.start_offset);
        let what = format!("{} after {}: entries must rise", text(after), text(before));
        report.found(Finding::damage(path, what, "entries that contradict later ones are dropped"));
    } else if let Some((last, end)) = epochs.last().zip(end).filter(|(last, end)| last.start_offset > *end) {
        let what =
            format!("epoch {} starts at offset {}, where the log ends at {end}", last.epoch.0, last.start_offset);
        report.found(Finding::damage(path, what, "entries behind the log's end are dropped"));
    } else if let Some(finding) = disagrees {
        report.found(finding);
    }
}

fn verify_metadata(path: &Path, report: &mut Report<'_>) {
    match checkpoint::read_partition_metadata(path) {
        Ok(Some(_)) => {}
        Ok(None) => report.found(Finding::note(path, "missing", ID_UNKNOWN)),
        Err(error) => report.found(Finding::damage(path, problem(error), ID_UNKNOWN)),
    }
}

/// `end`: of a log without segments ZERO.
fn verify_checkpointed(
    folder: &Path,
    checkpointed: Checkpointed,
    first_base: Option<Offset>,
    end: Offset,
    report: &mut Report<'_>,
) {
    let Checkpointed { recovery_point, log_start, high_watermark, cleaned, was_clean } = checkpointed;
    let lost = match first_base {
        Some(_) => "the partition does not open: what was flushed is missing",
        None => "the partition opens as an empty one",
    };
    let starts_later = "the log goes on there, and the records that it has count as deleted";
    // `Loading::check_recovery_point`: nothing is missing where the log start has passed it.
    let passed = end.max(log_start.unwrap_or(end));
    for (name, offset, limit, outcome) in [
        ("log start offset", log_start.filter(|_| first_base.is_some()), end, starts_later),
        ("recovery point", recovery_point, passed, lost),
        ("high watermark", high_watermark, passed, "not read by a start"),
        ("cleaner's offset", cleaned, passed, "cleaning starts again from the front"),
    ] {
        if let Some(offset) = offset.filter(|offset| *offset > limit) {
            let what = format!("its {name} is {offset}, where the log ends at {end}");
            report.found(Finding::damage(folder, what, outcome).offset(end));
        }
    }
    if let Some(stopped) = recovery_point.filter(|point| was_clean && (1..end.0).contains(&point.0)) {
        let what = format!("ends at {end}, where a clean stop left it at {stopped}");
        report.found(Finding::damage(folder, what, "served as it is, with a warning").offset(stopped));
    }
    if let Some((start, base)) = log_start.zip(first_base).filter(|(start, base)| start < base) {
        let what = format!("its log start offset is {start}, where the first segment starts at {base}");
        report.found(Finding::note(folder, what, "the log starts at its first segment").offset(base));
    }
}
