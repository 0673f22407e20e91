//! The embedded store: one `redb` file.
//!
//! | table      | key             | value                                              |
//! |------------|-----------------|----------------------------------------------------|
//! | `topics`   | topic id (u128) | the topic ([`codec`])                              |
//! | `deleted`  | topic id (u128) | nothing: deleted, its folders perhaps not yet      |
//! | `counters` | 0 (u8)          | format of this file: 1                             |
//! |            | 1               | version of the image                               |
//! |            | 2               | number of topics                                   |
//! |            | 3               | producer ids below this one have been handed out   |

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use redb::{ReadableTableMetadata, StorageBackend, WriteTransaction};
use uuid::Uuid;

use super::unpanicked::{DAMAGED, Unusable, unpanicked};
use super::{Store, StoreError, codec};
use crate::log::{DirContext, LogError};
use crate::metadata::{Change, Image, Topic};
use crate::sys;
use crate::types::TopicId;

const UNFINISHED_FILE_NAME: &str = "metadata.redb.tmp";
/// Small, as the image itself is in memory and the store is read once.
const CACHE_BYTES: usize = 256 * 1024;
/// How much of a file is taken into memory to be examined: more topics than one machine serves have room in it.
const EXAMINED_BYTES_MAX: u64 = 1 << 30;
const FORMAT: u64 = 1;

const TOPICS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("topics");
const DELETED: TableDefinition<'_, u128, ()> = TableDefinition::new("deleted");
const COUNTERS: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("counters");
const FORMAT_KEY: u8 = 0;
const VERSION_KEY: u8 = 1;
const TOPIC_COUNT_KEY: u8 = 2;
const NEXT_PRODUCER_ID_KEY: u8 = 3;

/// The embedded store (`redb`) under `<first log.dir>/__metadata`.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    /// `None` after an I/O error, behind which redb does nothing more: the next use opens the file again.
    database: Mutex<Option<Database>>,
    /// Of the last commit that was confirmed.
    version: AtomicU64,
    /// Of the log dir that the store is in.
    context: Option<Arc<DirContext>>,
}

impl LocalStore {
    pub const FILE_NAME: &str = "metadata.redb";

    /// Whether there is a store in `dir`.
    pub fn exists(dir: &Path) -> bool {
        fs::metadata(dir.join(LocalStore::FILE_NAME)).is_ok_and(|file| file.len() > 0)
    }

    /// Makes a store of what lies on disk, in place of one that is lost or never was ([`crate::metadata::take_over`]).
    pub fn create(
        dir: &Path,
        changes: &[Change],
        image: &Image,
        next_producer_id: i64,
    ) -> Result<LocalStore, StoreError> {
        LocalStore::make(dir, dir.join(LocalStore::FILE_NAME), |store| {
            store.commit(changes, image)?;
            store.allocate_producer_ids(next_producer_id).map(drop)
        })
    }

    /// Opens the store in `dir`, or makes one. A file that cannot be read is an error that names it; whoever moves it
    /// away gets the topics back from their folders ([`crate::metadata::take_over`]).
    pub fn open(dir: &Path) -> Result<LocalStore, StoreError> {
        let path = dir.join(LocalStore::FILE_NAME);
        let store = match fs::metadata(&path).map_or(0, |file| file.len()) {
            0 => LocalStore::make(dir, path, |_| Ok(()))?,
            _ => LocalStore::with(path.clone(), database(&path)?),
        };
        store.check_format()?;
        store.version.store(store.counter(VERSION_KEY)?, Ordering::SeqCst);
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.counter(FORMAT_KEY)? {
            FORMAT => Ok(()),
            other => Err(failed(&self.path, format_args!("format {other}; this version reads format {FORMAT}"))),
        }
    }

    /// Reads what is stored in `dir` as a start would, and checks every page besides. All of it happens in a copy in
    /// memory, because opening a file makes redb write to it. `None`: no store is there, or one that was never made.
    pub fn examine(dir: &Path) -> Result<Option<Image>, StoreError> {
        let path = dir.join(LocalStore::FILE_NAME);
        let bytes = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.and_then(read_capped).map_err(|error| failed(&path, error))?,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let database = unpanicked(|| {
            let memory = InMemoryBackend::new();
            memory.set_len(bytes.len() as u64)?;
            memory.write(0, &bytes)?;
            let mut database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(memory)?;
            let is_sound = database.check_integrity()?;
            Ok(is_sound.then_some(database))
        });
        let database = database.map_err(|error| failed(&path, error))?.ok_or_else(|| failed(&path, DAMAGED))?;
        let store = LocalStore::with(path, database);
        store.check_format()?;
        store.load().map(Some)
    }

    /// The store takes part in its log dir's health: after an error of the device neither is written to any more.
    pub fn in_dir(mut self, context: Option<Arc<DirContext>>) -> LocalStore {
        self.context = context;
        self
    }

    fn with(path: PathBuf, database: Database) -> LocalStore {
        LocalStore { path, database: Mutex::new(Some(database)), version: AtomicU64::new(0), context: None }
    }

    /// Under a name of its own until it is whole: what a crash leaves of it is never taken for a store.
    fn make(
        dir: &Path,
        path: PathBuf,
        fill: impl FnOnce(&LocalStore) -> Result<(), StoreError>,
    ) -> Result<LocalStore, StoreError> {
        let unfinished = dir.join(UNFINISHED_FILE_NAME);
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&unfinished, []))
            .map_err(|error| failed(&unfinished, error))?;
        let store = LocalStore::with(path, database(&unfinished)?);
        store.write(Durability::Immediate, |txn| {
            txn.open_table(TOPICS)?;
            txn.open_table(DELETED)?;
            let mut counters = txn.open_table(COUNTERS)?;
            for (key, value) in
                [(FORMAT_KEY, FORMAT), (VERSION_KEY, 0), (TOPIC_COUNT_KEY, 0), (NEXT_PRODUCER_ID_KEY, 0)]
            {
                counters.insert(key, codec::encode_counter(key, value).as_slice())?;
            }
            Ok(())
        })?;
        fill(&store)?;
        let mut dirs = dir.parent().into_iter().chain([dir]);
        let renamed = fs::rename(&unfinished, &store.path).and_then(|()| dirs.try_for_each(sys::sync_dir));
        renamed.map_err(|error| failed(&store.path, error))?;
        Ok(store)
    }

    fn counter(&self, key: u8) -> Result<u64, StoreError> {
        let value = self.with_database(|database| counter_of(database, key))?;
        value.ok_or_else(|| failed(&self.path, DAMAGED))
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        self.with_database(|database| work(&database.begin_read()?))
    }

    fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if let Some(context) = &self.context {
            context.check().map_err(|error| StoreError(error.to_string()))?;
        }
        let written = self.with_database(|database| {
            let mut txn = database.begin_write()?;
            txn.set_durability(durability)?;
            let result = work(&txn)?;
            txn.commit()?;
            Ok(result)
        });
        if let (Ok(_), Some(context)) = (&written, &self.context) {
            context.written();
        }
        written
    }

    fn with_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let mut slot = self.database.lock();
        let database = match &mut *slot {
            Some(database) => database,
            closed => closed.insert(self.reopened()?),
        };
        match unpanicked(|| work(database)) {
            Ok(result) => Ok(result),
            Err(error) => {
                let failure = failed(&self.path, &error);
                if let Unusable::Redb(redb::Error::Io(source)) = error {
                    close(&self.path, slot.take());
                    self.judge(source);
                }
                Err(failure)
            }
        }
    }

    /// After an I/O error it is not known whether the commit that met it took effect. If it did, the store is ahead of the
    /// image, and only a start brings the two together.
    fn reopened(&self) -> Result<Database, StoreError> {
        let database = database(&self.path)?;
        let version = counter_in(&database, VERSION_KEY).map_err(|error| failed(&self.path, error))?;
        if version == Some(self.version.load(Ordering::SeqCst)) {
            return Ok(database);
        }
        close(&self.path, Some(database));
        Err(failed(&self.path, "a change that had failed is in the store after all; restart the broker to see it"))
    }

    fn judge(&self, source: std::io::Error) {
        if let Some(context) = &self.context {
            context.write_failed(LogError::Io { path: self.path.clone(), source });
        }
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        close(&self.path, self.database.get_mut().take());
    }
}

/// Closing writes, and so may meet damage that nothing has met before.
fn close(path: &Path, database: Option<Database>) {
    let closed = unpanicked(|| {
        drop(database);
        Ok(())
    });
    if let Err(error) = closed {
        tracing::error!(path = %path.display(), %error, "metadata store not closed in order");
    }
}

impl Store for LocalStore {
    fn load(&self) -> Result<Image, StoreError> {
        let topics: Vec<(TopicId, Option<Topic>)> = self.read(|txn| {
            let decoded = |id: TopicId, value: &[u8]| (id, codec::decode_topic(id, value));
            let topics = txn.open_table(TOPICS)?;
            let entries =
                topics.iter()?.map(|entry| entry.map(|(id, value)| decoded(topic_id(id.value()), value.value())));
            entries.collect::<Result<_, _>>().map_err(redb::Error::from)
        })?;
        if topics.len() as u64 != self.counter(TOPIC_COUNT_KEY)? {
            return Err(failed(&self.path, DAMAGED));
        }
        let mut image = Image::default();
        image.version = self.counter(VERSION_KEY)?;
        for (id, topic) in topics {
            image.put(topic.ok_or_else(|| failed(&self.path, format_args!("the entry of topic id {id} is damaged")))?);
        }
        Ok(image)
    }

    fn commit(&self, changes: &[Change], next: &Image) -> Result<(), StoreError> {
        let committed = self.write(Durability::Immediate, |txn| {
            let mut topics = txn.open_table(TOPICS)?;
            for change in changes {
                match change {
                    Change::CreateTopic { id, .. }
                    | Change::SetPartitions { id, .. }
                    | Change::SetTopicConfigs { id, .. }
                    | Change::SetLeaderEpoch { id, .. } => {
                        // A topic that a later one of the changes deletes is not in the next image.
                        if let Some(topic) = next.topic_by_id(*id) {
                            topics.insert(id.0.as_u128(), codec::encode_topic(topic).as_slice())?;
                        }
                    }
                    Change::DeleteTopic { id } => {
                        topics.remove(id.0.as_u128())?;
                        txn.open_table(DELETED)?.insert(id.0.as_u128(), ())?;
                    }
                }
            }
            let mut counters = txn.open_table(COUNTERS)?;
            for (key, value) in [(VERSION_KEY, next.version), (TOPIC_COUNT_KEY, topics.len()?)] {
                counters.insert(key, codec::encode_counter(key, value).as_slice())?;
            }
            Ok(())
        });
        committed.inspect(|()| self.version.store(next.version, Ordering::SeqCst))
    }

    fn allocate_producer_ids(&self, count: i64) -> Result<i64, StoreError> {
        let first = self.counter(NEXT_PRODUCER_ID_KEY)?;
        let first = i64::try_from(first).map_err(|_| failed(&self.path, DAMAGED))?;
        let next = first.checked_add(count).ok_or_else(|| failed(&self.path, "no producer ids are left"))?;
        self.write(Durability::Immediate, |txn| {
            let value = codec::encode_counter(NEXT_PRODUCER_ID_KEY, next.unsigned_abs());
            txn.open_table(COUNTERS)?.insert(NEXT_PRODUCER_ID_KEY, value.as_slice())?;
            Ok(first)
        })
    }

    fn deleted(&self) -> Result<BTreeSet<TopicId>, StoreError> {
        self.read(|txn| {
            let deleted = txn.open_table(DELETED)?;
            let ids = deleted.iter()?.map(|entry| entry.map(|(id, _)| topic_id(id.value())));
            ids.collect::<Result<_, _>>().map_err(redb::Error::from)
        })
    }

    fn forget_deleted(&self, ids: &[TopicId]) -> Result<(), StoreError> {
        self.write(Durability::None, |txn| {
            let mut deleted = txn.open_table(DELETED)?;
            ids.iter().try_for_each(|id| deleted.remove(id.0.as_u128()).map(drop)).map_err(redb::Error::from)
        })
    }
}

fn read_capped(file: fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(EXAMINED_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > EXAMINED_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {EXAMINED_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn database(path: &Path) -> Result<Database, StoreError> {
    let opened = unpanicked(|| Ok(Builder::new().set_cache_size(CACHE_BYTES).create(path)?));
    opened.map_err(|error| failed(path, error))
}

fn counter_in(database: &Database, key: u8) -> Result<Option<u64>, Unusable> {
    unpanicked(|| counter_of(database, key))
}

fn counter_of(database: &Database, key: u8) -> Result<Option<u64>, redb::Error> {
    let counters = database.begin_read()?.open_table(COUNTERS)?;
    Ok(counters.get(key)?.and_then(|value| codec::decode_counter(key, value.value())))
}

fn topic_id(key: u128) -> TopicId {
    TopicId(Uuid::from_u128(key))
}

fn failed(path: &Path, error: impl Display) -> StoreError {
    StoreError(format!("{}: {error}", path.display()))
}
