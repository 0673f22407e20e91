//! A partition's folder in a temporary directory, and a consumer of the log that is opened in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla::config::{BrokerValues, TopicConfig};
use ottla::log::names::{FileKind, FileName, FileState};
use ottla::log::open_files::OpenFiles;
use ottla::log::{DirContext, LogError, LogReader, OpenOptions, ReadLimit};
use ottla::protocol::batch::Batch;
use ottla::sys::{self, FileSlice};
use ottla::types::{Offset, TopicId};

pub(crate) struct Folder {
    root: tempfile::TempDir,
}

/// What a log is opened with, as far as it varies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) clean: bool,
    pub(crate) recovery_point: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) segment_bytes: u32,
    pub(crate) index_interval_bytes: u32,
    pub(crate) compact: bool,
    pub(crate) open_files_max: usize,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let folder = Folder { root: tempfile::tempdir().expect("a directory for temporary files") };
        fs::create_dir(folder.dir()).expect("an empty directory");
        folder
    }

    pub(crate) fn log_dir(&self) -> &Path {
        self.root.path()
    }

    fn dir(&self) -> PathBuf {
        self.log_dir().join("fuzzed-0")
    }

    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.dir().join(name), content).expect("room for a temporary file");
    }

    pub(crate) fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.dir().join(name));
    }

    /// The segments by the offset in their names, with their logs.
    pub(crate) fn segments(&self) -> Vec<(Offset, Vec<u8>)> {
        let paths = fs::read_dir(self.dir()).expect("the folder").map(|entry| entry.expect("a file").path());
        let name = |path: &PathBuf| FileName::parse(path.file_name()?.to_str()?);
        let logs = paths.filter_map(|path| Some((name(&path)?, path)));
        let logs = logs.filter(|(name, _)| (name.kind, name.state) == (FileKind::Log, FileState::Live));
        let mut logs: Vec<_> = logs.map(|(name, path)| (name.offset, fs::read(path).expect("a file"))).collect();
        logs.sort();
        logs
    }

    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.dir()).expect("the folder").map(|entry| entry.expect("a file"));
        let name = |entry: &fs::DirEntry| entry.file_name().into_string().expect("a name of ours");
        let files = entries.map(|entry| (name(&entry), fs::read(entry.path()).expect("a file")));
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    pub(crate) fn options(&self, opening: Opening) -> OpenOptions {
        let mut config = TopicConfig::resolve(&BrokerValues::default(), &BTreeMap::new());
        config.segment_bytes = opening.segment_bytes;
        config.index_interval_bytes = opening.index_interval_bytes;
        config.compact = opening.compact;
        let open_files = Arc::new(OpenFiles::up_to(opening.open_files_max));
        let context = DirContext::new(self.log_dir(), Arc::default(), open_files, Arc::default());
        OpenOptions {
            dir: self.dir(),
            topic_id: TopicId::parse("AAAAAAAAAAAAAAAAAAAAAg").expect("an id"),
            config,
            producer_id_expiration: std::time::Duration::MAX,
            log_start_offset: opening.log_start_offset,
            recovery_point: opening.recovery_point,
            clean: opening.clean,
            context: Arc::new(context),
        }
    }
}

/// What a consumer got, and what it was refused in the end.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) batches: Vec<Bytes>,
    pub(crate) error: Option<LogError>,
}

/// Reads from `from` to the end as a consumer does: it passes over what lies before its position, and goes on behind
/// what it has got.
pub(crate) fn consume(reader: &LogReader, from: Offset, bytes_max: u32) -> Consumed {
    let limit = ReadLimit { upper: Offset(i64::MAX), bytes_max, at_least_one_batch: true };
    let (mut position, mut batches) = (from, Vec::new());
    loop {
        // An index of aborted transactions that cannot be read fails those reads only that need it.
        let read = reader.read(position, limit, true).or_else(|_| reader.read(position, limit, false));
        let slice = match read {
            Ok(read) => read.slice,
            Err(error) => return Consumed { batches, error: Some(error) },
        };
        let Some(slice) = slice else { return Consumed { batches, error: None } };
        let before = position;
        for batch in batches_of(&slice) {
            if batch.header.next_offset() > position {
                position = batch.header.next_offset();
                batches.push(batch.bytes);
            }
        }
        assert!(position > before, "who reads at {before} gets nothing that leads on");
    }
}

/// A slice holds whole batches.
pub(crate) fn batches_of(slice: &FileSlice) -> Vec<Batch> {
    let mut bytes = vec![0; slice.length as usize];
    sys::pread_exact(&slice.file, &mut bytes, slice.position).expect("a slice lies within its file");
    let mut bytes = Bytes::from(bytes);
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        batches.push(Batch::split_from(&mut bytes).expect("a slice holds whole batches"));
    }
    batches
}
