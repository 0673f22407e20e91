//! Fetch 4–18: record batches as they lie on disk.
//!
//! - Whole batches only. `max_bytes` and each partition's own limit are kept, but the first batch of an answer goes out
//!   however large it is, so that a consumer always gets on (KIP-74).
//! - Below `min_bytes` the answer waits for appends, up to `max_wait_ms`, and looks again only at partitions that grew.
//!   An error in any partition answers at once, but one that does not exist keeps the others waiting.
//! - No worker waits for the disk: what is not in the page cache is read on the blocking pool, in the request's order.
//! - v7 brings sessions (KIP-227), v9 leader epochs (KIP-320), v12 flexible versions, v13 topic ids (KIP-516).
//! - A replica id is not believed: whoever fetches is an ordinary client and sees up to the high watermark.
//! - Not done: diverging epochs and snapshots (for followers), preferred read replicas (there is one replica).

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::dispatch::{Call, Rejected, Reply};
use super::fetch_session::{PartitionKey, Scope, Wanted};
use super::{Context, Refused};
use crate::log::{Access, ReadSlice};
use crate::partition::{FetchWait, Isolation, Partition, Read};
use crate::protocol::ErrorCode;
use crate::protocol::fetch_wire::{self, FetchAnswer, PartitionAnswer, TopicKey};
use crate::protocol::response::Response;

const TOPIC_IDS_SINCE: i16 = 13;
const READ_COMMITTED: i8 = 1;
/// A fetch of more partitions is answered at once: what waits is in memory, and nothing else bounds how much that is.
const WAITING_PARTITIONS_MAX: usize = 50_000;
/// Reads that wait for the disk at once: enough to keep one busy.
static COLD_READS: Semaphore = Semaphore::const_new(16);
/// Leaves room for the rest of the answer in a frame, whose length is an `i32`.
const RECORDS_BYTES_MAX: u32 = 1 << 30;

pub(super) fn handle(ctx: &Context, call: Call, request: FetchRequest) -> Result<Reply, Rejected> {
    let services = &ctx.services;
    let limits = Limits::of(&request, services.config.fetch_max_bytes);
    let by_id = call.version >= TOPIC_IDS_SINCE;
    let (scope, wanted) = match services.fetch_sessions.open(request, by_id, std::time::Instant::now()) {
        Ok(opened) => opened,
        Err(error) => {
            let answer = FetchAnswer { error: Some(error), ..FetchAnswer::default() };
            return Ok(Reply::Now(fetch_wire::encode(answer, call.version, call.correlation_id)));
        }
    };
    let targets = wanted.into_iter().map(|(key, wanted)| Target::resolve(ctx, key, wanted)).collect();
    let mut fetch = Fetch { targets, answers: Vec::new(), limits, scope };
    let is_read = fetch.read_all(Access::Cached);
    if is_read && fetch.is_satisfied() {
        return Ok(Reply::Now(fetch.finish(call)));
    }
    let stopping = services.stopping.clone();
    Ok(Reply::Staged(Box::pin(async move {
        if !is_read {
            fetch = fetch.read_off_worker(Fetch::read_all).await.map_err(|refused| call.refused(refused))?;
        }
        if !fetch.is_satisfied() {
            fetch = fetch.wait(stopping).await.map_err(|refused| call.refused(refused))?;
        }
        Ok(fetch.finish(call))
    })))
}

/// What the client asks of the answer as a whole.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes_min: u32,
    bytes_max: u32,
    deadline: Option<Instant>,
    isolation: Isolation,
}

impl Limits {
    fn of(request: &FetchRequest, bytes_max: u32) -> Limits {
        let max_wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
        let bytes_max = u32::try_from(request.max_bytes).unwrap_or(0).min(bytes_max).min(RECORDS_BYTES_MAX);
        Limits {
            // Waiting for more than may be sent would only ever end by the deadline.
            bytes_min: u32::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
            bytes_max,
            deadline: (max_wait > 0).then(|| Instant::now() + Duration::from_millis(max_wait)),
            isolation: match request.isolation_level {
                READ_COMMITTED => Isolation::ReadCommitted,
                _ => Isolation::ReadUncommitted,
            },
        }
    }
}

/// One partition to read from.
#[derive(Debug)]
struct Target {
    key: PartitionKey,
    wanted: Wanted,
    partition: Result<Arc<Partition>, ErrorCode>,
}

impl Target {
    fn resolve(ctx: &Context, key: PartitionKey, wanted: Wanted) -> Target {
        let partitions = &ctx.services.partitions;
        let found = match &key.topic {
            TopicKey::Name(name) => partitions.by_name(name, key.index),
            TopicKey::Id(id) => partitions.by_id(*id, key.index),
        };
        Target { key, wanted, partition: found.map_err(|error| error.error_code()) }
    }

    /// `None` where the disk would have to be waited for and `access` does not allow it.
    fn read(&self, limits: &Limits, found: u32, access: Access) -> Option<PartitionAnswer> {
        self.try_read(limits, found, access)
            .unwrap_or_else(|error| Some(PartitionAnswer::error(self.key.topic.clone(), self.key.index, error)))
    }

    fn try_read(&self, limits: &Limits, found: u32, access: Access) -> Result<Option<PartitionAnswer>, ErrorCode> {
        let partition = self.partition.as_ref().map_err(|error| *error)?;
        partition.check_leader_epoch(self.wanted.leader_epoch)?;
        let isolation = limits.isolation;
        let read = Read {
            offset: self.wanted.offset,
            bytes_max: limits.bytes_max.saturating_sub(found).min(self.wanted.bytes_max),
            at_least_one_batch: found == 0,
            isolation,
        };
        let read = match access {
            Access::Cached => partition.read_cached(read)?,
            Access::Blocking => Some(partition.read(read)?),
        };
        let Some((offsets, ReadSlice { slice, aborted })) = read else { return Ok(None) };
        let aborted = aborted.into_iter().map(|txn| (txn.producer_id, txn.first_offset));
        Ok(Some(PartitionAnswer {
            topic: self.key.topic.clone(),
            index: self.key.index,
            error: None,
            high_watermark: offsets.high_watermark,
            last_stable: offsets.last_stable,
            log_start: offsets.log_start,
            aborted: (isolation == Isolation::ReadCommitted).then(|| aborted.collect()),
            records: slice,
        }))
    }
}

/// A fetch on its way: its partitions, and what each of them answers so far.
#[derive(Debug)]
struct Fetch {
    targets: Vec<Target>,
    /// One for each target.
    answers: Vec<PartitionAnswer>,
    limits: Limits,
    scope: Scope,
}

impl Fetch {
    /// False where the disk would have to be waited for and `access` does not allow it: then nothing of it counts, for
    /// who comes first in the request is served first.
    fn read_all(&mut self, access: Access) -> bool {
        self.answers.clear();
        let mut found: u32 = 0;
        for target in &self.targets {
            let Some(answer) = target.read(&self.limits, found, access) else { return false };
            found = found.saturating_add(answer.records_len());
            self.answers.push(answer);
        }
        true
    }

    /// Does a reading that has to wait for the disk where no worker is held up.
    async fn read_off_worker(
        mut self,
        read: impl FnOnce(&mut Fetch, Access) -> bool + Send + 'static,
    ) -> Result<Fetch, Refused> {
        let permit = COLD_READS.acquire().await;
        let read = tokio::task::spawn_blocking(move || {
            read(&mut self, Access::Blocking);
            self
        });
        let read = read.await.map_err(|failed| Refused(failed.to_string()));
        drop(permit);
        read
    }

    fn found_bytes(&self) -> u32 {
        self.answers.iter().fold(0, |sum, answer| sum.saturating_add(answer.records_len()))
    }

    /// Whether there is no reason to wait. Partitions that do not exist are none, as long as there are others
    /// (`KafkaApis.handleFetchRequest`): a consumer that has not noticed a deletion would ask without a pause.
    fn is_satisfied(&self) -> bool {
        let mut existing =
            self.targets.iter().zip(&self.answers).filter(|(target, _)| target.partition.is_ok()).peekable();
        self.limits.deadline.is_none()
            || self.targets.len() > WAITING_PARTITIONS_MAX
            || self.found_bytes() >= self.limits.bytes_min
            || existing.peek().is_none()
            || existing.any(|(_, answer)| answer.error.is_some())
    }

    /// Waits for appends until satisfied, the deadline, or the broker's stop.
    async fn wait(mut self, mut stopping: tokio::sync::watch::Receiver<bool>) -> Result<Fetch, Refused> {
        let Some(deadline) = self.limits.deadline else { return Ok(self) };
        let wait = FetchWait::new();
        for (number, target) in self.targets.iter().enumerate() {
            target.register(&wait, number);
        }
        // What was appended before the registration woke nobody.
        if !self.read_all(Access::Cached) {
            self = self.read_off_worker(Fetch::read_all).await?;
        }
        let deadline = tokio::time::sleep_until(deadline);
        tokio::pin!(deadline);
        while !self.is_satisfied() {
            let news = tokio::select! {
                news = wait.news() => news,
                () = &mut deadline => break,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            };
            for &number in &news {
                self.targets.get(number).into_iter().for_each(|target| target.register(&wait, number));
            }
            if !self.read_again(&news, Access::Cached) {
                self = self.read_off_worker(move |fetch, access| fetch.read_again(&news, access)).await?;
            }
        }
        Ok(self)
    }

    /// Looks again at the targets that have news. False as for [`Fetch::read_all`].
    fn read_again(&mut self, news: &[usize], access: Access) -> bool {
        let mut found = self.found_bytes();
        for &number in news {
            let (Some(target), Some(answer)) = (self.targets.get(number), self.answers.get_mut(number)) else {
                continue;
            };
            found = found.saturating_sub(answer.records_len());
            let Some(read) = target.read(&self.limits, found, access) else { return false };
            found = found.saturating_add(read.records_len());
            *answer = read;
        }
        true
    }

    fn finish(self, call: Call) -> Response {
        let session_id = self.scope.id();
        let partitions = self.scope.without_old_news(self.answers);
        fetch_wire::encode(FetchAnswer { error: None, session_id, partitions }, call.version, call.correlation_id)
    }
}

impl Target {
    fn register(&self, wait: &Arc<FetchWait>, number: usize) {
        if let Ok(partition) = &self.partition {
            partition.waiters().register(wait, number);
        }
    }
}
