//! Logs that are not appended to are made durable up to their end by the clock, so that a start after a crash need not read
//! them.

use super::{LogError, LogWriter};
use crate::sys;
use crate::types::Offset;

/// Producer snapshots that stay beside those at segments' bases: one that the recovery point on disk may still be at, and
/// the newest.
const SNAPSHOTS_KEPT: usize = 2;

/// What [`LogWriter::settle`] remembers.
#[derive(Debug)]
pub(super) struct Settling {
    /// The log's end when it was last asked.
    seen: Option<Offset>,
    /// Where it has put producer snapshots.
    snapshots: Vec<Offset>,
}

impl Settling {
    /// Of a log that ends at `end_offset`.
    pub(super) fn opened_at(end_offset: Offset) -> Settling {
        Settling { seen: Some(end_offset), snapshots: Vec::new() }
    }

    /// A segment begins at the log's end: that is settled no more, where it was.
    pub(super) fn rolled(&mut self) {
        self.seen = None;
    }
}

impl LogWriter {
    /// Where nothing was appended since the last call: writes out what the indexes lack, and the producers, so that
    /// a flush can move the recovery point to the log's end. Gives that end if there is something to flush.
    pub fn settle(&mut self) -> Result<Option<Offset>, LogError> {
        let end_offset = self.shared.view.read().end_offset;
        let is_idle = self.settling.seen.replace(end_offset) == Some(end_offset);
        if !is_idle || !self.dirty || self.ended.is_some() {
            return Ok(None);
        }
        self.complete_active(end_offset).map_err(|error| self.shared.context.write_failed(error))?;
        if self.settling.snapshots.last() != Some(&end_offset) {
            self.settling.snapshots.push(end_offset);
            self.remove_old_snapshots();
        }
        Ok(Some(end_offset))
    }

    /// The log is durable up to `end_offset`, which [`LogWriter::settle`] gave.
    pub fn settled(&mut self, end_offset: Offset) {
        let is_settled = self.settling.seen == Some(end_offset) && self.shared.view.read().end_offset == end_offset;
        self.dirty &= !is_settled;
    }

    fn remove_old_snapshots(&mut self) {
        let snapshots = &mut self.settling.snapshots;
        let old: Vec<Offset> = snapshots.drain(..snapshots.len().saturating_sub(SNAPSHOTS_KEPT)).collect();
        let segments = self.shared.view().segments;
        let is_base = |at: Offset| segments.get(segments.floor_index(at)).is_some_and(|found| found.base_offset == at);
        for at in old.into_iter().filter(|at| !is_base(*at)) {
            let path = self.shared.snapshot_path(at);
            if let Err(error) = sys::remove_file_if_exists(&path) {
                tracing::warn!(path = %path.display(), %error, "an old producer snapshot stays until the next start");
            }
        }
    }
}
