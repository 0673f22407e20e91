//! Whether a transaction index holds what the abort markers of its segment say.

use super::entries::Entries;
use super::index_check::Disagreement;
use super::{Located, TxnEntry};
use crate::types::Offset;

/// What the log says of an abort marker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// The transaction that it aborts, if that is known.
    pub(super) aborted: Option<TxnEntry>,
    /// The producer's marker before this one.
    pub(super) before: Option<Offset>,
}

/// Is shown every marker of the segment. Entries lie in the order of their markers.
#[derive(Debug)]
pub(super) struct TxnCheck {
    /// `None` where there is no file.
    entries: Option<Entries<TxnEntry>>,
    next: Option<(TxnEntry, u64)>,
    disagreement: Option<Disagreement>,
}

impl TxnCheck {
    pub(super) fn new(entries: Option<Entries<TxnEntry>>) -> TxnCheck {
        let mut check = TxnCheck { entries, next: None, disagreement: None };
        check.advance();
        check
    }

    /// Where the log does not go back to its start, or the cleaner has taken a transaction's records, it is not known, and
    /// either is right: an entry, or none.
    pub(super) fn aborted(&mut self, marker: &Located, Ended { aborted: expected, before }: Ended) {
        let (offset, producer_id) = (marker.header.base_offset, marker.header.producer_id);
        self.skip_to(marker);
        let found = self.next.filter(|(entry, _)| entry.last_offset == offset);
        match (found, expected) {
            (Some((entry, position)), _) if entry.producer_id != producer_id => {
                self.note(position, || format!("{}: the marker there is of producer {}", text(&entry), producer_id.0));
            }
            (Some((entry, position)), _) if before.is_some_and(|before| entry.first_offset <= before) => {
                self.note(position, || format!("{}: one of the producer's ended in between", text(&entry)));
            }
            // The cleaner may have taken the first of the transaction's records since.
            (Some((entry, position)), Some(expected))
                if entry.first_offset > expected.first_offset
                    || entry.last_stable_offset > expected.last_stable_offset =>
            {
                self.note(position, || format!("{}: the log says {}", text(&entry), text(&expected)));
            }
            (None, Some(expected)) => {
                let position = self.entries.as_ref().map_or(0, Entries::next_position);
                self.note(position, || format!("no entry of {}", text(&expected)));
            }
            _ => {}
        }
        if found.is_some() {
            self.advance();
        }
    }

    /// Entries before the marker have none of their own.
    fn skip_to(&mut self, marker: &Located) {
        while let Some((entry, position)) = self.next.filter(|(entry, _)| entry.last_offset < marker.header.base_offset)
        {
            self.note(position, || no_marker(entry));
            self.advance();
        }
    }

    /// What does not agree, after the last batch.
    pub(super) fn finish(mut self) -> Option<Disagreement> {
        while let Some((entry, position)) = self.next {
            self.note(position, || no_marker(entry));
            self.advance();
        }
        self.disagreement
    }

    fn advance(&mut self) {
        let Some(entries) = &mut self.entries else { return };
        let position = entries.next_position();
        self.next = match entries.next() {
            None => None,
            Some(Ok(entry)) => Some((entry, position)),
            Some(Err(error)) => {
                self.note(position, || error.to_string());
                None
            }
        };
    }

    fn note(&mut self, position: u64, what: impl FnOnce() -> String) {
        Disagreement::note(&mut self.disagreement, position, what);
    }
}

fn no_marker(entry: TxnEntry) -> String {
    format!("{}: no abort marker stands at its last offset", text(&entry))
}

fn text(entry: &TxnEntry) -> String {
    let TxnEntry { producer_id, first_offset, last_offset, last_stable_offset } = entry;
    let producer_id = producer_id.0;
    format!(
        "the transaction of producer {producer_id} at offsets {first_offset}..={last_offset}, stable to {last_stable_offset}"
    )
}
