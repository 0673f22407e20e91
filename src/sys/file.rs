//! Positioned file I/O.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, Flock, FlockArg, fallocate, fcntl};
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

#[cfg(test)]
use super::power_loss;

/// A run of bytes in a file, shared with whoever else reads it: what a fetch sends without copying.
#[derive(Clone, Debug)]
pub struct FileSlice {
    pub file: Arc<File>,
    /// First byte, from the file's start.
    pub position: u64,
    /// Bytes.
    pub length: u32,
}

impl FileSlice {
    /// The position behind the last byte.
    pub fn end(&self) -> u64 {
        self.position + u64::from(self.length)
    }
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

/// As [`pread_up_to`], of what is in the page cache: `WouldBlock` where the disk would have to be waited for, or where the
/// file system does not tell.
pub fn pread_cached(file: &File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = position + filled as u64;
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(rest)], at, ReadWriteFlags::NOWAIT) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::OPNOTSUPP) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// Has the kernel read a range ahead of its use.
pub fn read_ahead(file: &File, position: u64, length: u64) -> io::Result<()> {
    advise(file, position, length, Advice::WillNeed)
}

/// Takes what is not dirty of a range out of the page cache.
pub fn drop_cached(file: &File, position: u64, length: u64) -> io::Result<()> {
    advise(file, position, length, Advice::DontNeed)
}

fn advise(file: &File, position: u64, length: u64, advice: Advice) -> io::Result<()> {
    // To the kernel a length of zero is all of the rest.
    let Some(length) = NonZeroU64::new(length) else { return Ok(()) };
    Ok(rustix::fs::fadvise(file, position, Some(length), advice)?)
}

/// Writes all of `buf` at `position`.
pub fn pwrite_all(file: &File, buf: &[u8], position: u64) -> io::Result<()> {
    file.write_all_at(buf, position)?;
    #[cfg(test)]
    power_loss::written(file, [buf], position);
    Ok(())
}

/// Writes all of `parts`, one after the other, from `position` on. Returns the bytes written.
pub fn pwritev_all(file: &File, mut parts: &mut [IoSlice<'_>], position: u64) -> io::Result<u64> {
    // IOV_MAX of Linux.
    const PARTS_MAX: usize = 1024;
    let mut written = 0;
    #[cfg(test)]
    power_loss::written(file, parts.iter().map(|part| &**part), position);
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
    file.sync_data()?;
    #[cfg(test)]
    power_loss::synced(file);
    Ok(())
}

/// As [`fdatasync`], with all that the file system keeps about the file.
pub fn fsync(file: &File) -> io::Result<()> {
    file.sync_all()?;
    #[cfg(test)]
    power_loss::synced(file);
    Ok(())
}

/// Sets when the file counts as last written.
pub fn set_modified(file: &File, modified: std::time::SystemTime) -> io::Result<()> {
    file.set_modified(modified)
}

/// Cuts a file off at `length` bytes, or extends it with zeros.
pub fn set_len(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    #[cfg(test)]
    power_loss::length_set(file, length);
    Ok(())
}

/// Makes a file `length` bytes long, with room on the disk for all of them where the file system can promise that.
pub fn preallocate(file: &File, length: u64) -> io::Result<()> {
    let bytes = i64::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::EOPNOTSUPP) => set_len(file, length),
        allocated => {
            allocated?;
            #[cfg(test)]
            power_loss::length_set(file, length);
            Ok(())
        }
    }
}

/// The disk, or somebody's share of it, has no room.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an error speaks against the disk or its file system, and not against one file, its name, or a limit of the
/// process.
pub fn is_of_device(error: &io::Error) -> bool {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else { return false };
    let is_of_device = matches!(
        errno,
        Errno::EIO | Errno::EROFS | Errno::ENXIO | Errno::ENODEV | Errno::ESTALE | Errno::EUCLEAN | Errno::EREMOTEIO
    );
    // Network and user-space file systems that are gone, and what lies where one was mounted.
    is_of_device || matches!(errno, Errno::ENOTCONN | Errno::ETIMEDOUT | Errno::EHOSTDOWN | Errno::ENOTDIR)
}

/// Whether a sync was tried and failed; not where the process has too many files open, or somebody took the file away.
pub fn is_failed_sync(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| !matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOENT))
}

/// As [`fdatasync`], of a file that need not be there.
pub fn sync_if_exists(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => fdatasync(&opened?),
    }
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
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    match fcntl(&*lock, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(None),
        // A file system without such locks has the other kind.
        Ok(_) | Err(_) => Ok(Some(lock)),
    }
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

/// The process that holds a lock on the file at `path`, read off `/proc/locks`: no lock is tried, so that nobody who
/// wants it finds it taken. Sees `flock` (ours) and `fcntl` locks (a JVM's).
pub fn lock_holder(path: &Path) -> io::Result<Option<u32>> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path)?;
    let device = format!("{:02x}:{:02x}", nix::sys::stat::major(metadata.dev()), nix::sys::stat::minor(metadata.dev()));
    let file = format!("{device}:{}", metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks")?;
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:00:10010676 0 EOF`; one that waits has an arrow after the number.
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, kind, _, _, pid, locked, ..] = fields.as_slice() else { return None };
        (*kind != "->" && *locked == file).then(|| pid.parse().ok()).flatten()
    };
    Ok(locks.lines().find_map(holder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_seen_without_taking_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(lock_holder(file.path()).unwrap(), None);
        let lock = try_lock_exclusive(file.reopen().unwrap()).unwrap().unwrap();
        assert_eq!(lock_holder(file.path()).unwrap(), Some(std::process::id()));
        drop(lock);
        assert_eq!(lock_holder(file.path()).unwrap(), None);
    }
}
