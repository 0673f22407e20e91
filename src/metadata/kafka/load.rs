//! The folder `__cluster_metadata-0`: the newest snapshot that is whole, and the log behind it (`KafkaRaftLog`).
//!
//! ```text
//! 00000000000000000420-0000000003.checkpoint   a snapshot of everything before offset 420, the last of it in epoch 3:
//!                                              a header, records that make up the state, a footer (KIP-630)
//! 00000000000000000000.log                     the log: segments as any partition's
//! ```

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use super::batches::{Batches, ReadError};
use super::cluster::ClusterMetadata;
use super::record::MetadataRecord;
use crate::log::names::{FileKind, FileName, FileState};
use crate::protocol::batch::Batch;
use crate::protocol::records::{BatchRecords, ControlType};
use crate::types::Offset;

pub const FOLDER: &str = "__cluster_metadata-0";

/// What the records of one batch may expand to. Kafka does not compress them.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;
/// `ControlRecordType`.
const SNAPSHOT_HEADER: ControlType = ControlType::Other(3);
const SNAPSHOT_FOOTER: ControlType = ControlType::Other(4);

/// Reads the folder, and notes in the result what could not be read. Blocking.
pub fn load(folder: &Path) -> io::Result<ClusterMetadata> {
    let names: Vec<String> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    let mut segments: Vec<FileName> = names.iter().filter_map(|name| FileName::parse(name)).collect();
    segments.retain(|name| name.kind == FileKind::Log && name.state == FileState::Live);
    segments.sort_by_key(|segment| segment.offset);
    let mut cluster = newest_snapshot(folder, &names)?;
    // A segment ends where the next one begins; what ends before the snapshot need not be read.
    let first = segments.partition_point(|segment| segment.offset <= cluster.end_offset).saturating_sub(1);
    for segment in segments.iter().skip(first) {
        let name = segment.to_string();
        let mut batches = Batches::new(BufReader::new(File::open(folder.join(&name))?));
        while let Some(batch) = batches.next() {
            match batch {
                Ok(batch) => replay_behind(&mut cluster, &batch),
                Err(ReadError::Io(error)) => return Err(error),
                Err(error) => cluster.lacks(format!("{name} from byte {} on: {error}", batches.position)),
            }
        }
    }
    // What a transaction that never ended had begun never came to be.
    Ok(cluster)
}

/// The newest snapshot of which every byte is right; the state of a new cluster if there is none.
fn newest_snapshot(folder: &Path, names: &[String]) -> io::Result<ClusterMetadata> {
    let mut snapshots: Vec<_> = names.iter().filter_map(|name| Some((snapshot_id(name)?, name))).collect();
    snapshots.sort();
    let mut damaged = Vec::new();
    let mut found = None;
    for ((end_offset, _), name) in snapshots.into_iter().rev() {
        match read_snapshot(Batches::new(BufReader::new(File::open(folder.join(name))?))) {
            Ok(mut cluster) => {
                cluster.end_offset = end_offset;
                found = Some(cluster);
                break;
            }
            Err(ReadSnapshotError::Io(error)) => return Err(error),
            Err(error) => damaged.push(format!("snapshot {name}: {error}")),
        }
    }
    let mut cluster = found.unwrap_or_else(ClusterMetadata::of_a_new_cluster);
    damaged.into_iter().for_each(|what| cluster.note(what));
    Ok(cluster)
}

/// The offset behind what a snapshot holds, and the epoch, as its name says (`Snapshots.parse`).
fn snapshot_id(name: &str) -> Option<(Offset, i32)> {
    let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(offset, 20) && is_number(epoch, 10)).then_some(())?;
    Some((Offset(offset.parse().ok()?), epoch.parse().ok()?))
}

#[derive(Debug, thiserror::Error)]
enum ReadSnapshotError {
    #[error(transparent)]
    Io(io::Error),
    #[error("from byte {position} on: {error}")]
    Damaged { position: u64, error: ReadError },
    #[error("it does not begin with a snapshot's header")]
    NoHeader,
    #[error("it does not end with a snapshot's footer")]
    NoFooter,
}

fn read_snapshot<R: io::Read>(mut batches: Batches<R>) -> Result<ClusterMetadata, ReadSnapshotError> {
    let mut cluster = ClusterMetadata::of_a_new_cluster();
    let (mut is_first, mut ended) = (true, false);
    while let Some(batch) = batches.next() {
        let batch = batch.map_err(|error| match error {
            ReadError::Io(error) => ReadSnapshotError::Io(error),
            error => ReadSnapshotError::Damaged { position: batches.position, error },
        })?;
        let control = control_type(&batch);
        if is_first && control != Some(SNAPSHOT_HEADER) {
            return Err(ReadSnapshotError::NoHeader);
        }
        is_first = false;
        ended = control == Some(SNAPSHOT_FOOTER);
        replay(&mut cluster, &batch, Offset::ZERO);
    }
    if ended { Ok(cluster) } else { Err(ReadSnapshotError::NoFooter) }
}

/// What the first record of a control batch is.
fn control_type(batch: &Batch) -> Option<ControlType> {
    let records = BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX).ok()?;
    let record = records.iter().next()?.ok()?;
    batch.header.attributes.is_control().then(|| ControlType::parse(record.key?))?
}

/// Replays what a batch of the log adds to what is known already.
fn replay_behind(cluster: &mut ClusterMetadata, batch: &Batch) {
    let (known, first) = (cluster.end_offset, batch.header.base_offset);
    if batch.header.next_offset() <= known {
        return;
    }
    if first > known {
        cluster.lacks(format!("offsets {known} to {first}: they are not in the log"));
    }
    replay(cluster, batch, known);
    cluster.end_offset = batch.header.next_offset();
}

/// Replays the records from `from` on; control records are the controllers' own.
fn replay(cluster: &mut ClusterMetadata, batch: &Batch, from: Offset) {
    if batch.header.attributes.is_control() {
        return;
    }
    let base = batch.header.base_offset;
    let records = match BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => return cluster.lacks(format!("batch at offset {base}: {error}")),
    };
    for record in &records {
        let record = match record {
            Ok(record) => record,
            Err(error) => return cluster.lacks(format!("batch at offset {base}: {error}")),
        };
        let offset = records.offset(&record);
        if offset < from {
            continue;
        }
        match MetadataRecord::decode(record.value.unwrap_or_default()) {
            Ok(record) => cluster.replay(record),
            Err(error) => cluster.lacks(format!("record at offset {offset}: {error}")),
        }
    }
}
