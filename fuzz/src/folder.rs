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
use ottla::protocol::batch::{Batch, BatchError};
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
            cleaned: false,
            clean: opening.clean,
            context: Arc::new(context),
        }
    }
}

/// What a consumer got, and what was wrong with it in the end.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) batches: Vec<Bytes>,
    refused: Option<LogError>,
    /// Where a slice did not end with a batch. No start reads what was flushed, so that a slice may hold what is damaged of it,
    /// behind a whole batch at least; who goes on from there is refused.
    torn: Option<BatchError>,
}

impl Consumed {
    /// The batches of a log in which nothing is damaged.
    pub(crate) fn whole(self) -> Vec<Bytes> {
        assert!(self.refused.is_none() && self.torn.is_none(), "{:?}, {:?}", self.refused, self.torn);
        self.batches
    }
}

/// Reads from `from` to the end as a consumer does: it passes over what lies before its position, and goes on behind
/// what it has got.
pub(crate) fn consume(reader: &LogReader, from: Offset, bytes_max: u32) -> Consumed {
    let limit = ReadLimit { upper: Offset(i64::MAX), bytes_max, at_least_one_batch: true };
    let (mut position, mut consumed) = (from, Consumed { batches: Vec::new(), refused: None, torn: None });
    loop {
        // An index of aborted transactions that cannot be read fails those reads only that need it.
        let read = reader.read(position, limit, true).or_else(|_| reader.read(position, limit, false));
        let slice = match read {
            Ok(read) => read.slice,
            Err(error) => return Consumed { refused: Some(error), ..consumed },
        };
        let Some(slice) = slice else { return consumed };
        let before = position;
        for batch in batches_of(&slice) {
            match batch {
                Ok(batch) if batch.header.next_offset() > position => {
                    position = batch.header.next_offset();
                    consumed.batches.push(batch.bytes);
                }
                Ok(_) => {}
                Err(error) => consumed.torn = Some(error),
            }
        }
        assert!(position > before, "who reads at {before} gets nothing that leads on");
    }
}

/// The batches of a slice, up to the first that is not whole.
pub(crate) fn batches_of(slice: &FileSlice) -> impl Iterator<Item = Result<Batch, BatchError>> + use<> {
    let mut bytes = vec![0; slice.length as usize];
    sys::pread_exact(&slice.file, &mut bytes, slice.position).expect("a slice lies within its file");
    let mut rest = Bytes::from(bytes);
    std::iter::from_fn(move || {
        let batch = (!rest.is_empty()).then(|| Batch::split_from(&mut rest))?;
        if batch.is_err() {
            rest.clear();
        }
        Some(batch)
    })
}
