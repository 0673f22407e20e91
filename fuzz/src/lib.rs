//! What is fuzzed: for each target a function that takes any bytes, brings them before the broker's code, and panics where
//! a promise is broken.
//!
//! Only what the crate makes public is used, so that the broker's build knows nothing of fuzzing. The crate's tests
//! include this file (`tests/fuzz_regressions.rs`) and replay the regressions and seeds.

pub mod batch;
pub mod checkpoints;
pub mod compression;
pub mod guard;
pub mod indexes;
pub mod producer_snapshot;
pub mod recovery;
pub mod seeds;

mod builder;
mod folder;
mod input;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: [(&str, Target); 7] = [
    ("batch", batch::run),
    ("checkpoints", checkpoints::run),
    ("compression", compression::run),
    ("guard", guard::run),
    ("indexes", indexes::run),
    ("producer_snapshot", producer_snapshot::run),
    ("recovery", recovery::run),
];
