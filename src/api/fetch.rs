//! Fetch 4–18: record batches as they lie on disk.
//!
//! - Whole batches only. `max_bytes` and each partition's own limit are kept, but the first batch of an answer goes out
//!   however large it is, so that a consumer always gets on (KIP-74).
//! - Below `min_bytes` the answer waits for appends, up to `max_wait_ms`, and looks again only at partitions that grew.
//!   An error in any partition answers at once, but one that does not exist keeps the others waiting.
//! - No worker waits for the disk: what is not in the page cache is read on the blocking pool, in the request's order.
//! - v7 brings sessions (KIP-227), whose fetches look only at the partitions that may have something, v9 leader epochs (KIP-320), v12 flexible versions, v13 topic ids (KIP-516).
//! - A replica id is not believed: whoever fetches is an ordinary client and sees up to the high watermark.
//! - Not done: diverging epochs and snapshots (for followers), preferred read replicas (there is one replica).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::dispatch::{Call, Rejected, Reply};
use super::fetch_session::{Looked, Scope};
use super::{Context, Refused, Services};
use crate::log::{Access, ReadSlice};
use crate::partition::{FetchWait, Isolation, Partition, Read, Registry};
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
    let (scope, looked) = match services.fetch_sessions.open(request, by_id, std::time::Instant::now()) {
        Ok(opened) => opened,
        Err(error) => {
            let answer = FetchAnswer { error: Some(error), ..FetchAnswer::default() };
            return Ok(Reply::Now(fetch_wire::encode(answer, call.version, call.correlation_id)));
        }
    };
    let targets = looked.into_iter().map(|looked| Target::resolve(&services.partitions, looked)).collect();
    let mut fetch = Fetch { targets, answers: Vec::new(), limits, scope, has_lost: false };
    let is_read = fetch.look(Access::Cached);
    if is_read && fetch.is_satisfied() {
        return Ok(Reply::Now(fetch.finish(call)));
    }
    let services = services.clone();
    Ok(Reply::Staged(Box::pin(async move {
        if !is_read {
            fetch = fetch.read_off_worker(Fetch::look).await.map_err(|refused| call.refused(refused))?;
        }
        if !fetch.is_satisfied() {
            fetch = fetch.wait(&services).await.map_err(|refused| call.refused(refused))?;
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
    looked: Looked,
    partition: Result<Arc<Partition>, ErrorCode>,
}

impl Target {
    fn resolve(partitions: &Registry, looked: Looked) -> Target {
        let index = looked.key.index;
        let found = match &looked.key.topic {
            TopicKey::Name(name) => partitions.by_name(name, index),
            TopicKey::Id(id) => partitions.by_id(*id, index),
        };
        Target { looked, partition: found.map_err(|error| error.error_code()) }
    }

    fn register(&self, wait: &Arc<FetchWait>) {
        if let Ok(partition) = &self.partition {
            partition.waiters().register(wait, self.looked.number);
        }
    }

    fn answer_error(&self, error: ErrorCode) -> PartitionAnswer {
        PartitionAnswer::error(self.looked.key.topic.clone(), self.looked.key.index, error)
    }

    /// `None` where the disk would have to be waited for and `access` does not allow it.
    fn read(&self, limits: &Limits, found: u32, access: Access) -> Option<PartitionAnswer> {
        self.try_read(limits, found, access).unwrap_or_else(|error| Some(self.answer_error(error)))
    }

    fn try_read(&self, limits: &Limits, found: u32, access: Access) -> Result<Option<PartitionAnswer>, ErrorCode> {
        let partition = self.partition.as_ref().map_err(|error| *error)?;
        let Looked { key, wanted, .. } = &self.looked;
        partition.check_leader_epoch(wanted.leader_epoch)?;
        let isolation = limits.isolation;
        let read = Read {
            offset: wanted.offset,
            bytes_max: limits.bytes_max.saturating_sub(found).min(wanted.bytes_max),
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
            topic: key.topic.clone(),
            index: key.index,
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
    /// A quiet partition went away while the fetch waited.
    has_lost: bool,
}

impl Fetch {
    /// Reads all targets. Those of a session that have nothing are registered with, so that its next fetch need not look at
    /// them. False where the disk would have to be waited for and `access` does not allow it: then nothing of it counts,
    /// for who comes first in the request is served first.
    fn look(&mut self, access: Access) -> bool {
        self.read_all(access) && (!self.scope.goes_on() || self.watch(access, |answer| answer.records_len() == 0))
    }

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

    /// Registers with targets by what they answer, and reads those again: what was appended before woke nobody.
    fn watch(&mut self, access: Access, which: impl Fn(&PartitionAnswer) -> bool) -> bool {
        let watched = |place: &usize| self.answers.get(*place).is_some_and(&which);
        let places: Vec<usize> = (0..self.targets.len()).filter(watched).collect();
        self.register(&places);
        self.read_again(&places, access)
    }

    fn register(&self, places: &[usize]) {
        let wait = self.scope.wait();
        places.iter().filter_map(|place| self.targets.get(*place)).for_each(|target| target.register(wait));
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
            || self.has_lost
            || self.targets.len() > WAITING_PARTITIONS_MAX
            || self.found_bytes() >= self.limits.bytes_min
            || (existing.peek().is_none() && !self.scope.has_quiet())
            || existing.any(|(_, answer)| answer.error.is_some())
    }

    /// Waits for appends until satisfied, the deadline, or the broker's stop.
    async fn wait(mut self, services: &Services) -> Result<Fetch, Refused> {
        let Some(deadline) = self.limits.deadline else { return Ok(self) };
        if !self.watch(Access::Cached, |_| true) {
            self = self.read_off_worker(Fetch::read_all).await?;
        }
        let mut places = self.targets.iter().enumerate().map(|(place, target)| (target.looked.number, place)).collect();
        let deadline = tokio::time::sleep_until(deadline);
        tokio::pin!(deadline);
        let mut stopping = services.stopping.clone();
        while !self.is_satisfied() {
            let news = tokio::select! {
                news = self.scope.wait().news() => news,
                () = &mut deadline => break,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            };
            let woken = news.into_iter().filter_map(|number| self.woken(&services.partitions, &mut places, number));
            let woken: Vec<usize> = woken.collect();
            self.register(&woken);
            if !self.read_again(&woken, Access::Cached) {
                self = self.read_off_worker(move |fetch, access| fetch.read_again(&woken, access)).await?;
            }
        }
        Ok(self)
    }

    /// The place among the targets of a partition with news; of a session also one that was quiet until now.
    fn woken(&mut self, partitions: &Registry, places: &mut HashMap<usize, usize>, number: usize) -> Option<usize> {
        let looked = self.scope.woken(number);
        if let Some(place) = places.get(&number) {
            return Some(*place);
        }
        let target = Target::resolve(partitions, looked?);
        self.has_lost |= target.partition.is_err();
        places.insert(number, self.targets.len());
        self.answers.push(target.answer_error(ErrorCode::UnknownServerError));
        self.targets.push(target);
        Some(self.targets.len() - 1)
    }

    /// Looks again at the targets that have news. False as for [`Fetch::look`].
    fn read_again(&mut self, places: &[usize], access: Access) -> bool {
        let mut found = self.found_bytes();
        for &place in places {
            let (Some(target), Some(answer)) = (self.targets.get(place), self.answers.get_mut(place)) else {
                continue;
            };
            found = found.saturating_sub(answer.records_len());
            let Some(read) = target.read(&self.limits, found, access) else { return false };
            // A batch over the limit went in because it was the first (KIP-74): what came behind it must not take its place.
            if read.records_len() > 0 || read.error.is_some() || answer.records_len() == 0 {
                *answer = read;
            }
            found = found.saturating_add(answer.records_len());
        }
        true
    }

    fn finish(self, call: Call) -> Response {
        let session_id = self.scope.id();
        let partitions = self.scope.without_old_news(self.answers);
        fetch_wire::encode(FetchAnswer { error: None, session_id, partitions }, call.version, call.correlation_id)
    }
}
