//! Positioned file I/O.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};

/// A run of bytes in a file, shared with whoever else reads it: what a fetch sends without copying.
#[derive(Clone, Debug)]
pub struct FileSlice {
    pub file: Arc<File>,
    /// First byte, from the file's start.
    pub position: u64,
    /// Bytes.
    pub length: u32,
}

/// Fills `buf` from `position`, or fails with `UnexpectedEof`.
pub fn pread_exact(file: &File, buf: &mut [u8], position: u64) -> io::Result<()> {
    file.read_exact_at(buf, position)
}

/// Reads until `buf` is full or the file ends; returns the bytes read.
pub fn pread_up_to(file: &File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `buf` at `position`.
pub fn pwrite_all(file: &File, buf: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(buf, position)
}

/// Writes all of `parts`, one after the other, from `position` on. Returns the bytes written.
pub fn pwritev_all(file: &File, mut parts: &mut [IoSlice<'_>], position: u64) -> io::Result<u64> {
    // IOV_MAX of Linux.
    const PARTS_MAX: usize = 1024;
    let mut written = 0;
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let window = parts.get(..parts.len().min(PARTS_MAX)).unwrap_or_default();
        let at = i64::try_from(position + written).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match nix::sys::uio::pwritev(file, window, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                written += count as u64;
                IoSlice::advance_slices(&mut parts, count);
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

/// Makes the file's data durable, and its length.
pub fn fdatasync(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// As [`fdatasync`], of a file that need not be there.
pub fn sync_if_exists(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => fdatasync(&opened?),
    }
}

/// Makes names that appeared in or went from `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// An open file with its exclusive lock, released when this is dropped.
pub type FileLock = Flock<File>;

/// Takes the exclusive lock of `file`, or gives `None` where another process has it. Dropping the lock releases it.
///
/// A lock of `fcntl` goes with it: by one a Kafka holds its directories (Java's `FileChannel.tryLock`), and the two kinds
/// do not see each other.
pub fn try_lock_exclusive(file: File) -> io::Result<Option<FileLock>> {
    let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    match fcntl(&*lock, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        // A file system without such locks has the other kind.
        Ok(_) | Err(_) => Ok(Some(lock)),
    }
}

/// The process that holds a lock of `fcntl` on `file`, if it is another one and of this machine.
pub fn lock_holder(file: &File) -> Option<u32> {
    let mut found = whole_file();
    fcntl(file, FcntlArg::F_GETLK(&mut found)).ok()?;
    u32::try_from(found.l_pid).ok().filter(|pid| *pid > 0)
}

fn whole_file() -> nix::libc::flock {
    nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
