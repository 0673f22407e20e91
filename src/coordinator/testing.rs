//! A journal in memory, for the tests of coordinators.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::journal::{Committing, Journal, LoadError};
use crate::protocol::ErrorCode;
use crate::protocol::batch::{Batch, BatchError};
use crate::types::Offset;

#[derive(Debug, Default)]
struct Topic {
    shards: Option<i32>,
    batches: BTreeMap<i32, Vec<Batch>>,
    /// Every append fails with it.
    failure: Option<ErrorCode>,
    /// The shard that cannot be read.
    damaged: Option<i32>,
    /// The shard whose log dir has failed.
    offline: Option<i32>,
    /// What appends wait for, if they do: the outcome, once there is one.
    commit: Option<watch::Receiver<Option<Result<(), ErrorCode>>>>,
}

/// Clones share what is stored: a second coordinator over it is a restarted broker.
#[derive(Debug, Clone)]
pub(super) struct MemoryJournal(Arc<Mutex<Topic>>);

impl MemoryJournal {
    pub(super) fn new(shards: i32) -> MemoryJournal {
        let journal = MemoryJournal::without_topic();
        journal.create_topic(shards);
        journal
    }

    pub(super) fn without_topic() -> MemoryJournal {
        MemoryJournal(Arc::default())
    }

    pub(super) fn create_topic(&self, shards: i32) {
        self.0.lock().shards = Some(shards);
    }

    pub(super) fn fail_with(&self, failure: Option<ErrorCode>) {
        self.0.lock().failure = failure;
    }

    pub(super) fn damage(&self, shard: i32) {
        self.0.lock().damaged = Some(shard);
    }

    pub(super) fn take_offline(&self, shard: i32) {
        self.0.lock().offline = Some(shard);
    }

    /// Nothing that is appended is committed before its outcome is sent.
    pub(super) fn hold_commits(&self) -> watch::Sender<Option<Result<(), ErrorCode>>> {
        let (outcome, commit) = watch::channel(None);
        self.0.lock().commit = Some(commit);
        outcome
    }

    pub(super) fn push(&self, shard: i32, batch: Batch) {
        self.0.lock().batches.entry(shard).or_default().push(batch);
    }

    pub(super) fn batches(&self, shard: i32) -> Vec<Batch> {
        self.0.lock().batches.get(&shard).cloned().unwrap_or_default()
    }
}

impl Journal for MemoryJournal {
    fn shards(&self) -> Option<i32> {
        self.0.lock().shards
    }

    fn append(&self, shard: i32, mut batch: Batch) -> Result<Offset, ErrorCode> {
        if let Some(error) = self.0.lock().failure {
            return Err(error);
        }
        let base = self.batches(shard).last().map_or(Offset::ZERO, |last| last.header.next_offset());
        batch.header.base_offset = base;
        self.push(shard, batch);
        Ok(base)
    }

    fn uncommitted(&self, _: i32) -> Option<Committing> {
        let mut commit = self.0.lock().commit.clone()?;
        Some(Box::pin(async move {
            let done = commit.wait_for(Option::is_some).await.map_err(|_| ErrorCode::KafkaStorageError)?;
            done.unwrap_or(Err(ErrorCode::KafkaStorageError))
        }))
    }

    fn is_offline(&self, shard: i32) -> bool {
        self.0.lock().offline == Some(shard)
    }

    fn replay(&self, shard: i32, each: &mut dyn FnMut(Batch) -> Result<(), LoadError>) -> Result<(), LoadError> {
        if self.0.lock().damaged == Some(shard) {
            let source = BatchError::BadCrc { stored: 1, computed: 2 };
            return Err(LoadError::Batch { offset: Offset::ZERO, source });
        }
        self.batches(shard).into_iter().try_for_each(each)
    }
}
