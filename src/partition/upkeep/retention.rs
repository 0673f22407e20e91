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
    let expired = |partition: Arc<Partition>| Some((start_of(&partition, partition.expire(now))?, partition));
    let expired: Vec<_> = ids.filter_map(|id| partitions.if_due(&id, now)).filter_map(expired).collect();
    for (start, partition) in expired {
        if let Err(error) = remove(partitions, &partition, start) {
            report(&partition, &error);
        }
    }
}

fn start_of(partition: &Partition, expired: Result<Option<Offset>, LogError>) -> Option<Offset> {
    expired.unwrap_or_else(|error| {
        report(partition, &error);
        None
    })
}

fn remove(partitions: &Registry, partition: &Partition, start: Offset) -> Result<(), LogError> {
    partitions.manager().checkpoint_start(&partition.id)?;
    partition.remove_before(start, Instant::now())
}

fn report(partition: &Partition, error: &LogError) {
    match error {
        // It needs no retention any more.
        LogError::Retired | LogError::Closed => {}
        // Said when it failed.
        LogError::DirFailed { .. } => {}
        error => tracing::error!(partition = %partition.id, %error, "retention: what has expired stays"),
    }
}

#[cfg(test)]
mod tests;
