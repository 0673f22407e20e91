//! What is done to partitions by the clock, off the request path. One task for each kind of work; all of it is blocking
//! file I/O and runs on the blocking pool.

mod checkpoints;
mod cleaning;
mod flushes;
mod moves;
mod removals;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Registry;
use crate::config::Logs;

/// The tasks. Dropping this stops them between two rounds of work.
#[derive(Debug)]
pub struct Upkeep {
    tasks: JoinSet<()>,
}

impl Upkeep {
    pub fn start(partitions: &Arc<Registry>, logs: &Logs) -> Upkeep {
        let mut tasks = JoinSet::new();
        let partitions = || Arc::clone(partitions);
        tasks.spawn(checkpoints::run(partitions(), logs.checkpoint_interval));
        tasks.spawn(checkpoints::run_starts(partitions(), logs.start_checkpoint_interval));
        tasks.spawn(removals::run(partitions()));
        tasks.spawn(retention::run(partitions(), logs.initial_delay, logs.retention_check_interval));
        for _ in 0..partitions().manager().dir_count() {
            tasks.spawn(moves::run(partitions()));
        }
        if let Some(interval) = logs.flush_check_interval {
            tasks.spawn(flushes::run(partitions(), interval));
        }
        cleaning::start(&mut tasks, partitions, &logs.cleaner);
        Upkeep { tasks }
    }

    /// Returns when one of the tasks has ended, which it does only by a defect.
    pub async fn failed(&mut self) {
        self.tasks.join_next().await;
    }
}

/// Does `work` every `interval` on the blocking pool; a round that takes longer puts the next one off. Ends if `work`
/// panics.
async fn every(interval: Duration, work: impl Fn() + Clone + Send + 'static) {
    after(interval, interval, work).await;
}

/// As [`every`], but for the first time after `delay`. An interval of zero stands for once (`KafkaScheduler.schedule`).
async fn after(delay: Duration, interval: Duration, work: impl Fn() + Clone + Send + 'static) {
    tokio::time::sleep(delay).await;
    while tokio::task::spawn_blocking(work.clone()).await.is_ok() {
        if interval.is_zero() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(interval).await;
    }
}
