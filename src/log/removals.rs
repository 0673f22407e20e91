//! Files that wait for `file.delete.delay.ms` before they go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::sys;

/// Files set aside as `.deleted`, by the time at which they go. What a stop left of them goes when the log is opened, by
/// retention if by nobody else.
#[derive(Debug, Default)]
pub struct Removals {
    waiting: Mutex<BTreeMap<Instant, Vec<PathBuf>>>,
    scheduled: Notify,
}

impl Removals {
    pub fn schedule(&self, files: Vec<PathBuf>, now: Instant, delay: Duration) {
        // A delay beyond what the clock can tell: they stay until the next start.
        if let Some(due) = now.checked_add(delay).filter(|_| !files.is_empty()) {
            self.waiting.lock().entry(due).or_default().extend(files);
            self.scheduled.notify_one();
        }
    }

    /// When the next files go.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.lock().keys().next().copied()
    }

    /// Returns when files have been scheduled since the last time. For one task.
    pub async fn scheduled(&self) {
        self.scheduled.notified().await;
    }

    /// Removes what is due. Blocking.
    pub fn run(&self, now: Instant) {
        let later = |waiting: &mut BTreeMap<_, _>| waiting.split_off(&(now + Duration::from_nanos(1)));
        let due = {
            let mut waiting = self.waiting.lock();
            let later = later(&mut waiting);
            std::mem::replace(&mut *waiting, later)
        };
        for file in due.into_values().flatten() {
            if let Err(error) = sys::remove_file_if_exists(&file) {
                tracing::warn!(file = %file.display(), %error, "a deleted segment's file stays until the next start");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_its_delay_has_passed_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let (soon, late) = (file("soon.deleted"), file("late.deleted"));
        let removals = Removals::default();
        let now = Instant::now();
        removals.schedule(vec![soon.clone()], now, Duration::from_secs(1));
        removals.schedule(vec![late.clone()], now, Duration::from_secs(60));

        removals.run(now);
        assert!(soon.exists() && late.exists());
        assert_eq!(removals.next_due(), Some(now + Duration::from_secs(1)));
        removals.run(now + Duration::from_secs(1));
        assert!(!soon.exists() && late.exists());
        assert_eq!(removals.next_due(), Some(now + Duration::from_secs(60)));
        removals.run(now + Duration::from_secs(61));
        assert!(!late.exists());
        assert_eq!(removals.next_due(), None);
    }
}
