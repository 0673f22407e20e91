//! All scenarios, in the order in which they are run and printed.

mod cold;
mod connections;
mod consume;
mod end_to_end;
mod fsync;
mod idle;
mod memory;
mod partitions;
mod produce;
mod recovery;
mod requests;
mod seeks;
mod startup;
mod tail;

use crate::scenario::Scenario;

/// What has a target.
pub const TARGETED: &[Scenario] = &[
    produce::LARGE,
    produce::SMALL,
    requests::SINGLE,
    consume::CATCH_UP,
    tail::SUBSCRIPTION,
    end_to_end::PACED,
    fsync::GROUP_COMMIT,
    partitions::ROUND_ROBIN,
    connections::IDLE,
    idle::ALONE,
    startup::START,
    memory::RESIDENT,
    memory::BINARY,
];

/// What is measured where it is asked for by name.
pub const UNTARGETED: &[Scenario] = &[seeks::RANDOM, recovery::UNCLEAN, cold::READERS];

fn all() -> impl Iterator<Item = &'static Scenario> {
    TARGETED.iter().chain(UNTARGETED)
}

/// Those that are named, or all that have a target; or the name that none has.
pub fn named(names: &[String]) -> Result<Vec<&'static Scenario>, String> {
    if names.is_empty() {
        return Ok(TARGETED.iter().collect());
    }
    let find = |name: &String| all().find(|scenario| scenario.name == name).ok_or_else(|| name.clone());
    names.iter().map(find).collect()
}

/// What `--help` says of them.
pub fn help() -> String {
    let lines = |scenarios: &[Scenario]| {
        scenarios.iter().map(|scenario| format!("  {:<14} {}\n", scenario.name, scenario.about)).collect::<String>()
    };
    format!(
        "Scenarios with a target, all of which run where none is named:\n{}\nOthers:\n{}",
        lines(TARGETED),
        lines(UNTARGETED)
    )
}
