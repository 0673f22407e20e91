//! The commands of the contract: profile, checks, write and read (setup is the script's).

mod checks;
mod clients;
mod formula;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::Duration;
use std::{env, process, thread};

const PROFILE: &str = "full";
const CHECK_TIME_MAX: Duration = Duration::from_secs(60);

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    std::panic::set_hook(Box::new(|_| {})); // a failed assertion is told by the line of its check
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["profile"] => println!("{PROFILE}"),
        ["checks"] => run_all(""),
        ["checks", part] => run_all(part),
        ["write", topic, codec, count] => clients::write(topic, codec, count.parse()?, PROFILE)?,
        ["read", topic, count, profile] => {
            let (topic, count, profile) = (topic.to_owned(), count.parse()?, profile.to_owned());
            run(&format!("read/{topic}"), move || clients::read_and_compare(&topic, count, &profile));
        }
        _ => {
            eprintln!("usage: suite setup | profile | checks [PART] | write TOPIC CODEC N | read TOPIC N PROFILE");
            process::exit(2);
        }
    }
    process::exit(0) // without waiting for the threads of checks that hang
}

fn run_all(part: &str) {
    for (name, check) in checks::all() {
        if name.contains(part) {
            run(&name, check);
        }
    }
}

/// Runs on a thread of its own, which is left behind where it does not end in time.
fn run(name: &str, check: impl FnOnce() -> Outcome + Send + 'static) {
    let (done, verdict) = channel();
    thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(check))));
    let reason = match verdict.recv_timeout(CHECK_TIME_MAX) {
        Ok(Ok(Ok(()))) => return println!("ok {name}"),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(panic)) => match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => panic.downcast::<&str>().map_or("panic".to_owned(), |message| message.to_string()),
        },
        Err(RecvTimeoutError::Timeout) => format!("not done in {} s", CHECK_TIME_MAX.as_secs()),
        Err(RecvTimeoutError::Disconnected) => "its thread died".to_owned(),
    };
    println!("FAIL {name}: {}", reason.split_whitespace().collect::<Vec<_>>().join(" "));
}
