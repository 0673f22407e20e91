//! Which batches belong to aborted transactions, and which markers are still needed, on the way through a log
//! (`CleanedTransactionMetadata`).

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::log::Access;
use crate::log::LogError;
use crate::log::shared::View;
use crate::log::txn_index::TxnEntry;
use crate::protocol::batch::{Batch, BatchHeader};
use crate::protocol::records::{BatchRecords, ControlType};
use crate::types::{Offset, ProducerId};

/// A marker is a few bytes.
const MARKER_BYTES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Aborted transactions that have not begun yet on the way.
    ahead: BTreeMap<(Offset, ProducerId), TxnEntry>,
    aborted: HashMap<ProducerId, Aborted>,
    /// Producers with a batch of a transaction whose commit marker has not come yet.
    committed: HashSet<ProducerId>,
}

#[derive(Debug)]
struct Aborted {
    entry: TxnEntry,
    /// A batch of it was met.
    is_met: bool,
}

/// What a control batch says about its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked {
    /// Nothing of the transaction is left in the log: the marker may go once its delete horizon has passed.
    pub(super) is_empty: bool,
    /// For the transaction index: the aborted transaction that has batches in the log.
    pub(super) aborted: Option<TxnEntry>,
}

impl Marked {
    const EMPTY: Marked = Marked { is_empty: true, aborted: None };
    const NEEDED: Marked = Marked { is_empty: false, aborted: None };
}

impl Transactions {
    /// Adds the aborted transactions that overlap segment number `index`, up to `upper`; to be called before its batches
    /// are met. They are indexed where their markers lie: there or behind.
    pub(super) fn look_ahead(&mut self, view: &View, index: usize, upper: Offset) -> Result<(), LogError> {
        let Some(from) = view.segments.get(index).map(|segment| segment.base_offset) else { return Ok(()) };
        for segment in view.segments.iter_from(index) {
            let add = |entry: TxnEntry| {
                self.ahead.insert((entry.first_offset, entry.producer_id), entry);
            };
            if segment.txn_index.each_overlapping(Access::Blocking, from, upper, add)? {
                break;
            }
        }
        Ok(())
    }

    /// Meets a batch of data. Whether its transaction was aborted: then nobody may see its records.
    pub(super) fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        if let Some(aborted) = self.aborted.get_mut(&header.producer_id) {
            aborted.is_met = true;
            return true;
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// Meets a control batch.
    pub(super) fn on_control(&mut self, batch: &Batch) -> Marked {
        let header = &batch.header;
        self.begin_up_to(header.last_offset());
        if header.records_count == 0 {
            return Marked::EMPTY;
        }
        match control_type(batch) {
            Some(ControlType::Abort) => {
                let entry = self.aborted.remove(&header.producer_id).filter(|aborted| aborted.is_met);
                entry.map_or(Marked::EMPTY, |aborted| Marked { is_empty: false, aborted: Some(aborted.entry) })
            }
            Some(ControlType::Commit) if !self.committed.remove(&header.producer_id) => Marked::EMPTY,
            Some(ControlType::Commit | ControlType::Other(_)) | None => Marked::NEEDED,
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(first) = self.ahead.first_entry()
            && first.key().0 <= offset
        {
            let entry = first.remove();
            self.aborted.entry(entry.producer_id).or_insert(Aborted { entry, is_met: false });
        }
    }
}

fn control_type(batch: &Batch) -> Option<ControlType> {
    let records = BatchRecords::open(batch, MARKER_BYTES_MAX).ok()?;
    ControlType::parse(records.iter().next()?.ok()?.key?)
}
