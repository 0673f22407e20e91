//! How much room there is.

use std::io;
use std::path::Path;

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    pub total_bytes: u64,
    /// What this process may still write.
    pub usable_bytes: u64,
}

/// The file system that `path` is on.
pub fn volume(path: &Path) -> io::Result<Volume> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Volume { total_bytes: bytes(found.f_blocks), usable_bytes: bytes(found.f_bavail) })
}
