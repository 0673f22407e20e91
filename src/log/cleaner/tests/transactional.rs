//! Transactions: aborted records, and the markers.

use super::*;

fn batch(log: &Log, producer: i64, sequence: i32, key: &str) -> Batch {
    let builder = BatchBuilder::new(log.now).producer(ProducerId(producer), EPOCH, sequence).transactional();
    of(builder, &[(key, Some("txn"))]).build().unwrap()
}

fn end(log: &mut Log, producer: i64, committed: bool) {
    let marker = marker(log.now, producer, committed);
    log.append(marker);
}

/// Base offsets of the control batches that still hold their marker.
fn markers(log: &Log) -> Vec<i64> {
    let batches = log.batches();
    let markers = batches.iter().filter(|b| b.header.attributes.is_control() && b.header.records_count == 1);
    markers.map(|batch| batch.header.base_offset.0).collect()
}

#[test]
fn nothing_undecided_is_cleaned() {
    let mut log = Log::new();
    log.put(&[("a", Some("1"))]);
    log.roll();
    let open = batch(&log, 1, 0, "a");
    log.append(open);
    log.roll();
    log.put(&[("a", Some("2"))]);
    log.roll_and_clean();
    assert_eq!(log.cleaned_to, Some(Offset(1)), "up to the segment in which the transaction began");
    assert_eq!(log.contents()[..3], ["0 a=1", "1 a=txn", "2 a=2"]);
    end(&mut log, 1, true);
    log.roll_and_clean();
    assert_eq!(log.contents()[..1], ["2 a=2"]);
}

#[test]
fn aborted_records_go_at_once_and_supersede_nothing() {
    let mut log = Log::new();
    log.put(&[("a", Some("1"))]);
    let aborted = batch(&log, 1, 0, "a");
    log.append(aborted);
    log.roll();
    let later = batch(&log, 1, 1, "b");
    log.append(later);
    end(&mut log, 1, false);
    log.roll_and_clean();
    assert_eq!(log.contents(), ["0 a=1", "4 active="]);
    assert_eq!(markers(&log), [3]);
}

#[test]
fn an_abort_marker_goes_when_nothing_of_its_transaction_is_left_and_its_horizon_has_passed() {
    let mut log = Log::new();
    let aborted = batch(&log, 1, 0, "a");
    log.append(aborted);
    end(&mut log, 1, false);
    log.put(&[("b", Some("1"))]);
    log.roll_and_clean();
    // The batch carries the producer's sequence, so there is something left, and readers are told to leave it out.
    assert_eq!((markers(&log), log.read(Offset(4)).1), (vec![1], vec![(1, 0)]));
    assert_eq!(log.files(".txnindex").len(), 1);

    let newer = batch(&log, 1, 1, "c");
    log.append(newer);
    end(&mut log, 1, true);
    log.roll_and_clean();
    // Now the first batch has gone, in this cleaning: the next one finds the marker without a transaction.
    assert_eq!(markers(&log), [1, 5]);
    log.wait(2 * DELETE_RETENTION);
    log.roll_and_clean();
    assert_eq!(markers(&log), [1, 5], "its time begins only now");
    assert!(log.batches()[0].header.delete_horizon().is_some());
    assert_eq!(log.read(Offset(6)).1, [], "no batch of it is left to be left out");
    assert_eq!(log.files(".txnindex"), Vec::<String>::new());
    log.wait(DELETE_RETENTION);
    log.roll_and_clean();
    assert_eq!(markers(&log), [5]);
}

#[test]
fn a_commit_marker_stays_as_long_as_a_batch_of_its_transaction_is_met() {
    let mut log = Log::new();
    let (first, second) = (batch(&log, 1, 0, "a"), batch(&log, 1, 1, "b"));
    log.append(first);
    log.append(second);
    end(&mut log, 1, true);
    for _ in 0..3 {
        log.wait(2 * DELETE_RETENTION);
        log.roll_and_clean();
        assert_eq!(markers(&log), [2]);
    }
    assert_eq!(log.contents()[..2], ["0 a=txn", "1 b=txn"]);
}

#[test]
fn an_aborted_transaction_over_several_segments_and_groups_is_left_out_in_all_of_them() {
    let mut log = Log::new();
    for sequence in 0..4 {
        let aborted = batch(&log, 1, sequence, "a");
        log.append(aborted);
        log.put(&[("b", Some("1"))]);
        log.roll();
    }
    end(&mut log, 1, false);
    log.group_bytes = 1;
    log.roll_and_clean();
    assert_eq!(log.contents(), ["7 b=1", "9 active="]);
    for clean in [true, false] {
        log.reopen(clean);
        assert_eq!(log.contents(), ["7 b=1", "9 active="]);
        assert_eq!(log.reader.last_stable_offset(), Offset(10));
    }
}

#[test]
fn a_producer_that_is_known_by_its_marker_alone_keeps_it() {
    let mut log = Log::new();
    let data = batch(&log, 1, 0, "a");
    log.append(data);
    // The coordinator fences the producer: a marker of a higher epoch, after which no batch of the old one counts.
    let fencing = EndTxnMarker { committed: false, coordinator_epoch: 0 };
    let fencing = BatchBuilder::end_txn_marker(log.now, ProducerId(1), ProducerEpoch(1), fencing).build().unwrap();
    log.append(fencing);
    log.put(&[("a", Some("1"))]);
    for _ in 0..3 {
        log.wait(2 * DELETE_RETENTION);
        log.roll_and_clean();
    }
    let epochs: Vec<_> = log.batches().iter().map(|batch| batch.header.producer_epoch.0).filter(|e| *e >= 0).collect();
    assert_eq!(epochs, [1]);
}
