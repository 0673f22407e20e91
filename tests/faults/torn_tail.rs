//! The last batch cut at every byte, after a `kill -9`: also with zeros in its place, in the last of several segments, in a
//! log with the holes that compaction leaves, and with an empty segment behind it as a roll leaves it.
//!
//! What must hold: all batches before the torn one are readable, once, in order, at their offsets, lookups by time and
//! read_committed are right; the cut is named in the log; the log and its producer go on where the whole batches end: what
//! was torn may be sent again and is taken once, what is whole is known as a duplicate. A tail cut below the recovery
//! point had been flushed: the partition is offline, and nothing is changed.

use std::path::{Path, PathBuf};

use ottla::protocol::ErrorCode;
use ottla::protocol::batch::Batch;
use ottla::types::{LeaderEpoch, Offset, Timestamp};

use super::counts::{Counts, Outcome};
use super::fixture::{Model, NOW, Stop, Template, listening, open_log, open_manager};
use super::reading::{check_committed, check_goes_on, check_whole, same};

/// The file with the last batch, where that begins, and where it ends.
struct Tail {
    path: PathBuf,
    start: usize,
    end: usize,
}

impl Tail {
    fn of(template: &Template, topic: &str) -> Tail {
        let path = template.files_of(topic, ".log").pop().unwrap();
        let bounds = template.batch_bounds(&path);
        let [.., start, end] = bounds.as_slice() else { panic!("no batch in {path:?}") };
        Tail { start: *start, end: *end, path }
    }
}

#[test]
fn a_tail_cut_at_any_byte_is_cut_off_and_the_log_and_its_producers_go_on() {
    let mut counts = Counts::default();
    for stop in [Stop::Killed, Stop::KilledEarly] {
        for (what, template) in [("whole log", Template::of(stop)), ("compacted log", compacted(Template::of(stop)))] {
            for topic in ["data", "txn"] {
                let tail = Tail::of(&template, topic);
                for length in tail.start..tail.end {
                    for tear in [with_end, with_zeros] {
                        let torn = tear(&template.files[&tail.path], length);
                        // A batch may end in zeros itself.
                        if torn.starts_with(&template.files[&tail.path]) {
                            continue;
                        }
                        let outcome = run(&template, topic, &tail.path, torn);
                        let outcome = outcome.unwrap_or_else(|wrong| panic!("{stop:?}, {topic}, {length}: {wrong}"));
                        let acknowledged = template.model(topic).records().len();
                        counts.add(format!("{stop:?} {what} {topic}"), acknowledged, outcome);
                    }
                }
            }
        }
    }
    counts.print("torn tails");
}

#[test]
fn a_tail_cut_below_the_recovery_point_keeps_the_partition_offline_and_changes_nothing() {
    let template = Template::of(Stop::Unmarked);
    for topic in ["data", "txn"] {
        let tail = Tail::of(&template, topic);
        for length in tail.start..tail.end {
            let torn = with_end(&template.files[&tail.path], length);
            let dir = template.lay_out(&[(tail.path.clone(), Some(torn.clone()))]);
            let manager = open_manager(dir.path()).unwrap();
            let error = open_log(&manager, template.model(topic)).unwrap_err();
            assert_eq!(error.error_code(), ErrorCode::KafkaStorageError, "{topic} {length}");
            assert!(error.to_string().contains(&*tail.path.to_string_lossy()), "{topic} {length}: {error}");
            assert_eq!(std::fs::read(dir.path().join(&tail.path)).unwrap(), torn, "{topic} {length}");
            open_log(&manager, template.model("other")).unwrap();
        }
    }
}

fn with_end(whole: &[u8], length: usize) -> Vec<u8> {
    whole[..length].to_vec()
}

/// The file's length reached the disk, its last bytes did not.
fn with_zeros(whole: &[u8], length: usize) -> Vec<u8> {
    let mut torn = whole[..length].to_vec();
    torn.resize(whole.len() + 4096, 0);
    torn
}

/// Without every third batch of the first segment, as compaction leaves it: offsets have holes.
fn compacted(mut template: Template) -> Template {
    for topic in ["data", "txn"] {
        let path = template.files_of(topic, ".log").remove(0);
        let bounds = template.batch_bounds(&path);
        let model = template.models.iter_mut().find(|model| &*model.partition.topic == topic).unwrap();
        // Of a transaction both its records and its marker stay: the model is to say what is committed.
        let is_kept = |index: usize| index % 3 != 2 || topic == "txn" && index != 2;
        let bytes = &template.files[&path];
        let kept: Vec<u8> = bounds
            .windows(2)
            .enumerate()
            .filter(|(index, _)| is_kept(*index))
            .flat_map(|(_, bounds)| bytes[bounds[0]..bounds[1]].to_vec())
            .collect();
        assert!(kept.len() < bytes.len());
        let in_first = bounds.len() - 1;
        let mut index = 0;
        model.batches.retain(|_| {
            index += 1;
            index > in_first || is_kept(index - 1)
        });
        template.files.insert(path.clone(), kept);
        template.files.remove(&path.with_extension("index"));
        template.files.remove(&path.with_extension("timeindex"));
    }
    template
}

fn run(template: &Template, topic: &str, path: &Path, torn: Vec<u8>) -> Result<Outcome, String> {
    let start = Tail::of(template, topic).start;
    let is_torn = torn.len() > start;
    let dir = template.lay_out(&[(path.to_owned(), Some(torn))]);
    let manager = open_manager(dir.path()).map_err(|error| error.to_string())?;
    let (whole, left) = (template.model(topic), template.model(topic).without_last());
    let (opened, said) = listening(|| open_log(&manager, whole));
    let (mut writer, reader) = opened.map_err(|error| error.to_string())?;
    check_whole(&reader, &left)?;
    check_committed(&reader, &left)?;
    let length = std::fs::metadata(dir.path().join(path)).map_err(|error| error.to_string())?.len();
    same("length of the file", &length, &(start as u64))?;
    // Cut between two batches there is nothing to see.
    let is_named = said.contains("torn tail") && said.contains(&*path.to_string_lossy());
    same("the cut is named", &is_named, &is_torn)?;
    check_retry(&mut writer, &left, whole)?;
    check_whole(&reader, whole)?;
    check_committed(&reader, whole)?;
    check_goes_on(&mut writer, &reader, whole.end())?;
    drop((writer, reader, manager));
    let manager = open_manager(dir.path()).map_err(|error| error.to_string())?;
    let (_, reader) = open_log(&manager, whole).map_err(|error| error.to_string())?;
    same("end offset after another kill", &reader.end_offset(), &Offset(whole.end().0 + 2))?;
    Ok(Outcome::Cut)
}

/// The client sends both of its last batches again, for it does not know what arrived.
fn check_retry(writer: &mut ottla::log::LogWriter, left: &Model, whole: &Model) -> Result<(), String> {
    let mut send = |batch: &Batch| {
        let epoch = batch.header.partition_leader_epoch;
        writer.append(&mut [batch.clone()], LeaderEpoch(epoch.0), Timestamp(NOW)).map_err(|error| error.to_string())
    };
    let is_sequenced = |batch: &&Batch| batch.header.base_sequence >= 0;
    if let Some(known) = left.batches.iter().rev().find(is_sequenced) {
        let again = send(known)?;
        same("what is whole is a duplicate", &(again.duplicate, again.base_offset), &(true, known.header.base_offset))?;
    }
    let torn = whole.batches.last().ok_or("no batch")?;
    let again = send(torn)?;
    same("what was torn is taken", &(again.duplicate, again.base_offset), &(false, torn.header.base_offset))
}
