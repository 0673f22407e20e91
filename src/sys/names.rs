//! Names on disk: files and folders that appear, move and go. With [`super::file`] the one door to the file system for
//! whatever must survive a crash, so that a test can stand in it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(test)]
use super::power_loss;

/// Opens a file that must be there, for reading and writing.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Opens a file for reading and writing, making an empty one where there is none.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    #[cfg(test)]
    if is_new {
        power_loss::made_anew(path, &file);
    }
    Ok(file)
}

/// Makes an empty file, also where there was one.
pub fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    #[cfg(test)]
    power_loss::made_anew(path, &file);
    Ok(file)
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(test)]
    power_loss::moved(from, to);
    Ok(())
}

pub fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(test)]
    power_loss::removed(path);
    Ok(())
}

/// As [`remove_file`], of a file that need not be there.
pub fn remove_file_if_exists(path: &Path) -> io::Result<()> {
    match remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub fn create_dir_all(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    let is_new = !path.exists();
    fs::create_dir_all(path)?;
    #[cfg(test)]
    if is_new {
        power_loss::made(path, None);
    }
    Ok(())
}

pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)?;
    #[cfg(test)]
    power_loss::removed(path);
    Ok(())
}

/// Makes names that appeared in or went from `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    #[cfg(test)]
    power_loss::dir_synced(dir);
    Ok(())
}
