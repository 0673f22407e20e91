//! `flush.ms`, looked at every `log.flush.scheduler.interval.ms` (`LogManager.flushDirtyLogs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::partition::Registry;

pub(super) async fn run(partitions: Arc<Registry>, interval: Duration) {
    super::every(interval, move || {
        for partition in partitions.open_partitions() {
            let Some(flush_interval) = partition.config().flush_interval else { continue };
            if let Err(error) = partition.reader().flush_if_due(Instant::now(), flush_interval)
                && !error.is_reported()
            {
                tracing::error!(partition = %partition.id, %error, "log not flushed");
            }
        }
    })
    .await;
}
