//! Files set aside go after `file.delete.delay.ms`.

use std::sync::Arc;
use std::time::Instant;

use crate::partition::Registry;

/// Sleeps until there is something to do: a broker that nobody uses does not wake up for nothing. Ends if the work panics.
pub(super) async fn run(partitions: Arc<Registry>) {
    let removals = partitions.manager().removals();
    loop {
        let Some(due) = removals.next_due() else {
            removals.scheduled().await;
            continue;
        };
        tokio::select! {
            () = removals.scheduled() => {}
            () = tokio::time::sleep_until(due.into()) => {
                let partitions = Arc::clone(&partitions);
                let removed = tokio::task::spawn_blocking(move || partitions.manager().removals().run(Instant::now()));
                if removed.await.is_err() {
                    return;
                }
            }
        }
    }
}
