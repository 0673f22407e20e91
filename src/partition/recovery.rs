//! Recovery at start, after an unclean stop (`LogManager.loadLogs`): several logs at a time in each log dir, with the progress
//! said. A log that is damaged keeps none of the others.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Registry;
use crate::log::DirContext;
use crate::metadata::Image;
use crate::types::TopicPartition;

const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

impl Registry {
    /// Opens every partition that needs recovery, with `threads_per_dir` threads in each log dir. Blocking.
    pub fn recover(&self, threads_per_dir: usize) {
        let dirs = self.manager().unrecovered();
        let total: usize = dirs.iter().map(|(_, partitions)| partitions.len()).sum();
        if total == 0 {
            return;
        }
        for (dir, partitions) in &dirs {
            let (dir, logs) = (dir.path().display(), partitions.len());
            tracing::info!(%dir, logs, threads = threads_per_dir, "not stopped cleanly: recovering its logs");
        }
        let started = Instant::now();
        let image = self.metadata.image();
        let contexts: Vec<_> = dirs.iter().map(|(context, _)| Arc::clone(context)).collect();
        let queues: Vec<_> = dirs.into_iter().map(|(_, partitions)| Mutex::new(partitions.into_iter())).collect();
        std::thread::scope(|scope| {
            let (finished, progress) = mpsc::channel();
            for queue in &queues {
                for _ in 0..threads_per_dir.max(1) {
                    let (finished, image) = (finished.clone(), &image);
                    scope.spawn(move || self.recover_all(queue, image, &finished));
                }
            }
            drop(finished);
            report(&progress, PROGRESS_INTERVAL, |done| {
                tracing::info!("recovering: {done} of {total} logs, {} MiB read", mib_read(&contexts));
            });
        });
        tracing::info!(
            logs = total,
            mib = mib_read(&contexts),
            "logs recovered in {:.1} s",
            started.elapsed().as_secs_f64()
        );
    }

    fn recover_all(
        &self,
        queue: &Mutex<impl Iterator<Item = TopicPartition>>,
        image: &Image,
        finished: &mpsc::Sender<()>,
    ) {
        loop {
            let Some(id) = queue.lock().next() else { return };
            if let Some(topic) = image.topic(&id.topic) {
                // What cannot be opened has been reported and is offline.
                let _ = self.get(topic, id.partition);
            }
            let _ = finished.send(());
        }
    }
}

/// Says every `interval` how many logs are done, until all who do them have ended.
fn report(progress: &mpsc::Receiver<()>, interval: Duration, mut say: impl FnMut(usize)) {
    let (mut done, mut due) = (0, Instant::now() + interval);
    loop {
        match progress.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(()) => done += 1,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= due {
            say(done);
            due = Instant::now() + interval;
        }
    }
}

fn mib_read(contexts: &[Arc<DirContext>]) -> u64 {
    contexts.iter().map(|context| context.recovery_bytes()).sum::<u64>() >> 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_said_again_and_again_until_all_is_done() {
        let (finished, progress) = mpsc::channel();
        let mut finished = Some(finished);
        let mut said = Vec::new();
        report(&progress, Duration::from_millis(1), |done| {
            said.push(done);
            match &finished {
                Some(more) if done < 3 => more.send(()).unwrap(),
                _ => finished = None,
            }
        });
        // Also between one log that is done and the next.
        assert_eq!(said.first(), Some(&0));
        assert_eq!(said.last(), Some(&3));
        assert!(said.is_sorted());
    }
}
