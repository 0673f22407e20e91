//! Runs, one side after the other, and what of them is compared.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::server::{Cpu, Server};

/// Where latencies are looked at.
const QUANTILES: [f64; 12] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];

/// What work is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    Gib,
    Requests,
    Fetches,
    Records,
}

impl Unit {
    /// What CPU is given for: seconds per GiB, or per million of what is small (which is µs for each).
    pub fn cpu_label(self) -> &'static str {
        match self {
            Unit::Gib => "s per GiB",
            Unit::Requests => "µs per request",
            Unit::Fetches => "µs per fetch",
            Unit::Records => "µs per record",
        }
    }

    pub fn throughput_label(self) -> &'static str {
        match self {
            Unit::Gib => "MiB/s",
            Unit::Requests => "requests/s",
            Unit::Fetches => "fetches/s",
            Unit::Records => "records/s",
        }
    }

    fn cpu_scale(self) -> f64 {
        if self == Unit::Gib { 1.0 } else { 1e6 }
    }

    fn throughput_scale(self) -> f64 {
        if self == Unit::Gib { 1024.0 } else { 1.0 }
    }
}

/// Some work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    pub amount: f64,
    pub unit: Unit,
}

impl Work {
    pub fn bytes(bytes: u64) -> Work {
        Work { amount: bytes as f64 / (1u64 << 30) as f64, unit: Unit::Gib }
    }

    pub fn requests(count: u64) -> Work {
        Work { amount: count as f64, unit: Unit::Requests }
    }

    pub fn records(count: u64) -> Work {
        Work { amount: count as f64, unit: Unit::Records }
    }

    pub fn fetches(count: u64) -> Work {
        Work { amount: count as f64, unit: Unit::Fetches }
    }
}

/// One run of one side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub work: Work,
    pub seconds: f64,
    /// None where the process is not known.
    pub cpu: Option<Cpu>,
    pub resident_kib: Option<f64>,
    pub latency: Option<Latency>,
}

/// Quantiles, and the milliseconds that stand there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Latency(pub Vec<(f64, f64)>);

impl Latency {
    /// Of times in ns.
    pub fn of(times: &Histogram<u64>) -> Latency {
        Latency(QUANTILES.map(|quantile| (quantile, times.value_at_quantile(quantile) as f64 / 1e6)).into())
    }

    /// In ms.
    pub fn at(&self, quantile: f64) -> f64 {
        self.0.iter().find(|(at, _)| *at >= quantile).unwrap().1
    }
}

impl Run {
    /// CPU for each unit, as [`Unit::cpu_label`] says.
    pub fn cpu_per_unit(&self) -> Option<f64> {
        self.cpu.map(|cpu| self.per_unit(cpu.total()))
    }

    pub fn per_unit(&self, seconds: f64) -> f64 {
        seconds / self.work.amount * self.work.unit.cpu_scale()
    }

    pub fn throughput(&self) -> f64 {
        self.work.amount * self.work.unit.throughput_scale() / self.seconds
    }
}

/// Measures what the server spends on what `act` asks of it, when it has done what was left from before. `act` gives the
/// work that was done.
pub fn run(server: &Server, act: impl FnOnce() -> Work) -> Run {
    server.settle();
    run_beside(server, act)
}

/// As [`run`], of a server that others keep busy.
pub fn run_beside(server: &Server, act: impl FnOnce() -> Work) -> Run {
    let before = server.account.map(|account| account.now());
    let started = Instant::now();
    let work = act();
    let seconds = started.elapsed().as_secs_f64();
    let cpu = server.account.zip(before).map(|(account, before)| account.since(before));
    let resident_kib = server.account.map(|account| account.resident_kib());
    Run { work, seconds, cpu, resident_kib, latency: None }
}

/// The runs of one side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Side {
    pub name: String,
    pub runs: Vec<Run>,
}

impl Side {
    pub fn median(&self, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        Spread::of(self.runs.iter().filter_map(value)).map(|spread| spread.median)
    }

    /// A part of the CPU time, for each unit of work.
    pub fn cpu_per_unit(&self, part: impl Fn(Cpu) -> f64) -> Option<f64> {
        self.median(|run| run.cpu.map(|cpu| run.per_unit(part(cpu))))
    }

    /// The median of the runs at each quantile.
    pub fn latency(&self) -> Option<Latency> {
        let first = self.runs.first()?.latency.as_ref()?;
        let median = |&(quantile, _): &(f64, f64)| {
            Some((quantile, self.median(|run| run.latency.as_ref().map(|latency| latency.at(quantile)))?))
        };
        first.0.iter().map(median).collect::<Option<_>>().map(Latency)
    }
}

/// The broker, and what it is compared with.
#[derive(Debug, Clone)]
pub struct Compared {
    pub ours: Side,
    pub others: Vec<Side>,
}

/// How a side is run once.
pub type Act<'a> = (&'a str, Box<dyn FnMut() -> Run + 'a>);

impl Compared {
    /// A B A B …, so that what disturbs the machine for a while disturbs all sides.
    pub fn alternate<'a>(rounds: usize, ours: Act<'a>, others: impl IntoIterator<Item = Act<'a>>) -> Compared {
        let mut acts: Vec<Act<'a>> = std::iter::once(ours).chain(others).collect();
        let mut sides: Vec<Side> =
            acts.iter().map(|(name, _)| Side { name: (*name).to_owned(), runs: Vec::new() }).collect();
        for _ in 0..rounds {
            for (side, (_, act)) in sides.iter_mut().zip(&mut acts) {
                side.runs.push(act());
            }
        }
        let others = sides.split_off(1);
        Compared { ours: sides.remove(0), others }
    }

    /// CPU over the first other's, pair by pair.
    pub fn cpu_ratio(&self) -> Option<Spread> {
        self.cpu_ratio_over(&self.others[0])
    }

    pub fn cpu_ratio_over(&self, other: &Side) -> Option<Spread> {
        let pairs = self.ours.runs.iter().zip(&other.runs);
        Spread::of(pairs.filter_map(|(ours, other)| Some(ours.cpu_per_unit()? / other.cpu_per_unit()?)))
    }

    pub fn into_sides(self) -> Vec<Side> {
        std::iter::once(self.ours).chain(self.others).collect()
    }
}

/// The middle of some values, and how far they reach.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// None of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median: (low + high) / 2.0, min, max })
    }

    pub fn exactly(value: f64) -> Spread {
        Spread { median: value, min: value, max: value }
    }
}
