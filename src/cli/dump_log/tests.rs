use proptest::prelude::*;

use super::*;
use crate::protocol::builder::BatchBuilder;
use crate::protocol::compression::Codec;
use crate::types::Timestamp;

const NAMES: [&str; 14] = [
    "00000000000000000000.log",
    "00000000000000000007.log.deleted",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000000.snapshot",
    "leader-epoch-checkpoint",
    "recovery-point-offset-checkpoint",
    "cleaner-offset-checkpoint",
    "partition.metadata",
    "meta.properties",
    "bootstrap.checkpoint",
    "00000000000000000000-0000000000.checkpoint",
    "00000000000000000000.log.swap",
];

/// Whether damage was found, and what went to stdout.
fn dump(files: &[PathBuf], json: bool) -> (bool, String) {
    let options = DumpLog {
        files: files.to_vec(),
        json,
        print_records: Records::All,
        deep_iteration: false,
        print_data_log: false,
        offsets_decoder: true,
        verify_index_only: false,
    };
    let mut out = Output { tell: |_| (), ..Output::new(Vec::new(), json) };
    options.dump(&mut out).unwrap();
    (out.damaged, String::from_utf8(out.writer).unwrap())
}

fn batches() -> Vec<u8> {
    let records = || {
        let builder = BatchBuilder::new(Timestamp(9)).record(Some(b"\0\x02\0\x01g"), None);
        builder.record_at(Timestamp(10), Some(b"k"), Some(b"v"), &[(b"h", None), (b"h", Some(b"\xff"))])
    };
    let mut bytes = records().build().unwrap().bytes.to_vec();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        bytes.extend_from_slice(&records().build_compressed(codec, None).unwrap().unwrap().bytes);
    }
    bytes
}

/// Writes `bytes` as each kind of file, all in one folder, and dumps them: nothing panics, and all of JSON is JSON.
fn dump_as_everything(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = NAMES.iter().map(|name| dir.path().join(name)).collect();
    files.iter().for_each(|file| std::fs::write(file, bytes).unwrap());
    dump(&files, false);
    for line in dump(&files, true).1.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_a_dump_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        dump_as_everything(&bytes);
    }

    #[test]
    fn no_damage_to_batches_makes_a_dump_panic(changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let mut bytes = batches();
        for (position, byte) in changes {
            let position = usize::from(position) % bytes.len();
            bytes[position] = byte;
        }
        dump_as_everything(&bytes);
    }
}

#[test]
fn every_byte_that_a_log_is_cut_at_leaves_the_batches_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAMES[0]);
    let whole = BatchBuilder::new(Timestamp(9)).record(None, Some(b"v")).build().unwrap().bytes;
    let both = [whole.clone(), whole.clone()].concat();
    for length in 0..both.len() {
        std::fs::write(&path, &both[..length]).unwrap();
        let (damaged, text) = dump(std::slice::from_ref(&path), false);
        let left = length % whole.len();
        assert_eq!(damaged, left > 0, "{length}");
        assert_eq!(text.matches("baseOffset").count(), length / whole.len(), "{length}");
        assert_eq!(text.contains(&format!("Found {left} invalid bytes")), left > 0, "{text}");
    }
}

#[test]
fn every_kind_of_file_is_told_by_its_name() {
    for name in NAMES {
        assert!(Content::of(name).is_some(), "{name}");
    }
    for name in ["x.log", "__metadata", ".lock", "00000000000000000000.log.tmp", "0-0.checkpoint"] {
        assert_eq!(Content::of(name), None, "{name}");
    }
}
