//! Recovery points, every `log.flush.offset.checkpoint.interval.ms` (`LogManager.checkpointLogRecoveryOffsets`), and log
//! starts, every `log.flush.start.offset.checkpoint.interval.ms` (`LogManager.checkpointLogStartOffsets`). Whoever moves a
//! log start has checkpointed it; only where that failed is there anything left to write.

use std::sync::Arc;
use std::time::Duration;

use crate::partition::Registry;

pub(super) async fn run(partitions: Arc<Registry>, interval: Duration) {
    super::every(interval, move || {
        if let Err(error) = partitions.checkpoint() {
            tracing::error!(%error, "recovery points not written; after a crash more is recovered than needed");
        }
    })
    .await;
}

pub(super) async fn run_starts(partitions: Arc<Registry>, interval: Duration) {
    super::every(interval, move || {
        if let Err(error) = partitions.manager().checkpoint_starts() {
            tracing::error!(%error, "log starts not written; after a crash deleted records may come back");
        }
    })
    .await;
}
