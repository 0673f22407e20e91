//! What is done to partitions by the clock, off the request path. One task for each kind of work; all of it is blocking
//! file I/O and runs on the blocking pool.

mod checkpoints;
mod cleaning;
mod removals;

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
        tasks.spawn(removals::run(partitions()));
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
    loop {
        tokio::time::sleep(interval).await;
        if tokio::task::spawn_blocking(work.clone()).await.is_err() {
            return;
        }
    }
}
