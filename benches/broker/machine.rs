//! What it was measured on: without it an absolute figure says nothing.

use std::path::Path;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub file_system: String,
    /// How busy it was before: runnable processes, averaged over a minute.
    pub load: f64,
}

impl Machine {
    pub fn here(data: &Path) -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or("unknown".to_owned(), |rest| rest.trim_start_matches([':', '\t', ' ']).to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
        Machine {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_kib / (1 << 20) as f64,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(data, &read("/proc/mounts")),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }

    pub fn describe(&self) -> String {
        format!(
            "{} cores ({}), {:.0} GiB of memory, Linux {}, {}; load {:.1} at the beginning",
            self.cores, self.processor, self.memory_gib, self.kernel, self.file_system, self.load
        )
    }
}

/// Of the mount that lies nearest above the directory.
fn file_system(data: &Path, mounts: &str) -> String {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounts.filter(|(at, _)| data.starts_with(at)).max_by_key(|(at, _)| at.len());
    above.map_or("unknown", |(_, kind)| kind).to_owned()
}
