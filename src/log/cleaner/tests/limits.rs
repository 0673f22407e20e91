//! Memory, rate, stop, damage.

use super::*;
use crate::log::error::Damage;

#[test]
fn a_map_too_small_for_all_keys_takes_several_passes() {
    let mut log = Log::new();
    for round in 0..2 {
        for key in 0..10 {
            log.put(&[(&format!("{key}"), Some(&format!("{round}")))]);
        }
        log.roll();
    }
    log.put(&[("active", Some(""))]);
    log.limits.keys_max = 3;
    let mut reached = Vec::new();
    while log.cleaned_to != Some(Offset(20)) {
        reached.push(log.clean().to.0);
    }
    assert!(reached.len() > 3, "{reached:?}");
    assert!(reached.is_sorted(), "{reached:?}");
    let expected: Vec<_> = (0..10).map(|key| format!("{} {key}=1", key + 10)).collect();
    assert_eq!(log.contents()[..10], expected);
}

#[test]
fn a_batch_larger_than_the_buffer_is_cleaned_like_others() {
    let mut log = Log::new();
    let large = "v".repeat(5000);
    log.limits.buffer_bytes = 0;
    log.put(&[("a", Some(&large)), ("b", Some(&large))]);
    log.put(&[("a", Some("1"))]);
    log.roll_and_clean();
    assert_eq!(log.contents(), [format!("1 b={large}"), "2 a=1".into(), "3 active=".into()]);
}

#[test]
fn a_stop_ends_the_cleaning_and_leaves_the_log_as_it_was() {
    let mut log = Log::new();
    log.put(&[("a", Some("1")), ("a", Some("2"))]);
    log.roll();
    log.put(&[("a", Some("3"))]);
    let (names, contents) = (names(&log.options.dir), log.contents());
    let stop = Stop::default();
    stop.stop();
    assert!(matches!(log.run(&log.plan(), &stop), Err(CleanError::Stopped)));
    assert_eq!((super::names(&log.options.dir), log.contents()), (names, contents));
}

#[test]
fn what_is_damaged_is_named_and_not_written_anew() {
    let mut log = Log::new();
    log.put(&[("a", Some("1")), ("a", Some("2"))]);
    log.put(&[("b", Some("1"))]);
    log.roll();
    log.put(&[("a", Some("3"))]);
    let path = log.path("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let names = names(&log.options.dir);
    let error = log.try_clean().unwrap_err();
    let CleanError::Log(LogError::Damaged { offset: Offset(2), source: Damage::Batch(_), .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(super::names(&log.options.dir), names);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn each_byte_read_and_written_is_paid_for() {
    let mut log = Log::new();
    log.put(&[("a", Some("1")), ("a", Some("2"))]);
    log.roll();
    log.put(&[("active", Some(""))]);
    let throttler = Throttler::new(Some(1e12));
    let cleaning = Cleaning {
        log: &log.reader,
        writer: &log.writer,
        config: &log.options.config,
        limits: &log.limits,
        throttler: &throttler,
        stop: &Stop::default(),
        now: log.now,
    };
    let cleaned = cleaning.run(&log.plan()).unwrap();
    assert_eq!(throttler.paid(), 2 * cleaned.bytes_before + cleaned.bytes_after);
}
