//! The processes that are measured, and what they have cost so far.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process counts as quiet when it has used less than this in [`QUIET_TIME`].
const QUIET_CPU: Duration = Duration::from_micros(200);
const QUIET_TIME: Duration = Duration::from_millis(20);
const QUIET_WAIT_MAX: Duration = Duration::from_secs(60);
/// What is waited for a process that cannot be looked at.
const BLIND_WAIT: Duration = Duration::from_millis(200);

/// A process that serves: the broker, or one of the raw limits. Ended when dropped, if it is ours.
pub struct Server {
    pub address: SocketAddr,
    /// None for a broker that runs elsewhere.
    pub account: Option<Account>,
    child: Option<Child>,
}

impl Server {
    /// A broker of ours. It may not listen yet.
    pub fn broker(binary: &Path, data: &Path) -> Server {
        let port = free_port();
        let mut command = Command::new(binary);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--log", "error", "--data"]).arg(data);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        Server::ours(child, ([127, 0, 0, 1], port).into())
    }

    /// One that runs already.
    pub fn running(address: SocketAddr, pid: Option<i32>) -> Server {
        Server { address, account: pid.map(Account::of), child: None }
    }

    /// A process that prints the port on which it listens.
    pub fn announcing(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("no port but {line:?}"));
        Server::ours(child, ([127, 0, 0, 1], port).into())
    }

    fn ours(child: Child, address: SocketAddr) -> Server {
        Server { address, account: Some(Account::of(child.id() as i32)), child: Some(child) }
    }

    /// Waits until the process has done what was left to do, so that the next measurement does not pay for it.
    pub fn settle(&self) {
        let Some(account) = &self.account else { return std::thread::sleep(BLIND_WAIT) };
        let started = Instant::now();
        let mut before = account.total();
        while started.elapsed() < QUIET_WAIT_MAX {
            std::thread::sleep(QUIET_TIME);
            let now = account.total();
            if now - before < QUIET_CPU {
                return;
            }
            before = now;
        }
    }

    /// Asks it to stop, and waits until it has, in good order.
    pub fn stop(mut self) {
        let mut child = self.child.take().expect("a process of ours");
        let pid = Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Processor seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

/// What a process has used. The total is its CPU clock, which is exact and keeps the threads that have ended; how it parts
/// into user and system is told by `/proc/PID/stat`, whose ticks are samples.
#[derive(Clone, Copy)]
pub struct Account {
    pid: i32,
    clock: ClockId,
}

/// A point in the life of a process.
#[derive(Clone, Copy)]
pub struct Reading {
    total: Duration,
    user_ticks: u64,
    system_ticks: u64,
}

impl Account {
    fn of(pid: i32) -> Account {
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).unwrap_or_else(|error| panic!("process {pid}: {error}"));
        Account { pid, clock }
    }

    pub fn total(&self) -> Duration {
        clock_gettime(self.clock).map(Duration::from).unwrap_or_else(|error| panic!("process {}: {error}", self.pid))
    }

    pub fn now(&self) -> Reading {
        let stat = self.read("stat");
        // The fields after the command's name, which is in parentheses and may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse().unwrap();
        Reading { total: self.total(), user_ticks: ticks(11), system_ticks: ticks(12) }
    }

    pub fn since(&self, before: Reading) -> Cpu {
        let now = self.now();
        let (total, user) = ((now.total - before.total).as_secs_f64(), (now.user_ticks - before.user_ticks) as f64);
        let ticks = user + (now.system_ticks - before.system_ticks) as f64;
        let user = total * if ticks > 0.0 { user / ticks } else { 0.0 };
        Cpu { user, system: total - user }
    }

    /// Resident memory now.
    pub fn resident_kib(&self) -> f64 {
        self.status_kib("VmRSS:")
    }

    /// The most that was ever resident.
    pub fn resident_peak_kib(&self) -> f64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> f64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn read(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
