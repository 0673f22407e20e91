//! Who waits for a partition to grow. An append wakes them; nothing polls.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One who waits: a fetch, or a fetch session, which goes on waiting between its fetches. It registers under a number of
/// its own choice with each partition, and learns which of them have news.
#[derive(Debug, Default)]
pub struct FetchWait {
    state: Mutex<State>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The numbers that a partition will wake.
    registered: HashSet<usize>,
    woken: Vec<usize>,
}

impl FetchWait {
    pub fn new() -> Arc<FetchWait> {
        Arc::default()
    }

    /// Waits until a partition has news, and gives the numbers of all that have. Cancel-safe.
    pub async fn news(&self) -> Vec<usize> {
        loop {
            let woken = self.take_news();
            if !woken.is_empty() {
                return woken;
            }
            self.notify.notified().await;
        }
    }

    /// The numbers of the partitions that have had news since the last call.
    pub fn take_news(&self) -> Vec<usize> {
        std::mem::take(&mut self.state.lock().woken)
    }

    fn wake(&self, number: usize) {
        let mut state = self.state.lock();
        state.registered.remove(&number);
        state.woken.push(number);
        drop(state);
        self.notify.notify_one();
    }
}

/// Those who wait for one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    /// Lets an append that nobody waits for pass without the lock.
    any: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    registered: Vec<(Weak<FetchWait>, usize)>,
    /// Nothing is appended any more.
    closed: bool,
}

impl Waiters {
    /// `wait` is woken once, as `number`, by the next append, however often it registers before; at once where there will be
    /// none. Register first, then look at the log: an append in between is then not missed.
    pub fn register(&self, wait: &Arc<FetchWait>, number: usize) {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return wait.wake(number);
        }
        if !wait.state.lock().registered.insert(number) {
            return;
        }
        let registered = &mut waiting.registered;
        // Who gave up leaves dead entries behind; drop them before the list would grow.
        if registered.len() == registered.capacity() {
            registered.retain(|(wait, _)| wait.strong_count() > 0);
        }
        registered.push((Arc::downgrade(wait), number));
        self.any.store(true, Ordering::SeqCst);
    }

    /// Wakes all that wait.
    pub fn wake(&self) {
        if self.any.load(Ordering::SeqCst) {
            self.wake_all(&mut self.waiting.lock());
        }
    }

    /// Wakes all that wait, and from now on whoever would.
    pub fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        self.wake_all(&mut waiting);
    }

    fn wake_all(&self, waiting: &mut Waiting) {
        self.any.store(false, Ordering::SeqCst);
        for (wait, number) in waiting.registered.drain(..) {
            if let Some(wait) = wait.upgrade() {
                wait.wake(number);
            }
        }
    }
}
