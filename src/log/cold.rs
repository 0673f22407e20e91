//! Reads of what is not in the page cache. A consumer that catches up from far behind is read ahead of, so that the disk
//! works while it is sent, and what it has read is taken out of the cache behind it, so that it does not push out the
//! tail, which everybody else reads.

use std::fs::File;
use std::io;
use std::ops::Range;
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

/// As many readers of one log are told apart.
const RUNS_MAX: usize = 8;

/// What the readers of one log that are far from its end have brought into the page cache.
#[derive(Debug, Default)]
pub(super) struct ColdRuns {
    /// The one that was used last comes last.
    runs: Vec<ColdRun>,
}

/// One reader's part, of one segment.
#[derive(Debug)]
struct ColdRun {
    /// Not kept open: no removed segment's room waits for the next cold read of its log.
    file: Weak<File>,
    /// Everything before has been dropped.
    from: u64,
    /// The start of the last slice.
    at: u64,
    /// The end of what was read ahead.
    to: u64,
}

/// To be dropped from the page cache.
#[derive(Debug)]
pub(super) struct Passed {
    file: Arc<File>,
    ranges: Vec<Range<u64>>,
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

impl ColdRuns {
    /// Whether there is much to drop behind `slice`. The kernel reads ahead of a reader by itself, so that all that it
    /// reads may be there in time; somebody has to clear up behind it all the same.
    pub(super) fn has_much_behind(&self, slice: &FileSlice) -> bool {
        let run = self.place(slice).and_then(|place| self.runs.get(place));
        run.is_some_and(|run| slice.position.saturating_sub(run.from) > 2 * LEFT_BEHIND)
    }

    /// Goes on with a reader's run, or begins one; gives what its reader has left behind. Of more readers than are told
    /// apart the one is given up that was idle longest.
    #[must_use]
    pub(super) fn go_on(&mut self, slice: &FileSlice) -> Option<Passed> {
        let to = slice.position + u64::from(slice.length) + READ_AHEAD;
        if let Some(place) = self.place(slice) {
            let run = self.runs.remove(place);
            let behind = slice.position.saturating_sub(LEFT_BEHIND).max(run.from);
            let passed = self.passed(&run, behind);
            self.runs.push(ColdRun { from: behind, at: slice.position, to: to.max(run.to), ..run });
            return passed;
        }
        self.runs.retain(|run| run.file.strong_count() > 0);
        let given_up = (self.runs.len() >= RUNS_MAX).then(|| self.runs.remove(0));
        let file = Arc::downgrade(&slice.file);
        self.runs.push(ColdRun { file, from: slice.position, at: slice.position, to });
        given_up.and_then(|run| self.passed(&run, run.at))
    }

    /// The run that a slice goes on with: of readers close to each other the one that is nearest.
    fn place(&self, slice: &FileSlice) -> Option<usize> {
        let reached = self.runs.iter().enumerate().filter(|(_, run)| run.reaches(slice));
        reached.min_by_key(|(_, run)| run.at.abs_diff(slice.position)).map(|(place, _)| place)
    }

    /// What lies before `end` of `run`, but for what other readers are about to read.
    fn passed(&self, run: &ColdRun, end: u64) -> Option<Passed> {
        let file = run.file.upgrade()?;
        let mut ranges: Vec<Range<u64>> = std::iter::once(run.from..end).collect();
        for other in self.runs.iter().filter(|other| other.file.ptr_eq(&run.file)) {
            let without =
                |range: Range<u64>| [range.start..range.end.min(other.from), range.start.max(other.to)..range.end];
            ranges = ranges.into_iter().flat_map(without).filter(|range| !range.is_empty()).collect();
        }
        Some(Passed { file, ranges })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }
}

impl ColdRun {
    fn reaches(&self, slice: &FileSlice) -> bool {
        let is_of_file = std::ptr::eq(self.file.as_ptr(), Arc::as_ptr(&slice.file));
        is_of_file && (self.from..=self.to + READ_AHEAD).contains(&slice.position)
    }
}

impl Passed {
    /// Blocking.
    pub(super) fn drop_cached(self) -> io::Result<()> {
        self.ranges.into_iter().try_for_each(|range| sys::drop_cached(&self.file, range.start, range.end - range.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    struct Reader {
        slice: FileSlice,
    }

    impl Reader {
        fn at(file: &Arc<File>, mib: u64) -> Reader {
            Reader { slice: FileSlice { file: Arc::clone(file), position: mib * MIB, length: MIB as u32 } }
        }

        /// Reads the next MiB; gives the MiB that are dropped for it.
        fn read(&mut self, runs: &mut ColdRuns) -> Vec<u64> {
            let passed = runs.go_on(&self.slice);
            self.slice.position += MIB;
            passed
                .map_or_else(Vec::new, |it| it.ranges)
                .into_iter()
                .flat_map(|it| it.start / MIB..it.end / MIB)
                .collect()
        }

        fn read_all(&mut self, runs: &mut ColdRuns, mib: u64) -> Vec<u64> {
            (0..mib).flat_map(|_| self.read(runs)).collect()
        }
    }

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn what_a_reader_has_passed_is_dropped_once_but_for_a_little_behind_it() {
        let (mut runs, file) = (ColdRuns::default(), file());
        let dropped = Reader::at(&file, 0).read_all(&mut runs, 101);
        assert_eq!(dropped, (0..100 - LEFT_BEHIND / MIB).collect::<Vec<_>>());
    }

    #[test]
    fn readers_far_from_each_other_are_cleared_up_behind_each_and_keep_what_was_read_ahead() {
        let (mut runs, file) = (ColdRuns::default(), file());
        let (mut first, mut second) = (Reader::at(&file, 0), Reader::at(&file, 500));
        let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
        for _ in 0..101 {
            of_first.extend(first.read(&mut runs));
            of_second.extend(second.read(&mut runs));
        }
        assert_eq!(of_first, (0..92).collect::<Vec<_>>());
        assert_eq!(of_second, (500..592).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_reader_close_behind_is_about_to_read_stays() {
        let (mut runs, file) = (ColdRuns::default(), file());
        let mut behind = Reader::at(&file, 20);
        behind.read(&mut runs);
        // Up to the end of what was read ahead of the one behind.
        let dropped = Reader::at(&file, 45).read_all(&mut runs, 30);
        assert!(dropped.iter().all(|mib| *mib >= 45), "{dropped:?}");
        let mut ahead = Reader::at(&file, 10);
        let dropped = ahead.read_all(&mut runs, 11);
        assert!(dropped.iter().all(|mib| *mib < 20), "{dropped:?}");
    }

    #[test]
    fn of_too_many_readers_one_is_given_up_and_what_lies_ahead_of_it_stays() {
        let (mut runs, file) = (ColdRuns::default(), file());
        let mut idle = Reader::at(&file, 0);
        assert!(idle.read_all(&mut runs, 3).is_empty());
        for reader in 1..RUNS_MAX as u64 {
            assert!(Reader::at(&file, reader * 100).read(&mut runs).is_empty());
        }
        assert_eq!(Reader::at(&file, 5000).read(&mut runs), [0, 1]);
        assert_eq!(runs.len(), RUNS_MAX);
    }
}
