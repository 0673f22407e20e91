//! Work on what a batch expands to: up to `DECOMPRESSED_BYTES_MAX` of memory and, with the compression that may follow,
//! seconds of CPU, where the rest of an append takes microseconds.

use std::sync::LazyLock;

use parking_lot::{Condvar, Mutex};

/// More at once than there are cores would only take more memory. On large machines it is the memory that bounds it, at
/// the number of Kafka's request handlers by default (`num.io.threads`).
static AT_ONCE_MAX: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from).min(8));
static AT_ONCE: Mutex<usize> = Mutex::new(0);
static PLACE_FREE: Condvar = Condvar::new();

/// Runs `work` here and now, while this worker's other tasks go on on another thread.
///
/// Not on the blocking pool, with the answer awaited: a Produce has had its effect when its handler returns, which is what
/// keeps the requests of a connection in their order. Meanwhile its connection, a single task, neither reads nor writes; a
/// Kafka broker does not read from it either.
pub(super) fn run<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(|| {
        let _place = Place::wait();
        work()
    })
}

/// Leave to take that much memory.
struct Place;

impl Place {
    fn wait() -> Place {
        let mut taken = AT_ONCE.lock();
        PLACE_FREE.wait_while(&mut taken, |taken| *taken >= *AT_ONCE_MAX);
        *taken += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *AT_ONCE.lock() -= 1;
        PLACE_FREE.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_runs_at_once_than_there_is_room_for_also_after_a_panic() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            (0..100).for_each(|_| thread::yield_now());
            running.fetch_sub(1, Ordering::SeqCst);
        };
        for _ in 0..*AT_ONCE_MAX {
            assert!(std::panic::catch_unwind(|| run(|| panic!("on purpose"))).is_err());
        }
        thread::scope(|scope| (0..4 * *AT_ONCE_MAX).for_each(|_| drop(scope.spawn(|| run(work)))));
        assert!((1..=*AT_ONCE_MAX).contains(&most.into_inner()));
    }

    #[test]
    fn other_tasks_of_the_worker_go_on() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (done, wait_for_it) = std::sync::mpsc::channel();
        let heavy = runtime.spawn(async move {
            tokio::spawn(async move { done.send(()) });
            run(|| wait_for_it.recv_timeout(std::time::Duration::from_secs(10)))
        });
        assert_eq!(runtime.block_on(heavy).unwrap(), Ok(()));
    }
}
