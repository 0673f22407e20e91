//! Faults: a data directory is damaged in every way that a disk, a crash or a stranger may damage it, and what is then
//! read is held against a model of what was acknowledged. Each drill states what must hold and prints its counts.
//!
//! In the short form a sample of the places is damaged, drawn from `OTTLA_TEST_SEED` (default 1, printed); with
//! `OTTLA_TEST_LONG=1` all of them.

mod broker;
mod counts;
mod fixture;
mod flips;
mod index_files;
mod reading;
#[path = "../support/mod.rs"]
mod support;
mod torn_tail;

fn is_long() -> bool {
    std::env::var("OTTLA_TEST_LONG").is_ok_and(|value| value == "1")
}

fn seed() -> u64 {
    let set = std::env::var("OTTLA_TEST_SEED").ok();
    set.map_or(1, |value| value.parse().expect("OTTLA_TEST_SEED is a number"))
}
