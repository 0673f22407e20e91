//! Damage to snapshots, checkpoints, properties, and the metadata store.

use super::*;

fn checkpoint(data: &Data, name: &str, entry: &str) {
    fs::write(data.dir().join(name), format!("0\n1\n{entry}\n")).unwrap();
}

pub(super) const CASES: &[Case] = &[
    (
        "a snapshot with a flipped byte",
        |data| flip(&file(data, SNAPSHOT, ".snapshot"), 20),
        "txn-0/00000000000000000006.snapshot",
        "CRC",
        "passed over",
    ),
    (
        "a snapshot that is cut",
        |data| cut(&file(data, SNAPSHOT, ".snapshot"), 50),
        "txn-0/00000000000000000006.snapshot",
        "CRC",
        "passed over",
    ),
    (
        "a checkpoint that is none",
        |data| fs::write(data.dir().join("recovery-point-offset-checkpoint"), "x").unwrap(),
        "recovery-point-offset-checkpoint",
        "version 'x'",
        "counts as empty",
    ),
    (
        "log starts that are none",
        |data| fs::write(data.dir().join("log-start-offset-checkpoint"), "0\n2\n").unwrap(),
        "log-start-offset-checkpoint",
        "'2' entries announced",
        "counts as empty",
    ),
    (
        "high watermarks that are none",
        |data| fs::write(data.dir().join("replication-offset-checkpoint"), [0xff]).unwrap(),
        "replication-offset-checkpoint",
        "not UTF-8",
        "counts as empty",
    ),
    (
        "cleaner's offsets that are none",
        |data| fs::write(data.dir().join("cleaner-offset-checkpoint"), "0\n1\na\n").unwrap(),
        "cleaner-offset-checkpoint",
        "malformed line 'a'",
        "counts as empty",
    ),
    (
        "a recovery point behind the end",
        |data| checkpoint(data, "recovery-point-offset-checkpoint", "orders 0 19"),
        "orders-0",
        "its recovery point is 19, where the log ends at 18",
        "does not open",
    ),
    (
        "a log that is gone",
        |data| {
            fs::remove_dir_all(data.dir().join("orders-0")).unwrap();
            fs::create_dir(data.dir().join("orders-0")).unwrap();
            checkpoint(data, "recovery-point-offset-checkpoint", "orders 0 18");
            checkpoint(data, "replication-offset-checkpoint", "txn 0 6");
        },
        "orders-0",
        "its recovery point is 18, where the log ends at 0",
        "as an empty one",
    ),
    (
        "a log start behind the end",
        |data| checkpoint(data, "log-start-offset-checkpoint", "orders 0 19"),
        "orders-0",
        "its log start offset is 19",
        "goes on there",
    ),
    (
        "a high watermark behind the end",
        |data| checkpoint(data, "replication-offset-checkpoint", "orders 0 19"),
        "orders-0",
        "its high watermark is 19",
        "not read by a start",
    ),
    (
        "a cleaner's offset behind the end",
        |data| checkpoint(data, "cleaner-offset-checkpoint", "orders 0 19"),
        "orders-0",
        "its cleaner's offset is 19",
        "from the front",
    ),
    (
        "leader epochs that do not rise",
        |data| fs::write(data.dir().join("orders-0/leader-epoch-checkpoint"), "0\n2\n1 0\n0 10\n").unwrap(),
        "orders-0/leader-epoch-checkpoint",
        "epoch 0 from offset 10 after epoch 1",
        "dropped",
    ),
    (
        "leader epochs whose offsets do not rise",
        |data| fs::write(data.dir().join("orders-0/leader-epoch-checkpoint"), "0\n2\n0 5\n1 5\n").unwrap(),
        "orders-0/leader-epoch-checkpoint",
        "epoch 1 from offset 5 after epoch 0",
        "dropped",
    ),
    (
        "a leader epoch behind the end",
        |data| fs::write(data.dir().join("orders-0/leader-epoch-checkpoint"), "0\n2\n0 0\n1 19\n").unwrap(),
        "orders-0/leader-epoch-checkpoint",
        "epoch 1 starts at offset 19",
        "dropped",
    ),
    (
        "leader epochs that are none",
        |data| fs::write(data.dir().join("orders-0/leader-epoch-checkpoint"), "0\n1\nx\n").unwrap(),
        "orders-0/leader-epoch-checkpoint",
        "malformed line 'x'",
        "taken from the log",
    ),
    (
        "partition.metadata that is none",
        |data| fs::write(data.dir().join("orders-0/partition.metadata"), "version: 7\n").unwrap(),
        "orders-0/partition.metadata",
        "version 7",
        "metadata store",
    ),
    (
        "meta.properties of another version",
        |data| fs::write(data.dir().join("meta.properties"), "version=0\n").unwrap(),
        "meta.properties",
        "version 0",
        "stops the start",
    ),
    (
        "a list of log dirs that is none",
        |data| checkpoint(data, "log-dirs-checkpoint", "x"),
        "log-dirs-checkpoint",
        "malformed line 'x'",
        "stops the start",
    ),
    (
        "a metadata store that is none",
        |data| fs::write(data.dir().join("__metadata/metadata.redb"), [1; 5000]).unwrap(),
        "__metadata",
        "metadata.redb",
        "stops the start",
    ),
    (
        "a metadata store with a flipped byte",
        |data| {
            // redb's pages: the one with the counters' root.
            let path = data.dir().join("__metadata/metadata.redb");
            let bytes = fs::read(&path).unwrap();
            let at = bytes.windows(8).rposition(|window| window == b"counters").unwrap();
            flip(&path, at as u64);
        },
        "__metadata",
        "metadata.redb",
        "stops the start",
    ),
];
