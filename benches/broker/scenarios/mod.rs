//! All scenarios, in the order in which they are run and printed.

mod cold;
mod connections;
pub mod consume;
mod end_to_end;
mod fsync;
mod idle;
mod memory;
pub mod partitions;
pub mod produce;
mod recovery;
pub mod requests;
mod seeks;
mod startup;
pub mod tail;

use crate::growth::{SWEEPS, Sweep};
use crate::scenario::Scenario;

/// Stands for all sweeps.
const GROWTH: &str = "growth";

/// What has a target.
pub const TARGETED: &[Scenario] = &[
    produce::LARGE,
    produce::SMALL,
    requests::SINGLE,
    consume::CATCH_UP,
    tail::SUBSCRIPTION,
    end_to_end::PACED,
    fsync::GROUP_COMMIT,
    cold::READERS,
    partitions::ROUND_ROBIN,
    connections::IDLE,
    idle::ALONE,
    startup::START,
    memory::RESIDENT,
    memory::BINARY,
];

/// What is measured where it is asked for by name.
pub const UNTARGETED: &[Scenario] = &[seeks::RANDOM, recovery::UNCLEAN];

/// What is to be run.
pub struct Selection {
    pub scenarios: Vec<&'static Scenario>,
    pub sweeps: Vec<&'static Sweep>,
}

impl Selection {
    /// Those that are named, or all that have a target; or the name that none has.
    pub fn of(names: &[String]) -> Result<Selection, String> {
        if names.is_empty() {
            return Ok(Selection { scenarios: TARGETED.iter().collect(), sweeps: vec![] });
        }
        let mut selection = Selection { scenarios: vec![], sweeps: vec![] };
        for name in names {
            let scenario = TARGETED.iter().chain(UNTARGETED).find(|scenario| scenario.name == name);
            let sweep = SWEEPS.iter().find(|sweep| sweep.name == name);
            match (scenario, sweep, name.as_str()) {
                (Some(scenario), ..) => selection.scenarios.push(scenario),
                (_, Some(sweep), _) => selection.sweeps.push(sweep),
                (.., GROWTH) => selection.sweeps.extend(SWEEPS),
                _ => return Err(name.clone()),
            }
        }
        Ok(selection)
    }

    pub fn everything() -> Selection {
        Selection { scenarios: TARGETED.iter().chain(UNTARGETED).collect(), sweeps: SWEEPS.iter().collect() }
    }
}

/// What `--help` says of them.
pub fn help() -> String {
    let line = |name: &str, about: &str| format!("  {name:<18} {about}\n");
    let scenarios = |all: &[Scenario]| all.iter().map(|it| line(it.name, it.about)).collect::<String>();
    let sweeps: String = SWEEPS.iter().map(|it| line(it.name, it.about)).collect();
    let (targeted, untargeted) = (scenarios(TARGETED), scenarios(UNTARGETED));
    format!(
        "Scenarios with a target, all of which run where none is named:\n{targeted}\nOthers:\n{untargeted}\n\
         Sweeps, by name or all as '{GROWTH}':\n{sweeps}"
    )
}
