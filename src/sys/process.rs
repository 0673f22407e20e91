//! This process, and whether another one lives.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Whether a process of that id lives (one that we may not signal counts as alive).
pub fn is_alive(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    !matches!(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None), Err(Errno::ESRCH))
}

/// The user whose rights to files this process has.
pub fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether the process, or the system, has no file descriptor left.
pub fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

/// How many files this process may have open.
pub fn open_file_limit() -> u64 {
    // POSIX's least, which no system gives.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(20, |(soft, _)| soft)
}

/// Raises the soft limit of open files to the hard one and returns what is in force.
pub fn raise_open_file_limit() -> std::io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}
