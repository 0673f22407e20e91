//! What the runs of a drill came to.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

/// What became of a damaged directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything acknowledged is readable, once, in order, offsets dense.
    Whole,
    /// The last batch was cut off as a torn write, with a warning that names file and position.
    Cut,
    /// The partition did not open; the error names its folder.
    Offline,
    /// The start was refused; the error names the file.
    Refused,
    /// What is damaged was answered with an error or does not pass the consumer's own CRC check; all else is right.
    FoundByReader,
    /// Only `ottla verify` finds it.
    FoundByVerify,
    /// The last batch after a kill has another base offset, which lies outside the CRC: as if there were a hole before it.
    Shifted,
    /// A log start that reads well but is not the one that was written.
    StartMoved,
}

#[derive(Debug, Default)]
pub struct Counts {
    runs: u64,
    acknowledged: u64,
    outcomes: BTreeMap<(String, Outcome), u64>,
}

impl Counts {
    pub fn add(&mut self, what: impl Into<String>, acknowledged: usize, outcome: Outcome) {
        self.runs += 1;
        self.acknowledged += acknowledged as u64;
        *self.outcomes.entry((what.into(), outcome)).or_default() += 1;
    }

    /// Losses and duplicates would have failed the run.
    pub fn print(&self, drill: &str) {
        let mut line = format!(
            "{drill}: seed {}, runs {}, acknowledged {}, lost 0, duplicated 0\n",
            super::seed(),
            self.runs,
            self.acknowledged
        );
        for ((what, outcome), count) in &self.outcomes {
            writeln!(line, "  {what}: {outcome:?} {count}").unwrap();
        }
        println!("{line}");
    }

    pub fn of(&self, what: &str, outcome: Outcome) -> u64 {
        self.outcomes.get(&(what.to_owned(), outcome)).copied().unwrap_or(0)
    }
}
