//! All scenarios, in the order in which they are run and printed.

mod consume;
mod produce;
mod requests;

use crate::scenario::Scenario;

pub const TARGETED: &[Scenario] = &[produce::LARGE, produce::SMALL, requests::SINGLE, consume::CATCH_UP];

/// What `--help` says of them.
pub fn help() -> String {
    let lines = |scenarios: &[Scenario]| {
        scenarios.iter().map(|scenario| format!("  {:<14} {}\n", scenario.name, scenario.about)).collect::<String>()
    };
    format!("Scenarios with a target, all of which run where none is named:\n{}", lines(TARGETED))
}
