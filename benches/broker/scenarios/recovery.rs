//! `-- recovery`: the start after an unclean stop, with recovery points near the logs' ends and without any
//! (`--mib N`, in all).

use std::time::Instant;

use crate::client::{self, Client};
use crate::data::{self, Topic};
use crate::process::{self, Process};
use crate::{BATCH_BYTES, RECORD_BYTES};

const PARTITIONS: i32 = 4;
const STARTS: usize = 3;

pub fn run(mib: u64) {
    let data = tempfile::tempdir_in(process::scratch_dir()).unwrap();
    let batches = mib / PARTITIONS as u64;
    let topic = Topic { name: "recovery".to_owned(), partitions: PARTITIONS, batches, batch: client::batch() };
    data::make(data.path(), &[topic]);
    start(&data).stop();
    // Eight batches of each log.
    let near_end = 8 * (BATCH_BYTES / (RECORD_BYTES + 16)) as i64;
    for (name, behind_end) in [("recovery points near the ends", near_end), ("without recovery points", i64::MAX)] {
        let mut times: Vec<f64> = (0..STARTS)
            .map(|_| {
                data::soil(data.path(), behind_end);
                let started = Instant::now();
                let broker = start(&data);
                let seconds = started.elapsed().as_secs_f64();
                broker.stop();
                seconds
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("start after an unclean stop, {mib} MiB, {name}: median of {STARTS} {:.3} s", times[STARTS / 2]);
    }
    println!();
}

fn start(data: &tempfile::TempDir) -> Process {
    let port = process::free_port();
    let broker = Process::broker(port, data.path());
    Client::connect_until_up(port).api_versions();
    broker
}
