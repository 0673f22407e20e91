//! The `ottla` binary: arguments, configuration, logging, runtime, broker.

use std::process::ExitCode;
use std::time::Instant;

use ottla::broker;
use ottla::cli::{self, Command, Failure, Serve};

fn main() -> ExitCode {
    let started = Instant::now();
    match cli::parse() {
        Command::Serve(options) => match serve(&options, started) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        },
        Command::Health(options) => options.run(std::env::vars_os()),
        Command::DumpLog(options) => options.run(),
        Command::Verify(options) => options.run(),
    }
}

fn serve(options: &Serve, started: Instant) -> Result<(), Failure> {
    let (config, warnings) = options.load(std::env::vars_os())?;
    options.init_tracing()?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Start(error.into()))?;
    let ran = runtime.block_on(broker::run(config, started));
    // What is still under way is what a stop does not wait for; losing it is a crash's, which the next start mends.
    runtime.shutdown_background();
    ran.map_err(|error| Failure::Start(error.into()))
}
