//! Who waits for a partition to grow. An append wakes them; nothing polls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One waiting fetch. It registers under a number of its own choice with each partition it waits for, and learns which
/// of them have news.
#[derive(Debug, Default)]
pub struct FetchWait {
    woken: Mutex<Vec<usize>>,
    notify: Notify,
}

impl FetchWait {
    pub fn new() -> Arc<FetchWait> {
        Arc::default()
    }

    /// Waits until a partition has news, and gives the numbers of all that have. Cancel-safe.
    pub async fn news(&self) -> Vec<usize> {
        loop {
            let woken = std::mem::take(&mut *self.woken.lock());
            if !woken.is_empty() {
                return woken;
            }
            self.notify.notified().await;
        }
    }

    fn wake(&self, number: usize) {
        self.woken.lock().push(number);
        self.notify.notify_one();
    }
}

/// The fetches waiting at one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    /// Lets an append that nobody waits for pass without the lock.
    any: AtomicBool,
    waiting: Mutex<Vec<(Weak<FetchWait>, usize)>>,
}

impl Waiters {
    /// `wait` is woken once, as `number`, by the next append. Register first, then look at the log: an append in
    /// between is then not missed.
    pub fn register(&self, wait: &Arc<FetchWait>, number: usize) {
        let mut waiting = self.waiting.lock();
        // Fetches that gave up leave dead entries behind; drop them before the list would grow.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|(wait, _)| wait.strong_count() > 0);
        }
        waiting.push((Arc::downgrade(wait), number));
        self.any.store(true, Ordering::SeqCst);
    }

    /// Wakes all that wait.
    pub fn wake(&self) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let waiting = {
            let mut waiting = self.waiting.lock();
            self.any.store(false, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        for (wait, number) in waiting {
            if let Some(wait) = wait.upgrade() {
                wait.wake(number);
            }
        }
    }
}
