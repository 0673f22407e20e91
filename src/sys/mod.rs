//! The operating system: the only user of `nix` and `rustix`. Everything above speaks of files, slices and sockets.

mod file;
mod process;
mod socket;

pub use file::{
    FileLock, FileSlice, fdatasync, lock_holder, pread_exact, pread_up_to, pwrite_all, pwritev_all, sync_dir,
    sync_if_exists, try_lock_exclusive,
};
pub use process::{is_alive, raise_open_file_limit};
pub use socket::{bind, send, send_file, set_buffer_sizes};
