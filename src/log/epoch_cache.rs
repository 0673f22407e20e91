//! Where each leader epoch of a partition starts (KIP-101; Kafka's `LeaderEpochFileCache`).
//!
//! In memory only: a change is reported, and the log writes `leader-epoch-checkpoint`.

use crate::types::{LeaderEpoch, Offset};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

/// Entries rise strictly, in epoch and in start offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// Entries that contradict later ones are dropped, as `assign` does.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochEntry>) -> EpochCache {
        let mut cache = EpochCache::default();
        for entry in entries {
            cache.assign(entry.epoch, entry.start_offset);
        }
        cache
    }

    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` starts at `start_offset`, unless the latest entry says so already. Returns whether anything
    /// changed. Entries that the new one contradicts go: what they stood for was truncated.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if epoch.0 < 0 || start_offset.0 < 0 {
            return false;
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch && latest.start_offset <= start_offset) {
            return false;
        }
        while self.entries.pop_if(|last| last.epoch >= epoch || last.start_offset >= start_offset).is_some() {}
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// The largest epoch up to `requested` and the offset at which it ended; `None` where nothing is known
    /// (`LeaderEpochFileCache.endOffsetFor`). An epoch from before the first known one ends where that one starts: its
    /// records are gone.
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if requested == LeaderEpoch::NONE {
            return None;
        }
        if self.latest()?.epoch == requested {
            return Some((requested, log_end));
        }
        let first_above = self.entries.partition_point(|entry| entry.epoch <= requested);
        let end = self.entries.get(first_above)?.start_offset;
        let floor = first_above.checked_sub(1).and_then(|index| self.entries.get(index));
        Some((floor.map_or(requested, |entry| entry.epoch), end))
    }

    /// The epoch in which the record at `offset` was written.
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let first_after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        self.entries.get(first_after.checked_sub(1)?).map(|entry| entry.epoch)
    }

    /// The log was cut to end at `end_offset`: epochs that start there or later go. Returns whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() != before
    }

    /// The log starts at `start_offset` now: earlier epochs go, but for the one that it lies in, which starts there.
    /// Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let first_after = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(covering) = first_after.checked_sub(1) else { return false };
        let changed = covering > 0 || self.entries.first().is_some_and(|entry| entry.start_offset != start_offset);
        self.entries.drain(..covering);
        if let Some(first) = self.entries.first_mut() {
            first.start_offset = start_offset;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        EpochCache::from_entries(
            entries
                .iter()
                .map(|&(epoch, offset)| EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(offset) }),
        )
    }

    #[test]
    fn an_epoch_is_noted_once_at_its_first_offset() {
        let mut epochs = cache(&[]);
        assert!(epochs.assign(LeaderEpoch(2), Offset(6)));
        assert!(!epochs.assign(LeaderEpoch(2), Offset(9)));
        assert!(!epochs.assign(LeaderEpoch(-1), Offset(9)));
        assert_eq!(epochs, cache(&[(2, 6)]));
    }

    #[test]
    fn a_new_epoch_removes_entries_that_contradict_it() {
        let mut epochs = cache(&[(2, 6), (3, 8), (5, 10)]);
        assert!(epochs.assign(LeaderEpoch(4), Offset(7)));
        assert_eq!(epochs, cache(&[(2, 6), (4, 7)]));
        assert!(epochs.assign(LeaderEpoch(4), Offset(6)));
        assert_eq!(epochs, cache(&[(4, 6)]));
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_one_starts() {
        let epochs = cache(&[(2, 6), (4, 9), (7, 12)]);
        let end = |epoch| epochs.end_offset_for(LeaderEpoch(epoch), Offset(20)).map(|(epoch, end)| (epoch.0, end.0));
        assert_eq!(end(7), Some((7, 20)));
        assert_eq!(end(4), Some((4, 12)));
        assert_eq!(end(5), Some((4, 12)));
        assert_eq!(end(2), Some((2, 9)));
        assert_eq!(end(1), Some((1, 6)));
        assert_eq!(end(8), None);
        assert_eq!(end(-1), None);
        assert_eq!(cache(&[]).end_offset_for(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn an_offset_belongs_to_the_epoch_that_covers_it() {
        let epochs = cache(&[(2, 6), (4, 9)]);
        let epoch = |offset| epochs.epoch_for(Offset(offset)).map(|epoch| epoch.0);
        assert_eq!([epoch(5), epoch(6), epoch(8), epoch(9), epoch(99)], [None, Some(2), Some(2), Some(4), Some(4)]);
    }

    #[test]
    fn truncating_the_end_removes_epochs_without_records() {
        let mut epochs = cache(&[(2, 6), (4, 9)]);
        assert!(!epochs.truncate_from_end(Offset(10)));
        assert!(epochs.truncate_from_end(Offset(9)));
        assert_eq!(epochs, cache(&[(2, 6)]));
    }

    #[test]
    fn truncating_the_start_keeps_the_epoch_that_covers_it() {
        let mut epochs = cache(&[(2, 6), (4, 9), (7, 12)]);
        assert!(!epochs.truncate_from_start(Offset(5)));
        assert!(!epochs.truncate_from_start(Offset(6)));
        assert!(epochs.truncate_from_start(Offset(10)));
        assert_eq!(epochs, cache(&[(4, 10), (7, 12)]));
        assert!(epochs.truncate_from_start(Offset(99)));
        assert_eq!(epochs, cache(&[(7, 99)]));
    }

    proptest! {
        #[test]
        fn entries_always_rise(steps in prop::collection::vec((0u8..3, 0i32..8, 0i64..30), 0..40)) {
            let mut epochs = EpochCache::default();
            for (operation, epoch, offset) in steps {
                match operation {
                    0 => epochs.assign(LeaderEpoch(epoch), Offset(offset)),
                    1 => epochs.truncate_from_start(Offset(offset)),
                    _ => epochs.truncate_from_end(Offset(offset)),
                };
                let rising = |pair: &[EpochEntry]| pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset;
                prop_assert!(epochs.entries().windows(2).all(rising));
            }
        }
    }
}
