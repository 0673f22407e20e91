//! The command line: what is asked, where configuration comes from, and what is printed when it cannot be.
#![allow(clippy::print_stderr, reason = "a command line answers on the terminal")]

mod dump_log;
mod health;
mod sources;
mod value;
mod verify;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, InvalidConfig};
pub use dump_log::DumpLog;
pub use health::Health;
use sources::Sources;
pub use verify::Verify;

const EXAMPLES: &str = "\
Configuration has Kafka's names and comes from, each overriding the ones before:
  built-in defaults
  --config server.properties    a Kafka broker's file
  KAFKA_* in the environment    KAFKA_LOG_SEGMENT_BYTES is log.segment.bytes; __ is _ and ___ is -
  --override and the flags      one key at a time

Examples:
  ottla                                              127.0.0.1:9092, data in ./ottla-data
  ottla --listen 0.0.0.0:9092 --data /var/lib/ottla
  ottla --config server.properties --override num.partitions=3
  ottla --log warn,ottla::coordinator=debug";

/// A small, fast, Kafka-wire-compatible broker.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// What the binary is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker (the default).
    #[command(after_help = EXAMPLES)]
    Serve(Serve),
    /// Ask a broker whether it serves: prints one line and ends with 0 if so, with 1 if not.
    Health(Health),
    /// Print what the files of a log hold.
    DumpLog(DumpLog),
    /// Read everything in a data directory and say what is damaged; changes nothing.
    Verify(Verify),
}

/// How the broker is to run.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    sources: Sources,
    /// Take over the directory of a Kafka that was stopped, or one of ottla's whose metadata was lost.
    #[arg(long)]
    adopt: bool,
    /// What to log, as in tracing's EnvFilter.
    #[arg(long, value_name = "FILTER", env = "OTTLA_LOG", default_value = "info")]
    log: String,
}

/// Why the process ends otherwise than well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    #[error("--log: {0}")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    #[error("{0}: {1}")]
    Address(String, std::io::Error),
    #[error("{0}")]
    Start(Box<dyn std::error::Error + Send + Sync>),
    #[error("output: {0}")]
    Output(std::io::Error),
}

impl Failure {
    /// Prints the failure; 2 for what was asked wrongly, 1 for what could not be done.
    pub fn report(self) -> ExitCode {
        eprintln!("ottla: {self}");
        match self {
            Failure::Config(_) | Failure::Log(_) | Failure::Address(..) => ExitCode::from(2),
            Failure::Start(_) | Failure::Output(_) => ExitCode::FAILURE,
        }
    }
}

/// Writes to stderr what is not worth failing for.
fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The command of the process's arguments. Prints and exits where that is the answer: `--help`, `--version`, an error.
pub fn parse() -> Command {
    let cli = Cli::parse();
    cli.command.unwrap_or(Command::Serve(cli.serve))
}

impl Serve {
    /// The configuration that all sources say together, and warnings about them.
    pub fn load(&self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(Config, Vec<String>), Failure> {
        let (config, warnings) = self.sources.read(env)?.validate()?;
        Ok((Config { adopt: self.adopt, ..config }, warnings))
    }

    /// Starts logging to stderr, in UTC.
    pub fn init_tracing(&self) -> Result<(), Failure> {
        let filter = EnvFilter::builder().parse(&self.log)?;
        let colours = std::io::stderr().is_terminal();
        tracing_subscriber::fmt()
            .compact()
            .with_env_filter(filter)
            .with_ansi(colours)
            .with_writer(std::io::stderr)
            .init();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
