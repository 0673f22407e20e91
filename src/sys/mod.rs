//! The operating system: the only user of `nix` and `rustix`. Everything above speaks of files, slices and sockets.

mod file;
mod names;
#[cfg(test)]
pub(crate) mod power_loss;
mod process;
mod socket;
mod volume;

pub use file::{
    FileLock, FileSlice, drop_cached, fdatasync, fsync, is_disk_full, is_failed_sync, is_of_device, lock_holder,
    pread_cached, pread_exact, pread_up_to, preallocate, pwrite_all, pwritev_all, read_ahead, set_len, set_modified,
    sync_if_exists, try_lock_exclusive,
};
pub use names::{
    create, create_dir_all, open, open_or_create, remove_dir_all, remove_file, remove_file_if_exists, rename, sync_dir,
};
pub use process::{effective_user, is_alive, is_out_of_descriptors, open_file_limit, raise_open_file_limit};
pub use socket::{bind, send, send_file, set_buffer_sizes};
pub use volume::{Volume, volume};
