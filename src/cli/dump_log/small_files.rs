//! Indexes, snapshots, checkpoints and properties.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{DumpLog, Output, damage};
use crate::cli::value::{Fields, Value};
use crate::log::checkpoint::{self, CheckpointError};
use crate::log::inspect::{
    BatchFile, Disagreement, Entries, EntryError, OffsetEntry, TimeEntry, TxnEntry, check_offset_index,
    check_time_index, offset_entries, problem, time_entries, txn_entries,
};
use crate::log::names::{FileKind, FileName};
use crate::log::producer_snapshot::{self, SnapshotError};
use crate::log::producer_state::ProducerEntry;
use crate::types::{Offset, ProducerId};

/// Compares an index with its log.
type Check = fn(&Path, Offset, &BatchFile) -> Result<Option<Disagreement>, EntryError>;

impl DumpLog {
    pub(super) fn dump_offset_index(&self, path: &Path, base: Offset, out: &mut Output<impl Write>) -> io::Result<()> {
        if path.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            return out.text(&format!("{} is empty.", path.display()));
        }
        let fields = |entry: OffsetEntry| {
            vec![("offset", absolute(base, entry.relative_offset)), ("position", entry.position.into())]
        };
        self.dump_index(path, base, offset_entries(path), fields, check_offset_index, out)
    }

    pub(super) fn dump_time_index(&self, path: &Path, base: Offset, out: &mut Output<impl Write>) -> io::Result<()> {
        let fields = |entry: TimeEntry| {
            vec![("timestamp", entry.timestamp.0.into()), ("offset", absolute(base, entry.relative_offset))]
        };
        self.dump_index(path, base, time_entries(path), fields, check_time_index, out)
    }

    /// The entries, and where they do not agree with the log beside.
    fn dump_index<E>(
        &self,
        path: &Path,
        base: Offset,
        entries: io::Result<Entries<E>>,
        fields: impl Fn(E) -> Fields,
        check: Check,
        out: &mut Output<impl Write>,
    ) -> io::Result<()> {
        if !self.verify_index_only {
            dump_entries(path, "entry", entries, fields, out)?;
        }
        let Ok(log) = BatchFile::open(&log_of(path, base)) else { return Ok(()) };
        match check(path, base, &log) {
            Ok(None) => Ok(()),
            Ok(Some(found)) => out.damage(&damage(path, format!("disagrees with the log: {found}")).at(found.position)),
            Err(error) => out.damage(&damage(path, error)),
        }
    }
}

pub(super) fn txn_index(path: &Path, out: &mut Output<impl Write>) -> io::Result<()> {
    let fields = |entry: TxnEntry| {
        vec![
            // The only one that there is.
            ("version", 0.into()),
            ("producerId", entry.producer_id.0.into()),
            ("firstOffset", entry.first_offset.0.into()),
            ("lastOffset", entry.last_offset.0.into()),
            ("lastStableOffset", entry.last_stable_offset.0.into()),
        ]
    };
    dump_entries(path, "abortedTransaction", txn_entries(path), fields, out)
}

fn dump_entries<E>(
    path: &Path,
    kind: &'static str,
    entries: io::Result<Entries<E>>,
    fields: impl Fn(E) -> Fields,
    out: &mut Output<impl Write>,
) -> io::Result<()> {
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return out.damage(&damage(path, error)),
    };
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => out.line(kind, fields(entry))?,
            Err(error) => {
                let position = entries.next_position();
                let left = path.metadata().map_or(0, |metadata| metadata.len().saturating_sub(position));
                out.damage(&damage(path, error).at(position))?;
                return out.unread(path, left);
            }
        }
    }
    Ok(())
}

pub(super) fn producer_snapshot(path: &Path, out: &mut Output<impl Write>) -> io::Result<()> {
    match producer_snapshot::read(path) {
        Ok(entries) => entries.iter().try_for_each(|(id, entry)| out.line("producer", producer_fields(*id, entry))),
        Err(SnapshotError::File(error)) => unreadable(path, error, out),
        Err(error) => {
            out.damage(&damage(path, error))?;
            out.unread(path, path.metadata().map_or(0, |metadata| metadata.len()))
        }
    }
}

fn producer_fields(id: ProducerId, entry: &ProducerEntry) -> Fields {
    let mut fields = vec![
        ("producerId", id.0.into()),
        ("producerEpoch", entry.epoch.0.into()),
        ("coordinatorEpoch", entry.coordinator_epoch.into()),
        ("currentTxnFirstOffset", Value::OptionalLong(entry.current_txn_first_offset.map(|offset| offset.0))),
        ("lastTimestamp", entry.last_timestamp.0.into()),
    ];
    if let Some(batch) = entry.batches.front() {
        fields.extend([
            ("firstSequence", batch.first_sequence().into()),
            ("lastSequence", batch.last_sequence.into()),
            ("lastOffset", batch.last_offset.0.into()),
            ("offsetDelta", batch.offset_delta.into()),
            ("timestamp", batch.timestamp.0.into()),
        ]);
    }
    fields
}

pub(super) fn leader_epochs(path: &Path, out: &mut Output<impl Write>) -> io::Result<()> {
    match existing(path).and_then(|()| checkpoint::read_epochs(path)) {
        Ok(epochs) => epochs.iter().try_for_each(|entry| {
            out.line("leaderEpoch", vec![("epoch", entry.epoch.0.into()), ("startOffset", entry.start_offset.0.into())])
        }),
        Err(error) => unreadable(path, error, out),
    }
}

pub(super) fn offsets(path: &Path, out: &mut Output<impl Write>) -> io::Result<()> {
    match existing(path).and_then(|()| checkpoint::read_offsets(path)) {
        Ok(offsets) => offsets.iter().try_for_each(|(at, offset)| {
            let topic = Value::from(&*at.topic);
            out.line("offset", vec![("topic", topic), ("partition", at.partition.into()), ("offset", offset.0.into())])
        }),
        Err(error) => unreadable(path, error, out),
    }
}

pub(super) fn partition_metadata(path: &Path, out: &mut Output<impl Write>) -> io::Result<()> {
    match existing(path).and_then(|()| checkpoint::read_partition_metadata(path)) {
        Ok(id) => {
            let id = id.map(|id| id.to_string());
            out.line("partitionMetadata", vec![("version", 0.into()), ("topic_id", id.into())])
        }
        Err(error) => unreadable(path, error, out),
    }
}

pub(super) fn meta_properties(path: &Path, out: &mut Output<impl Write>) -> io::Result<()> {
    match existing(path).and_then(|()| checkpoint::read_meta_properties(path)) {
        Ok(None) => Ok(()),
        Ok(Some(properties)) => {
            let mut fields = vec![
                ("version", 1.into()),
                ("cluster.id", properties.cluster_id.into()),
                ("node.id", properties.node_id.0.into()),
            ];
            fields.extend(properties.directory_id.map(|id| ("directory.id", id.to_string().into())));
            out.line("metaProperties", fields)
        }
        Err(error) => unreadable(path, error, out),
    }
}

/// To the broker a text file that is not there is one without entries; to whoever names it, it is a mistake.
fn existing(path: &Path) -> Result<(), CheckpointError> {
    path.metadata().map(drop).map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

fn unreadable(path: &Path, error: CheckpointError, out: &mut Output<impl Write>) -> io::Result<()> {
    let left = matches!(error, CheckpointError::Malformed { .. }).then(|| path.metadata().ok()).flatten();
    out.damage(&damage(path, problem(error)))?;
    left.map_or(Ok(()), |metadata| out.unread(path, metadata.len()))
}

fn absolute(base: Offset, relative: u32) -> Value {
    base.plus(i64::from(relative)).0.into()
}

/// The log of the same segment, in the same state: a deleted index belongs to a deleted log.
fn log_of(index: &Path, base: Offset) -> PathBuf {
    let name = index.file_name().and_then(|name| FileName::parse(name.to_str()?));
    let name = name.unwrap_or(FileName::live(base, FileKind::Log));
    index.with_file_name(FileName { kind: FileKind::Log, ..name }.to_string())
}
