//! Each index file missing, empty, padded with zeros as Kafka preallocates it, of nothing but zeros, cut within an entry,
//! of another segment, or of another partition; after each kind of stop.
//!
//! What must hold: of `.index` and `.timeindex` nothing depends on the file, so reads by offset, lookups by time and
//! read_committed reads are right, and the log goes on. The same of a `.txnindex` that recovery reads. After a clean stop it
//! is not read again (Kafka's rule, too): where it then says what no transaction can have been, reads that need it are
//! refused by its name; where it is missing or speaks of other transactions, `verify` names it.

use std::path::PathBuf;

use super::counts::{Counts, Outcome};
use super::fixture::{STOPS, Stop, Template, open_log, open_manager, verify};
use super::reading::{check_committed, check_goes_on, check_whole};

/// `log.index.size.max.bytes`: as long as Kafka makes an index before it trims it at the roll.
const PREALLOCATED_BYTES: usize = 10 << 20;

struct Change {
    name: &'static str,
    /// What becomes of a file, by its template; `None`: removed.
    content: fn(&Template, &PathBuf) -> Option<Vec<u8>>,
}

const CHANGES: [Change; 8] = [
    Change { name: "missing", content: |_, _| None },
    Change { name: "empty", content: |_, _| Some(Vec::new()) },
    Change {
        name: "padded",
        content: |template, path| {
            let mut content = template.files[path].clone();
            content.resize(PREALLOCATED_BYTES, 0);
            Some(content)
        },
    },
    Change { name: "zeros", content: |_, _| Some(vec![0; PREALLOCATED_BYTES]) },
    Change {
        name: "cut within an entry",
        content: |template, path| {
            let content = &template.files[path];
            Some(content[..content.len().saturating_sub(3)].to_vec())
        },
    },
    Change { name: "of an earlier segment", content: |template, path| neighbour(template, path, -1) },
    Change { name: "of a later segment", content: |template, path| neighbour(template, path, 1) },
    Change {
        name: "of another partition",
        content: |template, path| {
            let name = path.to_string_lossy();
            let other =
                if name.starts_with("data") { name.replace("data", "txn") } else { name.replace("txn", "data") };
            let ending = path.extension().unwrap().to_string_lossy().into_owned();
            let topic = other.split_once("-0").unwrap().0;
            template.files_of(topic, &format!(".{ending}")).pop().map(|path| template.files[&path].clone())
        },
    },
];

/// The same kind of file of the segment so many places on.
fn neighbour(template: &Template, path: &PathBuf, places: isize) -> Option<Vec<u8>> {
    let topic = path.to_string_lossy().split_once("-0").unwrap().0.to_owned();
    let ending = format!(".{}", path.extension().unwrap().to_string_lossy());
    let files = template.files_of(&topic, &ending);
    let index = files.iter().position(|file| file == path).unwrap();
    let wanted = (index as isize + places).rem_euclid(files.len() as isize);
    Some(template.files[&files[wanted as usize]].clone())
}

#[test]
fn offset_and_time_indexes_are_hints_whatever_they_hold() {
    let mut counts = Counts::default();
    for stop in STOPS {
        let template = Template::of(stop);
        for (change, topic, ending) in every(&["data", "txn"], &[".index", ".timeindex"]) {
            let files = template.files_of(topic, ending);
            // Each file alone, and all of them.
            let mut rounds: Vec<Vec<PathBuf>> = files.iter().map(|file| vec![file.clone()]).collect();
            rounds.push(files);
            for files in rounds {
                let changed: Vec<_> =
                    files.iter().map(|file| (file.clone(), (change.content)(&template, file))).collect();
                let dir = template.lay_out(&changed);
                let manager = open_manager(dir.path()).unwrap();
                let model = template.model(topic);
                let (mut writer, reader) = open_log(&manager, model).unwrap();
                let checked = check_whole(&reader, model)
                    .and_then(|()| check_committed(&reader, model))
                    .and_then(|()| check_goes_on(&mut writer, &reader, model.end()));
                checked.unwrap_or_else(|wrong| panic!("{stop:?}, {files:?} {}: {wrong}", change.name));
                counts.add(format!("{stop:?} {ending} {}", change.name), model.records().len(), Outcome::Whole);
            }
        }
    }
    counts.print("index files");
}

#[test]
fn a_transaction_index_is_written_anew_refused_or_named() {
    let mut counts = Counts::default();
    for stop in STOPS {
        let template = Template::of(stop);
        let model = template.model("txn");
        let last_log = template.files_of("txn", ".log").pop().unwrap();
        for (change, _, ending) in every(&["txn"], &[".txnindex"]) {
            for file in template.files_of("txn", ending) {
                let changed = (change.content)(&template, &file);
                if changed.as_ref() == Some(&template.files[&file]) {
                    continue;
                }
                let is_recovered = match stop {
                    Stop::KilledEarly => true,
                    Stop::Killed => file.with_extension("log") == last_log,
                    // Everything lies before the recovery point.
                    Stop::Clean | Stop::Unmarked => false,
                };
                let dir = template.lay_out(&[(file.clone(), changed)]);
                let is_named = verify(dir.path()).iter().any(|finding| finding.path.ends_with(&file));
                let manager = open_manager(dir.path()).unwrap();
                let (_writer, reader) = open_log(&manager, model).unwrap();
                let at = || format!("{stop:?}, {file:?} {}", change.name);
                check_whole(&reader, model).unwrap_or_else(|wrong| panic!("{}: {wrong}", at()));
                let outcome = match check_committed(&reader, model) {
                    Ok(()) => Outcome::Whole,
                    Err(error) if error.contains(".txnindex") => Outcome::FoundByReader,
                    Err(_) if is_named => Outcome::FoundByVerify,
                    Err(wrong) => panic!("{}: {wrong}", at()),
                };
                assert!(outcome == Outcome::Whole || !is_recovered && is_named, "{}: {outcome:?}", at());
                counts.add(format!("{stop:?} {ending} {}", change.name), model.records().len(), outcome);
            }
        }
    }
    counts.print("transaction index files");
    assert!(counts.of("KilledEarly .txnindex missing", Outcome::Whole) > 0);
    assert!(counts.of("Clean .txnindex zeros", Outcome::FoundByReader) > 0);
}

fn every<'a>(
    topics: &'a [&'static str],
    endings: &'a [&'static str],
) -> impl Iterator<Item = (&'static Change, &'static str, &'static str)> + 'a {
    let pairs = topics.iter().flat_map(|topic| endings.iter().map(|ending| (*topic, *ending)));
    pairs.flat_map(|(topic, ending)| CHANGES.iter().map(move |change| (change, topic, ending)))
}
