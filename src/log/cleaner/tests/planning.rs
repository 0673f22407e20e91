//! What is due, and what is left alone.

use super::*;
use crate::log::cleaner::Checkpoint;

fn three_segments() -> Log {
    let mut log = Log::new();
    for value in ["1", "2", "3"] {
        log.roll();
        log.put(&[("a", Some(value))]);
        log.wait(Duration::from_secs(10));
    }
    log
}

#[test]
fn the_dirty_ratio_is_that_of_bytes_before_the_active_segment() {
    let mut log = three_segments();
    let plan = log.plan();
    assert_eq!((plan.first_dirty, plan.first_uncleanable), (Offset(0), Offset(2)));
    assert_eq!((plan.clean_bytes, plan.dirty_ratio()), (0, 1.0));
    log.cleaned_to = Some(Offset(1));
    let plan = log.plan();
    assert_eq!(plan.clean_bytes, plan.cleanable_bytes);
    assert!(!plan.is_due(&log.options.config), "a half is not more than a half");
    log.config().min_cleanable_dirty_ratio = 0.4;
    assert!(plan.is_due(&log.options.config));
    log.cleaned_to = Some(Offset(3));
    assert_eq!(log.plan().dirty_ratio(), 0.0);
    log.config().min_cleanable_dirty_ratio = 0.0;
    assert!(!log.plan().is_due(&log.options.config));
}

#[test]
fn what_is_younger_than_the_minimum_lag_is_left_alone() {
    let mut log = three_segments();
    // The records are 30, 20 and 10 seconds old.
    for (lag, first_uncleanable) in [(31, 0), (25, 1), (15, 2), (0, 2)] {
        log.config().min_compaction_lag = Duration::from_secs(lag);
        assert_eq!(log.plan().first_uncleanable, Offset(first_uncleanable), "{lag} s");
    }
}

#[test]
fn what_is_older_than_the_maximum_lag_is_due_however_little() {
    let mut log = three_segments();
    log.cleaned_to = Some(Offset(1));
    log.config().min_cleanable_dirty_ratio = 1.0;
    for (lag, is_due) in [(21, false), (19, true)] {
        log.config().max_compaction_lag = Duration::from_secs(lag);
        assert_eq!(log.plan().is_due(&log.options.config), is_due, "{lag} s");
    }
    log.cleaned_to = Some(Offset(2));
    assert!(!log.plan().is_due(&log.options.config), "nothing is dirty but the active segment");
}

#[test]
fn a_checkpoint_outside_of_the_log_counts_for_nothing() {
    let mut log = three_segments();
    log.cleaned_to = Some(Offset(4));
    let plan = log.plan();
    assert_eq!((plan.checkpoint, plan.first_dirty), (Checkpoint::Invalid(Offset(4)), Offset(0)));
    log.cleaned_to = Some(Offset(3));
    assert_eq!(log.plan().checkpoint, Checkpoint::At(Offset(3)));
    log.options.log_start_offset = Offset(1);
    log.reopen(true);
    log.cleaned_to = Some(Offset(0));
    let plan = log.plan();
    assert_eq!((plan.checkpoint, plan.first_dirty), (Checkpoint::Invalid(Offset(0)), Offset(1)));
}

#[test]
fn an_empty_log_has_nothing_to_plan() {
    let log = Log::new();
    assert_eq!(Plan::of(&log.reader, None, &log.options.config, log.now).unwrap(), None);
}
