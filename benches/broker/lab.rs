//! Where scenarios run: which broker, how much work, in which directory.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Control;
use crate::data;
use crate::options::Options;
use crate::scenarios::produce::{IN_FLIGHT, Load};
use crate::scenarios::requests::RECORD;
use crate::server::Server;

const BUILT: &str = env!("CARGO_BIN_EXE_ottla");

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
        match self.options.against {
            Some(address) => self.up(Server::running(address, self.options.pid), None),
            None => self.start_on(self.scratch()),
        }
    }

    /// A broker with topics of so many partitions, each of which has a record: the first one makes a partition's files, and
    /// waits for the disk.
    pub fn broker_holding<const N: usize>(&self, partitions: [i32; N]) -> (Broker<'_>, [Held; N]) {
        let held = partitions.map(|partitions| Held { name: self.topic_name(), partitions });
        if self.options.against.is_some() {
            let broker = self.broker();
            held.iter().for_each(|held| held.make_over_the_wire(&broker.server));
            return (broker, held);
        }
        let data = self.scratch();
        data::make(data.path(), &held.each_ref().map(Held::to_make));
        (self.start_on(data), held)
    }

    fn start_on(&self, data: TempDir) -> Broker<'_> {
        self.up(Server::broker(&self.binary(), data.path()), Some(data))
    }

    fn up(&self, server: Server, data: Option<TempDir>) -> Broker<'_> {
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
        self.full_or_short(200_000, 20_000)
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
        Topic { name, partitions, server: &self.server }
    }
}

/// A topic, deleted when dropped: what has not been written back by then never is, and disturbs no later run.
pub struct Topic<'a> {
    pub name: String,
    pub partitions: i32,
    server: &'a Server,
}

impl Drop for Topic<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            Control::connect(self.server.address).delete_topic(&self.name);
            self.server.settle();
        }
    }
}

/// A topic that stays as long as its broker: one that runs already keeps it.
pub struct Held {
    pub name: String,
    pub partitions: i32,
}

impl Held {
    fn to_make(&self) -> data::Topic {
        data::Topic { name: self.name.clone(), partitions: self.partitions, batches: 1, batch: RECORD.batch() }
    }

    fn make_over_the_wire(&self, server: &Server) {
        Control::connect(server.address).create_topic(&self.name, self.partitions, &[]);
        let load = Load { partitions: self.partitions, connections: 1, in_flight: IN_FLIGHT, shape: RECORD };
        load.connect(server, &self.name).exchange(self.partitions as u64);
    }
}
