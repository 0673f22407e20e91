//! The log cleaner: `log.cleaner.threads` workers, each of which cleans the dirtiest log that no other one is at, and pauses
//! for `log.cleaner.backoff.ms` where none needs it (`LogCleaner.CleanerThread`, `LogCleanerManager`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::config;
use crate::log::LogError;
use crate::log::cleaner::{Checkpoint, CleanError, Cleaned, Cleaning, Limits, Plan, Stop, Throttler};
use crate::partition::{Partition, Registry};
use crate::types::{Offset, Timestamp, TopicId};

/// A pause of none at all would keep a processor busy.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

pub(super) fn start(tasks: &mut JoinSet<()>, partitions: impl Fn() -> Arc<Registry>, config: &config::Cleaner) {
    if !config.enabled {
        return;
    }
    let cleaner = Arc::new(Cleaner::new(partitions(), config));
    for _ in 0..config.threads {
        tasks.spawn(work(Arc::clone(&cleaner), config.backoff.max(BACKOFF_MIN)));
    }
}

async fn work(cleaner: Arc<Cleaner>, backoff: Duration) {
    // Dropped with the task: a cleaning that is under way goes on in its own thread, and has to be told.
    let _stopping = StopOnDrop(cleaner.stop.clone());
    tokio::time::sleep(backoff).await;
    loop {
        let cleaner = Arc::clone(&cleaner);
        let Ok(cleaned) = tokio::task::spawn_blocking(move || cleaner.clean_dirtiest(Timestamp::now())).await else {
            return;
        };
        if !cleaned {
            tokio::time::sleep(backoff).await;
        }
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A partition of one life of its topic.
type Key = (TopicId, i32);

/// What the workers share.
#[derive(Debug)]
struct Cleaner {
    partitions: Arc<Registry>,
    limits: Limits,
    throttler: Throttler,
    stop: Stop,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_progress: HashSet<Key>,
    /// Their cleaning has failed, which was said: not tried again before the next start.
    uncleanable: HashSet<Key>,
}

impl Cleaner {
    fn new(partitions: Arc<Registry>, config: &config::Cleaner) -> Cleaner {
        Cleaner {
            partitions,
            limits: Limits::of_one_thread(config),
            throttler: Throttler::new(config.io_bytes_per_second),
            stop: Stop::default(),
            state: Mutex::default(),
        }
    }

    /// Cleans the log that needs it most; whether there was one, and it went well.
    fn clean_dirtiest(&self, now: Timestamp) -> bool {
        let Some((partition, plan)) = self.take_dirtiest(now) else { return false };
        let started = Instant::now();
        let cleaned = self.clean(&partition, &plan, now);
        if let Ok(cleaned) = &cleaned {
            say(&partition, cleaned, started.elapsed());
        }
        self.settle(&partition, cleaned)
    }

    /// Gives the log back; whether it was cleaned.
    fn settle(&self, partition: &Partition, cleaned: Result<Cleaned, CleanError>) -> bool {
        let mut state = self.state.lock();
        state.in_progress.remove(&key(partition));
        let error = match cleaned {
            Ok(_) => return true,
            // A failed dir has said so itself.
            Err(CleanError::Stopped | CleanError::Abandoned | CleanError::Log(LogError::DirFailed { .. })) => {
                return false;
            }
            // Its end took the files away under the cleaner.
            Err(_) if partition.is_deleted() || self.stop.is_stopped() => return false,
            Err(error) => error,
        };
        if is_passing(&error) {
            tracing::warn!(partition = %partition.id, %error, "not cleaned now");
        } else {
            tracing::error!(partition = %partition.id, %error, "cleaning failed; not tried again before the next start");
            state.uncleanable.insert(key(partition));
        }
        false
    }

    /// Of the logs that are due the one with the largest dirty part (`LogCleanerManager.grabFilthiestCompactedLog`).
    fn take_dirtiest(&self, now: Timestamp) -> Option<(Arc<Partition>, Plan)> {
        // Opens what was not open yet: not under the lock.
        let mut candidates = self.partitions.compacted();
        let mut state = self.state.lock();
        let here: HashSet<Key> = candidates.iter().map(|partition| key(partition)).collect();
        state.uncleanable.retain(|key| here.contains(key));
        candidates.retain(|it| !state.in_progress.contains(&key(it)) && !state.uncleanable.contains(&key(it)));
        let mut dirtiest: Option<(Arc<Partition>, Plan)> = None;
        for partition in candidates {
            match self.plan(&partition, now) {
                Ok(Some(plan)) if dirtiest.as_ref().is_none_or(|(_, best)| plan.dirty_ratio() > best.dirty_ratio()) => {
                    dirtiest = Some((partition, plan));
                }
                Ok(_) => {}
                Err(_) if partition.is_deleted() => {}
                Err(LogError::DirFailed { .. }) => {}
                Err(error) if error.is_passing() => {
                    tracing::warn!(partition = %partition.id, %error, "what to clean cannot be told now");
                }
                Err(error) => {
                    tracing::error!(partition = %partition.id, %error, "what to clean cannot be told; not tried again before the next start");
                    state.uncleanable.insert(key(&partition));
                }
            }
        }
        let (partition, _) = dirtiest.as_ref()?;
        state.in_progress.insert(key(partition));
        dirtiest
    }

    /// What there is to clean, if it is due.
    fn plan(&self, partition: &Partition, now: Timestamp) -> Result<Option<Plan>, LogError> {
        let (manager, config) = (self.partitions.manager(), partition.config());
        let plan = partition.on_log(|log| Plan::of(log, manager.cleaned_to(&partition.id), &config, now))?;
        if let Some(Plan { checkpoint: Checkpoint::Invalid(at), first_dirty, .. }) = plan {
            // Retention moves the log start past what was cleaned as a matter of course.
            if !config.delete || at > first_dirty {
                tracing::warn!(partition = %partition.id, checkpoint = %at, log_start = %first_dirty, "cleaner checkpoint outside of the log");
            }
            self.note(partition, first_dirty);
        }
        Ok(plan.filter(|plan| plan.is_due(&config)))
    }

    fn clean(&self, partition: &Partition, plan: &Plan, now: Timestamp) -> Result<Cleaned, CleanError> {
        let (config, log) = (partition.config(), partition.reader());
        let cleaning = Cleaning {
            log: &log,
            writer: &partition.writer,
            config: &config,
            limits: &self.limits,
            throttler: &self.throttler,
            stop: &self.stop,
            now,
        };
        // A log that went to another log dir took its files along.
        let has_left = || !partition.settled_reader().is_same(&log);
        let cleaned = cleaning.run(plan).map_err(|error| if has_left() { CleanError::Abandoned } else { error })?;
        self.note(partition, cleaned.to);
        Ok(cleaned)
    }

    /// A checkpoint that could not be written costs another look at what is clean.
    fn note(&self, partition: &Partition, cleaned_to: Offset) {
        let noted = self.partitions.manager().set_cleaned_to(&partition.id, partition.topic_id, cleaned_to);
        if let Err(error) = noted {
            tracing::warn!(partition = %partition.id, %error, "how far it was cleaned is not written");
        }
    }
}

fn key(partition: &Partition) -> Key {
    (partition.topic_id, partition.id.partition)
}

fn is_passing(error: &CleanError) -> bool {
    matches!(error, CleanError::Log(error) if error.is_passing())
}

fn say(partition: &Partition, cleaned: &Cleaned, took: Duration) {
    let Cleaned { from, to, keys, segments_before, segments_after, bytes_before, bytes_after } = cleaned;
    tracing::info!(
        partition = %partition.id, %from, %to, keys, segments_before, segments_after, bytes_before, bytes_after, ?took,
        "cleaned"
    );
}

#[cfg(test)]
mod tests;
