//! How fast the cleaner may go, and when it has to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Shorter waits are put together to one: the system does not wake to the microsecond.
const WAIT_MIN: Duration = Duration::from_millis(20);

/// Reads and writes of all cleaner threads together, `log.cleaner.io.max.bytes.per.second`.
#[derive(Debug)]
pub struct Throttler {
    bytes_per_second: Option<f64>,
    /// What has been read and written so far is paid for then.
    paid_at: Mutex<Option<Instant>>,
    #[cfg(test)]
    paid: std::sync::atomic::AtomicU64,
}

impl Throttler {
    pub fn new(bytes_per_second: Option<f64>) -> Throttler {
        Throttler {
            bytes_per_second: bytes_per_second.filter(|rate| *rate > 0.0),
            paid_at: Mutex::new(None),
            #[cfg(test)]
            paid: Default::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn paid(&self) -> u64 {
        self.paid.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// How long to wait at `now` after `bytes` more were read or written. An idle time is not saved up.
    pub fn pay(&self, bytes: u64, now: Instant) -> Duration {
        #[cfg(test)]
        self.paid.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let price = Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::MAX);
        let mut paid_at = self.paid_at.lock();
        let from = paid_at.unwrap_or(now).max(now);
        // A time that the clock cannot tell is as good as for ever.
        let at = from.checked_add(price).unwrap_or_else(|| from + Duration::from_secs(86_400));
        *paid_at = Some(at);
        Some(at - now).filter(|wait| *wait >= WAIT_MIN).unwrap_or_default()
    }
}

/// Tells the cleaner threads that the broker stops. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    pub fn stop(&self) {
        let (is_stopped, told) = &*self.0;
        *is_stopped.lock() = true;
        told.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        *self.0.0.lock()
    }

    /// Waits for as long, or until the broker stops.
    pub fn wait(&self, duration: Duration) {
        let (is_stopped, told) = &*self.0;
        let mut is_stopped = is_stopped.lock();
        if !duration.is_zero() && !*is_stopped {
            told.wait_while_for(&mut is_stopped, |is_stopped| !*is_stopped, duration);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_read_and_written_is_paid_for_with_time_by_all_together() {
        let throttler = Throttler::new(Some(1000.0));
        let start = Instant::now();
        assert_eq!(throttler.pay(500, start), SECOND / 2);
        assert_eq!(throttler.pay(500, start), SECOND, "a second thread waits for the first one's bytes, too");
        assert_eq!(throttler.pay(1000, start + SECOND), SECOND);
        assert_eq!(throttler.pay(1000, start + 100 * SECOND), SECOND, "idle time is not saved up");
    }

    #[test]
    fn short_waits_are_put_together_and_not_forgotten() {
        let throttler = Throttler::new(Some(1000.0));
        let start = Instant::now();
        let waits: Vec<u128> = (0..4).map(|_| throttler.pay(8, start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 24, 32]);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        assert_eq!(Throttler::new(None).pay(u64::MAX, Instant::now()), Duration::ZERO);
    }

    #[test]
    fn a_rate_near_zero_waits_long_and_overflows_nothing() {
        let throttler = Throttler::new(Some(f64::MIN_POSITIVE));
        let now = Instant::now();
        assert!(throttler.pay(1 << 30, now) > SECOND);
        assert!(throttler.pay(1 << 30, now) > SECOND);
    }

    #[test]
    fn a_stop_ends_a_wait_of_another_thread() {
        let stop = Stop::default();
        let waiting = stop.clone();
        let waiter = std::thread::spawn(move || waiting.wait(Duration::MAX));
        stop.stop();
        waiter.join().unwrap();
        assert!(stop.is_stopped());
    }
}
