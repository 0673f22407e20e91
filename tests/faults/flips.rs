//! One flipped bit, in every kind of file of a log dir, after each kind of stop. `ottla verify` reads the directory first,
//! then it is opened and everything in it is read.
//!
//! What must hold:
//!
//! - What is derived or not needed (indexes, snapshots, leader epochs, the checkpoints of high watermarks and of the
//!   cleaner, the clean-shutdown mark): everything acknowledged is readable, once, in order, offsets dense; lookups by
//!   time and read_committed are right; the log goes on, and its producer goes on without duplicate or gap.
//! - A `.log`: `verify` names file and position in every case. Recovery takes the partition offline with
//!   KAFKA_STORAGE_ERROR and an error that names file, position and offset; only in the last batch behind the recovery
//!   point a flipped bit cannot be told from a torn write, which is cut with a warning. Where no start reads (a clean
//!   stop; below the recovery point), whoever reads finds it: the broker by an error, or the consumer by its CRC. What
//!   is read besides is right. Two fields lie outside the CRC: a leader epoch does no harm to records, and a base offset
//!   may go unnoticed by all but `verify` and recovery.
//! - A `.txnindex` has no checksum: recovery writes it anew, and `verify` names what would make a read_committed
//!   consumer see something wrong.
//! - A text file of which one digit is another says something else: a recovery point behind the end, or another topic id,
//!   keeps the partition offline; another log start is believed.
//! - `meta.properties` that does not read, or names another broker, stops the start by name.
//! - In every case the other partitions serve.

use std::path::{Path, PathBuf};

use ottla::log::LogError;
use ottla::log::inspect::Finding;
use ottla::log::manager::LogManager;
use ottla::protocol::ErrorCode;
use ottla::types::{LeaderEpoch, Offset, Timestamp};

use super::counts::{Counts, Outcome};
use super::fixture::{
    CLEAN_MARK, Model, NOW, RECOVERY_POINTS, STOPS, Stop, Template, listening, open_log, open_manager, sequenced,
    verify,
};
use super::reading::{Seen, check_committed, check_goes_on, check_whole, consume};
use super::{is_long, seed};

const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Bits of each file in the short form.
const SAMPLE: usize = 4;
/// Header fields of a batch, each of which gets its share of flips; the records follow.
const FIELDS: [std::ops::Range<usize>; 14] =
    [0..8, 8..12, 12..16, 16..17, 17..21, 21..23, 23..27, 27..35, 35..43, 43..51, 51..53, 53..57, 57..61, 61..70];
const BASE_OFFSET_BYTES: usize = 8;
const LEADER_EPOCH: std::ops::Range<usize> = 12..16;

/// One bit.
#[derive(Debug, Clone)]
struct Flip {
    path: PathBuf,
    byte: usize,
    bit: u8,
}

impl Flip {
    fn apply(&self, template: &Template) -> Vec<u8> {
        let mut bytes = template.files[&self.path].clone();
        bytes[self.byte] ^= 1 << self.bit;
        bytes
    }

    /// What the counts call the file.
    fn kind(&self) -> String {
        let name = self.path.file_name().unwrap().to_string_lossy().into_owned();
        name.split_once('.')
            .filter(|(stem, _)| stem.bytes().all(|byte| byte.is_ascii_digit()) && !stem.is_empty())
            .map_or(name.clone(), |(_, ending)| format!(".{ending}"))
    }
}

/// The files of the two partitions to be damaged, and those of the log dir.
fn targets(template: &Template) -> Vec<PathBuf> {
    let is_target = |path: &&PathBuf| {
        let name = path.to_string_lossy();
        !(path.starts_with("other-0")
            || path.starts_with("__metadata")
            || name == ".lock"
            || template.files[*path].is_empty())
    };
    template.files.keys().filter(is_target).cloned().collect()
}

fn flips_of(template: &Template, path: &Path, random: &mut fastrand::Rng) -> Vec<Flip> {
    let flip = |byte, bit| Flip { path: path.to_owned(), byte, bit };
    let length = template.files[path].len();
    if is_long() {
        return (0..length).flat_map(|byte| (0..8).map(move |bit| flip(byte, bit))).collect();
    }
    let mut flips: Vec<Flip> = (0..SAMPLE).map(|_| flip(random.usize(0..length), random.u8(0..8))).collect();
    if path.extension().is_some_and(|extension| extension == "log") {
        let bounds = template.batch_bounds(path);
        let batches = bounds.len() - 1;
        for batch in [random.usize(..batches), batches - 1] {
            flips.extend(FIELDS.map(|field| flip(bounds[batch] + random.usize(field), random.u8(0..8))));
        }
    }
    flips
}

#[test]
fn a_flipped_bit_is_made_good_or_named() {
    let mut counts = Counts::default();
    let mut random = fastrand::Rng::with_seed(seed());
    let mut silent = Vec::new();
    for stop in STOPS {
        let template = with_log_start(Template::of(stop));
        for path in targets(&template) {
            for flip in flips_of(&template, &path, &mut random) {
                let acknowledged = template.models.iter().map(|model| model.records().len()).sum();
                match run(&template, &flip) {
                    Ok(outcome) => counts.add(format!("{stop:?} {}", flip.kind()), acknowledged, outcome),
                    Err(wrong) => silent.push(format!("{stop:?}, {flip:?}: {wrong}")),
                }
            }
        }
    }
    counts.print("flipped bits");
    assert!(silent.is_empty(), "{} silent: {:#?}", silent.len(), &silent[..silent.len().min(20)]);
    // The drill has seen each way out.
    assert!(counts.of("Clean .log", Outcome::FoundByReader) > 0);
    assert!(counts.of("Killed .log", Outcome::Cut) > 0);
    assert!(counts.of("KilledEarly .log", Outcome::Offline) > 0);
    assert!(counts.of("Clean .index", Outcome::Whole) > 0);
}

/// As DeleteRecords leaves it: the records before offset 3 of `data-0` are gone, though the file still holds them.
fn with_log_start(mut template: Template) -> Template {
    template.files.insert(LOG_STARTS.into(), b"0\n1\ndata 0 4\n".to_vec());
    template.files.insert("cleaner-offset-checkpoint".into(), b"0\n1\ntxn 0 6\n".to_vec());
    let data = &mut template.models[0];
    data.batches.retain(|batch| batch.header.base_offset >= Offset(4));
    template
}

/// Damages, verifies, opens, reads. An error: something was wrong silently.
fn run(template: &Template, flip: &Flip) -> Result<Outcome, String> {
    let dir = template.lay_out(&[(flip.path.clone(), Some(flip.apply(template)))]);
    let findings = verify(dir.path());
    let manager = match open_manager(dir.path()) {
        Ok(manager) => manager,
        Err(error) if error.to_string().contains(&*flip.path.to_string_lossy()) => return Ok(Outcome::Refused),
        Err(error) => return Err(format!("the start is refused for another reason: {error}")),
    };
    let mut worst = Outcome::Whole;
    for model in &template.models {
        let case = Case { template, flip, findings: &findings, model };
        let outcome = case.open(&manager).map_err(|wrong| format!("{}: {wrong}", model.partition))?;
        if !case.allowed(outcome) {
            return Err(format!("{}: {outcome:?} is not what must come of it", model.partition));
        }
        worst = worst.max(outcome);
    }
    if flip.kind() == ".log" && worst != Outcome::Shifted && !named(&findings, flip) {
        return Err(format!("verify does not name it: {findings:#?}"));
    }
    Ok(worst)
}

/// By `verify`: the file, or the batches of its partition that it does not agree with.
fn named(findings: &[Finding], flip: &Flip) -> bool {
    let folder = flip.path.parent().unwrap();
    findings
        .iter()
        .any(|finding| finding.path.ends_with(folder) || finding.path.parent().is_some_and(|it| it.ends_with(folder)))
}

/// A partition of a damaged directory.
struct Case<'a> {
    template: &'a Template,
    flip: &'a Flip,
    findings: &'a [Finding],
    model: &'a Model,
}

impl Case<'_> {
    fn open(&self, manager: &LogManager) -> Result<Outcome, String> {
        let (opened, said) = listening(|| open_log(manager, self.model));
        let (mut writer, reader) = match opened {
            Ok(halves) => halves,
            Err(error) => return self.offline(&error),
        };
        let whole = check_whole(&reader, self.model).and_then(|()| check_committed(&reader, self.model));
        let Err(wrong) = whole else {
            self.check_producer(&mut writer)?;
            check_goes_on(&mut writer, &reader, self.model.end())?;
            return Ok(Outcome::Whole);
        };
        let shorter = self.model.without_last();
        if reader.end_offset() == shorter.end() {
            check_whole(&reader, &shorter).and_then(|()| check_committed(&reader, &shorter))?;
            check_goes_on(&mut writer, &reader, shorter.end())?;
            let named = said.contains("torn tail") && said.contains(&*self.flip.path.to_string_lossy());
            return if named { Ok(Outcome::Cut) } else { Err(format!("cut without a word: {said}")) };
        }
        let consumed = consume(&reader, self.model);
        let acknowledged = self.model.records();
        let is_right = consumed.seen.iter().all(|seen| acknowledged.contains(seen))
            && consumed.seen.is_sorted_by(|before, after| before.0 < after.0);
        if is_right && !consumed.troubles.is_empty() {
            return Ok(Outcome::FoundByReader);
        }
        if self.flip.kind() == LOG_STARTS {
            let kept: Vec<_> = acknowledged.iter().filter(|(offset, ..)| *offset >= reader.start_offset().0).collect();
            let seen = consumed.seen.iter().filter(|(offset, ..)| *offset >= 4);
            return if seen.eq(kept) { Ok(Outcome::StartMoved) } else { Err(wrong) };
        }
        let values = |seen: &[Seen]| seen.iter().map(|(_, at, value)| (*at, value.clone())).collect::<Vec<_>>();
        if self.is_last_base_offset() && values(&consumed.seen) == values(&acknowledged) {
            let is_named = named(self.findings, self.flip);
            if self.template.stop == Stop::Clean && !said.contains("ends behind where the clean stop left it") {
                return Err(format!("the start does not warn: {said}"));
            }
            return Ok(if is_named { Outcome::FoundByVerify } else { Outcome::Shifted });
        }
        match check_committed(&reader, self.model) {
            Err(error) if self.flip.kind() == ".txnindex" && error.contains(".txnindex") => Ok(Outcome::FoundByReader),
            _ if named(self.findings, self.flip) => Ok(Outcome::FoundByVerify),
            _ => Err(wrong),
        }
    }

    fn offline(&self, error: &LogError) -> Result<Outcome, String> {
        let names_folder = error.to_string().contains(&self.model.partition.to_string());
        if names_folder && error.error_code() == ErrorCode::KafkaStorageError {
            return Ok(Outcome::Offline);
        }
        Err(format!("an error that does not tell: {error}"))
    }

    /// A retry of its last batch is known, and the next in order is taken.
    fn check_producer(&self, writer: &mut ottla::log::LogWriter) -> Result<(), String> {
        if &*self.model.partition.topic != "data" {
            return Ok(());
        }
        let retried = writer.append(&mut [sequenced(7, 15)], LeaderEpoch(1), Timestamp(NOW));
        match retried {
            Ok(appended) if appended.duplicate && appended.base_offset == self.model.last_base() => Ok(()),
            other => Err(format!("a retry of the last batch: {other:?}")),
        }
    }

    fn allowed(&self, outcome: Outcome) -> bool {
        use Outcome::*;
        let is_clean = self.template.stop == Stop::Clean;
        let is_damaged = match self.flip.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(folder) => folder == Path::new(&self.model.partition.to_string()),
            None => true,
        };
        match (outcome, self.flip.kind().as_str()) {
            (Whole, ".log") => !is_damaged || self.is_deleted() || LEADER_EPOCH.contains(&self.byte_in_batch()),
            (Whole, _) => true,
            (_, _) if !is_damaged => false,
            (Offline, ".log" | RECOVERY_POINTS | LOG_STARTS | "partition.metadata") => true,
            (Cut, ".log") => self.is_behind_recovery_point() && !is_clean,
            (FoundByReader, ".log") => true,
            (FoundByVerify, ".log") => self.byte_in_batch() < BASE_OFFSET_BYTES,
            (Shifted, ".log") => !is_clean && self.template.stop != Stop::Unmarked && self.is_last_base_offset(),
            (FoundByReader | FoundByVerify, ".txnindex") => is_clean || !self.is_behind_recovery_point(),
            (StartMoved, LOG_STARTS) => &*self.model.partition.topic == "data",
            _ => false,
        }
    }

    fn is_last_base_offset(&self) -> bool {
        let is_log = self.flip.kind() == ".log" && self.is_in_last_segment();
        is_log && self.byte_in_batch() < BASE_OFFSET_BYTES && {
            let bounds = self.template.batch_bounds(&self.flip.path);
            self.flip.byte >= bounds[bounds.len() - 2]
        }
    }

    /// Below the log start.
    fn is_deleted(&self) -> bool {
        self.flip.path == Path::new("data-0/00000000000000000000.log")
            && self.flip.byte < self.template.batch_bounds(&self.flip.path)[2]
    }

    fn byte_in_batch(&self) -> usize {
        let bounds = self.template.batch_bounds(&self.flip.path);
        self.flip.byte - bounds[bounds.partition_point(|bound| *bound <= self.flip.byte) - 1]
    }

    fn is_in_last_segment(&self) -> bool {
        let folder = self.flip.path.parent().unwrap().to_string_lossy().into_owned();
        let last = self.template.files_of(folder.trim_end_matches("-0"), ".log").pop().unwrap();
        self.flip.path.with_extension("log") == last
    }

    /// Recovery reads the file.
    fn is_behind_recovery_point(&self) -> bool {
        match self.template.stop {
            Stop::KilledEarly => true,
            Stop::Killed => self.is_in_last_segment(),
            // Everything lies before it.
            Stop::Clean | Stop::Unmarked => false,
        }
    }
}

#[test]
fn the_mark_is_no_more_than_its_name() {
    let template = Template::of(Stop::Clean);
    let dir = template.lay_out(&[(CLEAN_MARK.into(), Some(Vec::new()))]);
    assert!(open_manager(dir.path()).unwrap().was_clean());
}
