//! Where the fuzzer begins: the files of a log dir that Kafka wrote, a log of our own, and one request of every version.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla::log::names::{FileKind, FileName, FileState};
use ottla::protocol::batch::Batch;
use ottla::protocol::compression::compress;

use super::compression::CODECS;
use super::guard::APIS;
use super::{batch, indexes, producer_snapshot};

/// What is larger teaches no more.
const LOG_BYTES_MAX: usize = 8 << 10;
const SNAPSHOT_ENTRIES_START: usize = 10;

/// Inputs for `target`, of a log dir at `kafka_data` and of frames without their length.
pub fn of(target: &str, kafka_data: &Path, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match target {
        "batch" => batches(kafka_data),
        "checkpoints" => checkpoints(kafka_data),
        "compression" => compressed(kafka_data),
        "guard" => frames.iter().cloned().chain(default_requests()).collect(),
        "indexes" => own_indexes(),
        "producer_snapshot" => snapshots(kafka_data),
        "recovery" => folders(kafka_data),
        _ => Vec::new(),
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths
}

/// Every file below a log dir with its name.
fn files(kafka_data: &Path) -> Vec<(String, Vec<u8>)> {
    let of = |path: PathBuf| if path.is_dir() { entries(&path) } else { vec![path] };
    entries(kafka_data).into_iter().flat_map(of).map(|path| (name_of(&path), read(&path))).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file")
}

fn kind_of(name: &str) -> Option<FileKind> {
    FileName::parse(name).filter(|name| name.state == FileState::Live).map(|name| name.kind)
}

fn batches_of(log: Vec<u8>) -> Vec<Batch> {
    let mut rest = Bytes::from(log);
    std::iter::from_fn(|| Batch::split_from(&mut rest).ok()).collect()
}

fn all_batches(kafka_data: &Path) -> Vec<Batch> {
    let logs = files(kafka_data).into_iter().filter(|(name, _)| kind_of(name) == Some(FileKind::Log));
    logs.filter(|(_, log)| log.len() <= LOG_BYTES_MAX).flat_map(|(_, log)| batches_of(log)).collect()
}

/// As they lie on the disk, and as a producer would have sent them.
fn batches(kafka_data: &Path) -> Vec<Vec<u8>> {
    let seeds = all_batches(kafka_data).into_iter().flat_map(|batch| {
        let sent = |how: u8| [&[how | batch::SEALED, 0, 0, 0, 0, 0, 0, 0, 0], &batch.bytes[8..]].concat();
        let stored = [&[0], &batch.bytes[..]].concat();
        // Compressed again in one of the ways, and kept as it is.
        let codec = (batch.bytes[20] % 5) << 4;
        [stored, sent(codec), sent(batch::AS_PRODUCED)]
    });
    seeds.collect()
}

fn compressed(kafka_data: &Path) -> Vec<Vec<u8>> {
    let batches = all_batches(kafka_data);
    let codec = |batch: &Batch| (batch.header.attributes.codec_id() as u8).checked_sub(1);
    let stored = batches.iter().filter_map(|batch| Some([&[codec(batch)?, 0xff, 0xff], batch.records()].concat()));
    let own = (0u8..).zip(CODECS).map(|(index, codec)| {
        let bytes = compress(codec, None, &[7; 5000]).expect("any bytes compress");
        [&[index | 4, 1, 0x39], &bytes[..]].concat()
    });
    stored.chain(own).collect()
}

fn default_requests() -> impl Iterator<Item = Vec<u8>> {
    APIS.iter().flat_map(|api| {
        (api.versions.min..=api.versions.max).map(|version| {
            let head = [&api.key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0xff, 0xff]].concat();
            let key = kafka_protocol::messages::ApiKey::try_from(api.key).expect("a key of its own list");
            let tags: &[u8] = if key.request_header_version(version) >= 2 { &[0] } else { &[] };
            [&head, tags, &(api.encode_default)(version)].concat()
        })
    })
}

/// Bytes with their length in front, as [`super::input::Input::bytes`] reads them.
fn part(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn own_indexes() -> Vec<Vec<u8>> {
    let log = indexes::sound_log();
    let content = |base: i64, kind: &str| {
        let name = format!("{base:020}.{kind}");
        log.files.iter().find(|(found, _)| *found == name).map(|(_, content)| content.clone()).unwrap_or_default()
    };
    let of = |base: i64| [part(&content(base, "index")), part(&content(base, "timeindex")), content(base, "txnindex")];
    let seed = |segment: usize, base: i64| [vec![segment as u8, 0], of(base).concat()].concat();
    // Each segment with its own indexes, and with those of the one before it.
    let bases = log.bases.iter().enumerate();
    bases.flat_map(|(at, base)| [seed(at, base.0), seed((at + 1) % log.bases.len(), base.0)]).collect()
}

fn snapshots(kafka_data: &Path) -> Vec<Vec<u8>> {
    let found = files(kafka_data).into_iter().filter(|(name, _)| kind_of(name) == Some(FileKind::ProducerSnapshot));
    // A transactional batch, its marker, and a batch out of sequence, of producers that may be known.
    let after = [1, 1, 0, 0, 1, 0, 1, 3, 3, 1, 0, 0, 0, 0, 2, 0, 0, 1, 0, 9, 2, 0, 3, 5];
    let seeds = found.flat_map(|(_, snapshot)| {
        let sealed = part(&snapshot[SNAPSHOT_ENTRIES_START..]);
        [[&[0][..], &part(&snapshot), &after].concat(), [&[producer_snapshot::SEALED][..], &sealed, &after].concat()]
    });
    seeds.collect()
}

fn checkpoints(kafka_data: &Path) -> Vec<Vec<u8>> {
    let which = |name: &str| match name {
        "leader-epoch-checkpoint" => Some(1),
        "partition.metadata" => Some(2),
        "meta.properties" => Some(3),
        name => name.ends_with("-offset-checkpoint").then_some(0),
    };
    let files = files(kafka_data).into_iter();
    files.filter_map(|(name, content)| Some([&[which(&name)?], &content[..]].concat())).collect()
}

/// Each of Kafka's folders and one of our own, opened in several ways.
fn folders(kafka_data: &Path) -> Vec<Vec<u8>> {
    let folders = entries(kafka_data).into_iter().filter(|path| path.is_dir());
    let files = |dir: PathBuf| entries(&dir).iter().map(|path| (name_of(path), read(path))).collect::<Vec<_>>();
    let small = |files: &Vec<(String, Vec<u8>)>| files.iter().all(|(_, content)| content.len() <= LOG_BYTES_MAX);
    let folders = folders.map(files).filter(small).chain([indexes::sound_log().files.clone()]);
    // Two batches of producer 1, the second transactional.
    let appends = part(&[0, 1, 0, 0, 1, 0, 1, 3, 1, 1, 0, 2, 1, 0, 1, 3]);
    let seeds = folders.flat_map(|files| {
        let files = files.iter().filter_map(|(name, content)| file(name, content)).collect::<Vec<_>>().concat();
        // Killed and closed, clean and not, with a recovery point and a log start or without.
        [[0, 4, 0, 0, 0, 0], [3, 20, 0, 0, 0, 2], [6, 0, 0, 1, 0, 0], [29, 36, 0, 0, 0, 0]]
            .map(|scenario| [&scenario[..], &appends, &files].concat())
    });
    seeds.chain([steps()]).collect()
}

/// A file as [`super::recovery`] reads it.
fn file(name: &str, content: &[u8]) -> Option<Vec<u8>> {
    let with = |kind: u8, content: &[u8]| {
        let offset = FileName::parse(name).map_or(0, |name| name.offset.0 as u16);
        Some([&[kind][..], &offset.to_be_bytes(), &part(content)].concat())
    };
    match (kind_of(name), name) {
        (Some(FileKind::Log), _) => {
            let steps = batches_of(content.to_vec()).into_iter().map(|batch| [vec![1], part(&batch.bytes)].concat());
            with(0, &steps.collect::<Vec<_>>().concat())
        }
        (Some(FileKind::OffsetIndex), _) => with(1, content),
        (Some(FileKind::TimeIndex), _) => with(2, content),
        (Some(FileKind::TxnIndex), _) => with(3, content),
        (Some(FileKind::ProducerSnapshot), _) => with(5, content.get(SNAPSHOT_ENTRIES_START..)?),
        (None, "leader-epoch-checkpoint") => with(6, content),
        (None, "partition.metadata") => with(7, content),
        (None, _) => None,
    }
}

/// Every step that a log may be made of: a transaction, a gap, many batches, a torn tail.
fn steps() -> Vec<u8> {
    let transaction = [2, 1, 1, 0, 0, 1, 0, 1, 3, 2, 3, 1, 0, 0, 0, 0, 2, 0];
    let many = [7, 0, 40, 2, 0x60, 0, 0, 0, 3, 0, 9, 5, 3, 200];
    let torn = [2, 0, 0, 0, 0, 0, 0, 9, 50, 6, 0, 20, 1, 5, 30, 4, 0, 90];
    let log = [&transaction[..], &many, &torn].concat();
    [&[2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &part(&log)].concat()
}
