//! Files set aside go after `file.delete.delay.ms`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::partition::Registry;

/// How much later than its delay says a file may go.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(partitions: Arc<Registry>) {
    super::every(CHECK_INTERVAL, move || {
        partitions.manager().removals().run(Instant::now());
    })
    .await;
}
