//! Values of the local store, all numbers big-endian. `redb` checks its pages after a crash only, so each value carries
//! a checksum of its own:
//!
//! ```text
//! value:   payload · CRC-32C u32 of key and payload
//! counter: key u8;   payload u64
//! topic:   key u128; payload
//!          partitions i32 · name (u32 length, UTF-8) · number of configs u32 · per config: key, value (like name) ·
//!          leader epoch i32, where it is not 0
//! ```

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

use crate::metadata::Topic;
use crate::types::{LeaderEpoch, TopicId};

const CHECKSUM_LEN: usize = 4;

pub(super) fn encode_counter(key: u8, value: u64) -> Vec<u8> {
    seal(&[key], value.to_be_bytes().to_vec())
}

/// `None` where the value is not what `encode_counter` makes.
pub(super) fn decode_counter(key: u8, value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(unseal(&[key], value)?.try_into().ok()?))
}

pub(super) fn encode_topic(topic: &Topic) -> Vec<u8> {
    let mut buf = Vec::new();
    buf.put_i32(topic.partitions);
    put_string(&mut buf, &topic.name);
    buf.put_u32(topic.configs.len() as u32);
    for (key, value) in &topic.configs {
        put_string(&mut buf, key);
        put_string(&mut buf, value);
    }
    if topic.leader_epoch != LeaderEpoch(0) {
        buf.put_i32(topic.leader_epoch.0);
    }
    seal(topic.id.0.as_bytes(), buf)
}

/// `None` where the value is not what `encode_topic` makes.
pub(super) fn decode_topic(id: TopicId, value: &[u8]) -> Option<Topic> {
    let mut buf = unseal(id.0.as_bytes(), value)?;
    let partitions = buf.try_get_i32().ok()?;
    let name = get_string(&mut buf)?;
    let mut configs = BTreeMap::new();
    for _ in 0..buf.try_get_u32().ok()? {
        configs.insert(get_string(&mut buf)?, get_string(&mut buf)?);
    }
    let leader_epoch = LeaderEpoch(if buf.is_empty() { 0 } else { buf.try_get_i32().ok()? });
    buf.is_empty().then(|| Topic { name: name.into(), id, partitions, configs, leader_epoch })
}

fn seal(key: &[u8], mut payload: Vec<u8>) -> Vec<u8> {
    payload.put_u32(checksum(key, &payload));
    payload
}

fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (payload, mut stored) = value.split_at_checked(value.len().checked_sub(CHECKSUM_LEN)?)?;
    (stored.try_get_u32().ok()? == checksum(key, payload)).then_some(payload)
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), payload)
}

fn put_string(buf: &mut Vec<u8>, text: &str) {
    buf.put_u32(text.len() as u32);
    buf.put_slice(text.as_bytes());
}

fn get_string(buf: &mut &[u8]) -> Option<String> {
    let len = buf.try_get_u32().ok()?;
    let (text, rest) = buf.split_at_checked(len as usize)?;
    *buf = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        let configs = [("cleanup.policy", "compact"), ("retention.ms", "-1")];
        let configs = configs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Topic { name: "orders".into(), id: TopicId::random(), partitions: 12, configs, leader_epoch: LeaderEpoch(0) }
    }

    #[test]
    fn topics_and_counters_go_both_ways() {
        let topic = topic();
        for topic in [Topic { leader_epoch: LeaderEpoch(7), ..topic.clone() }, topic] {
            assert_eq!(decode_topic(topic.id, &encode_topic(&topic)), Some(topic));
        }
        assert_eq!(decode_counter(2, &encode_counter(2, u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn the_bytes_are_those_of_the_documented_format() {
        let configs = [("k".to_owned(), "v".to_owned())].into();
        let topic = Topic { name: "ab".into(), partitions: 3, configs, ..topic() };
        let payload = [0, 0, 0, 3, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v'];
        let checksum = crc32c::crc32c(&[&topic.id.0.as_bytes()[..], &payload].concat());
        assert_eq!(encode_topic(&topic), [&payload[..], &checksum.to_be_bytes()].concat());
    }

    #[test]
    fn a_value_with_any_bit_changed_is_refused() {
        let topic = topic();
        let encoded = encode_topic(&topic);
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_topic(topic.id, &damaged), None, "{bit}");
        }
        assert_eq!(decode_topic(TopicId::random(), &encoded), None);
        assert_eq!(decode_counter(1, &encode_counter(2, 7)), None);
    }

    #[test]
    fn a_cut_or_longer_value_is_refused_even_where_its_checksum_holds() {
        let topic = topic();
        let encoded = encode_topic(&topic);
        let payload = &encoded[..encoded.len() - CHECKSUM_LEN];
        let sealed = |payload: &[u8]| decode_topic(topic.id, &seal(topic.id.0.as_bytes(), payload.to_vec()));
        for len in 0..payload.len() {
            assert_eq!(sealed(&payload[..len]), None, "{len}");
        }
        assert_eq!(sealed(&[payload, &[0]].concat()), None);
        assert_eq!(sealed(&[0, 0, 0, 1, 255, 255, 255, 255]), None);
        assert_eq!(decode_topic(topic.id, &[]), None);
    }
}
