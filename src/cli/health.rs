//! `ottla health`: asks a broker for its API versions, as every client does first.
#![allow(clippy::print_stdout, reason = "a command line answers on the terminal")]

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::FalseyValueParser;

use super::sources::Sources;
use crate::config::reachable;
use crate::protocol::wire::Input;

const PATIENCE: Duration = Duration::from_secs(2);
/// Size; ApiVersions (18), version 0; correlation id; client id "ottla-health".
const REQUEST: &[u8] = b"\0\0\0\x16\0\x12\0\0heal\0\x0cottla-health";
const CORRELATION_ID: i32 = i32::from_be_bytes(*b"heal");
/// There are under a hundred APIs, of 6 bytes each.
const ANSWER_BYTES_MAX: usize = 64 << 10;

const HELP: &str = "\
Without an address the first listener is asked that the environment configures (KAFKA_LISTENERS,
in a container also what is filled in), by default 127.0.0.1:9092; of a broker's arguments it knows
nothing. Each step may take 2 seconds.

Example:
  ottla health broker:9092";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Health {
    /// The broker to ask.
    #[arg(value_name = "HOST:PORT")]
    address: Option<String>,
    /// Go by what is filled in in a container.
    #[arg(long, env = "OTTLA_CONTAINER", value_parser = FalseyValueParser::new(), hide = true)]
    container: bool,
}

impl Health {
    /// 0 where the broker serves, 1 where it does not, 2 where it is not known whom to ask.
    pub fn run(&self, env: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
        let addresses = match self.addresses(env) {
            Ok(addresses) => addresses,
            Err(failure) => return failure.report(),
        };
        let started = Instant::now();
        match ask_any(&addresses) {
            Ok((address, apis)) => {
                let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
                println!("{address}: serves {apis} APIs, answered in {elapsed_ms:.1} ms");
                ExitCode::SUCCESS
            }
            Err(error) => {
                let asked = self.address.clone().or_else(|| addresses.first().map(SocketAddr::to_string));
                println!("{}: {error}", asked.unwrap_or_default());
                ExitCode::FAILURE
            }
        }
    }

    fn addresses(
        &self,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Vec<SocketAddr>, super::Failure> {
        if let Some(address) = &self.address {
            let resolved = address.to_socket_addrs();
            return Ok(resolved.map_err(|error| super::Failure::Address(address.clone(), error))?.collect());
        }
        let listeners = Sources::of_environment(self.container).read(env)?.addresses()?;
        Ok(listeners.into_iter().take(1).map(reachable).collect())
    }
}

/// The first of a host's addresses that answers, and how many APIs it names.
fn ask_any(addresses: &[SocketAddr]) -> io::Result<(SocketAddr, i32)> {
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for &address in addresses {
        outcome = ask(address).map(|apis| (address, apis));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn ask(address: SocketAddr) -> io::Result<i32> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(told)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length <= ANSWER_BYTES_MAX);
    let mut answer = vec![0; length.ok_or_else(no_kafka)?];
    stream.read_exact(&mut answer).map_err(told)?;
    apis_of(&answer)
}

/// The count of an ApiVersions answer of version 0: correlation id, error code, array.
fn apis_of(answer: &[u8]) -> io::Result<i32> {
    let mut input = Input(answer);
    let mut head = || Ok::<_, crate::protocol::wire::WireError>((input.i32()?, input.i16()?, input.i32()?));
    match head() {
        Ok((CORRELATION_ID, 0, apis)) if apis > 0 => Ok(apis),
        Ok((CORRELATION_ID, code, _)) if code != 0 => Err(io::Error::other(format!("error code {code}"))),
        _ => Err(no_kafka()),
    }
}

fn told(error: io::Error) -> io::Error {
    match error.kind() {
        // The system's word for a read that takes too long is "resource temporarily unavailable".
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"))
        }
        // "Failed to fill whole buffer", as Rust has it.
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the connection was closed before the answer"),
        _ => error,
    }
}

fn no_kafka() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what answers does not speak Kafka's protocol")
}

#[cfg(test)]
mod tests;
