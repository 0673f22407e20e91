//! Any files as a partition's folder: opened, read, appended to, closed or killed, and opened again. Nothing panics or
//! hangs; what is damaged is reported and left alone; and once a log is open, nothing that it holds is lost again.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ottla::log::inspect::{Finding, Watch, verify_log_dir};
use ottla::log::{self, LogError, LogReader, LogWriter};
use ottla::protocol::batch::{Batch, BatchHeader};
use ottla::types::{LeaderEpoch, Offset, Timestamp};

use super::builder::{self, NOW};
use super::folder::{Folder, Opening, consume};
use super::input::Input;
use super::producer_snapshot;

/// An input is to take milliseconds, whatever is repeated in it.
const LOG_BYTES_MAX: usize = 96 << 10;
const FILES_MAX: usize = 16;
const STEPS_MAX: usize = 64;
const APPENDS_MAX: usize = 16;
const READS_MAX: u64 = 40;

/// What happens to the folder, in bits of the first byte.
const CLEAN: u8 = 1;
const CLOSED: u8 = 2;
const CLEAN_AGAIN: u8 = 4;
const FLUSHED: u8 = 8;
const SETTLED: u8 = 16;
const NOT_APPENDED_TO: u8 = 32;
const TRIMMED: u8 = 64;

/// Seven bytes of [`Scenario`], what is appended with its length, and the files.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let scenario = Scenario::cut(&mut input);
    let appends = input.part();
    let folder = Folder::new();
    (0..FILES_MAX).take_while(|_| put_file(&folder, &mut input)).for_each(drop);

    let damaged = verify(&folder);
    let before = folder.segments();
    let was_swapping = folder.files().iter().any(|(name, _)| name.ends_with(".swap"));
    let is_sound = !was_swapping && Stored::of(&folder).is_some_and(|stored| stored.is_sound_for(&scenario.opening));
    let halves = match log::open(folder.options(scenario.opening)) {
        Ok(halves) => halves,
        Err(error) if was_swapping => return drop(error),
        Err(error) => {
            assert!(!is_sound, "{error}");
            let is_to_be_seen = scenario.opening.recovery_point <= Offset::ZERO;
            assert!(damaged > 0 || !is_to_be_seen, "seen by no verification: {error}");
            return damage_is_left_alone(&folder, &before, &error);
        }
    };
    // What was sound, and what recovery has read whole, is certain from here on.
    let first = folder.segments().first().map(|(base, _)| *base);
    let is_read_whole = !scenario.opening.clean && first.is_none_or(|first| scenario.opening.recovery_point <= first);
    let read_whole = || Stored::of(&folder).expect("recovery leaves nothing that is not sound");
    let is_certain = is_sound || is_read_whole && read_whole().keeps(&scenario.opening);
    let first = live(&folder, &scenario, halves, appends, is_certain);
    let second = match log::open(folder.options(first.next)) {
        Ok(halves) => live(&folder, &scenario, halves, Input(&[]), is_certain),
        Err(error) => return assert!(!is_certain, "{error}"),
    };
    goes_on_from(&first, &second, is_certain);
    match log::open(folder.options(Opening { clean: false, ..second.next })) {
        Ok(halves) => goes_on_from(&second, &live(&folder, &scenario, halves, appends, is_certain), is_certain),
        Err(error) => assert!(!is_certain, "{error}"),
    }
}

#[derive(Debug)]
struct Scenario {
    how: u8,
    bytes_max: u32,
    opening: Opening,
}

impl Scenario {
    fn cut(input: &mut Input<'_>) -> Scenario {
        let how = input.u8();
        let sizes = input.u8();
        Scenario {
            how,
            bytes_max: [1, 200, 5000, u32::MAX][usize::from(sizes >> 2 & 3)],
            opening: Opening {
                clean: how & CLEAN != 0,
                recovery_point: Offset(input.offset()),
                log_start_offset: Offset(input.offset()),
                segment_bytes: [35_000, 100_000, 1 << 20, 1 << 30][usize::from(sizes & 3)],
                compact: sizes & 64 != 0,
                open_files_max: if sizes & 128 == 0 { usize::MAX } else { 1 },
                index_interval_bytes: [0, 100, 1000, 4096][usize::from(sizes >> 4 & 3)],
            },
        }
    }

    fn has(&self, bit: u8) -> bool {
        self.how & bit != 0
    }
}

/// What a log showed when it was opened and at last, and how it is to be opened next.
#[derive(Debug)]
struct Life {
    first: Shown,
    last: Shown,
    next: Opening,
}

#[derive(Debug)]
struct Shown {
    start_offset: Offset,
    end_offset: Offset,
    batches: Vec<Bytes>,
}

/// Reads everything, asks whatever a log can be asked, and appends.
fn live(
    folder: &Folder,
    scenario: &Scenario,
    (mut writer, reader): (LogWriter, LogReader),
    appends: Input<'_>,
    is_certain: bool,
) -> Life {
    offsets_are_in_order(&reader);
    // Not too many reads of a long log.
    let bytes_max = scenario.bytes_max.max(u32::try_from(reader.size_bytes() / READS_MAX).unwrap_or(u32::MAX));
    let show = || {
        let (start_offset, _, end_offset) = reader.offsets();
        let consumed = consume(&reader, start_offset, bytes_max);
        let batches = if is_certain { consumed.whole() } else { consumed.batches };
        Shown { start_offset, end_offset, batches }
    };
    let first = show();
    if is_certain {
        let stored = Stored::of(folder).expect("nothing that is not sound is left");
        assert_eq!(first.batches, stored.batches_from(first.start_offset));
        assert_eq!(first.end_offset, stored.end.max(first.start_offset));
    }
    ask(&reader, is_certain);
    if !scenario.has(NOT_APPENDED_TO) {
        append_all(&mut writer, &reader, appends, is_certain);
    }
    if scenario.has(FLUSHED) {
        reader.flush_sealed().expect("a flush to a file system that works");
    }
    if scenario.has(TRIMMED) {
        trim(&mut writer, &reader);
    }
    if scenario.has(SETTLED) {
        settle(&mut writer, &reader);
    }
    let last = show();
    let is_closed = scenario.has(CLOSED);
    let recovery_point =
        if is_closed { writer.close().expect("a flush to a file system that works") } else { reader.recovery_point() };
    let clean = is_closed && scenario.has(CLEAN_AGAIN);
    let next = Opening { clean, recovery_point, log_start_offset: last.start_offset, ..scenario.opening };
    Life { first, last, next }
}

/// As the clock does to a log that nobody has appended to for a while: the recovery point moves to its end.
fn settle(writer: &mut LogWriter, reader: &LogReader) {
    let settled = [(); 2].map(|()| writer.settle().expect("a file system that works"));
    if let Some(end) = settled[1] {
        reader.flush().expect("a file system that works");
        writer.settled(end);
        assert_eq!(reader.recovery_point(), end);
    }
}

/// As DeleteRecords does, at the middle of the log.
fn trim(writer: &mut LogWriter, reader: &LogReader) {
    let (start, _, end) = reader.offsets();
    let middle = Offset(start.0 + (end.0 - start.0) / 2);
    assert_eq!(writer.advance_start(middle).expect("within the log"), middle);
    while writer.remove_before(middle, Instant::now()).expect("a file system that works") {}
    assert_eq!((reader.start_offset(), reader.end_offset()), (middle, end));
    offsets_are_in_order(reader);
}

fn offsets_are_in_order(reader: &LogReader) {
    let (start, stable, end) = reader.offsets();
    assert!(start <= stable && stable <= end, "log start {start}, last stable offset {stable}, end {end}");
}

fn ask(reader: &LogReader, is_certain: bool) {
    for timestamp in [i64::MIN, 0, NOW.0, i64::MAX] {
        let found = reader.offset_for_timestamp(Timestamp(timestamp));
        assert!(!is_certain || found.is_ok(), "{found:?}");
        if let Ok(Some(found)) = found {
            assert!(found.timestamp.0 >= timestamp, "{found:?} is older than {timestamp}");
        }
    }
    assert!(!is_certain || reader.offset_of_max_timestamp().is_ok());
    let _ = (reader.epoch_at(reader.end_offset()), reader.end_of_epoch(LeaderEpoch(1)), reader.size_bytes());
}

/// What producers are refused is no fault; a batch that no producer's state speaks of is taken.
fn append_all(writer: &mut LogWriter, reader: &LogReader, mut appends: Input<'_>, is_certain: bool) {
    for _ in 0..APPENDS_MAX {
        if !appends.is_empty() {
            let _ = append(writer, reader, builder::batch(&mut appends, Offset::ZERO), is_certain);
        }
    }
    let plain = builder::batch(&mut Input(&[]), Offset::ZERO);
    if reader.end_offset().0 < i64::MAX - 1 {
        append(writer, reader, plain, is_certain).expect("a log that opens is written to");
    }
}

fn append(writer: &mut LogWriter, reader: &LogReader, batch: Batch, is_certain: bool) -> Result<(), LogError> {
    let end_offset = reader.end_offset();
    let appended = writer.append(&mut [batch.clone()], LeaderEpoch(1), NOW)?;
    offsets_are_in_order(reader);
    if appended.duplicate {
        assert_eq!(reader.end_offset(), end_offset);
        return Ok(());
    }
    assert_eq!((appended.base_offset, appended.last_offset.plus(1)), (end_offset, reader.end_offset()));
    let consumed = consume(reader, appended.base_offset, u32::MAX);
    let mut written = batch;
    written.header.base_offset = appended.base_offset;
    written.header.partition_leader_epoch = LeaderEpoch(1);
    // Behind a batch that damage has given the offsets of later ones, nothing is found.
    if is_certain {
        assert_eq!(consumed.whole(), [builder::whole(written).bytes]);
    }
    Ok(())
}

/// What was flushed is never cut, and of what was certain nothing.
fn goes_on_from(before: &Life, after: &Life, is_certain: bool) {
    let is_flushed = before.next.recovery_point >= before.last.end_offset;
    let (before, after) = (&before.last, &after.first);
    assert_eq!(after.start_offset, before.start_offset);
    if is_flushed || is_certain {
        assert!(after.end_offset >= before.end_offset, "{} after {}", after.end_offset, before.end_offset);
    }
    if is_certain {
        assert_eq!(after.batches, before.batches);
    }
}

/// How much `ottla verify` finds damaged, which changes nothing.
fn verify(folder: &Folder) -> u64 {
    struct Unwatched;
    impl Watch for Unwatched {
        fn found(&mut self, _: Finding) {}
        fn progressed(&mut self, _: u64, _: u64) {}
    }
    let before = folder.files();
    let counts = verify_log_dir(folder.log_dir(), &mut Unwatched).expect("the dir is there");
    assert!(folder.files() == before, "verification has changed something");
    counts.damaged
}

/// Damage is reported and stays what it was. Elsewhere tails may be gone that were not flushed.
fn damage_is_left_alone(folder: &Folder, before: &[(Offset, Vec<u8>)], error: &LogError) {
    let after: BTreeMap<_, _> = folder.segments().into_iter().collect();
    for (base, content) in before {
        let left = after.get(base).map_or(&[][..], Vec::as_slice);
        let is_named = matches!(error, LogError::Damaged { path, .. } if path.ends_with(format!("{:020}.log", base.0)));
        let may_be_cut = !is_named && content.starts_with(left);
        assert!(left == content || may_be_cut, "segment {base} was changed, yet: {error}");
    }
}

/// The batches of a folder's segments, found without the log's help.
struct Stored {
    batches: Vec<Batch>,
    /// After a crash an empty segment at the end counts for nothing.
    ends_empty: bool,
    /// Bases of segments that do not begin where the one before them ends.
    gaps: Vec<Offset>,
    end: Offset,
}

impl Stored {
    /// `None` where there is anything but whole batches with offsets that rise.
    fn of(folder: &Folder) -> Option<Stored> {
        let mut stored = Stored { batches: Vec::new(), ends_empty: false, gaps: Vec::new(), end: Offset::ZERO };
        for (index, (base, content)) in folder.segments().into_iter().enumerate() {
            stored.ends_empty = content.is_empty() && index > 0;
            if base < stored.end {
                return None;
            }
            if base > stored.end && index > 0 {
                stored.gaps.push(base);
            }
            stored.end = base;
            let mut rest = Bytes::from(content);
            while !rest.is_empty() {
                let batch = Batch::split_from(&mut rest).ok()?;
                let (first, last) = (batch.header.base_offset, batch.header.last_offset());
                let is_in_reach = last.0.checked_sub(base.0)? <= i64::from(i32::MAX) && last < Offset(i64::MAX);
                if batch.check_crc().is_err() || first < stored.end || last < first || !is_in_reach {
                    return None;
                }
                stored.end = batch.header.next_offset();
                stored.batches.push(batch);
            }
        }
        Some(stored)
    }

    /// Nothing is to be cut or missed.
    fn is_sound_for(&self, opening: &Opening) -> bool {
        !self.ends_empty && opening.recovery_point <= self.end && self.keeps(opening)
    }

    /// Where a log that is not compacted lacks offsets at a segment's end, recovery takes what follows for left by a loss of
    /// power.
    fn keeps(&self, opening: &Opening) -> bool {
        opening.compact || self.gaps.iter().all(|begin| *begin <= opening.log_start_offset)
    }

    fn batches_from(&self, offset: Offset) -> Vec<Bytes> {
        let from = self.batches.iter().filter(|batch| batch.header.next_offset() > offset);
        from.map(|batch| batch.bytes.clone()).collect()
    }
}

/// A file: what it is, the offset in its name, and its content with the length in front. False where there is none.
fn put_file(folder: &Folder, input: &mut Input<'_>) -> bool {
    if input.is_empty() {
        return false;
    }
    let kind = input.u8();
    let offset = input.offset();
    let mut content = input.part();
    let put = |suffix: &str, content: &[u8]| folder.put(&format!("{offset:020}{suffix}"), content);
    match kind % 12 {
        0 => put(".log", &log(&mut content, offset)),
        1 => put(".index", content.0),
        2 => put(".timeindex", content.0),
        3 => put(".txnindex", content.0),
        4 => put(".snapshot", content.0),
        5 => put(".snapshot", &producer_snapshot::sealed(content.0)),
        6 => folder.put("leader-epoch-checkpoint", content.0),
        7 => folder.put("partition.metadata", content.0),
        8 => put(".log.deleted", content.0),
        9 => put(".log.cleaned", content.0),
        10 => put(".index.cleaned", content.0),
        _ => put(".log.swap", &log(&mut content, offset)),
    }
    true
}

/// A segment's content, step by step; each step is a byte and what it needs.
fn log(steps: &mut Input<'_>, base_offset: i64) -> Vec<u8> {
    let mut log = Log { bytes: Vec::new(), next_offset: Offset(base_offset), last: None };
    for _ in 0..STEPS_MAX {
        if !steps.is_empty() && log.bytes.len() < LOG_BYTES_MAX {
            log.step(steps);
        }
    }
    log.bytes
}

struct Log {
    bytes: Vec<u8>,
    next_offset: Offset,
    last: Option<Batch>,
}

impl Log {
    fn step(&mut self, steps: &mut Input<'_>) {
        match steps.u8() % 8 {
            0 => self.bytes.extend(steps.bytes()),
            1 => self.sealed(steps.bytes()),
            2 => self.push(builder::batch(steps, self.next_offset)),
            3 => self.repeat(usize::from(steps.u8()) * 8),
            4 => self.bytes.resize(self.bytes.len() + usize::from(steps.u16()), 0),
            5 => self.bytes.truncate(self.bytes.len().saturating_sub(steps.u8().into())),
            6 => self.flip(steps.u16().into(), steps.u8()),
            _ => self.next_offset = Offset(steps.offset()),
        }
    }

    /// Any header, but whole.
    fn sealed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        builder::seal(&mut bytes);
        match BatchHeader::parse(&bytes) {
            Ok(header) => self.push(Batch { header, bytes: bytes.into() }),
            Err(_) => self.bytes.extend(bytes),
        }
    }

    fn push(&mut self, batch: Batch) {
        self.bytes.extend(&batch.bytes);
        self.next_offset = batch.header.next_offset();
        self.last = Some(batch);
    }

    fn repeat(&mut self, times: usize) {
        let Some(mut batch) = self.last.clone() else { return };
        for _ in 0..times {
            if self.bytes.len() >= LOG_BYTES_MAX {
                return;
            }
            batch.header.base_offset = self.next_offset;
            batch = builder::whole(batch);
            self.push(batch.clone());
        }
    }

    fn flip(&mut self, from_end: usize, bits: u8) {
        let at = self.bytes.len().checked_sub(from_end + 1);
        if let Some(byte) = at.and_then(|at| self.bytes.get_mut(at)) {
            *byte ^= bits;
        }
    }
}
