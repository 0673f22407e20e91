//! Coordinators: group state, kept in internal topics and rebuilt by replaying them.

pub mod group;
mod journal;
mod runtime;
mod state_machine;
#[cfg(test)]
mod testing;
mod timers;

pub use journal::{Committing, Journal, LoadError, PartitionJournal};
