//! What was found, and who is told.

use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use crate::types::Offset;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Bytes are not what was written.
    Damage,
    /// Nothing is lost, but someone who looks will want to know.
    Note,
}

/// Something about a file, and what the broker does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub path: PathBuf,
    /// In bytes from the file's start; `None` where it is about the file as a whole.
    pub position: Option<u64>,
    pub offset: Option<Offset>,
    pub what: String,
    /// What a start of the broker does about it, or what else comes of it.
    pub outcome: &'static str,
}

impl Finding {
    pub fn damage(path: &Path, what: impl ToString, outcome: &'static str) -> Finding {
        let (path, what) = (path.to_owned(), what.to_string());
        Finding { severity: Severity::Damage, path, position: None, offset: None, what, outcome }
    }

    pub fn note(path: &Path, what: impl ToString, outcome: &'static str) -> Finding {
        Finding { severity: Severity::Note, ..Finding::damage(path, what, outcome) }
    }

    pub fn at(self, position: u64) -> Finding {
        Finding { position: Some(position), ..self }
    }

    pub fn offset(self, offset: Offset) -> Finding {
        Finding { offset: Some(offset), ..self }
    }
}

/// `path: byte 12, offset 3: what`, without the outcome.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match (self.position, self.offset) {
            (Some(position), Some(offset)) => write!(f, "byte {position}, offset {offset}: ")?,
            (Some(position), None) => write!(f, "byte {position}: ")?,
            (None, Some(offset)) => write!(f, "offset {offset}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.what)
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub dirs: u64,
    pub partitions: u64,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    /// Of batches.
    pub bytes: u64,
    /// Findings that are damage.
    pub damaged: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.dirs += other.dirs;
        self.partitions += other.partitions;
        self.segments += other.segments;
        self.batches += other.batches;
        self.records += other.records;
        self.bytes += other.bytes;
        self.damaged += other.damaged;
    }
}

/// Is told while the work goes on.
pub trait Watch {
    fn found(&mut self, finding: Finding);

    /// So many more bytes, and files, were read.
    fn progressed(&mut self, bytes: u64, files: u64);
}

/// Counts on the way to whoever watches.
pub(super) struct Report<'a> {
    pub(super) counts: Counts,
    pub(super) watch: &'a mut dyn Watch,
}

impl Report<'_> {
    pub(super) fn found(&mut self, finding: Finding) {
        self.counts.damaged += u64::from(finding.severity == Severity::Damage);
        self.watch.found(finding);
    }
}
