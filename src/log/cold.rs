//! Reads of what is not in the page cache. A consumer that catches up from far behind is read ahead of, so that the disk
//! works while it is sent, and what it has read is taken out of the cache behind it, so that it does not push out the
//! tail, which everybody else reads.
//!
//! Both go in small steps with the reader. The kernel would read ahead by itself, but by as much at once as the device is
//! set to: megabytes, for whose pages a processor is busy for milliseconds, in which nobody else gets it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::sys::{self, FileSlice};

/// Where one byte of a piece of this size is in the cache, the rest most likely is too. The kernel takes no less than this
/// from one request to read ahead, and on some devices no more.
const PIECE: u64 = 128 << 10;
/// How far ahead of a reader the disk is read. It gets there by a step with each slice.
const READ_AHEAD: u64 = 8 << 20;
/// Reading ahead and dropping wait until it is worth the way to another thread.
const STEP: u64 = 512 << 10;
/// Left in the cache behind the reader, for another one that is close behind.
const LEFT_BEHIND: u64 = 8 << 20;
/// A reader that is closer to the log's end takes nothing out of the cache: others will read there.
const FAR_FROM_TAIL: u64 = 64 << 20;

/// As many readers of one log are told apart.
const RUNS_MAX: usize = 8;

/// What the readers of one log have brought into the page cache.
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
    /// Everything before has been dropped, where it was to be.
    from: u64,
    /// The start of the last slice.
    at: u64,
    /// The start of the last slice that was far from the log's end: nothing from there on is dropped.
    far_to: u64,
    /// The end of what was read ahead.
    to: u64,
}

/// What a reader's next step asks of the disk and of the page cache.
#[derive(Debug)]
pub(super) struct Step {
    file: Arc<File>,
    ahead: Range<u64>,
    passed: Option<Passed>,
}

/// To be dropped from the page cache.
#[derive(Debug)]
struct Passed {
    file: Arc<File>,
    ranges: Vec<Range<u64>>,
}

/// Whether the slice could be sent without waiting for the disk, as far as samples tell.
pub(super) fn is_cached(slice: &FileSlice) -> io::Result<bool> {
    for at in samples(slice) {
        match sys::pread_cached(&slice.file, &mut [0], at) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Waits until the slice is in the page cache. Blocking.
pub(super) fn wait_for(slice: &FileSlice) -> io::Result<()> {
    // What a step has had the disk read may have been pushed out since, and a byte that is waited for brings in no more than
    // its page.
    read_ahead(&slice.file, slice.position..slice.end())?;
    samples(slice).try_for_each(|at| sys::pread_up_to(&slice.file, &mut [0], at).map(drop))
}

/// Does not wait for what it has the disk read, but may for room in the disk's queue: blocking.
fn read_ahead(file: &File, range: Range<u64>) -> io::Result<()> {
    for at in range.clone().step_by(PIECE as usize) {
        sys::read_ahead(file, at, PIECE.min(range.end - at))?;
        // A worker that woke meanwhile does not wait for all of the pieces.
        std::thread::yield_now();
    }
    Ok(())
}

/// A byte of each piece, and the last one.
fn samples(slice: &FileSlice) -> impl Iterator<Item = u64> + use<> {
    let (position, length) = (slice.position, u64::from(slice.length));
    (0..length).step_by(PIECE as usize).chain(length.checked_sub(1)).map(move |at| position + at)
}

impl ColdRuns {
    /// Whether it is time for [`ColdRuns::step`], also where all of `slice` is in the cache already.
    pub(super) fn is_due(&self, slice: &FileSlice) -> bool {
        let run = self.place(slice).and_then(|place| self.runs.get(place));
        run.is_some_and(|run| (slice.end() + READ_AHEAD).saturating_sub(run.to) >= STEP)
    }

    /// Goes on with a reader's run, or begins one. `left` are the bytes from the slice's start to the log's end. Of more
    /// readers than are told apart the one is given up that was idle longest.
    pub(super) fn step(&mut self, slice: &FileSlice, left: u64) -> Step {
        let found = self.place(slice).map(|place| self.runs.remove(place));
        let asked = found.as_ref().map_or(slice.position, |run| run.to.max(slice.position));
        let to = (asked + u64::from(slice.length) + STEP).min(slice.end() + READ_AHEAD).max(asked);
        let at = slice.position;
        let passed = match &found {
            // All that is left is about to be there, and whoever reads it then reads the tail.
            _ if left <= u64::from(slice.length) + READ_AHEAD => None,
            Some(run) => {
                let far_to = if left > FAR_FROM_TAIL { at } else { run.far_to };
                let from = far_to.min(at).saturating_sub(LEFT_BEHIND).max(run.from);
                let passed = self.passed(run, from);
                self.runs.push(ColdRun { file: run.file.clone(), from, at, far_to, to });
                passed
            }
            None => {
                let given_up = self.make_room();
                self.runs.push(ColdRun { file: Arc::downgrade(&slice.file), from: at, at, far_to: at, to });
                given_up.and_then(|run| self.passed(&run, run.far_to.min(run.at)))
            }
        };
        Step { file: Arc::clone(&slice.file), ahead: asked..to, passed }
    }

    fn make_room(&mut self) -> Option<ColdRun> {
        self.runs.retain(|run| run.file.strong_count() > 0);
        (self.runs.len() >= RUNS_MAX).then(|| self.runs.remove(0))
    }

    /// The run that a slice goes on with: of readers close to each other the one that is nearest.
    fn place(&self, slice: &FileSlice) -> Option<usize> {
        let reached = self.runs.iter().enumerate().filter(|(_, run)| run.reaches(slice));
        reached.min_by_key(|(_, run)| run.at.abs_diff(slice.position)).map(|(place, _)| place)
    }

    /// What lies before `end` of `run`, but for what other readers are about to read.
    fn passed(&self, run: &ColdRun, end: u64) -> Option<Passed> {
        let file = run.file.upgrade()?;
        let mut ranges: Vec<Range<u64>> = std::iter::once(run.from..end).filter(|range| !range.is_empty()).collect();
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

impl Step {
    /// Blocking.
    pub(super) fn take(self) -> io::Result<()> {
        read_ahead(&self.file, self.ahead)?;
        let Some(Passed { file, ranges }) = self.passed else { return Ok(()) };
        ranges.into_iter().try_for_each(|range| sys::drop_cached(&file, range.start, range.end - range.start))
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
            let step = runs.step(&self.slice, u64::MAX);
            self.slice.position += MIB;
            step.passed
                .map_or_else(Vec::new, |it| it.ranges)
                .into_iter()
                .flat_map(|it| it.start / MIB..it.end / MIB)
                .collect()
        }

        fn read_all(&mut self, runs: &mut ColdRuns, mib: u64) -> Vec<u64> {
            (0..mib).flat_map(|_| self.read(runs)).collect()
        }
    }

    /// The steps of the disk for each of the first `slices` of one MiB, the log's end being `left` MiB from the first on.
    fn read_ahead(runs: &mut ColdRuns, slices: u64, left: u64) -> Vec<Range<u64>> {
        let file = file();
        let steps = (0..slices).map(|mib| {
            let step = runs.step(&Reader::at(&file, mib).slice, (left - mib) * MIB);
            step.ahead.start / STEP..step.ahead.end / STEP
        });
        steps.collect()
    }

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn a_reader_is_gone_ahead_of_in_small_steps_up_to_the_limit_and_then_keeps_its_distance() {
        let mut runs = ColdRuns::default();
        let ahead = read_ahead(&mut runs, 19, 1000);
        assert_eq!(ahead[..4], [0..3, 3..6, 6..9, 9..12]);
        assert_eq!(ahead[15..], [45..48, 48..50, 50..52, 52..54]);
    }

    #[test]
    fn a_reader_that_the_disk_is_far_enough_ahead_of_goes_on_without_a_step() {
        let (mut runs, file) = (ColdRuns::default(), file());
        let mut reader = Reader::at(&file, 0);
        assert!(!runs.is_due(&reader.slice), "nothing has been read from the disk");
        reader.read_all(&mut runs, 16);
        let half_a_step = |position| FileSlice { position, length: STEP as u32 / 2, file: Arc::clone(&file) };
        assert!(!runs.is_due(&half_a_step(16 * MIB)));
        assert!(runs.is_due(&half_a_step(16 * MIB + STEP / 2)));
    }

    #[test]
    fn the_run_ends_where_everything_up_to_the_logs_end_has_been_read_ahead() {
        let mut runs = ColdRuns::default();
        read_ahead(&mut runs, 10, 20);
        assert_eq!(runs.len(), 1);
        read_ahead(&mut runs, 15, 20);
        assert_eq!(runs.len(), 0);
    }

    #[test]
    fn nothing_is_dropped_near_the_tail() {
        let (mut runs, file) = (ColdRuns::default(), file());
        let mut reader = Reader::at(&file, 0);
        for _ in 0..40 {
            assert!(runs.step(&reader.slice, FAR_FROM_TAIL).passed.is_none_or(|it| it.ranges.is_empty()));
            reader.slice.position += MIB;
        }
    }

    #[test]
    fn of_a_reader_that_is_given_up_nothing_is_dropped_that_lies_near_the_tail() {
        let (mut runs, file) = (ColdRuns::default(), file());
        let mut reader = Reader::at(&file, 0);
        reader.read_all(&mut runs, 20);
        for _ in 0..20 {
            runs.step(&reader.slice, FAR_FROM_TAIL);
            reader.slice.position += MIB;
        }
        let others = 1..=RUNS_MAX as u64;
        let dropped: Vec<_> = others.flat_map(|other| Reader::at(&file, other * 100).read(&mut runs)).collect();
        assert_eq!(dropped, (11..19).collect::<Vec<_>>(), "up to the last slice that was far from it");
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
