//! Sweeps: what a unit of work costs as something grows. Flat is what it should be.

mod batches;
mod connections;
mod consumers;
mod log;
mod partitions;

use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::measure::{Compared, Side, Spread};

pub struct Sweep {
    pub name: &'static str,
    /// What it measures, in a line.
    pub about: &'static str,
    /// Whether it needs a broker that it can start itself.
    pub own_broker: bool,
    pub run: fn(&Lab) -> Growth,
}

pub const SWEEPS: &[Sweep] = &[partitions::SWEEP, connections::SWEEP, batches::SWEEP, consumers::SWEEP, log::SWEEP];

/// What was measured along one axis.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Growth {
    pub name: String,
    pub title: String,
    pub x: Axis,
    pub y: String,
    pub curves: Vec<Curve>,
}

/// What grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Axis {
    pub label: String,
    pub values: Vec<f64>,
    /// How the values are written.
    pub names: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub part: Part,
    /// For each value of the axis, from the first on; None where it could not be measured.
    pub points: Vec<Option<Spread>>,
}

/// Whose a curve is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    Broker,
    /// The broker too, doing something else.
    Other,
    Limit,
}

impl Curve {
    fn new(name: &str, part: Part) -> Curve {
        Curve { name: name.to_owned(), part, points: vec![] }
    }

    /// CPU for each unit of a side's work.
    fn push_cpu(&mut self, side: &Side) {
        self.points.push(Spread::of(side.runs.iter().filter_map(|run| run.cpu_per_unit())));
    }
}

impl Axis {
    fn new<T: Copy>(label: &str, values: &[T], value: impl Fn(T) -> f64, name: impl Fn(T) -> String) -> Axis {
        let names = values.iter().map(|it| name(*it)).collect();
        Axis { label: label.to_owned(), values: values.iter().map(|it| value(*it)).collect(), names }
    }
}

/// The broker's curve and the limit's, of one comparison for each value.
fn beside_limit<T: Copy>(values: &[T], limit: &str, mut compare: impl FnMut(T) -> Compared) -> Vec<Curve> {
    let [mut ours, mut others] = [Curve::new("broker", Part::Broker), Curve::new(limit, Part::Limit)];
    for value in values {
        let compared = compare(*value);
        ours.push_cpu(&compared.ours);
        others.push_cpu(&compared.others[0]);
    }
    vec![ours, others]
}
