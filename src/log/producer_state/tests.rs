use proptest::prelude::*;

use super::*;
use crate::protocol::batch::Attributes;
use crate::protocol::builder::BatchBuilder;

const DAY_MS: i64 = 86_400_000;

/// A data batch of `count` records as it stands in the log.
fn batch(producer: i64, epoch: i16, sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    let mut builder =
        BatchBuilder::new(Timestamp(1_000)).producer(ProducerId(producer), ProducerEpoch(epoch), sequence);
    for _ in 0..count {
        builder = builder.record(None, None);
    }
    let mut header = builder.build().unwrap().header;
    header.base_offset = Offset(base_offset);
    header
}

fn transactional(mut header: BatchHeader) -> BatchHeader {
    header.attributes = Attributes(Attributes::TRANSACTIONAL);
    header
}

fn marker(committed: bool, coordinator_epoch: i32) -> EndTxnMarker {
    EndTxnMarker { committed, coordinator_epoch }
}

fn marker_batch(producer: i64, epoch: i16, offset: i64) -> BatchHeader {
    let builder =
        BatchBuilder::end_txn_marker(Timestamp(2_000), ProducerId(producer), ProducerEpoch(epoch), marker(true, 0));
    let mut header = builder.build().unwrap().header;
    header.base_offset = Offset(offset);
    header
}

fn state(headers: &[BatchHeader]) -> ProducerState {
    let mut state = ProducerState::default();
    for header in headers {
        state.update(header);
    }
    state
}

fn complete(state: &mut ProducerState, header: &BatchHeader, marker: EndTxnMarker) -> Option<CompletedTxn> {
    let completed = state.completed_by(header, marker);
    state.update_marker(header, marker);
    completed
}

#[test]
fn an_unknown_producer_may_start_at_any_sequence() {
    assert_eq!(state(&[]).check(&batch(1, 0, 77, 3, 0)), Ok(SequenceCheck::Append));
}

#[test]
fn a_batch_without_a_producer_is_not_remembered() {
    let header = BatchBuilder::new(Timestamp(1)).record(None, None).build().unwrap().header;
    let state = state(&[header]);
    assert_eq!(state.check(&header), Ok(SequenceCheck::Append));
    assert!(state.is_empty());
}

#[test]
fn a_known_producer_goes_on_in_sequence() {
    let state = state(&[batch(1, 0, 0, 3, 10)]);
    assert_eq!(state.check(&batch(1, 0, 3, 2, 13)), Ok(SequenceCheck::Append));
    for sequence in [2, 4, 0] {
        let refused = state.check(&batch(1, 0, sequence, 5, 13)).unwrap_err();
        assert_eq!(
            refused,
            ProducerStateError::OutOfOrderSequence { producer_id: ProducerId(1), sequence, expected: 3 }
        );
        assert_eq!(refused.code(), ErrorCode::OutOfOrderSequenceNumber);
    }
}

#[test]
fn the_last_five_batches_are_known_as_duplicates_with_their_offsets() {
    let headers: Vec<_> = (0..6).map(|n| batch(1, 0, n * 2, 2, 100 + i64::from(n) * 2)).collect();
    let state = state(&headers);
    for header in &headers[1..] {
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        let timestamp = Timestamp(1_000);
        assert_eq!(state.check(header), Ok(SequenceCheck::Duplicate { base_offset, last_offset, timestamp }));
    }
    assert!(matches!(state.check(&headers[0]), Err(ProducerStateError::OutOfOrderSequence { expected: 12, .. })));
}

#[test]
fn part_of_a_known_batch_is_no_duplicate() {
    let state = state(&[batch(1, 0, 0, 4, 0)]);
    assert!(state.check(&batch(1, 0, 0, 3, 0)).is_err());
    assert!(state.check(&batch(1, 0, 1, 3, 0)).is_err());
}

#[test]
fn sequences_wrap_to_zero_inside_and_between_batches() {
    let inside = batch(1, 0, i32::MAX - 1, 4, 50);
    let after_inside = state(&[inside]);
    assert_eq!(after_inside.check(&batch(1, 0, 2, 1, 54)), Ok(SequenceCheck::Append));
    assert!(matches!(after_inside.check(&inside), Ok(SequenceCheck::Duplicate { base_offset: Offset(50), .. })));
    let at_the_end = state(&[batch(1, 0, i32::MAX, 1, 0)]);
    assert_eq!(at_the_end.check(&batch(1, 0, 0, 1, 1)), Ok(SequenceCheck::Append));
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut state = state(&[batch(1, 3, 0, 5, 0)]);
    assert!(matches!(
        state.check(&batch(1, 4, 5, 1, 5)),
        Err(ProducerStateError::OutOfOrderSequence { expected: 0, .. })
    ));
    let bumped = batch(1, 4, 0, 1, 5);
    assert_eq!(state.check(&bumped), Ok(SequenceCheck::Append));
    state.update(&bumped);
    for sequence in [0, 5] {
        let refused = state.check(&batch(1, 3, sequence, 5, 6)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidProducerEpoch);
    }
}

#[test]
fn a_transaction_is_undecided_until_its_marker() {
    let mut state = state(&[transactional(batch(1, 0, 0, 2, 10)), transactional(batch(2, 0, 0, 1, 12))]);
    assert_eq!(state.first_undecided_offset(), Some(Offset(10)));

    let aborted = complete(&mut state, &marker_batch(1, 0, 13), marker(false, 0)).unwrap();
    assert_eq!((aborted.first_offset, aborted.last_offset, aborted.aborted), (Offset(10), Offset(13), true));
    assert_eq!(aborted.last_stable_offset, Offset(12), "the other transaction is still open");
    assert_eq!(state.first_undecided_offset(), Some(Offset(12)));

    let committed = complete(&mut state, &marker_batch(2, 0, 14), marker(true, 0)).unwrap();
    assert_eq!((committed.last_stable_offset, committed.aborted), (Offset(15), false));
    assert_eq!(state.first_undecided_offset(), None);
}

#[test]
fn a_marker_without_a_transaction_completes_nothing_but_is_remembered() {
    let mut state = state(&[]);
    assert_eq!(complete(&mut state, &marker_batch(1, 2, 0), marker(true, 9)), None);
    let entry = state.get(ProducerId(1)).unwrap();
    assert_eq!((entry.epoch, entry.coordinator_epoch, entry.batches.len()), (ProducerEpoch(2), 9, 0));
    assert!(matches!(
        state.check(&batch(1, 2, 1, 1, 1)),
        Err(ProducerStateError::OutOfOrderSequence { expected: 0, .. })
    ));
}

#[test]
fn a_batch_outside_of_the_open_transaction_is_refused() {
    let state = state(&[transactional(batch(1, 0, 0, 1, 0))]);
    assert_eq!(state.check(&batch(1, 0, 1, 1, 1)).map_err(|error| error.code()), Err(ErrorCode::InvalidTxnState));
    assert_eq!(state.check(&transactional(batch(1, 0, 1, 1, 1))), Ok(SequenceCheck::Append));
}

#[test]
fn a_coordinators_batch_has_no_sequence_to_check() {
    let state = state(&[transactional(batch(1, 5, 0, 1, 0))]);
    assert_eq!(state.check_epoch(&transactional(batch(1, 5, -1, 1, 1))), Ok(()));
    assert!(state.check_epoch(&transactional(batch(1, 4, -1, 1, 1))).is_err());
}

#[test]
fn markers_are_fenced_by_producer_and_coordinator_epoch() {
    let mut state = state(&[transactional(batch(1, 3, 0, 1, 0))]);
    let check = |state: &ProducerState, epoch, coordinator_epoch, version| {
        state
            .check_marker(&marker_batch(1, epoch, 1), marker(true, coordinator_epoch), version)
            .map_err(|error| error.code())
    };
    assert_eq!(check(&state, 3, 0, 1), Ok(()));
    assert_eq!(check(&state, 2, 0, 1), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(check(&state, 3, 0, 2), Err(ErrorCode::InvalidProducerEpoch), "version 2 raises the epoch first");
    assert_eq!(check(&state, 4, 0, 2), Ok(()));
    state.update_marker(&marker_batch(1, 4, 1), marker(true, 7));
    assert_eq!(check(&state, 4, 7, 2), Ok(()), "a repeated marker is taken again");
    assert_eq!(check(&state, 4, 6, 2), Err(ErrorCode::TransactionCoordinatorFenced));
}

#[test]
fn idle_producers_expire_unless_they_have_a_transaction_open() {
    let mut state = state(&[batch(1, 0, 0, 1, 0), transactional(batch(2, 0, 0, 1, 1))]);
    state.remove_expired(Timestamp(999 + DAY_MS), DAY_MS);
    assert_eq!(state.len(), 2);
    state.remove_expired(Timestamp(1_000 + DAY_MS), DAY_MS);
    assert_eq!(state.entries().iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn at_the_limit_the_longest_idle_are_forgotten_and_open_transactions_never() {
    let mut state = ProducerState::new(32);
    state.update(&transactional(batch(1_000, 0, 0, 1, 0)));
    for id in 0..100 {
        let mut header = batch(id, 0, 0, 1, id + 1);
        header.max_timestamp = Timestamp(2_000 + id);
        assert_eq!(state.check(&header), Ok(SequenceCheck::Append));
        state.update(&header);
        assert!(state.len() <= 32);
        assert!(state.get(ProducerId(id)).is_some());
    }
    assert!(state.get(ProducerId(1_000)).is_some());
    assert!(state.get(ProducerId(70)).is_some() && state.get(ProducerId(60)).is_none());
}

#[test]
fn a_table_full_of_open_transactions_takes_no_other_producer() {
    let mut state = ProducerState::new(2);
    state.update(&transactional(batch(1, 0, 0, 1, 0)));
    state.update(&transactional(batch(2, 0, 0, 1, 1)));
    assert_eq!(state.check(&batch(3, 0, 0, 1, 2)), Err(ProducerStateError::TooManyTransactions(2)));
    assert_eq!(state.check(&transactional(batch(2, 0, 1, 1, 2))), Ok(SequenceCheck::Append));
}

#[test]
fn a_loaded_snapshot_goes_on_where_it_was_taken() {
    let before = state(&[batch(1, 0, 0, 4, 0), transactional(batch(2, 1, 0, 1, 4)), batch(3, 0, 0, 1, 5)]);
    let entries: Vec<_> = before.entries().into_iter().map(|(id, entry)| (id, entry.clone())).collect();
    let mut after = ProducerState::default();
    after.load(entries, Timestamp(1_001), DAY_MS);
    assert_eq!(after.entries(), before.entries());
    assert_eq!(after.first_undecided_offset(), Some(Offset(4)));
    assert!(matches!(after.check(&batch(1, 0, 0, 4, 9)), Ok(SequenceCheck::Duplicate { .. })));

    let entries: Vec<_> = before.entries().into_iter().map(|(id, entry)| (id, entry.clone())).collect();
    let mut late = ProducerState::default();
    late.load(entries, Timestamp(1_000 + DAY_MS), DAY_MS);
    assert_eq!(late.entries().iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [2]);
}

proptest! {
    /// Whatever a producer sends, what is accepted has no gap and no repetition.
    #[test]
    fn accepted_sequences_are_dense(start in prop::sample::select(vec![0, 5, i32::MAX - 3]), sends in prop::collection::vec((0i32..6, 1i32..4), 1..60)) {
        let mut state = ProducerState::default();
        state.update(&batch(1, 0, start, 1, 0));
        let (mut next_sequence, mut next_offset) = (start.wrapping_add(1) & i32::MAX, 1);
        for (back, count) in sends {
            let sequence = next_sequence.wrapping_sub(back) & i32::MAX;
            let header = batch(1, 0, sequence, count, next_offset);
            match state.check(&header) {
                Ok(SequenceCheck::Append) => {
                    prop_assert_eq!(sequence, next_sequence);
                    state.update(&header);
                    next_sequence = next_sequence.wrapping_add(count) & i32::MAX;
                    next_offset += i64::from(count);
                }
                Ok(SequenceCheck::Duplicate { base_offset, last_offset, .. }) => {
                    prop_assert!(back > 0 && last_offset.0 < next_offset);
                    prop_assert_eq!(last_offset.0 - base_offset.0 + 1, i64::from(count));
                }
                Err(_) => prop_assert_ne!(sequence, next_sequence),
            }
        }
    }
}
