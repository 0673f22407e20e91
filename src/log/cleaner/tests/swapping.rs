//! Segments that change places, with a crash at each step.

use std::time::{Instant, SystemTime};

use super::*;
use crate::log::cleaner::settle;
use crate::log::open::list;

/// Three segments of which one is made, an index entry for each second batch, an aborted transaction, and one segment more.
fn dirty() -> Log {
    let mut log = Log::new();
    for round in 0..3 {
        for key in ["a", "b", "c"] {
            log.put(&[(key, Some(&format!("{round}"))), (key, Some(&format!("{round}+")))]);
        }
        let builder = BatchBuilder::new(log.now).producer(ProducerId(1), EPOCH, round).transactional();
        log.append(of(builder, &[("a", Some("aborted"))]).build().unwrap());
        log.append(marker(log.now, 1, false));
        log.roll();
    }
    log.put(&[("active", Some(""))]);
    log.reopen(true);
    log
}

#[test]
fn segments_become_one_under_the_first_ones_base() {
    let mut log = dirty();
    let active = log.files(".log").pop().unwrap();
    let oldest = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for (name, at) in log.files(".log").iter().zip(0..) {
        let file = std::fs::File::open(log.path(name)).unwrap();
        file.set_modified(oldest + Duration::from_secs(at)).unwrap();
    }
    let before = log.reader.size_bytes();
    let cleaned = log.clean();
    assert_eq!((cleaned.segments_before, cleaned.segments_after), (3, 1));
    assert_eq!(log.files(".log"), ["00000000000000000000.log".to_owned(), active.clone()]);
    let end = format!("{:020}.snapshot", log.reader.end_offset().0);
    assert_eq!(log.files(".snapshot"), [active.replace("log", "snapshot"), end], "none of the segments that went");
    let on_disk: u64 = log.files(".log").iter().map(|name| log.path(name).metadata().unwrap().len()).sum();
    assert_eq!(log.reader.size_bytes(), on_disk);
    assert!(on_disk < before);
    let modified = log.path("00000000000000000000.log").metadata().unwrap().modified().unwrap();
    assert_eq!(modified, oldest + Duration::from_secs(2), "as old as the newest of those it is made of");
    assert!(log.files(".cleaned").is_empty() && log.files(".swap").is_empty());
}

#[test]
fn old_files_wait_for_their_removal() {
    let mut log = dirty();
    log.config().file_delete_delay = Duration::from_secs(60);
    let contents = log.contents();
    log.clean();
    assert_eq!(log.files(".log.deleted").len(), 3);
    let removals = &log.options.context.removals;
    removals.run(Instant::now() + Duration::from_secs(50));
    assert_eq!(log.files(".log.deleted").len(), 3);
    removals.run(Instant::now() + Duration::from_secs(61));
    assert_eq!(log.files(".deleted"), Vec::<String>::new());
    assert_ne!(log.contents(), contents);
}

#[test]
fn the_new_segments_indexes_are_those_that_its_log_would_be_given() {
    let mut log = dirty();
    log.clean();
    log.reopen(true);
    let indexes = |log: &Log| -> Vec<_> {
        let names = ["index", "timeindex"].map(|kind| format!("00000000000000000000.{kind}"));
        names.iter().map(|name| std::fs::read(log.path(name)).ok()).collect()
    };
    let before = indexes(&log);
    assert!(before.iter().all(|index| index.as_ref().is_some_and(|bytes| !bytes.is_empty())), "{before:?}");
    log.reopen(false);
    assert_eq!(indexes(&log), before);
}

/// With `clean`, as where the broker's stop takes the append lock between two steps: all else was on disk before.
#[test]
fn a_crash_at_any_step_leaves_the_old_segments_or_the_new_one() {
    let mut log = dirty();
    let aborted = |log: &Log| std::fs::read(log.path("00000000000000000000.txnindex")).unwrap();
    let (before, aborted_before) = (log.contents(), aborted(&log));
    let states = crashes(|| log.clean());
    let after = log.contents();
    assert_ne!(before, after);
    assert!(states.len() > 12, "{}", states.len());
    let (mut old, mut new) = (0, 0);
    for state in states {
        for clean in [true, false] {
            let root = copy(&state.path().join("topic-0"));
            let mut again = Log::on(root, clean).unwrap();
            let found = again.contents();
            if found == before {
                assert_eq!(aborted(&again), aborted_before, "the old segment with the new one's index");
                old += 1;
                assert_eq!(new, 0, "once the new segment was there it stays");
            } else {
                assert_eq!(found, after);
                new += 1;
            }
            assert_eq!(again.reader.end_offset(), log.reader.end_offset());
            assert!(again.files(".cleaned").is_empty() && again.files(".swap").is_empty());
            assert!(again.files(".deleted").is_empty());
            // And it goes on from there.
            again.cleaned_to = None;
            again.now = log.now;
            again.clean();
            assert_eq!(again.contents(), after);
        }
    }
    assert!(old > 0 && new > 0);
}

#[test]
fn a_crash_while_an_interrupted_swap_is_finished_is_made_good_by_the_next_start() {
    let mut log = dirty();
    let states = crashes(|| log.clean());
    for state in states {
        let dir = state.path().join("topic-0");
        let expected = Log::on(copy(&dir), false).unwrap().contents();
        let again = crashes(|| settle(&dir, &list(&dir).unwrap()).unwrap());
        for interrupted in again {
            let log = Log::on(interrupted, false).unwrap();
            assert_eq!(log.contents(), expected);
            assert!(log.files(".swap").is_empty());
        }
    }
}

#[test]
fn segments_of_which_nothing_is_left_do_not_come_back_with_a_crash() {
    let mut log = Log::new();
    for value in ["1", "2", "3"] {
        log.put(&[("a", Some(value))]);
        log.roll();
    }
    // The first two become one, without a record; the third has the newest.
    log.group_bytes = log.path("00000000000000000000.log").metadata().unwrap().len() as u32 * 2;
    log.put(&[("active", Some(""))]);
    let mut swapping = 0;
    for state in crashes(|| log.clean()) {
        let is_swapping =
            names(&state.path().join("topic-0")).iter().any(|name| name == "00000000000000000000.log.swap");
        let again = Log::on(state, false).unwrap();
        if is_swapping {
            swapping += 1;
            assert_eq!(again.contents(), ["2 a=3", "3 active="]);
        }
    }
    assert!(swapping > 3);
}

#[test]
fn a_damaged_swap_is_reported_and_nothing_is_removed_for_it() {
    let mut log = dirty();
    let states = crashes(|| log.clean());
    let dir = |state: &tempfile::TempDir| state.path().join("topic-0");
    let swap = "00000000000000000000.log.swap";
    let state = states.iter().find(|state| names(&dir(state)).contains(&swap.to_owned())).unwrap();
    let path = dir(state).join(swap);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let before = names(&dir(state));
    let Err(LogError::Damaged { path: damaged, .. }) = open(options(state.path())) else { panic!("it was opened") };
    assert_eq!(damaged, path);
    assert_eq!(names(&dir(state)), before);
}

#[test]
fn segments_deleted_meanwhile_leave_the_cleaning_without_effect() {
    let mut log = dirty();
    let shared = log.reader.shared.clone();
    let mut steps = 0;
    // Retention takes the first segment in the moment between `.swap` and the exchange.
    CRASH.set(Some(Box::new(move |_| {
        steps += 1;
        if steps == 4 {
            shared.view.write().segments.replace(0..1, Vec::new());
        }
    })));
    let cleaned = log.try_clean();
    CRASH.set(None);
    assert!(matches!(cleaned, Err(CleanError::Abandoned)), "{cleaned:?}");
    assert!(log.files(".cleaned").is_empty() && log.files(".swap").is_empty(), "{:?}", names(&log.options.dir));
    assert_eq!(log.files(".deleted"), Vec::<String>::new());
    assert_eq!(log.cleaned_to, None);
}

#[test]
fn a_rename_that_fails_leaves_nothing_of_the_new_segment() {
    let mut log = dirty();
    let before = names(&log.options.dir);
    CRASH.set(Some(Box::new(|dir| drop(std::fs::remove_file(dir.join("00000000000000000000.log.cleaned"))))));
    let cleaned = log.try_clean();
    CRASH.set(None);
    assert!(matches!(cleaned, Err(CleanError::Log(LogError::Io { .. }))), "{cleaned:?}");
    assert_eq!(names(&log.options.dir), before);
}

#[test]
fn a_deleted_topics_folder_is_left_alone() {
    let mut log = dirty();
    log.writer.lock().retire();
    let logs = log.files(".log");
    assert!(matches!(log.try_clean(), Err(CleanError::Abandoned)));
    assert_eq!(log.files(".log"), logs);
    assert!(log.files(".swap").is_empty());
}

#[test]
fn a_topic_deleted_before_its_segments_are_rewritten_has_nothing_made_in_its_folder() {
    let log = dirty();
    let plan = log.plan();
    log.writer.lock().retire();
    let before = names(&log.options.dir);
    let cleaned = log.run(&plan, &Stop::default());
    assert!(matches!(cleaned, Err(CleanError::Abandoned)), "{cleaned:?}");
    assert_eq!(names(&log.options.dir), before);
}

#[test]
fn readers_and_appends_go_on_while_segments_change_places() {
    let mut log = Log::new();
    log.limits.keys_max = 50;
    let done = std::sync::atomic::AtomicBool::new(false);
    let reader = log.reader.clone();
    let newest = std::sync::atomic::AtomicI64::new(-1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A consumer that begins again and again, and never ends before what was newest when it began.
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                let known = newest.load(std::sync::atomic::Ordering::Acquire);
                let mut offset = reader.start_offset();
                let mut last_seen = -1;
                // Not up to an end of before: by now all below it may have been cleaned away.
                let limit = ReadLimit { upper: Offset(i64::MAX), bytes_max: 2000, at_least_one_batch: true };
                while let Some(slice) = reader.read(offset, limit, true).unwrap().slice {
                    let mut bytes = vec![0; slice.length as usize];
                    sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
                    let mut bytes = Bytes::from(bytes);
                    while !bytes.is_empty() {
                        let batch = Batch::split_from(&mut bytes).unwrap();
                        batch.check_crc().unwrap();
                        assert!(batch.header.base_offset >= offset);
                        offset = batch.header.next_offset();
                        last_seen = last_seen.max(offset.0 - 1);
                    }
                }
                assert!(last_seen >= known, "{last_seen} {known}");
                reader.offset_for_timestamp(Timestamp(START.0 + 5)).unwrap();
            }
        });
        for round in 0..60 {
            for key in 0..5 {
                let appended = log.put(&[(&format!("{key}"), Some(&format!("{round}")))]);
                newest.store(appended.last_offset.0, std::sync::atomic::Ordering::Release);
            }
            log.roll_and_clean();
        }
        done.store(true, std::sync::atomic::Ordering::Release);
    });
    assert_eq!(log.contents().len(), 7, "five keys, and one that is in the active segment, too");
}
