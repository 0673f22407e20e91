//! A producer snapshot of any bytes, and producer state going on from it.

use std::collections::BTreeSet;

use ottla::log::producer_snapshot::{decode, encode};
use ottla::log::producer_state::ProducerState;
use ottla::protocol::records::EndTxnMarker;
use ottla::types::Offset;

use super::builder;
use super::input::Input;

/// Bit of the first byte: the snapshot gets its version, CRC and count.
pub(crate) const SEALED: u8 = 1;
const ENTRY_LEN: usize = 46;
const PRODUCERS_MAX: usize = 16;

/// A byte that says how, the snapshot with its length, and what is appended after it was loaded.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let how = input.u8();
    let snapshot = input.bytes();
    let snapshot = if how & SEALED == 0 { snapshot.to_vec() } else { sealed(snapshot) };
    let Ok(entries) = decode(&snapshot) else { return };
    let again = decode(&encode(entries.iter().map(|(id, entry)| (*id, entry)))).expect("it was written so");
    assert_eq!(again, entries);

    // A log loads no snapshot that speaks of offsets behind it.
    let mut next_offset = Offset(1 << 62);
    if entries.iter().any(|(_, entry)| entry.current_txn_first_offset >= Some(next_offset)) {
        return;
    }
    let mut state = ProducerState::new(PRODUCERS_MAX);
    state.load(entries, builder::NOW, i64::MAX);
    transactions_are_those_of_the_producers(&state);
    while !input.is_empty() {
        let batch = builder::batch(&mut input, next_offset);
        next_offset = batch.header.next_offset();
        match EndTxnMarker::of(&batch, 4096).filter(|_| batch.header.attributes.is_control()) {
            Some(marker) if state.check_marker(&batch.header, marker, i16::from(how >> 7) * 2).is_ok() => {
                let _ = state.completed_by(&batch.header, marker);
                state.update_marker(&batch.header, marker);
            }
            None if state.check(&batch.header).is_ok() => state.update(&batch.header),
            Some(_) | None => continue,
        }
        transactions_are_those_of_the_producers(&state);
    }
    let entries = decode(&encode(state.entries())).expect("it was written so");
    assert_eq!(entries.len(), state.len());
}

/// `entries` as a whole snapshot.
pub(crate) fn sealed(entries: &[u8]) -> Vec<u8> {
    let entries = &entries[..entries.len() - entries.len() % ENTRY_LEN];
    let covered = [&((entries.len() / ENTRY_LEN) as i32).to_be_bytes(), entries].concat();
    [&1_i16.to_be_bytes()[..], &crc32c::crc32c(&covered).to_be_bytes(), &covered].concat()
}

/// A transaction that no producer has can never be ended: the last stable offset would stay where it begins.
fn transactions_are_those_of_the_producers(state: &ProducerState) {
    let open: BTreeSet<Offset> =
        state.entries().iter().filter_map(|(_, entry)| entry.current_txn_first_offset).collect();
    assert_eq!(state.first_undecided_offset(), open.first().copied());
}
