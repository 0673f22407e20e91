//! The frame: what a scenario is, and what it gives.

use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::measure::{Side, Spread};

/// Something that is measured.
pub struct Scenario {
    pub name: &'static str,
    /// What it measures, in a line.
    pub about: &'static str,
    /// Whether it needs a broker that it can start itself.
    pub own_broker: bool,
    pub run: fn(&Lab) -> Vec<Row>,
}

/// A figure, and what it must reach.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What was done: `produce, 1 MiB batches, 6 partitions`.
    pub load: String,
    /// What is judged: `CPU over the raw sink's`.
    pub figure: String,
    /// None where it could not be measured: CPU, of a process that is not known.
    pub reached: Option<Spread>,
    pub unit: FigureUnit,
    pub target: Option<Target>,
    /// What was compared, for context.
    pub sides: Vec<Side>,
    /// Further figures, in words.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FigureUnit {
    Ratio,
    Milliseconds,
    KiB,
    MiB,
    /// Of a million bytes.
    MB,
}

impl FigureUnit {
    pub fn suffix(self) -> &'static str {
        match self {
            FigureUnit::Ratio => "",
            FigureUnit::Milliseconds => " ms",
            FigureUnit::KiB => " KiB",
            FigureUnit::MiB => " MiB",
            FigureUnit::MB => " MB",
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Target {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

impl Target {
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Target::AtMost(bound) => value <= bound,
            Target::Below(bound) => value < bound,
            Target::AtLeast(bound) => value >= bound,
        }
    }

    pub fn bound(self) -> f64 {
        match self {
            Target::AtMost(bound) | Target::Below(bound) | Target::AtLeast(bound) => bound,
        }
    }

    pub fn sign(self) -> &'static str {
        match self {
            Target::AtMost(_) => "≤",
            Target::Below(_) => "<",
            Target::AtLeast(_) => "≥",
        }
    }
}
