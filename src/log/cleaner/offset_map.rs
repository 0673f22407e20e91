//! The newest offset of each key in the part of a log that is being cleaned, in 24 bytes for each
//! (`SkimpyOffsetMap`).

use siphasher::sip128::SipHasher24;
use uuid::Uuid;

use crate::types::Offset;

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: u64 = 24;

/// A key's hash of 128 bits and the offset after its record; all zero where there is no entry. Words, so that a large
/// table is asked of the system as zeroed pages, which cost nothing before they are used.
type Slot = [u64; 3];

/// Open addressing with linear probing; nothing is ever taken out.
///
/// The hash stands for the key, so two keys of one hash would cost records: the older key's. SipHash-2-4 of 128 bits under a
/// random key, which nobody outside knows: clients choose the keys of their records, and cannot choose them so that they
/// collide. By chance they do among a billion keys with a probability below 10⁻²⁰. (Kafka takes MD5 for the same width.)
#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    entries: usize,
    entries_max: usize,
    hasher: SipHasher24,
    /// Up to here all keys are in the map.
    latest_offset: Offset,
}

impl OffsetMap {
    /// A map of up to `entries_max` keys, one at least, `load_factor` full then.
    pub(super) fn new(entries_max: usize, load_factor: f64) -> OffsetMap {
        let entries_max = entries_max.max(1);
        // One place is always free: it ends the search for what is not there.
        let slots = (entries_max as f64 / load_factor.clamp(0.1, 1.0)).ceil() as usize + 1;
        OffsetMap {
            slots: vec![[0; 3]; slots],
            entries: 0,
            entries_max,
            hasher: SipHasher24::new_with_key(Uuid::new_v4().as_bytes()),
            latest_offset: Offset(-1),
        }
    }

    /// How many keys fit into `bytes` of memory.
    pub(super) fn entries_in(bytes: u64, load_factor: f64) -> usize {
        ((bytes / ENTRY_BYTES) as f64 * load_factor.clamp(0.1, 1.0)) as usize
    }

    /// Notes that `key` was met at `offset`, which is above all before. False where there is no room for one more key.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let has_room = self.entries < self.entries_max;
        let Some(slot) = self.slot_of(hash).and_then(|at| self.slots.get_mut(at)) else { return false };
        if is_free(slot) {
            if !has_room {
                return false;
            }
            self.entries += 1;
        }
        let [high, low] = hash;
        *slot = [high, low, offset.plus(1).0 as u64];
        self.latest_offset = offset;
        true
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slot_of(self.hash(key)).and_then(|at| self.slots.get(at))?;
        let [_, _, next_offset] = slot;
        (!is_free(slot)).then_some(Offset(*next_offset as i64 - 1))
    }

    /// All up to `offset` has been looked at.
    pub(super) fn advance_to(&mut self, offset: Offset) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    pub(super) fn latest_offset(&self) -> Offset {
        self.latest_offset
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let (high, low) = self.hasher.hash(key).as_u64();
        [high, low]
    }

    /// Where the hash is, or would be.
    fn slot_of(&self, hash: [u64; 2]) -> Option<usize> {
        let [high, low] = hash;
        let (before, from) = self.slots.split_at_checked((high % self.slots.len() as u64) as usize)?;
        let fits = |slot: &Slot| is_free(slot) || matches!(slot, [h, l, _] if (*h, *l) == (high, low));
        let found = from.iter().position(fits).map(|at| at + before.len());
        found.or_else(|| before.iter().position(fits))
    }
}

fn is_free(slot: &Slot) -> bool {
    let [_, _, next_offset] = slot;
    *next_offset == 0
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_map_takes_no_new_key_but_newer_offsets_of_those_it_has() {
        let mut map = OffsetMap::new(2, 1.0);
        assert!(map.put(b"a", Offset(0)) && map.put(b"b", Offset(1)));
        assert!(!map.put(b"c", Offset(2)));
        assert_eq!(map.latest_offset(), Offset(1), "what was refused was not looked at");
        assert!(map.put(b"a", Offset(3)));
        assert_eq!([map.get(b"a"), map.get(b"b"), map.get(b"c")], [Some(Offset(3)), Some(Offset(1)), None]);
        assert_eq!((map.len(), map.latest_offset()), (2, Offset(3)));
    }

    #[test]
    fn offset_zero_and_the_empty_key_are_entries_like_others() {
        let mut map = OffsetMap::new(1, 0.9);
        assert_eq!(map.get(b""), None);
        assert!(map.put(b"", Offset(0)));
        assert_eq!(map.get(b""), Some(Offset(0)));
    }

    #[test]
    fn as_many_keys_go_into_the_memory_as_kafka_puts_there() {
        // 128 MiB at 24 bytes and a load factor of 0.9.
        assert_eq!(OffsetMap::entries_in(134_217_728, 0.9), 5_033_164);
        assert!(OffsetMap::new(0, 0.9).put(b"a", Offset(0)), "one entry always fits");
    }

    proptest! {
        #[test]
        fn the_map_says_what_a_plain_one_says(keys in prop::collection::vec(0u8..40, 0..200), load in 0.3f64..1.0) {
            let mut map = OffsetMap::new(40, load);
            let mut plain = HashMap::new();
            for (key, offset) in keys.iter().zip(0..) {
                prop_assert!(map.put(&[*key], Offset(offset)));
                plain.insert(*key, Offset(offset));
            }
            for key in 0..40 {
                prop_assert_eq!(map.get(&[key]), plain.get(&key).copied());
            }
        }
    }
}
