//! What a durable produce comes down to: bytes into a file, and the file onto the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many times a disk took what was written since the last time.
pub struct Syncs {
    pub count: u64,
    pub elapsed: Duration,
}

/// Appends `batches` to a file and syncs it, over and over.
pub fn sync_loop(dir: &Path, batch: &[u8], batches: usize, time: Duration) -> Syncs {
    let file = tempfile::tempfile_in(dir).unwrap();
    let (started, mut count, mut end) = (Instant::now(), 0, 0);
    while started.elapsed() < time {
        end = append(&file, batch, batches, end);
        file.sync_data().unwrap();
        count += 1;
    }
    Syncs { count, elapsed: started.elapsed() }
}

fn append(file: &File, batch: &[u8], batches: usize, mut end: u64) -> u64 {
    for _ in 0..batches {
        file.write_all_at(batch, end).unwrap();
        end += batch.len() as u64;
    }
    end
}
