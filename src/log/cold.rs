//! Reads of what is not in the page cache. A consumer that catches up from far behind is read ahead of, so that the disk
//! works while it is sent, and what it has read is taken out of the cache behind it, so that it does not push out the
//! tail, which everybody else reads.

use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use crate::sys::{self, FileSlice};

/// The kernel's own read-ahead comes in pieces of this size: where one byte is, the rest of a piece most likely is too.
const PROBE_INTERVAL: u64 = 128 << 10;
/// Read beyond what was asked for.
const READ_AHEAD: u64 = 8 << 20;
/// Left in the cache behind the reader, for another one that is close behind.
const LEFT_BEHIND: u64 = 8 << 20;
/// A reader that is closer to the log's end takes nothing out of the cache: others will read there.
pub(super) const FAR_FROM_TAIL: u64 = 64 << 20;

/// What cold reads have brought into the page cache, of one segment.
#[derive(Debug)]
pub(super) struct ColdRun {
    /// Not kept open: no removed segment's room waits for the next cold read of its log.
    file: Weak<File>,
    from: u64,
    to: u64,
}

/// Whether the slice could be sent without waiting for the disk, as far as samples tell.
pub(super) fn is_cached(slice: &FileSlice) -> io::Result<bool> {
    let Some(last) = u64::from(slice.length).checked_sub(1) else { return Ok(true) };
    for at in (0..last).step_by(PROBE_INTERVAL as usize).chain([last]) {
        match sys::pread_cached(&slice.file, &mut [0], slice.position + at) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Brings the slice into the page cache, and what follows it on the way there. Blocking.
pub(super) fn warm(slice: &FileSlice) -> io::Result<()> {
    let length = u64::from(slice.length);
    sys::read_ahead(&slice.file, slice.position, length + READ_AHEAD)?;
    for at in (0..length).step_by(PROBE_INTERVAL as usize).chain(length.checked_sub(1)) {
        sys::pread_up_to(&slice.file, &mut [0], slice.position + at)?;
    }
    Ok(())
}

impl ColdRun {
    /// Whether there is much to drop behind `slice`. The kernel reads ahead of a reader by itself, so that all that it
    /// reads may be there in time; somebody has to clear up behind it all the same.
    pub(super) fn has_much_behind(&self, slice: &FileSlice) -> bool {
        self.reaches(slice) && slice.position.saturating_sub(self.from) > 2 * LEFT_BEHIND
    }

    fn reaches(&self, slice: &FileSlice) -> bool {
        self.is_of(slice) && (self.from..=self.to + READ_AHEAD).contains(&slice.position)
    }

    fn is_of(&self, slice: &FileSlice) -> bool {
        std::ptr::eq(self.file.as_ptr(), Arc::as_ptr(&slice.file))
    }

    /// Goes on with a run, or begins one, and drops what lies behind `slice`.
    pub(super) fn go_on(run: &mut Option<ColdRun>, slice: &FileSlice) -> io::Result<()> {
        let to = slice.position + u64::from(slice.length) + READ_AHEAD;
        let goes_on = |run: &&mut ColdRun| run.is_of(slice) && (run.from..=run.to).contains(&slice.position);
        if let Some(run) = run.as_mut().filter(goes_on) {
            let behind = slice.position.saturating_sub(LEFT_BEHIND).max(run.from);
            sys::drop_cached(&slice.file, run.from, behind - run.from)?;
            (run.from, run.to) = (behind, to);
            return Ok(());
        }
        let fresh = ColdRun { file: Arc::downgrade(&slice.file), from: slice.position, to };
        let Some(old) = run.replace(fresh) else { return Ok(()) };
        old.file.upgrade().map_or(Ok(()), |file| sys::drop_cached(&file, old.from, old.to - old.from))
    }
}
