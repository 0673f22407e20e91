//! Retention, every `log.retention.check.interval.ms` (`LogManager.cleanupLogs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::LogError;
use crate::partition::{Partition, Registry};
use crate::types::{Offset, Timestamp};

pub(super) async fn run(partitions: Arc<Registry>, delay: Duration, interval: Duration) {
    super::after(delay.min(interval), interval, move || round(&partitions, Timestamp::now())).await;
}

/// One partition after the other. First all log starts move, so that one write makes those of a log dir durable.
pub(super) fn round(partitions: &Registry, now: Timestamp) {
    let ids = partitions.manager().found().into_keys();
    let expire = |partition: Arc<Partition>| {
        let start = partition.expire(now).unwrap_or_else(|error| {
            report(&partition, &error);
            None
        });
        start.map(|start| (start, partition))
    };
    let expired: Vec<_> = ids.filter_map(|id| partitions.if_due(&id, now)).filter_map(expire).collect();
    for (start, partition) in expired {
        if let Err(error) = remove(partitions, &partition, start) {
            report(&partition, &error);
        }
    }
}

fn remove(partitions: &Registry, partition: &Partition, start: Offset) -> Result<(), LogError> {
    match partitions.manager().checkpoint_start(&partition.id) {
        // What is to go makes the room. The name of the first file that is left says where the log starts then.
        Ok(()) | Err(LogError::DiskFull { .. }) => partition.remove_before(start, Instant::now()),
        Err(error) => Err(error),
    }
}

fn report(partition: &Partition, error: &LogError) {
    match error {
        // It needs no retention any more, or this was said when the dir failed.
        LogError::Retired | LogError::Closed | LogError::DirFailed { .. } => {}
        error => tracing::error!(partition = %partition.id, %error, "retention: what has expired stays"),
    }
}

#[cfg(test)]
mod tests;
