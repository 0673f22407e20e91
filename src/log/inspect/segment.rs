//! One segment: its batches, their records, and the three indexes beside.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entries::{Entries, offset_entries, time_entries, txn_entries};
use super::finding::{Finding, Report};
use super::index_check::{Disagreement, IndexCheck, Names};
use super::txn_check::{Ended, TxnCheck};
use super::{BatchFile, Located, ScanError, Walked};
use crate::log::damage::{self, Behind};
use crate::log::epoch_cache::EpochCache;
use crate::log::error::Damage;
use crate::log::names::{FileKind, FileName, FileState};
use crate::log::open_files::OpenFiles;
use crate::log::producer_state::ProducerState;
use crate::log::segment::Segment;
use crate::log::txn_index::TxnEntry;
use crate::log::writer::{marker_of, note_producer};
use crate::protocol::batch::Batch;
use crate::protocol::compression::DECOMPRESSED_BYTES_MAX;
use crate::protocol::records::BatchRecords;
use crate::types::{Offset, ProducerId};

const TORN: &str = "a torn tail: cut off at the next start after an unclean stop";
const UNWRITTEN: &str =
    "blocks that a loss of power left unwritten: after an unclean stop the log is cut off here, and later segments go";
const GOES_ON: &str = "never written, or preallocated: cut off at the next start after an unclean stop, and the log goes on \
                       in the next segment";
const REFUSED: &str = "after an unclean stop the partition does not open: it is no torn tail";
const FLUSHED: &str = "readers meet it; a start only if it has to read what was flushed of this segment, and then the \
                       partition does not open";
const BEHIND: &str =
    "no recovery comes as far: the damage named before it ends the log, or keeps the partition from opening";
const GAP: &str = "after an unclean stop taken for a loss of power that took what was between, unless the topic is \
                   compacted: it and later segments go";
const BELOW_RECOVERY: &str = "no start looks at it: it lies before the segment of the recovery point; readers meet it";
const UNREADABLE_RECORDS: &str = "served as it is: its CRC holds, so this is how it was written";
const INDEX_REBUILT: &str = "rebuilt from the log when it is used";
const TXN_INDEX_KEPT: &str =
    "read_committed consumers are answered by it; only recovery after an unclean stop writes it anew";
const CANNOT_READ: &str = "the file cannot be read";
const EPOCH_SERVED: &str = "served as it is: a leader epoch lies outside the CRC, and no record depends on it";

/// What the segments before left behind.
#[derive(Debug)]
pub(super) struct Walk {
    /// The next batch's base offset is no lower.
    pub(super) expected: Offset,
    pub(super) producers: ProducerState,
    /// Where each producer's last transaction ended.
    pub(super) ended: HashMap<ProducerId, Offset>,
    /// As the checkpoint has them; empty where it does not read.
    pub(super) epochs: EpochCache,
    /// The first batch that has another leader epoch.
    pub(super) epoch_disagrees: Option<Finding>,
    /// No damage so far: what is missing can be told from what was not read.
    pub(super) intact: bool,
    /// No hole in the offsets of what recovery would read: compaction has not been there.
    pub(super) is_dense: bool,
    /// Recovery would come no further.
    pub(super) is_over: bool,
}

/// Where a segment stands among the others of its partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) base_offset: Offset,
    pub(super) is_last: bool,
    pub(super) next_base: Option<Offset>,
    /// Recovery after an unclean stop would read it.
    pub(super) is_recovered: bool,
    /// Recovery would come to it from the one before.
    pub(super) is_later: bool,
    pub(super) recovery_point: Offset,
    pub(super) log_start: Offset,
}

pub(super) fn verify_segment(folder: &Path, place: Place, walk: &mut Walk, report: &mut Report<'_>) {
    let path = |kind| folder.join(FileName::live(place.base_offset, kind).to_string());
    let log_path = path(FileKind::Log);
    let log = match BatchFile::open(&log_path) {
        Ok(log) => log,
        Err(error) => {
            walk.intact = false;
            return report.found(Finding::damage(&log_path, error, CANNOT_READ));
        }
    };
    report.counts.segments += 1;
    let mut offsets = index_check(&path(FileKind::OffsetIndex), offset_entries, place, report);
    let mut times = index_check(&path(FileKind::TimeIndex), time_entries, place, report);
    let txns = existing(txn_entries(&path(FileKind::TxnIndex)));
    let mut txns = TxnCheck::new(txns.unwrap_or_else(|error| {
        report.found(Finding::damage(&path(FileKind::TxnIndex), error, CANNOT_READ));
        None
    }));
    let mut check = SegmentCheck { path: log_path, folder, log: &log, place, walk, report, is_cut: false };
    let intact = check.batches(|batch, aborted| {
        offsets.iter_mut().for_each(|check| check.observe(batch));
        times.iter_mut().for_each(|check| check.observe(batch));
        if let Some(ended) = aborted {
            txns.aborted(batch, ended);
        }
    });
    report.watch.progressed(0, 1);
    // Where batches are missing, nothing can be said of entries that name them.
    if !intact {
        return;
    }
    index_disagrees(&path(FileKind::OffsetIndex), offsets.and_then(IndexCheck::finish), report);
    index_disagrees(&path(FileKind::TimeIndex), times.and_then(IndexCheck::finish), report);
    if let Some(found) = txns.finish() {
        report.found(Finding::damage(&path(FileKind::TxnIndex), &found, TXN_INDEX_KEPT).at(found.position));
    }
}

/// Only the batches of a file: KRaft's log and its snapshots.
pub(super) fn verify_batches(path: &Path, report: &mut Report<'_>) {
    const NOT_OURS: &str = "Kafka's own: this broker does not use it";
    let log = match BatchFile::open(path) {
        Ok(log) => log,
        Err(error) => return report.found(Finding::damage(path, error, CANNOT_READ)),
    };
    let mut batches = log.batches();
    let mut expected = Offset::ZERO;
    while let Some(step) = batches.next() {
        match step {
            Ok(Walked { batch, crc }) => {
                report.count(&batch);
                if let Err(error) = crc {
                    report.found(Finding::damage(path, error, NOT_OURS).at(batch.position).offset(expected));
                } else if batch.header.base_offset < expected {
                    let order = Damage::OffsetOrder { found: batch.header.base_offset, expected };
                    report.found(Finding::damage(path, order, NOT_OURS).at(batch.position).offset(expected));
                }
                expected = expected.max(batch.header.next_offset());
            }
            Err(error) => {
                let what = unreadable(&error, log.size() - batches.next_position());
                report.found(Finding::damage(path, what, NOT_OURS).at(batches.next_position()).offset(expected));
            }
        }
    }
    report.watch.progressed(0, 1);
}

fn unreadable(error: &ScanError, left: u64) -> String {
    format!("{error}; {left} bytes from here on are not read")
}

struct SegmentCheck<'a, 'r> {
    path: PathBuf,
    folder: &'a Path,
    log: &'a BatchFile,
    place: Place,
    walk: &'a mut Walk,
    report: &'a mut Report<'r>,
    /// Recovery would read no more of it. Each damage would be a search through all that lies behind.
    is_cut: bool,
}

impl SegmentCheck<'_, '_> {
    /// Shows each whole batch to `observe`, an abort marker with the transaction it ends. Whether all of the file is whole.
    fn batches(&mut self, mut observe: impl FnMut(&Located, Option<Ended>)) -> bool {
        let log = self.log;
        let files = Arc::new(OpenFiles::up_to(1));
        let segment = Segment::existing(FileState::Live, self.folder, self.place.base_offset, log.size(), 0, &files);
        let (found, expected) = (self.place.base_offset, self.walk.expected);
        let mut intact = expected <= found;
        if !intact {
            let what = Damage::OffsetOrder { found, expected }.to_string();
            // `Loading::check_order`.
            let outcome = match self.place.is_later {
                _ if self.walk.is_over => BEHIND,
                true => REFUSED,
                false => BELOW_RECOVERY,
            };
            self.found(0, outcome, what);
        } else if expected < found && self.place.is_later {
            self.note_gap(expected);
        }
        self.walk.expected = expected.max(found);
        let mut batches = log.batches();
        while let Some(step) = batches.next() {
            let position = batches.next_position();
            let checked = step.map(|Walked { batch, crc }| {
                self.report.count(&batch);
                let in_order = || segment.check_offsets(&batch.header, self.walk.expected);
                (batch, crc.map_err(ScanError::from).and_then(|()| in_order()))
            });
            match checked {
                Ok((batch, Ok(()))) => {
                    self.check_epoch(&batch);
                    let is_recovered = self.place.is_recovered && self.walk.expected >= self.place.recovery_point;
                    self.walk.is_dense &= !is_recovered || batch.header.base_offset <= self.walk.expected;
                    let aborted = self.contents(&batch);
                    observe(&batch, aborted);
                    self.walk.expected = batch.header.next_offset();
                }
                Ok((batch, Err(error))) => {
                    intact = false;
                    self.damaged(&segment, batch.position, &error, error.to_string());
                }
                Err(error) => {
                    intact = false;
                    self.damaged(&segment, position, &error, unreadable(&error, log.size() - position));
                }
            }
        }
        self.walk.intact &= intact;
        intact
    }

    fn check_epoch(&mut self, batch: &Located) {
        let (found, offset) = (batch.header.partition_leader_epoch, batch.header.base_offset);
        if let Some(expected) = self.walk.epochs.epoch_for(offset).filter(|expected| *expected != found) {
            let what = format!("leader epoch {}, where leader-epoch-checkpoint has {}", found.0, expected.0);
            let finding = || Finding::damage(&self.path, what, EPOCH_SERVED).at(batch.position).offset(offset);
            self.walk.epoch_disagrees.get_or_insert_with(finding);
        }
    }

    /// As `Loading::lacks_the_end_of` judges a segment that does not begin where the one before it ends.
    fn note_gap(&mut self, end: Offset) {
        let Place { base_offset: begin, recovery_point, log_start, .. } = self.place;
        let is_short = begin > end.max(log_start) && end >= recovery_point;
        if is_short && self.walk.is_dense && self.walk.intact {
            let what = format!("begins at offset {begin}, where the segment before it ends at {end}");
            self.report.found(Finding::note(&self.path, what, GAP).offset(end));
        }
    }

    fn damaged(&mut self, segment: &Segment, position: u64, error: &ScanError, what: String) {
        let outcome = match self.walk.is_over {
            true => BEHIND,
            false if self.is_cut => GOES_ON,
            false => self.outcome_of(segment, position, error),
        };
        self.is_cut |= outcome == GOES_ON;
        self.found(position, outcome, what);
    }

    fn found(&mut self, position: u64, outcome: &'static str, what: String) {
        self.walk.is_over |= [TORN, UNWRITTEN, REFUSED].contains(&outcome);
        self.report.found(Finding::damage(&self.path, what, outcome).at(position).offset(self.walk.expected));
    }

    /// As recovery decides (`Loading::cut`).
    fn outcome_of(&self, segment: &Segment, position: u64, error: &ScanError) -> &'static str {
        let Place { is_last, is_recovered, recovery_point, next_base, .. } = self.place;
        if matches!(error, ScanError::Io(_)) {
            return CANNOT_READ;
        }
        let expected = self.walk.expected;
        if !is_recovered {
            return BELOW_RECOVERY;
        }
        if expected < recovery_point {
            return FLUSHED;
        }
        let file = self.log.file();
        let Ok(behind) = damage::behind(segment, file, position, expected) else { return CANNOT_READ };
        let is_torn_write = is_last && matches!(error, ScanError::Damaged(Damage::Batch(_)));
        match damage::is_unwritten(segment, file, position, expected, behind) {
            _ if is_torn_write && behind == Behind::default() => TORN,
            Ok(true) if next_base == Some(expected) => GOES_ON,
            Ok(true) => UNWRITTEN,
            Ok(false) => REFUSED,
            Err(_) => CANNOT_READ,
        }
    }

    /// The records of a whole batch, and what it does to its producer's transaction. Gives, of an abort marker, the
    /// transaction that it ends, if that is known.
    fn contents(&mut self, located: &Located) -> Option<Ended> {
        let read = self.log.read(located).map_err(|error| error.to_string());
        let checked = read.and_then(|batch| {
            let too_large = || {
                format!("{} bytes, of which no more than {DECOMPRESSED_BYTES_MAX} are looked at", located.header.size())
            };
            let batch = batch.ok_or_else(too_large)?;
            Ok((check_records(&batch), batch))
        });
        let (records, batch) = match checked {
            Ok((Ok(records), batch)) => (records, batch),
            Ok((Err(what), batch)) => {
                self.unreadable_records(located, what);
                (0, batch)
            }
            Err(what) => {
                self.unreadable_records(located, what);
                return None;
            }
        };
        self.report.counts.records += records;
        let Walk { producers, ended, intact, .. } = &mut *self.walk;
        let marker = marker_of(&batch);
        let before = marker.and_then(|_| ended.insert(batch.header.producer_id, batch.header.base_offset));
        // Behind damage the producers' transactions are not known.
        let aborted = marker.filter(|marker| !marker.committed).map(|marker| Ended {
            aborted: TxnEntry::of_aborted(producers, &batch.header, marker).filter(|_| *intact),
            before,
        });
        note_producer(producers, &batch);
        aborted
    }

    fn unreadable_records(&mut self, located: &Located, what: String) {
        let finding = Finding::damage(&self.path, what, UNREADABLE_RECORDS);
        self.report.found(finding.at(located.position).offset(located.header.base_offset));
    }
}

/// How many records the batch has, if they are as its header says.
fn check_records(batch: &Batch) -> Result<u64, String> {
    let header = &batch.header;
    let records = BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())?;
    let (mut count, mut previous) = (0, -1);
    for record in &records {
        let delta = record.map_err(|error| error.to_string())?.offset_delta;
        if delta <= previous || delta > header.last_offset_delta {
            let last = header.last_offset_delta;
            return Err(format!("record {count} has the offset delta {delta} after {previous}, of {last} at most"));
        }
        previous = delta;
        count += 1;
    }
    if i64::from(header.records_count) != count as i64 {
        return Err(format!("the header counts {} records, there are {count}", header.records_count));
    }
    Ok(count)
}

fn index_check<E: Names>(
    path: &Path,
    open: impl FnOnce(&Path) -> io::Result<Entries<E>>,
    place: Place,
    report: &mut Report<'_>,
) -> Option<IndexCheck<E>> {
    match existing(open(path)) {
        Ok(Some(entries)) => return Some(IndexCheck::new(entries, place.base_offset)),
        Ok(None) => report.found(Finding::note(path, "missing", INDEX_REBUILT)),
        Err(error) => report.found(Finding::damage(path, error, CANNOT_READ)),
    }
    None
}

fn index_disagrees(path: &Path, disagreement: Option<Disagreement>, report: &mut Report<'_>) {
    if let Some(found) = disagreement {
        report.found(Finding::damage(path, &found, INDEX_REBUILT).at(found.position));
    }
}

/// `None` for a file that is not there.
fn existing<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

impl Report<'_> {
    fn count(&mut self, batch: &Located) {
        self.counts.batches += 1;
        self.counts.bytes += batch.header.size() as u64;
        self.watch.progressed(batch.header.size() as u64, 0);
    }
}
