//! Damage to `.log` files.

use super::*;

pub(super) const CASES: &[Case] = &[
    (
        "a flipped byte before the recovery point",
        |data| flip(&file(data, FIRST, ".log"), 90),
        "orders-0/00000000000000000000.log",
        "CRC",
        "no start looks at it",
    ),
    (
        "a flipped byte in the last batch, flushed",
        |data| flip(&file(data, LAST, ".log"), data.batch_positions("orders-0", 12)[2] + 90),
        "orders-0/00000000000000000012.log",
        "CRC",
        "does not open",
    ),
    (
        "a flipped byte in the last batch, not flushed",
        |data| {
            forget_recovery_points(data.dir());
            flip(&file(data, LAST, ".log"), data.batch_positions("orders-0", 12)[2] + 90);
        },
        "orders-0/00000000000000000012.log",
        "CRC",
        "a torn tail",
    ),
    (
        "a flipped byte before a whole batch",
        |data| {
            forget_recovery_points(data.dir());
            flip(&file(data, LAST, ".log"), data.batch_positions("orders-0", 12)[1] + 90);
        },
        "orders-0/00000000000000000012.log",
        "CRC",
        "does not open",
    ),
    (
        "a torn tail",
        |data| {
            forget_recovery_points(data.dir());
            cut(&file(data, LAST, ".log"), 5);
        },
        "orders-0/00000000000000000012.log",
        "bytes from here on are not read",
        "a torn tail",
    ),
    (
        "zeros behind a sealed segment's batches",
        |data| {
            forget_recovery_points(data.dir());
            append(&file(data, FIRST, ".log"), &[0; 1024]);
        },
        "orders-0/00000000000000000000.log",
        "bytes from here on are not read",
        "the log goes on in the next segment",
    ),
    (
        "a segment that begins below the end of the one before",
        |data| {
            forget_recovery_points(data.dir());
            for ending in [".log", ".index", ".timeindex"] {
                fs::write(file(data, "orders-0/00000000000000000003", ending), []).unwrap();
            }
        },
        "orders-0/00000000000000000003.log",
        "offsets from 3 on where 6 or more must follow",
        "does not open",
    ),
    (
        "another magic",
        |data| overwrite(&file(data, FIRST, ".log"), 16, &[1]),
        "orders-0/00000000000000000000.log",
        "magic 1",
        "no start looks at it",
    ),
    (
        "a length beyond the file",
        |data| overwrite(&file(data, FIRST, ".log"), 8, &[0x7f]),
        "orders-0/00000000000000000000.log",
        "where a batch needs",
        "no start looks at it",
    ),
    (
        "a negative length",
        |data| overwrite(&file(data, FIRST, ".log"), 8, &[0xff]),
        "orders-0/00000000000000000000.log",
        "batch length -",
        "no start looks at it",
    ),
    (
        "offsets that go back",
        |data| overwrite(&file(data, LAST, ".log"), 0, &3_i64.to_be_bytes()),
        "orders-0/00000000000000000012.log",
        "offsets from 3 on",
        "does not open",
    ),
    (
        "another leader epoch than the checkpoint's",
        |data| overwrite(&file(data, LAST, ".log"), 12, &[0, 0, 0, 9]),
        "orders-0/00000000000000000012.log",
        "leader epoch 9, where leader-epoch-checkpoint has 1",
        "no record depends on it",
    ),
    (
        "more records than the header counts",
        |data| rewrite(&file(data, FIRST, ".log"), 57, &1_i32.to_be_bytes()),
        "orders-0/00000000000000000000.log",
        "record 1 has bytes left over",
        "served as it is",
    ),
    (
        "fewer records than the header counts",
        |data| rewrite(&file(data, FIRST, ".log"), 57, &3_i32.to_be_bytes()),
        "orders-0/00000000000000000000.log",
        "record 2 ends early",
        "served as it is",
    ),
    (
        "a negative count of records",
        |data| rewrite(&file(data, FIRST, ".log"), 57, &(-3_i32).to_be_bytes()),
        "orders-0/00000000000000000000.log",
        "record 0 has bytes left over",
        "served as it is",
    ),
    (
        "an offset beyond the batch's last",
        |data| rewrite(&file(data, LAST, ".log"), 64, &[6]),
        "orders-0/00000000000000000012.log",
        "record 0 has the offset delta 3",
        "served as it is",
    ),
    (
        "an unknown codec",
        |data| rewrite(&file(data, FIRST, ".log"), 21, &[0, 6]),
        "orders-0/00000000000000000000.log",
        "unknown compression type id 6",
        "served as it is",
    ),
];
