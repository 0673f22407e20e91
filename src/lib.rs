//! **ottla**: a small Kafka-wire-compatible broker.
//!
//! A protocol front end decodes real Kafka requests and maps them to a native log store that keeps record batches on
//! disk in the exact wire format. The layers, from the top down (a layer never names one above it; `tests/layering.rs`
//! holds the house to it):
//!
//! `broker` → `server` → `api` → `coordinator` → `partition` → `metadata` → `log` → `protocol` → `config`, `types`, `sys`
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations, rust_2018_idioms, unreachable_pub)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented)]
#![deny(clippy::indexing_slicing)]
#![warn(clippy::dbg_macro, clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod api;
pub mod broker;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod log;
pub mod metadata;
pub mod partition;
pub mod protocol;
pub mod server;
pub mod sys;
pub mod types;
