//! Deadlines by key, with the earliest at hand.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// A key has one deadline at most; scheduling it again moves it.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_key: HashMap<K, Instant>,
    by_deadline: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { by_key: HashMap::new(), by_deadline: BTreeSet::new() }
    }
}

impl<K: Clone + Ord + Hash> Timers<K> {
    pub(super) fn schedule(&mut self, key: K, deadline: Instant) {
        self.cancel(&key);
        self.by_key.insert(key.clone(), deadline);
        self.by_deadline.insert((deadline, key));
    }

    pub(super) fn cancel(&mut self, key: &K) {
        if let Some((key, deadline)) = self.by_key.remove_entry(key) {
            self.by_deadline.remove(&(deadline, key));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the earliest key whose deadline has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_deadline.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    pub(super) fn clear(&mut self) {
        self.by_key.clear();
        self.by_deadline.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_come_due_in_the_order_of_their_deadlines_and_only_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.schedule("late", at(30));
        timers.schedule("early", at(10));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(40)), Some("early"));
        assert_eq!(timers.pop_due(at(40)), Some("late"));
        assert_eq!(timers.pop_due(at(40)), None);
    }

    #[test]
    fn a_key_scheduled_again_is_due_at_its_new_deadline_only() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.schedule("session", at(10));
        timers.schedule("session", at(20));
        assert_eq!(timers.pop_due(at(15)), None);
        assert_eq!(timers.pop_due(at(20)), Some("session"));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_cancelled_key_is_never_due() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.schedule("session", start);
        timers.cancel(&"session");
        assert_eq!(timers.pop_due(start), None);
    }
}
