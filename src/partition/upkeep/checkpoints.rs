//! Recovery points, every `log.flush.offset.checkpoint.interval.ms` (`LogManager.checkpointLogRecoveryOffsets`).

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
