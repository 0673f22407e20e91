//! The record formula of README.md: record i is the same in every language.

use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::Timestamp;

/// The longest value, with neither key nor headers, whose uncompressed batch still fits in 1,048,588 bytes: 61 bytes of batch
/// header, then length (3), attributes, timestamp, offset and key (1 each), value length (3), header count (1).
pub const LONGEST_VALUE: usize = 1_048_588 - 72;

/// Record i of a profile, by which it is written and with which it is compared.
#[derive(Debug, PartialEq)]
pub struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// Not compared in the profile `plain`.
    timestamp: Option<i64>,
}

impl Record {
    pub fn of(i: usize, profile: &str) -> Self {
        if profile == "plain" {
            return Self { key: Some(format!("key-{i}").into()), value: Some(padded(i)), headers: Vec::new(), timestamp: None };
        }
        let lacks = |detail: &str| profile.split('-').any(|part| part == detail);
        Self { key: key(i), value: value(i, &lacks), headers: headers(i, &lacks), timestamp: Some(timestamp(i)) }
    }

    pub fn seen(message: &impl Message, profile: &str) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|Header { key, value }| (key.to_owned(), value.map(<[u8]>::to_vec))).collect()
        });
        let timestamp = match message.timestamp() {
            Timestamp::CreateTime(time_ms) if profile != "plain" => Some(time_ms),
            _ => None,
        };
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            timestamp,
        }
    }

    pub fn to<'a>(&'a self, topic: &'a str, partition: i32) -> BaseRecord<'a, [u8], [u8]> {
        let mut record = BaseRecord::to(topic).partition(partition);
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        record.timestamp = self.timestamp;
        if self.headers.is_empty() {
            return record;
        }
        record.headers(self.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_ref() })
        }))
    }
}

pub fn timestamp(i: usize) -> i64 {
    1_700_000_000_000 + 10 * i as i64
}

fn key(i: usize) -> Option<Vec<u8>> {
    match i % 10 {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(format!("key-{i}").into()),
    }
}

fn value(i: usize, lacks: &dyn Fn(&str) -> bool) -> Option<Vec<u8>> {
    match i % 7 {
        3 if i % 10 == 0 && lacks("noboth") => Some(Vec::new()),
        3 => None,
        4 => Some([b"\xff\xfe\x00\x80", i.to_string().as_bytes()].concat()),
        _ => Some(padded(i)),
    }
}

fn headers(i: usize, lacks: &dyn Fn(&str) -> bool) -> Vec<(String, Option<Vec<u8>>)> {
    let header = |key: &str, value: &[u8]| (key.to_owned(), Some(value.to_vec()));
    match i % 5 {
        1 => vec![header("h", i.to_string().as_bytes())],
        2 if lacks("nodup") => vec![header("dup", b"b")],
        2 => vec![header("dup", b"a"), header("dup", b"b")],
        3 if lacks("nonull") => vec![header("bin", b"\xff\x00\xfe")],
        3 => vec![header("bin", b"\xff\x00\xfe"), ("null".to_owned(), None)],
        4 => vec![header("empty", b"")],
        _ => Vec::new(),
    }
}

fn padded(i: usize) -> Vec<u8> {
    format!("value-{i}-{}", "x".repeat(i * 37 % 211)).into()
}
