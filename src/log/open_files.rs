//! A cap on the files of segments that are open at once (`log.max.open.files`).
//!
//! A file is opened when it is used and closed again when another one needs its place, by a clock with a second chance: near
//! enough to "least recently used", and to a file that is open a use costs no more than a relaxed store. Whoever reads,
//! writes or sends has the file by an `Arc` of its own, which closing does not touch. The cap does not count those: there are
//! as many as slices in the responses in memory, and counting them could only have a request wait for its own slices.
//!
//! A file with bytes that were not synced is kept open if any other can go: a writeback that fails is told to the next sync,
//! but once nobody has the file open the kernel may forget it first, together with the inode.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::{IoContext, LogError};
use crate::sys;

/// Files that are looked at for one that is synced, before one that is not is closed.
const SYNCED_SOUGHT: usize = 64;
/// Files that are closed when the process has no descriptor left: the first may still be held by a slice.
const CLOSED_AT_ONCE: usize = 8;
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// The files of segments that are open, over all log dirs.
#[derive(Debug)]
pub struct OpenFiles {
    max: usize,
    open: AtomicUsize,
    /// Every file that is open, and some that were closed since.
    clock: Mutex<VecDeque<Weak<Handle>>>,
    complained: Mutex<Option<Instant>>,
}

/// One of the files counted.
#[derive(Debug)]
struct Place(Arc<OpenFiles>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenFiles {
    /// At most `max` files.
    pub fn up_to(max: usize) -> OpenFiles {
        OpenFiles { max, open: AtomicUsize::new(0), clock: Mutex::default(), complained: Mutex::default() }
    }

    /// Closes the files that nobody has used since the last call, and that are synced.
    pub(super) fn close_idle(&self) {
        let open = self.clock.lock().len();
        for _ in 0..open {
            self.turn(false);
        }
    }

    /// Does what needs a descriptor: once more after closing others where the process has none left.
    pub(super) fn with_descriptor<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let mut opened = open();
        if opened.as_ref().is_err_and(sys::is_out_of_descriptors) && self.close_some() {
            opened = open();
        }
        if let Err(error) = &opened
            && sys::is_out_of_descriptors(error)
            && is_due(&mut self.complained.lock(), Instant::now())
        {
            tracing::error!(%error, "no file descriptor for a log; requests fail until connections or files are closed");
        }
        opened
    }

    fn close_some(&self) -> bool {
        (0..CLOSED_AT_ONCE).filter(|_| self.close_one()).count() > 0
    }

    /// A place for one more file. Where nothing can be closed at this moment the cap gives way, not the request.
    fn place(self: &Arc<Self>) -> Place {
        let one_more = |open: usize| (open < self.max).then_some(open + 1);
        while self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            if !self.close_one() {
                self.open.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        Place(Arc::clone(self))
    }

    fn close_one(&self) -> bool {
        // The first time round may do no more than take the second chances away, and the next one find nothing synced.
        let open = self.clock.lock().len();
        let sought = SYNCED_SOUGHT.min(open * 2);
        (0..open * 3).any(|turn| self.turn(turn >= sought))
    }

    /// Looks at the next file of the clock; whether it was closed.
    fn turn(&self, may_be_unsynced: bool) -> bool {
        let Some(next) = self.clock.lock().pop_front() else { return false };
        let Some(handle) = next.upgrade() else { return false };
        let is_kept =
            handle.used.swap(false, Ordering::Relaxed) || (!may_be_unsynced && handle.unsynced.load(Ordering::Relaxed));
        let closed = if is_kept { None } else { handle.try_close() };
        if closed.is_none() {
            self.clock.lock().push_back(next);
        }
        closed.unwrap_or(false)
    }

    fn enter(&self, handle: Weak<Handle>) {
        let mut clock = self.clock.lock();
        if clock.len() == clock.capacity() {
            clock.retain(|handle| handle.strong_count() > 0);
        }
        clock.push_back(handle);
    }
}

fn is_due(last: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINT_INTERVAL);
    if is_due {
        *last = Some(now);
    }
    is_due
}

/// A file of a segment, opened at the first use and again after it was closed.
#[derive(Debug)]
pub(super) struct Handle {
    path: PathBuf,
    files: Arc<OpenFiles>,
    /// Since the clock last came by.
    used: AtomicBool,
    /// Something was written since the last sync.
    unsynced: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    held: Held,
    in_clock: bool,
}

#[derive(Debug)]
enum Held {
    Closed,
    Open {
        file: Arc<File>,
        _place: Place,
    },
    /// The segment is out of the log; another one's file may have the name.
    Gone,
}

impl Handle {
    /// Nothing is opened yet.
    pub(super) fn new(path: PathBuf, files: &Arc<OpenFiles>) -> Arc<Handle> {
        let state = Mutex::new(State { held: Held::Closed, in_clock: false });
        let (used, unsynced) = Default::default();
        Arc::new(Handle { path, files: Arc::clone(files), used, unsynced, state })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, which must be there.
    pub(super) fn open(self: &Arc<Self>) -> Result<Arc<File>, LogError> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.open_if_exists()?.ok_or_else(missing).at(&self.path)
    }

    /// To be called by who has written to the file, while it has it.
    pub(super) fn written(&self) {
        self.unsynced.store(true, Ordering::Release);
    }

    /// Makes what was written before durable.
    pub(super) fn sync(self: &Arc<Self>) -> Result<(), LogError> {
        let file = self.open()?;
        // Before: what is written meanwhile may not be synced.
        self.unsynced.store(false, Ordering::Release);
        sys::fdatasync(&file).inspect_err(|_| self.written()).at(&self.path)
    }

    pub(super) fn open_if_exists(self: &Arc<Self>) -> Result<Option<Arc<File>>, LogError> {
        self.used.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        match &state.held {
            Held::Open { file, .. } => return Ok(Some(Arc::clone(file))),
            Held::Gone => return Err(LogError::Gone),
            Held::Closed => {}
        }
        let place = self.files.place();
        match self.files.with_descriptor(|| sys::open(&self.path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => Ok(Some(self.hold(&mut state, opened.at(&self.path)?, place))),
        }
    }

    /// An empty file, whatever there was.
    pub(super) fn create(self: &Arc<Self>) -> Result<Arc<File>, LogError> {
        self.put(|| sys::create(&self.path).at(&self.path))
    }

    /// A file with this content, which takes the place of any other in one step.
    pub(super) fn replace(self: &Arc<Self>, content: &[u8]) -> Result<Arc<File>, LogError> {
        self.put(|| {
            let fresh = self.path.with_added_extension("tmp");
            let write = || {
                let file = sys::create(&fresh)?;
                sys::pwrite_all(&file, content, 0)?;
                sys::rename(&fresh, &self.path)?;
                io::Result::Ok(file)
            };
            // What a full disk leaves of it would only take room.
            write().inspect_err(|_| drop(sys::remove_file_if_exists(&fresh))).at(&self.path)
        })
    }

    fn put(self: &Arc<Self>, make: impl Fn() -> Result<File, LogError>) -> Result<Arc<File>, LogError> {
        self.used.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        if matches!(state.held, Held::Gone) {
            return Err(LogError::Gone);
        }
        state.held = Held::Closed;
        let place = self.files.place();
        let file = match make() {
            Err(LogError::NoDescriptor { .. }) if self.files.close_some() => make()?,
            made => made?,
        };
        Ok(self.hold(&mut state, file, place))
    }

    fn hold(self: &Arc<Self>, state: &mut State, file: File, place: Place) -> Arc<File> {
        let file = Arc::new(file);
        state.held = Held::Open { file: Arc::clone(&file), _place: place };
        if !std::mem::replace(&mut state.in_clock, true) {
            self.files.enter(Arc::downgrade(self));
        }
        file
    }

    /// Whether a use would find it open, or gone.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state.lock().held, Held::Closed)
    }

    /// Closes the file until it is needed again.
    pub(super) fn close(&self) {
        close(&mut self.state.lock());
    }

    /// As [`Handle::close`], for the clock, which then forgets the file: whether it was open. `None`: it is being opened.
    fn try_close(&self) -> Option<bool> {
        // Never waits: whoever comes here may hold another file's lock.
        let mut state = self.state.try_lock()?;
        state.in_clock = false;
        Some(close(&mut state))
    }

    /// Nothing is opened under this name any more. Who has the file goes on with it.
    pub(super) fn retire(&self) {
        self.state.lock().held = Held::Gone;
    }

    /// Puts another file in this one's place, to see what a failing device does.
    #[cfg(test)]
    pub(super) fn exchange(&self, new: Arc<File>) -> Arc<File> {
        match &mut self.state.lock().held {
            Held::Open { file, .. } => std::mem::replace(file, new),
            other => panic!("the file is not open: {other:?}"),
        }
    }
}

fn close(state: &mut State) -> bool {
    let is_open = matches!(state.held, Held::Open { .. });
    if is_open {
        state.held = Held::Closed;
    }
    is_open
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handles(dir: &Path, files: &Arc<OpenFiles>, count: usize) -> Vec<Arc<Handle>> {
        let handle = |index: usize| {
            let path = dir.join(index.to_string());
            std::fs::write(&path, "x").unwrap();
            Handle::new(path, files)
        };
        (0..count).map(handle).collect()
    }

    fn is_open(handle: &Handle) -> bool {
        matches!(handle.state.lock().held, Held::Open { .. })
    }

    #[test]
    fn the_file_that_was_not_used_lately_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(OpenFiles::up_to(3));
        let handles = handles(dir.path(), &files, 5);
        handles[..3].iter().for_each(|handle| drop(handle.open().unwrap()));
        // All are used: each loses its second chance, and the first one its place.
        handles[3].open().unwrap();
        assert_eq!(handles.iter().map(|handle| is_open(handle)).collect::<Vec<_>>(), [false, true, true, true, false]);
        handles[1].open().unwrap();
        handles[4].open().unwrap();
        assert_eq!(handles.iter().map(|handle| is_open(handle)).collect::<Vec<_>>(), [false, true, false, true, true]);
        assert_eq!(files.open.load(Ordering::Relaxed), 3);
        drop(handles);
        assert_eq!(files.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_file_that_nobody_used_since_the_last_look_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(OpenFiles::up_to(10));
        let handles = handles(dir.path(), &files, 2);
        let held = handles[0].open().unwrap();
        handles[1].open().unwrap();
        files.close_idle();
        handles[1].open().unwrap();
        files.close_idle();
        assert!(!is_open(&handles[0]) && is_open(&handles[1]));
        // Who has it goes on.
        sys::pread_exact(&held, &mut [0], 0).unwrap();
        files.close_idle();
        assert!(files.clock.lock().is_empty());
    }

    #[test]
    fn a_file_that_is_not_synced_is_closed_only_where_no_other_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(OpenFiles::up_to(2));
        let handles = handles(dir.path(), &files, 4);
        let open = |index: usize| drop(handles[index].open().unwrap());
        let are_open = || handles.iter().map(|handle| is_open(handle)).collect::<Vec<_>>();
        open(0);
        open(1);
        handles[0].written();
        open(2);
        assert_eq!(are_open(), [true, false, true, false]);
        handles[2].written();
        (0..3).for_each(|_| files.close_idle());
        assert_eq!(are_open(), [true, false, true, false]);
        handles[0].sync().unwrap();
        open(3);
        assert_eq!(are_open(), [false, false, true, true]);
        handles[3].written();
        open(0);
        assert_eq!(files.open.load(Ordering::Relaxed), 2, "the cap holds all the same");
    }

    #[test]
    fn files_opened_from_many_threads_stay_under_the_cap() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(OpenFiles::up_to(4));
        let handles = handles(dir.path(), &files, 16);
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (handles, files, most) = (&handles, &files, &most);
                scope.spawn(move || {
                    for round in 0..500 {
                        handles[(thread * 7 + round * 5) % 16].open().unwrap();
                        most.fetch_max(files.open.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                });
            }
        });
        // A thread that finds nothing to close opens all the same.
        assert!(most.into_inner() <= 4 + 4);
        assert!(files.open.load(Ordering::Relaxed) <= 8);
        assert_eq!(handles.iter().filter(|handle| is_open(handle)).count(), files.open.load(Ordering::Relaxed));
    }

    #[test]
    fn without_a_descriptor_others_are_closed_and_it_is_tried_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(OpenFiles::up_to(10));
        let handles = handles(dir.path(), &files, 1);
        handles[0].open().unwrap();
        let tries = AtomicUsize::new(0);
        let exhausted = || {
            tries.fetch_add(1, Ordering::Relaxed);
            if is_open(&handles[0]) { Err(io::Error::from_raw_os_error(nix::libc::EMFILE)) } else { Ok(7) }
        };
        assert_eq!(files.with_descriptor(exhausted).unwrap(), 7);
        assert_eq!(tries.load(Ordering::Relaxed), 2);
        let failed: io::Result<()> = files.with_descriptor(|| Err(io::Error::from_raw_os_error(nix::libc::ENFILE)));
        assert!(matches!(failed.at(dir.path()), Err(LogError::NoDescriptor { .. })));
    }

    #[test]
    fn a_want_of_descriptors_is_said_once_a_second() {
        let (mut last, start) = (None, Instant::now());
        let said = [0, 1, 999, 1000, 1500, 2000].map(|ms| is_due(&mut last, start + Duration::from_millis(ms)));
        assert_eq!(said, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_file_that_is_out_of_use_is_not_opened_by_its_name_again() {
        let dir = tempfile::tempdir().unwrap();
        let handle = handles(dir.path(), &Arc::new(OpenFiles::up_to(10)), 1).remove(0);
        handle.open().unwrap();
        handle.retire();
        assert!(matches!(handle.open(), Err(LogError::Gone)));
        assert!(matches!(handle.replace(b""), Err(LogError::Gone)));
    }
}
