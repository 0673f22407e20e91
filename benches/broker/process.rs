//! The processes that are measured.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::raw;

const BROKER: &str = env!("CARGO_BIN_EXE_ottla");

/// A child process, ended when dropped.
pub struct Process {
    child: Child,
    port: u16,
}

impl Process {
    pub fn broker(port: u16, data: &Path) -> Process {
        let mut command = Command::new(BROKER);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--log", "warn", "--data"]).arg(data);
        Process { child: command.stderr(Stdio::null()).spawn().unwrap(), port }
    }

    /// One of the bare loops, in a process of its own so that its CPU time can be told apart.
    pub fn raw(role: &str, file: &Path) -> Process {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([raw::ROLE_FLAG, &format!("{role}:{port}")]).arg(file);
        Process { child: command.spawn().unwrap(), port }
    }

    /// Asks a broker to stop, and waits until it has, in good order.
    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// User and system time so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The fields after the command's name, which is in parentheses and may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
        ticks as f64 / per_second as f64
    }

    pub fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn binary_mib() -> f64 {
    std::fs::metadata(BROKER).unwrap().len() as f64 / (1 << 20) as f64
}

/// A directory on a real file system: `/tmp` may be memory.
pub fn scratch_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).to_path_buf()
}
