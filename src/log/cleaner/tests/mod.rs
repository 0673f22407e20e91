//! Logs of tiny segments, cleaned.

mod limits;
mod model;
mod planning;
mod rules;
mod swapping;
mod transactional;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{CleanError, Cleaned, Cleaning, Limits, Plan, Stop, Throttler};
use crate::config::TopicConfig;
use crate::log::{Appended, DirContext, LogError, LogReader, LogWriter, OpenOptions, ReadLimit, open};
use crate::protocol::batch::Batch;
use crate::protocol::builder::BatchBuilder;
use crate::protocol::records::{BatchRecords, EndTxnMarker};
use crate::sys;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicId};

const START: Timestamp = Timestamp(1_700_000_000_000);
const DELETE_RETENTION: Duration = Duration::from_secs(100);
const EPOCH: ProducerEpoch = ProducerEpoch(0);

type Hook = Box<dyn FnMut(&Path)>;

thread_local! {
    static CRASH: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Called by what is tested whenever a name in the folder has changed.
pub(super) fn crash_point(dir: &Path) {
    // Taken out meanwhile: what the hook does may come by here itself.
    let hook = CRASH.with_borrow_mut(Option::take);
    if let Some(mut hook) = hook {
        hook(dir);
        CRASH.set(Some(hook));
    }
}

/// Copies the folder at each crash point of `work`.
fn crashes<T>(work: impl FnOnce() -> T) -> Vec<tempfile::TempDir> {
    let copies = std::rc::Rc::new(RefCell::new(Vec::new()));
    let into = copies.clone();
    CRASH.set(Some(Box::new(move |dir: &Path| into.borrow_mut().push(copy(dir)))));
    work();
    CRASH.set(None);
    copies.take()
}

/// The folder as `topic-0` in a new one.
fn copy(dir: &Path) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let to = root.path().join("topic-0");
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
    }
    root
}

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

struct Log {
    /// Goes with the log.
    _root: tempfile::TempDir,
    options: OpenOptions,
    writer: Mutex<LogWriter>,
    reader: LogReader,
    limits: Limits,
    cleaned_to: Option<Offset>,
    /// The clock; each append moves it on.
    now: Timestamp,
    rolls: bool,
    /// `segment.bytes` for the cleaner.
    group_bytes: u32,
}

fn options(root: &Path) -> OpenOptions {
    OpenOptions {
        dir: root.join("topic-0"),
        topic_id: TopicId::ZERO,
        config: TopicConfig {
            compact: true,
            delete: false,
            segment_bytes: 100_000,
            index_interval_bytes: 150,
            delete_retention: DELETE_RETENTION,
            ..TopicConfig::default()
        },
        // The batches of these tests are years old.
        producer_id_expiration: Duration::from_millis(i64::MAX as u64),
        log_start_offset: Offset::ZERO,
        recovery_point: Offset::ZERO,
        cleaned: false,
        clean: true,
        context: DirContext::detached(root),
    }
}

impl Log {
    fn new() -> Log {
        Log::on(tempfile::tempdir().unwrap(), true).unwrap()
    }

    fn on(root: tempfile::TempDir, clean: bool) -> Result<Log, LogError> {
        let options = OpenOptions { clean, ..options(root.path()) };
        let (writer, reader) = open(options.clone())?;
        Ok(Log {
            _root: root,
            options,
            writer: Mutex::new(writer),
            reader,
            limits: Limits { keys_max: 1000, load_factor: 0.9, buffer_bytes: 300 },
            cleaned_to: None,
            now: START,
            rolls: false,
            group_bytes: 100_000,
        })
    }

    fn reopen(&mut self, clean: bool) {
        if clean {
            self.writer.lock().close().unwrap();
        }
        let (writer, reader) = open(OpenOptions { clean, ..self.options.clone() }).unwrap();
        (self.writer, self.reader) = (Mutex::new(writer), reader);
    }

    fn config(&mut self) -> &mut TopicConfig {
        &mut self.options.config
    }

    /// The next append begins a segment.
    fn roll(&mut self) {
        self.rolls = true;
    }

    fn append(&mut self, batch: Batch) -> Appended {
        self.try_append(batch).unwrap()
    }

    fn try_append(&mut self, batch: Batch) -> Result<Appended, LogError> {
        let mut writer = self.writer.lock();
        let segment_ms = if self.rolls { Duration::ZERO } else { Duration::MAX };
        writer.set_config(TopicConfig { segment_ms, ..self.options.config.clone() });
        let appended = writer.append(&mut [batch], LeaderEpoch(0), self.now);
        if appended.as_ref().is_ok_and(|appended| !appended.duplicate) {
            self.rolls = false;
            self.now.0 += 1;
        }
        appended
    }

    /// A batch of keys and values; `None` is a tombstone.
    fn put(&mut self, records: &[(&str, Option<&str>)]) -> Appended {
        let batch = of(BatchBuilder::new(self.now), records);
        self.append(batch.build().unwrap())
    }

    fn plan(&self) -> Plan {
        Plan::of(&self.reader, self.cleaned_to, &self.options.config, self.now).unwrap().unwrap()
    }

    /// Cleans as far as one pass gets.
    fn clean(&mut self) -> Cleaned {
        self.try_clean().unwrap()
    }

    fn try_clean(&mut self) -> Result<Cleaned, CleanError> {
        self.run(&self.plan(), &Stop::default()).inspect(|cleaned| self.cleaned_to = Some(cleaned.to))
    }

    fn run(&self, plan: &Plan, stop: &Stop) -> Result<Cleaned, CleanError> {
        let cleaning = Cleaning {
            log: &self.reader,
            writer: &self.writer,
            config: &TopicConfig { segment_bytes: self.group_bytes, ..self.options.config.clone() },
            limits: &self.limits,
            throttler: &Throttler::new(None),
            stop,
            now: self.now,
        };
        cleaning.run(plan)
    }

    /// Rolls with a record of a key of its own, and cleans all before it.
    fn roll_and_clean(&mut self) -> Cleaned {
        self.roll();
        self.put(&[("active", Some(""))]);
        self.clean()
    }

    fn wait(&mut self, duration: Duration) {
        self.now.0 += duration.as_millis() as i64;
    }

    /// All batches, each checked.
    fn batches(&self) -> Vec<Batch> {
        self.read(self.reader.end_offset()).0
    }

    /// The batches below `upper`, and the transactions that a reader is told to leave out (producer, first offset).
    fn read(&self, upper: Offset) -> (Vec<Batch>, Vec<(i64, i64)>) {
        let limit = ReadLimit { upper, bytes_max: 400, at_least_one_batch: true };
        let (mut batches, mut aborted) = (Vec::<Batch>::new(), Vec::new());
        let mut offset = self.reader.start_offset();
        loop {
            let read = self.reader.read(offset, limit, true).unwrap();
            aborted.extend(read.aborted.iter().map(|txn| (txn.producer_id.0, txn.first_offset.0)));
            let Some(slice) = read.slice else { break };
            let mut bytes = vec![0; slice.length as usize];
            sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
            let mut bytes = Bytes::from(bytes);
            while !bytes.is_empty() {
                let batch = Batch::split_from(&mut bytes).unwrap();
                batch.check_crc().unwrap();
                assert!(batch.header.base_offset >= offset, "batches go back, or twice");
                offset = batch.header.next_offset();
                batches.push(batch);
            }
        }
        aborted.sort_unstable();
        aborted.dedup();
        (batches, aborted)
    }

    /// The data records of all batches.
    fn seen(&self) -> Vec<Seen> {
        self.batches().iter().filter(|batch| !batch.header.attributes.is_control()).flat_map(records).collect()
    }

    /// `offset key=value` of each record.
    fn contents(&self) -> Vec<String> {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or("-".into(), String::from_utf8_lossy).into_owned();
        self.seen().iter().map(|seen| format!("{} {}={}", seen.offset, text(&seen.key), text(&seen.value))).collect()
    }

    /// The names of the folder's files that end so.
    fn files(&self, ending: &str) -> Vec<String> {
        names(&self.options.dir).into_iter().filter(|name| name.ends_with(ending)).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.dir.join(name)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn of(builder: BatchBuilder, records: &[(&str, Option<&str>)]) -> BatchBuilder {
    records.iter().fold(builder, |builder, (key, value)| builder.record(Some(key.as_bytes()), value.map(str::as_bytes)))
}

fn records(batch: &Batch) -> Vec<Seen> {
    let records = BatchRecords::open(batch, 1 << 20).unwrap();
    let seen = records.iter().map(Result::unwrap).map(|record| Seen {
        offset: records.offset(&record).0,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        timestamp: records.timestamp(&record).0,
        headers: record.headers().map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
    });
    seen.collect()
}

fn marker(now: Timestamp, producer: i64, committed: bool) -> Batch {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    BatchBuilder::end_txn_marker(now, ProducerId(producer), EPOCH, marker).build().unwrap()
}
