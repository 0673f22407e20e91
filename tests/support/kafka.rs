//! The data that Kafka 4.3.1 left (`tests/data/README.md`), and what its clients had seen of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ottla::protocol::batch::{Batch, TimestampType};
use ottla::protocol::records::BatchRecords;
use ottla::types::TopicId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const LIMIT_BYTES: usize = 64 << 20;

fn gunzip(name: &str) -> flate2::read::GzDecoder<File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    flate2::read::GzDecoder::new(File::open(path).unwrap())
}

/// Unpacks Kafka's log dir into `dir` itself.
pub fn unpack_log_dir(dir: &Path) {
    for entry in tar::Archive::new(gunzip("kafka-data.tar.gz")).entries().unwrap() {
        let mut entry = entry.unwrap();
        let inside = entry.path().unwrap().strip_prefix("kafka-data").unwrap().to_owned();
        if inside.as_os_str().is_empty() {
            continue;
        }
        entry.unpack(dir.join(inside)).unwrap();
    }
}

/// What Kafka's clients had read.
pub fn expected() -> Value {
    serde_json::from_reader(gunzip("expected.json.gz")).unwrap()
}

/// A topic's id as `expected` has it: the client that told used the other alphabet of base64.
pub fn topic_id(description: &Value) -> TopicId {
    TopicId::parse(&description["topic_id"].as_str().unwrap().replace('+', "-").replace('/', "_")).unwrap()
}

/// The batches in `bytes`, each checked against its CRC.
pub fn batches(mut bytes: Bytes) -> Vec<Batch> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let batch = Batch::split_from(&mut bytes).unwrap();
        batch.check_crc().unwrap();
        batches.push(batch);
    }
    batches
}

/// A partition's segments one after the other.
pub fn log_bytes(partition: &Path) -> Vec<u8> {
    let mut segments: Vec<PathBuf> = fs::read_dir(partition).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    segments.iter().flat_map(|segment| fs::read(segment).unwrap()).collect()
}

/// The data records from `log_start` on, as `expected` has them.
pub fn records_as_json(batches: &[Batch], log_start: i64) -> Vec<Value> {
    let mut all = Vec::new();
    for batch in batches.iter().filter(|batch| !batch.header.attributes.is_control()) {
        let records = BatchRecords::open(batch, LIMIT_BYTES).unwrap();
        let timestamp_type = match batch.header.attributes.timestamp_type() {
            TimestampType::CreateTime => 1,
            TimestampType::LogAppendTime => 2,
        };
        for record in &records {
            let record = record.unwrap();
            let headers: Vec<_> = record
                .headers()
                .map(|header| {
                    json!([String::from_utf8_lossy(header.key), header.value.map(|value| BASE64.encode(value))])
                })
                .collect();
            all.push(json!({
                "offset": records.offset(&record).0,
                "timestamp_type": timestamp_type,
                "timestamp": records.timestamp(&record).0,
                "key": record.key.map(|key| BASE64.encode(key)),
                "value_sha256": record.value.map(|value| format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(value)))),
                "value_len": record.value.map(<[u8]>::len),
                "headers": headers,
            }));
        }
    }
    all.retain(|record| record["offset"].as_i64().unwrap() >= log_start);
    all
}

/// Every file under `dir` with its content, and every folder, by name.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            let inside = tree(&path).into_iter();
            found.extend(inside.map(|(name, content)| (Path::new(path.file_name().unwrap()).join(name), content)));
        }
        let content = path.is_file().then(|| fs::read(&path).unwrap());
        found.insert(path.file_name().unwrap().into(), content);
    }
    found
}
