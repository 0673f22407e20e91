//! What was measured, and what is made of it: text, a file, the page with its plots.

mod docs;
mod plots;
mod table;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::growth::Growth;
use crate::machine::Machine;
use crate::scenario::Row;

pub use docs::write as write_docs;
pub use table::{figure, grouped, print, print_growth, summary};

/// How the broker's side is named where a raw limit stands beside it.
pub const BROKER: &str = "broker";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    /// Whether this was the short form, whose figures mean nothing.
    pub short: bool,
    pub rows: Vec<Row>,
    pub growth: Vec<Growth>,
}

impl Report {
    pub fn read(path: &Path) -> Report {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn write(&self, path: &Path) {
        let text = serde_json::to_string_pretty(self).unwrap();
        std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
