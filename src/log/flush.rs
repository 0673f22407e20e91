//! How far a log is on stable storage: group commit, and the recovery point.
//!
//! Two marks, the first never ahead of the second: below the recovery point everything is durable, indexes and producer
//! state too, and the next start reads nothing; below the durable end the batches are, which is what an acknowledgement
//! promises (`flush.messages`). Appends take no part in any of this and never wait for a sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::checkpoint::{LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use super::error::{IoContext, LogError};
use super::shared::{Shared, View};
use crate::sys;
use crate::types::Offset;

#[derive(Debug)]
pub(super) struct Durability {
    recovery_point: Mutex<Offset>,
    /// Held while the recovery point moves.
    moving: Mutex<()>,
    /// Held while batches are synced: one sync of a log at a time, so that the appends of its time share the next.
    syncing: Mutex<()>,
    commits: Mutex<Commits>,
    /// As many appends have come as the next sync is put off for.
    gathered: Condvar,
    progress: watch::Sender<Progress>,
    /// Files have got their names since the folder was last synced.
    has_new_names: AtomicBool,
    /// A segment was sealed, and a task will flush it.
    is_sealed_flush_due: AtomicBool,
    synced_at: Mutex<Instant>,
    #[cfg(test)]
    syncs: std::sync::atomic::AtomicUsize,
}

/// What acknowledgements wait for.
#[derive(Debug)]
struct Commits {
    wanted: Offset,
    /// A task is under way that goes on until `wanted` is reached.
    is_running: bool,
    /// Appends that have come to wait, since the log was opened.
    arrived: u64,
    /// Those of them that a sync has covered.
    covered: u64,
    last: Option<Group>,
    /// As many syncs to come are not put off.
    hurries: u32,
}

/// The appends that one sync covered.
#[derive(Debug, Clone, Copy)]
struct Group {
    size: u64,
    /// [`Commits::arrived`] at its end.
    arrived: u64,
    ended: Instant,
    took: Duration,
}

/// The part of a sync's time that the next one may be put off by, and the most that it may be.
const GATHERING_SHARE: u32 = 4;
const GATHERING_MAX: Duration = Duration::from_millis(5);
/// Where the disk is about as fast as the producers' way to and fro, or they do not wait for each other, gathering is in
/// vain: as many syncs go without before it is tried again.
const HURRIES: u32 = 64;

impl Commits {
    fn up_to(durable_end: Offset) -> Commits {
        Commits { wanted: durable_end, is_running: false, arrived: 0, covered: 0, last: None, hurries: 0 }
    }

    /// Until when a sync is put off for as many appends to come as the last one covered; `None`: it is due. Producers that
    /// wait for their acknowledgements come back together. Begun with the first of them, a sync would leave all others to
    /// the next one, and so on: half of the syncs would be wasted.
    fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let last = self.last.filter(|_| self.hurries == 0)?;
        let until = last.ended + (last.took / GATHERING_SHARE).min(GATHERING_MAX);
        (!self.has_gathered() && now < until).then_some(until)
    }

    /// Whether as many have come as the last sync has released.
    fn has_gathered(&self) -> bool {
        self.last.is_none_or(|last| self.arrived >= last.arrived.saturating_add(last.size))
    }

    /// A sync begins that was put off for as long as it may be.
    fn gathering_ended(&mut self) {
        self.hurries = match self.hurries.checked_sub(1) {
            Some(fewer) => fewer,
            None if self.has_gathered() => 0,
            None => HURRIES,
        };
    }

    /// A sync has ended that began at `began`, when `covered` appends had come.
    fn synced(&mut self, covered: u64, began: Instant, ended: Instant) {
        let size = covered.saturating_sub(self.covered);
        self.covered = covered;
        self.last = Some(Group { size, arrived: self.arrived, ended, took: ended.saturating_duration_since(began) });
    }
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    durable_end: Offset,
    /// Commits that failed.
    failures: u64,
}

/// An append's wait for the disk.
#[derive(Debug)]
pub struct FlushWait {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    through: Offset,
    failures_before: u64,
}

impl FlushWait {
    /// Returns when what was appended is on stable storage, or may not be.
    pub async fn done(mut self) -> Result<(), LogError> {
        let is_durable = |progress: &Progress| progress.durable_end >= self.through;
        let is_over = |progress: &Progress| is_durable(progress) || progress.failures != self.failures_before;
        match self.progress.wait_for(is_over).await {
            Ok(progress) if is_durable(&progress) => Ok(()),
            _ => Err(LogError::Unflushed { path: self.shared.dir.clone() }),
        }
    }
}

impl Durability {
    pub(super) fn up_to(recovery_point: Offset) -> Durability {
        Durability {
            recovery_point: Mutex::new(recovery_point),
            moving: Mutex::new(()),
            syncing: Mutex::new(()),
            commits: Mutex::new(Commits::up_to(recovery_point)),
            gathered: Condvar::new(),
            progress: watch::Sender::new(Progress { durable_end: recovery_point, failures: 0 }),
            // What a crash left behind the recovery point may have names that are not durable.
            has_new_names: AtomicBool::new(true),
            is_sealed_flush_due: AtomicBool::new(false),
            synced_at: Mutex::new(Instant::now()),
            #[cfg(test)]
            syncs: Default::default(),
        }
    }

    /// To be called between a file's making and the publication of what depends on it.
    pub(super) fn names_appeared(&self) {
        self.has_new_names.store(true, Ordering::SeqCst);
    }

    fn durable_end(&self) -> Offset {
        self.progress.borrow().durable_end
    }

    /// No sync of this log begins while this is held.
    #[cfg(test)]
    pub(super) fn hold_syncs(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.syncing.lock()
    }

    /// How often a log file was synced.
    #[cfg(test)]
    pub(super) fn syncs(&self) -> usize {
        self.syncs.load(Ordering::SeqCst)
    }
}

/// Group commit.
impl Shared {
    /// What an append that ends at `through` waits for: nothing, unless `flush_messages` records or more are not durable
    /// (`UnifiedLog.append`). The sync is on its way when this returns, whether anybody waits for it or not.
    pub(super) fn group_commit(self: &Arc<Self>, through: Offset, flush_messages: u64) -> Option<FlushWait> {
        let durable_end = self.durability.durable_end();
        let unflushed = self.view.read().end_offset.0.saturating_sub(durable_end.0);
        if through <= durable_end || unflushed.unsigned_abs() < flush_messages {
            return None;
        }
        let progress = self.durability.progress.subscribe();
        let failures_before = progress.borrow().failures;
        self.commit(through);
        Some(FlushWait { shared: Arc::clone(self), progress, through, failures_before })
    }

    fn commit(self: &Arc<Self>, through: Offset) {
        let mut commits = self.durability.commits.lock();
        commits.wanted = commits.wanted.max(through);
        commits.arrived += 1;
        if commits.has_gathered() {
            self.durability.gathered.notify_one();
        }
        if std::mem::replace(&mut commits.is_running, true) {
            return;
        }
        drop(commits);
        let shared = Arc::clone(self);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || shared.run_commits())),
            Err(_) => shared.run_commits(),
        }
    }

    /// Syncs until everything wanted is durable. One sync covers all that was appended before it began.
    fn run_commits(&self) {
        let durability = &self.durability;
        loop {
            let covered = self.gather();
            let began = Instant::now();
            let synced = self.sync_batches(|view| view.end_offset);
            let mut commits = durability.commits.lock();
            commits.synced(covered, began, Instant::now());
            if let Err(error) = synced {
                commits.wanted = durability.durable_end();
                if !error.is_reported() {
                    tracing::error!(dir = %self.dir.display(), %error, "appends are not acknowledged: flush failed");
                }
                durability.progress.send_modify(|progress| progress.failures += 1);
            }
            if commits.wanted <= durability.durable_end() {
                commits.is_running = false;
                return;
            }
        }
    }

    /// Waits for those with whom the next sync is worth sharing; gives how many appends have come by then.
    fn gather(&self) -> u64 {
        let mut commits = self.durability.commits.lock();
        // Another sync of the log may have done it meanwhile.
        while commits.wanted > self.durability.durable_end()
            && let Some(until) = commits.gathers_until(Instant::now())
        {
            self.durability.gathered.wait_until(&mut commits, until);
        }
        commits.gathering_ended();
        commits.arrived
    }

    /// `flush.ms`: makes the batches durable if the last sync is older than `interval` (`LogManager.flushDirtyLogs`).
    pub(super) fn flush_if_due(&self, now: Instant, interval: Duration) -> Result<(), LogError> {
        let waited = now.saturating_duration_since(*self.durability.synced_at.lock());
        if waited < interval || self.view.read().end_offset <= self.durability.durable_end() {
            return Ok(());
        }
        self.sync_batches(|view| view.end_offset)
    }

    /// Makes the batches before `end` durable, and the names of their files.
    fn sync_batches(&self, end: impl Fn(&View) -> Offset) -> Result<(), LogError> {
        let durability = &self.durability;
        let _alone = durability.syncing.lock();
        self.context.check()?;
        let synced = self.on_view(|view| self.sync_logs(view, end(view)));
        let end = synced.map_err(|error| self.context.sync_failed(error))?;
        // Another log's failure may be ours: the kernel tells a device's error once.
        self.context.check()?;
        *durability.synced_at.lock() = Instant::now();
        durability.progress.send_if_modified(|progress| {
            let has_moved = end > progress.durable_end;
            progress.durable_end = end.max(progress.durable_end);
            has_moved
        });
        Ok(())
    }

    fn sync_logs(&self, view: &View, end: Offset) -> Result<Offset, LogError> {
        let from = self.durability.durable_end();
        if end <= from {
            return Ok(end);
        }
        let unsynced = view.segments.iter_from(view.segments.floor_index(from));
        for segment in unsynced.take_while(|segment| segment.base_offset < end) {
            segment.sync_log()?;
            #[cfg(test)]
            self.durability.syncs.fetch_add(1, Ordering::SeqCst);
        }
        // After the view was taken: a file that it has was named before.
        if self.durability.has_new_names.swap(false, Ordering::SeqCst)
            && let Err(error) = self.sync_names()
        {
            self.durability.names_appeared();
            return Err(error);
        }
        Ok(end)
    }

    /// The folder, its files' names, and the small files that were put in place by renaming.
    fn sync_names(&self) -> Result<(), LogError> {
        for path in [self.dir.join(LEADER_EPOCH_CHECKPOINT), self.dir.join(PARTITION_METADATA)] {
            sys::sync_if_exists(&path).at(&path)?;
        }
        sys::sync_dir(&self.dir).at(&self.dir)?;
        self.dir.parent().map_or(Ok(()), |log_dir| sys::sync_dir(log_dir).at(log_dir))
    }
}

/// The recovery point.
impl Shared {
    pub(super) fn recovery_point(&self) -> Offset {
        *self.durability.recovery_point.lock()
    }

    /// Makes everything written so far durable.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        self.flush_to(self.view().end_offset)
    }

    /// Makes the segments durable that are no longer appended to.
    pub(super) fn flush_sealed(&self) -> Result<(), LogError> {
        let active = self.view().segments.last().map(|active| active.base_offset);
        active.map_or(Ok(()), |end| self.flush_to(end))
    }

    /// As [`Shared::flush_sealed`], and in any case what takes the place of sealed segments that are about to go: the active
    /// one's name, and the producers as they were at its base. Where the recovery point was there before the roll, the roll
    /// has written them anew.
    pub(super) fn flush_base(&self) -> Result<(), LogError> {
        self.flush_sealed()?;
        let Some(base_offset) = self.view().segments.last().map(|active| active.base_offset) else { return Ok(()) };
        let snapshot = self.snapshot_path(base_offset);
        let synced = sys::sync_if_exists(&snapshot).at(&snapshot).and_then(|()| self.sync_names());
        synced.map_err(|error| self.context.sync_failed(error))
    }

    /// As [`Shared::flush_sealed`], by a task of its own (`UnifiedLog.roll` has it scheduled). Without a runtime the next
    /// checkpoint does it.
    pub(super) fn flush_sealed_soon(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.durability.is_sealed_flush_due.swap(true, Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(self);
        runtime.spawn_blocking(move || {
            shared.durability.is_sealed_flush_due.store(false, Ordering::SeqCst);
            if let Err(error) = shared.flush_sealed() {
                tracing::debug!(dir = %shared.dir.display(), %error, "sealed segment not flushed; the checkpoint will");
            }
        });
    }

    /// Moves the recovery point to `end`, where a producer snapshot was taken.
    fn flush_to(&self, end: Offset) -> Result<(), LogError> {
        let _alone = self.durability.moving.lock();
        let recovery_point = self.recovery_point();
        if recovery_point >= end {
            return Ok(());
        }
        self.sync_batches(|_| end)?;
        let synced = self.on_view(|view| self.sync_derived(view, recovery_point, end));
        synced.map_err(|error| self.context.sync_failed(error))?;
        self.context.check()?;
        *self.durability.recovery_point.lock() = end;
        Ok(())
    }

    /// What a start would otherwise rebuild from the batches.
    fn sync_derived(&self, view: &View, from: Offset, end: Offset) -> Result<(), LogError> {
        let unsynced = view.segments.iter_from(view.segments.floor_index(from));
        for segment in unsynced.take_while(|segment| segment.base_offset < end) {
            segment.sync_indexes()?;
        }
        let snapshot = self.snapshot_path(end);
        sys::sync_if_exists(&snapshot).at(&snapshot)?;
        self.sync_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(8);

    /// Sixteen appends came, and a sync of theirs has ended at the time that is given.
    fn after_a_group_of_16() -> (Commits, Instant) {
        let (mut commits, began) = (Commits::up_to(Offset::ZERO), Instant::now());
        commits.arrived = 16;
        commits.synced(16, began, began + TOOK);
        (commits, began + TOOK)
    }

    #[test]
    fn the_first_sync_is_due_at_once() {
        let mut commits = Commits::up_to(Offset::ZERO);
        commits.arrived = 1;
        assert_eq!(commits.gathers_until(Instant::now()), None);
    }

    #[test]
    fn a_sync_is_put_off_until_those_are_back_that_the_last_one_released() {
        let (mut commits, ended) = after_a_group_of_16();
        for arrived in 17..32 {
            commits.arrived = arrived;
            assert_eq!(commits.gathers_until(ended), Some(ended + TOOK / GATHERING_SHARE));
        }
        commits.arrived = 32;
        assert_eq!(commits.gathers_until(ended), None);
    }

    #[test]
    fn those_that_came_during_a_sync_are_not_taken_for_those_that_it_released() {
        let (mut commits, began) = (Commits::up_to(Offset::ZERO), Instant::now());
        commits.arrived = 16;
        commits.synced(1, began, began + TOOK);
        assert!(commits.gathers_until(began + TOOK).is_some(), "the one that was released may come back");
        commits.arrived = 17;
        assert_eq!(commits.gathers_until(began + TOOK), None);
    }

    #[test]
    fn a_sync_is_not_put_off_for_long_nor_after_a_pause() {
        let (mut commits, ended) = after_a_group_of_16();
        commits.arrived = 17;
        assert_eq!(commits.gathers_until(ended + TOOK / GATHERING_SHARE), None);
    }

    #[test]
    fn gathering_that_was_in_vain_is_left_for_a_while() {
        let (mut commits, ended) = after_a_group_of_16();
        commits.arrived = 17;
        for _ in 0..HURRIES {
            commits.gathering_ended();
            assert_eq!(commits.gathers_until(ended), None);
        }
        commits.gathering_ended();
        assert!(commits.gathers_until(ended).is_some());
        commits.arrived = 32;
        commits.gathering_ended();
        commits.synced(32, ended, ended + TOOK);
        assert!(commits.gathers_until(ended + TOOK).is_some(), "nobody was missing");
    }

    #[test]
    fn a_disk_that_stalled_once_puts_nothing_off_for_long() {
        let (mut commits, began) = (Commits::up_to(Offset::ZERO), Instant::now());
        let ended = began + Duration::from_secs(10);
        commits.arrived = 16;
        commits.synced(16, began, ended);
        assert_eq!(commits.gathers_until(ended), Some(ended + GATHERING_MAX));
        assert_eq!(commits.gathers_until(ended + GATHERING_MAX), None);
    }
}
