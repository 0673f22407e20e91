//! `ottla verify`, with the built binary: each kind of damage is found, named and judged, and nothing is changed.

mod indexes;
mod logs;
mod small_files;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::Broker;
use support::data_dir::{
    Data, append, copy, cut, flip, forget_recovery_points, kafka_data, ottla, overwrite, text, tree,
};

/// Changes a field of the first batch of a log and makes its CRC right again.
fn rewrite(path: &Path, position: usize, with: &[u8]) {
    overwrite(path, position, with);
    let bytes = fs::read(path).unwrap();
    let length = i32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    overwrite(path, 17, &crc32c::crc32c(&bytes[21..12 + length]).to_be_bytes());
}

/// One kind of damage: what is done to a directory, and what `verify` must say of it: path, what, outcome.
type Case = (&'static str, fn(&Data), &'static str, &'static str, &'static str);

const FIRST: &str = "orders-0/00000000000000000000";
const LAST: &str = "orders-0/00000000000000000012";
const SNAPSHOT: &str = "txn-0/00000000000000000006";
const TXN: &str = "txn-0/00000000000000000000";

fn file(data: &Data, base: &str, ending: &str) -> PathBuf {
    data.dir().join(format!("{base}{ending}"))
}

fn check(cases: &[Case]) {
    for (name, damage, path, what, outcome) in cases {
        let data = Data::new();
        damage(&data);
        let (code, lines) = data.verify();
        let found: Vec<_> = lines.iter().filter(|line| line["type"] == "damage").collect();
        let [finding] = found.as_slice() else { panic!("{name}: {lines:#?}") };
        assert_eq!(code, Some(1), "{name}");
        assert!(finding["path"].as_str().unwrap().trim_start_matches("./") == *path, "{name}: {finding}");
        assert!(finding["what"].as_str().unwrap().contains(what), "{name}: {finding}");
        assert!(finding["outcome"].as_str().unwrap().contains(outcome), "{name}: {finding}");
        assert_eq!(lines.last().unwrap()["damaged"], 1, "{name}");
    }
}

#[test]
fn what_is_wrong_in_a_log_is_found() {
    check(logs::CASES);
}

#[test]
fn what_is_wrong_in_an_index_is_found() {
    check(indexes::CASES);
}

#[test]
fn what_is_wrong_in_a_small_file_is_found() {
    check(small_files::CASES);
}

#[test]
fn of_damage_behind_other_damage_it_is_said_that_recovery_does_not_come_to_it() {
    let data = Data::new();
    forget_recovery_points(data.dir());
    for (base, at) in [("orders-0/00000000000000000006", 6), (LAST, 12)] {
        flip(&file(&data, base, ".log"), data.batch_positions("orders-0", at)[2] + 90);
    }
    let (_, lines) = data.verify();
    let outcomes: Vec<_> = lines.iter().filter_map(|line| line["outcome"].as_str()).collect();
    let [first, second] = outcomes.as_slice() else { panic!("{lines:#?}") };
    assert!(first.contains("does not open") && second.contains("no recovery comes as far"), "{outcomes:?}");
}

#[test]
fn a_gap_between_segments_is_noted_where_recovery_would_take_it_for_a_loss() {
    let data = Data::new();
    for ending in [".log", ".index", ".timeindex"] {
        fs::remove_file(file(&data, "orders-0/00000000000000000006", ending)).unwrap();
    }
    assert_eq!(data.verify().1.len(), 1, "what was flushed is not looked at");
    forget_recovery_points(data.dir());
    let (code, lines) = data.verify();
    let [note, _] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!((code, &note["type"], &note["offset"]), (Some(0), &"note".into(), &6.into()));
    let (what, outcome) = (note["what"].as_str().unwrap(), note["outcome"].as_str().unwrap());
    assert_eq!(what, "begins at offset 12, where the segment before it ends at 6");
    assert!(outcome.contains("unless the topic is compacted"), "{outcome}");
}

#[test]
fn position_and_offset_of_damage_are_named() {
    let data = Data::new();
    let position = data.batch_positions("orders-0", 12)[1];
    flip(&file(&data, LAST, ".log"), position + 90);
    let (_, lines) = data.verify();
    assert_eq!((&lines[0]["position"], &lines[0]["offset"]), (&position.into(), &14.into()));
    let output = ottla(&["verify", "."], data.dir());
    let start = format!("damage: ./{LAST}.log: byte {position}, offset 14: CRC 0x");
    assert!(text(&output.stdout).starts_with(&start), "{output:?}");
    let total = "1 dirs, 2 partitions, 4 segments, 13 batches, 22 records, ";
    assert!(text(&output.stdout).lines().last().unwrap().starts_with(total), "{output:?}");
}

#[test]
fn what_is_not_damage_is_noted() {
    type Note = (&'static str, fn(&Data), &'static str);
    let cases: [Note; 13] = [
        (
            "orders-0/00000000000000000000.index",
            |data| fs::remove_file(file(data, FIRST, ".index")).unwrap(),
            "missing",
        ),
        (
            "orders-0/00000000000000000000.timeindex",
            |data| fs::remove_file(file(data, FIRST, ".timeindex")).unwrap(),
            "missing",
        ),
        (
            "orders-0/00000000000000000099.index",
            |data| fs::write(file(data, "orders-0/00000000000000000099", ".index"), []).unwrap(),
            "belongs to no segment",
        ),
        (
            "orders-0/00000000000000000000.log.swap",
            |data| fs::write(file(data, FIRST, ".log.swap"), []).unwrap(),
            "a compaction was interrupted",
        ),
        (
            "orders-0/00000000000000000000.log.cleaned",
            |data| fs::write(file(data, FIRST, ".log.cleaned"), []).unwrap(),
            "a compaction was interrupted",
        ),
        ("orders-0/x", |data| fs::write(data.dir().join("orders-0/x"), []).unwrap(), "not a file of a partition"),
        ("orders-0/x.tmp", |data| fs::write(data.dir().join("orders-0/x.tmp"), []).unwrap(), "interrupted"),
        ("x", |data| fs::write(data.dir().join("x"), []).unwrap(), "not a file of a log dir"),
        ("lost+found", |data| fs::create_dir(data.dir().join("lost+found")).unwrap(), "not a folder of a log dir"),
        ("t-0.0a-delete", |data| fs::create_dir(data.dir().join("t-0.0a-delete")).unwrap(), "a deleted partition"),
        (
            "orders-0/partition.metadata",
            |data| fs::remove_file(data.dir().join("orders-0/partition.metadata")).unwrap(),
            "missing",
        ),
        ("meta.properties", |data| fs::remove_file(data.dir().join("meta.properties")).unwrap(), "missing"),
        (
            "orders-0/00000000000000000088.snapshot",
            |data| copy(&file(data, SNAPSHOT, ".snapshot"), &file(data, "orders-0/00000000000000000088", ".snapshot")),
            "where the log ends at 18",
        ),
    ];
    for (path, change, what) in cases {
        let data = Data::new();
        change(&data);
        let (code, lines) = data.verify();
        let [note, total] = lines.as_slice() else { panic!("{path}: {lines:#?}") };
        assert_eq!((code, &note["type"], &total["damaged"]), (Some(0), &"note".into(), &0.into()), "{path}");
        assert!(note["path"].as_str().unwrap().trim_start_matches("./") == path, "{note}");
        assert!(note["what"].as_str().unwrap().contains(what), "{note}");
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let data = Data::new();
    // As Kafka preallocates them.
    append(&file(&data, LAST, ".index"), &[0; 800]);
    append(&file(&data, LAST, ".timeindex"), &[0; 1200]);
    let (code, lines) = data.verify();
    assert_eq!((code, lines.len()), (Some(0), 1), "{lines:#?}");
    let total = serde_json::json!({
        "type": "total", "dirs": 1, "partitions": 2, "segments": 4, "batches": 13, "records": 24,
        "bytes": lines[0]["bytes"], "damaged": 0
    });
    assert_eq!(lines[0], total);
}

#[test]
fn kafkas_own_directory_is_whole_and_stays_as_it_is() {
    let root = kafka_data();
    let before = tree(root.path());
    let output = ottla(&["verify", "kafka-data"], root.path());
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str(), text(&output.stderr).as_str()),
        (Some(0), "1 dirs, 21 partitions, 24 segments, 295 batches, 900 records, 3824662 bytes, 0 damaged\n", "")
    );
    assert_eq!(tree(root.path()), before);
    // Of KRaft's log the batches are looked at.
    flip(&root.path().join("kafka-data/__cluster_metadata-0/00000000000000000000.log"), 300);
    let output = ottla(&["verify", "kafka-data"], root.path());
    let start = "damage: kafka-data/__cluster_metadata-0/00000000000000000000.log: byte 174, offset 3: CRC";
    assert!(output.status.code() == Some(1) && text(&output.stdout).starts_with(start), "{output:?}");
}

#[test]
fn several_directories_are_counted_together_and_one_that_is_not_there_is_damage() {
    let (one, two) = (Data::new(), Data::new());
    let dirs = [one.dir(), two.dir()].map(|dir| dir.to_str().unwrap());
    let output = ottla(&["verify", dirs[0], dirs[1]], one.dir());
    assert!(
        text(&output.stdout).starts_with("2 dirs, 4 partitions, 8 segments, 26 batches, 48 records, "),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(0));
    let output = ottla(&["verify", dirs[0], "nowhere"], one.dir());
    assert!(text(&output.stdout).starts_with("damage: nowhere: No such file"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_directory_in_use_is_read_with_a_warning_and_the_broker_keeps_its_lock() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let mut broker = Broker::start_on(&data, &[]);
    let output = ottla(&["verify", "."], data.path());
    let warning = format!("ottla: warning: .: in use by process {}: ", broker.pid());
    assert!(text(&output.stderr).starts_with(&warning), "{output:?}");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(broker.is_running());
    broker.stop();
    assert_eq!(text(&ottla(&["verify", "."], data.path()).stderr), "");
}
