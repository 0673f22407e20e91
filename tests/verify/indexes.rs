//! Damage to what is beside a log and says what the log says too.

use super::*;

pub(super) const CASES: &[Case] = &[
    (
        "an entry that points between batches",
        |data| overwrite(&file(data, FIRST, ".index"), 4, &7_u32.to_be_bytes()),
        "orders-0/00000000000000000000.index",
        "names no batch",
        "rebuilt",
    ),
    (
        "an entry with another offset",
        |data| overwrite(&file(data, FIRST, ".index"), 0, &2_u32.to_be_bytes()),
        "orders-0/00000000000000000000.index",
        "the batch at byte",
        "rebuilt",
    ),
    (
        "entries that do not rise",
        |data| {
            let entries = fs::read(file(data, FIRST, ".index")).unwrap();
            append(&file(data, FIRST, ".index"), &entries);
        },
        "orders-0/00000000000000000000.index",
        "entries must rise",
        "rebuilt",
    ),
    (
        "a part of an entry",
        |data| append(&file(data, FIRST, ".index"), &[0; 3]),
        "orders-0/00000000000000000000.index",
        "3 bytes behind the last entry",
        "rebuilt",
    ),
    (
        "an entry behind the end",
        |data| append(&file(data, FIRST, ".index"), &[0, 0, 0, 9, 0, 0, 9, 9]),
        "orders-0/00000000000000000000.index",
        "behind the end of the log",
        "rebuilt",
    ),
    (
        "another segment's index",
        |data| copy(&file(data, TXN, ".index"), &file(data, FIRST, ".index")),
        "orders-0/00000000000000000000.index",
        "offset ",
        "rebuilt",
    ),
    (
        "zeros between entries",
        |data| {
            let entries = fs::read(file(data, FIRST, ".index")).unwrap();
            fs::write(file(data, FIRST, ".index"), [&[0; 8], entries.as_slice()].concat()).unwrap();
        },
        "orders-0/00000000000000000000.index",
        "the batch at byte 0",
        "rebuilt",
    ),
    (
        "a time entry with another timestamp",
        |data| overwrite(&file(data, FIRST, ".timeindex"), 0, &5_i64.to_be_bytes()),
        "orders-0/00000000000000000000.timeindex",
        "timestamp 5 at offset",
        "rebuilt",
    ),
    (
        "a time entry of no batch",
        |data| overwrite(&file(data, LAST, ".timeindex"), 8, &99_u32.to_be_bytes()),
        "orders-0/00000000000000000012.timeindex",
        "",
        "rebuilt",
    ),
    (
        "an aborted transaction that is missing",
        |data| fs::write(file(data, TXN, ".txnindex"), []).unwrap(),
        "txn-0/00000000000000000000.txnindex",
        "no entry of the transaction of producer 7 at offsets 0..=2",
        "read_committed",
    ),
    (
        "a transaction index that is missing",
        |data| fs::remove_file(file(data, TXN, ".txnindex")).unwrap(),
        "txn-0/00000000000000000000.txnindex",
        "no entry of the transaction",
        "read_committed",
    ),
    (
        "another producer's transaction",
        |data| overwrite(&file(data, TXN, ".txnindex"), 2, &8_i64.to_be_bytes()),
        "txn-0/00000000000000000000.txnindex",
        "the marker there is of producer 7",
        "read_committed",
    ),
    (
        "a transaction that starts too late",
        |data| overwrite(&file(data, TXN, ".txnindex"), 10, &1_i64.to_be_bytes()),
        "txn-0/00000000000000000000.txnindex",
        "the log says the transaction of producer 7 at offsets 0..=2",
        "read_committed",
    ),
    (
        "a transaction that is stable too early",
        |data| overwrite(&file(data, TXN, ".txnindex"), 26, &9_i64.to_be_bytes()),
        "txn-0/00000000000000000000.txnindex",
        "stable to 9: the log says",
        "read_committed",
    ),
    (
        "a transaction without a marker",
        |data| {
            let entry = fs::read(file(data, TXN, ".txnindex")).unwrap();
            append(&file(data, TXN, ".txnindex"), &entry);
            overwrite(&file(data, TXN, ".txnindex"), 34 + 18, &5_i64.to_be_bytes());
        },
        "txn-0/00000000000000000000.txnindex",
        "no abort marker stands",
        "read_committed",
    ),
    (
        "a transaction index of another version",
        |data| {
            let entry = fs::read(file(data, TXN, ".txnindex")).unwrap();
            append(&file(data, TXN, ".txnindex"), &entry);
            overwrite(&file(data, TXN, ".txnindex"), 34, &9_i16.to_be_bytes());
        },
        "txn-0/00000000000000000000.txnindex",
        "an entry of an unknown version",
        "read_committed",
    ),
];
