//! Moves between log dirs, as they are asked for.

use std::sync::Arc;

use crate::partition::Registry;

/// One of as many as may be under way at once (`num.replica.alter.log.dirs.threads`: as many as there are log dirs).
pub(super) async fn run(partitions: Arc<Registry>) {
    loop {
        partitions.moves.wanted.notified().await;
        let work = Arc::clone(&partitions);
        if tokio::task::spawn_blocking(move || work.run_moves()).await.is_err() {
            return;
        }
    }
}
