//! Where scenarios run: which broker, how much work, in which directory.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Control;
use crate::options::Options;
use crate::server::Server;

const BUILT: &str = env!("CARGO_BIN_EXE_ottla");

/// Partitions of a topic that is not deleted for its own sake.
const MANY: i32 = 1_000;

pub struct Lab {
    pub options: Options,
    topics: Cell<u32>,
}

impl Lab {
    pub fn new(options: Options) -> Lab {
        Lab { options, topics: Cell::new(0) }
    }

    /// A fresh broker of ours, or the one that runs already.
    pub fn broker(&self) -> Broker<'_> {
        let (server, data) = match self.options.against {
            Some(address) => (Server::running(address, self.options.pid), None),
            None => {
                let data = self.scratch();
                (Server::broker(&self.binary(), data.path()), Some(data))
            }
        };
        Control::connect(server.address).api_versions();
        Broker { server, lab: self, _data: data }
    }

    /// A name that has not been used. A broker that runs already may remember an earlier run.
    pub fn topic_name(&self) -> String {
        let number = self.topics.replace(self.topics.get() + 1);
        format!("bench-{}-{number:04}", std::process::id())
    }

    pub fn binary(&self) -> PathBuf {
        self.options.broker.clone().unwrap_or_else(|| BUILT.into())
    }

    /// A directory on a real file system: `/tmp` may be memory.
    pub fn scratch(&self) -> TempDir {
        tempfile::tempdir_in(self.scratch_root()).unwrap()
    }

    pub fn scratch_root(&self) -> &Path {
        self.options.dir.as_deref().unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// One of two figures: that of a full measurement, that of a short one.
    pub fn full_or_short<T>(&self, full: T, short: T) -> T {
        if self.options.short { short } else { full }
    }

    pub fn rounds(&self) -> usize {
        self.options.rounds.unwrap_or(self.full_or_short(5, 2))
    }

    /// What one run of a bulk scenario moves.
    pub fn run_bytes(&self) -> u64 {
        self.options.mib.unwrap_or(self.full_or_short(1024, 128)) << 20
    }

    /// The largest log of the sweep.
    pub fn log_gib(&self) -> f64 {
        self.options.log_gib.unwrap_or(self.full_or_short(20.0, 1.0))
    }

    /// How many small requests one run sends.
    pub fn run_requests(&self) -> u64 {
        self.full_or_short(400_000, 40_000)
    }

    /// How long one run of a paced scenario takes.
    pub fn run_time(&self) -> Duration {
        self.full_or_short(Duration::from_secs(4), Duration::from_secs(1))
    }
}

/// The broker under measurement. Its data go with it.
pub struct Broker<'a> {
    pub server: Server,
    lab: &'a Lab,
    _data: Option<TempDir>,
}

impl Broker<'_> {
    pub fn topic(&self, partitions: i32) -> Topic<'_> {
        self.topic_with(partitions, &[])
    }

    pub fn topic_with(&self, partitions: i32, configs: &[(&'static str, &'static str)]) -> Topic<'_> {
        let name = self.lab.topic_name();
        Control::connect(self.server.address).create_topic(&name, partitions, configs);
        // Thousands of folders take a while to remove, and those of a broker of ours go with its directory.
        let is_left = partitions >= MANY && self.lab.options.against.is_none();
        Topic { name, partitions, server: &self.server, is_left }
    }
}

/// A topic, deleted when dropped: what has not been written back by then never is, and disturbs no later run.
pub struct Topic<'a> {
    pub name: String,
    pub partitions: i32,
    server: &'a Server,
    is_left: bool,
}

impl Drop for Topic<'_> {
    fn drop(&mut self) {
        if !self.is_left && !std::thread::panicking() {
            Control::connect(self.server.address).delete_topic(&self.name);
            self.server.settle();
        }
    }
}
