//! Whether an index agrees with its log. Both are read once, from front to back.

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::path::Path;

use super::entries::{Entries, EntryError, offset_entries, time_entries};
use super::{BatchFile, Located, ScanError};
use crate::log::offset_index::OffsetEntry;
use crate::log::time_index::TimeEntry;
use crate::types::Offset;

/// The first entry that does not agree, and how many more do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Of the entry in its file.
    pub position: u64,
    what: String,
    others: u64,
}

impl Disagreement {
    /// Keeps the first one in words, the others as a number: an index of another segment is one finding.
    pub(super) fn note(known: &mut Option<Disagreement>, position: u64, what: impl FnOnce() -> String) {
        match known {
            Some(known) => known.others += 1,
            None => *known = Some(Disagreement { position, what: what(), others: 0 }),
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.others {
            0 => Ok(()),
            others => write!(f, " (and {others} more)"),
        }
    }
}

/// An entry that names a batch.
pub(super) trait Names: Copy {
    /// In the words of a dump.
    fn text(&self, base_offset: Offset) -> String;

    /// Whether the named batch lies before `batch`, is it, or lies behind it.
    fn place(&self, base_offset: Offset, batch: &Located) -> Ordering;

    /// What the entry says of the batch it names.
    fn agrees(&self, base_offset: Offset, batch: &Located) -> bool;

    fn rises_above(&self, previous: &Self) -> bool;
}

impl Names for OffsetEntry {
    fn text(&self, base_offset: Offset) -> String {
        format!("offset {} at position {}", base_offset.plus(i64::from(self.relative_offset)), self.position)
    }

    fn place(&self, _: Offset, batch: &Located) -> Ordering {
        u64::from(self.position).cmp(&batch.position)
    }

    fn agrees(&self, base_offset: Offset, batch: &Located) -> bool {
        base_offset.plus(i64::from(self.relative_offset)) == batch.header.last_offset()
    }

    fn rises_above(&self, previous: &OffsetEntry) -> bool {
        self.relative_offset > previous.relative_offset && self.position > previous.position
    }
}

impl Names for TimeEntry {
    fn text(&self, base_offset: Offset) -> String {
        format!("timestamp {} at offset {}", self.timestamp.0, base_offset.plus(i64::from(self.relative_offset)))
    }

    /// Kafka's older versions name the record with the timestamp, the newer ones its batch's last.
    fn place(&self, base_offset: Offset, batch: &Located) -> Ordering {
        let offset = base_offset.plus(i64::from(self.relative_offset));
        if offset < batch.header.base_offset {
            Ordering::Less
        } else if offset > batch.header.last_offset() {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    fn agrees(&self, _: Offset, batch: &Located) -> bool {
        self.timestamp == batch.header.max_timestamp
    }

    fn rises_above(&self, previous: &TimeEntry) -> bool {
        self.timestamp > previous.timestamp && self.relative_offset >= previous.relative_offset
    }
}

/// Is shown every batch of the log and compares the entries that are due.
#[derive(Debug)]
pub(super) struct IndexCheck<E> {
    base_offset: Offset,
    entries: Entries<E>,
    /// The next entry and its position.
    next: Option<(E, u64)>,
    previous: Option<E>,
    disagreement: Option<Disagreement>,
}

impl<E: Names> IndexCheck<E> {
    pub(super) fn new(entries: Entries<E>, base_offset: Offset) -> IndexCheck<E> {
        let mut check = IndexCheck { base_offset, entries, next: None, previous: None, disagreement: None };
        check.advance();
        check
    }

    pub(super) fn observe(&mut self, batch: &Located) {
        let base_offset = self.base_offset;
        while let Some((entry, position)) = self.next {
            match entry.place(self.base_offset, batch) {
                Ordering::Greater => return,
                Ordering::Equal if entry.agrees(self.base_offset, batch) => {}
                Ordering::Equal => {
                    let header = &batch.header;
                    self.note(position, || {
                        format!(
                            "{}: the batch at byte {} has the offsets {}..={} and the max timestamp {}",
                            entry.text(base_offset),
                            batch.position,
                            header.base_offset,
                            header.last_offset(),
                            header.max_timestamp.0
                        )
                    });
                }
                Ordering::Less => self.note(position, || format!("{}: names no batch", entry.text(base_offset))),
            }
            self.advance();
        }
    }

    /// What does not agree, after the last batch.
    pub(super) fn finish(mut self) -> Option<Disagreement> {
        let base_offset = self.base_offset;
        while let Some((entry, position)) = self.next {
            self.note(position, || format!("{}: behind the end of the log", entry.text(base_offset)));
            self.advance();
        }
        self.disagreement
    }

    fn advance(&mut self) {
        let position = self.entries.next_position();
        self.next = match self.entries.next() {
            None => None,
            Some(Ok(entry)) => {
                if let Some(previous) = self.previous.filter(|previous| !entry.rises_above(previous)) {
                    let base_offset = self.base_offset;
                    self.note(position, || {
                        format!("{} after {}: entries must rise", entry.text(base_offset), previous.text(base_offset))
                    });
                }
                self.previous = Some(entry);
                Some((entry, position))
            }
            Some(Err(error)) => {
                self.note(position, || error.to_string());
                None
            }
        };
    }

    fn note(&mut self, position: u64, what: impl FnOnce() -> String) {
        Disagreement::note(&mut self.disagreement, position, what);
    }
}

/// Compares an offset index with the headers of its log; `None`: it agrees.
pub fn check_offset_index(
    index: &Path,
    base_offset: Offset,
    log: &BatchFile,
) -> Result<Option<Disagreement>, EntryError> {
    check(IndexCheck::new(offset_entries(index)?, base_offset), log)
}

/// As [`check_offset_index`], of a time index.
pub fn check_time_index(
    index: &Path,
    base_offset: Offset,
    log: &BatchFile,
) -> Result<Option<Disagreement>, EntryError> {
    check(IndexCheck::new(time_entries(index)?, base_offset), log)
}

fn check<E: Names>(mut check: IndexCheck<E>, log: &BatchFile) -> Result<Option<Disagreement>, EntryError> {
    for step in log.headers() {
        match step {
            Ok(walked) => check.observe(&walked.batch),
            Err(ScanError::Io(error)) => return Err(io::Error::other(error).into()),
            // What lies behind damage cannot be told; the log's own dump names it.
            Err(ScanError::Damaged(_)) => return Ok(check.disagreement),
        }
    }
    Ok(check.finish())
}
