//! A broker of one's own and a client that speaks raw bytes, for integration tests.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod batch;
pub mod data_dir;
pub mod kafka;
pub mod requests;
pub mod topics;

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use kafka_protocol::protocol::{Decodable, Encodable, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const START_ATTEMPTS: usize = 3;
const START_DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The real binary on a free port with a fresh data directory; killed when dropped.
#[derive(Debug)]
pub struct Broker {
    process: Child,
    address: SocketAddr,
    data: Arc<TempDir>,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::start_with(&[])
    }

    /// Starts with `key=value` overrides of the configuration, and waits until it accepts connections.
    pub fn start_with(overrides: &[&str]) -> Broker {
        Broker::start_on(&Arc::new(TempDir::new().unwrap()), overrides)
    }

    /// Starts on a data directory that an earlier broker may have left.
    pub fn start_on(data: &Arc<TempDir>, overrides: &[&str]) -> Broker {
        Broker::start_in(data, &[data.path().to_owned()], overrides)
    }

    /// Starts with these log dirs, which `data` keeps from being removed.
    pub fn start_in(data: &Arc<TempDir>, dirs: &[PathBuf], overrides: &[&str]) -> Broker {
        Broker::start_by(data, dirs, &[], overrides, |command| command)
    }

    /// As [`Broker::start_on`], with other arguments too: flags, and more directories.
    pub fn start_with_args(data: &Arc<TempDir>, args: &[&str], overrides: &[&str]) -> Broker {
        Broker::start_by(data, &[data.path().to_owned()], args, overrides, |command| command)
    }

    /// As [`Broker::start_on`], with a command that `change` may put into another environment.
    pub fn start_as(data: &Arc<TempDir>, overrides: &[&str], change: impl Fn(Command) -> Command) -> Broker {
        Broker::start_by(data, &[data.path().to_owned()], &[], overrides, change)
    }

    fn start_by(
        data: &Arc<TempDir>,
        dirs: &[PathBuf],
        args: &[&str],
        overrides: &[&str],
        change: impl Fn(Command) -> Command,
    ) -> Broker {
        Broker::try_start_by(data, dirs, args, overrides, change).expect("the broker ended before it listened")
    }

    /// As [`Broker::start_on`]; `None`: it ended before it listened.
    pub fn try_start_on(data: &Arc<TempDir>, overrides: &[&str]) -> Option<Broker> {
        Broker::try_start_by(data, &[data.path().to_owned()], &[], overrides, |command| command)
    }

    fn try_start_by(
        data: &Arc<TempDir>,
        dirs: &[PathBuf],
        args: &[&str],
        overrides: &[&str],
        change: impl Fn(Command) -> Command,
    ) -> Option<Broker> {
        // A port that was free may be taken by the time the broker binds it: by a connection of a test beside this one.
        (0..START_ATTEMPTS).find_map(|_| Broker::spawn(data, dirs, args, overrides, &change).listening())
    }

    fn spawn(
        data: &Arc<TempDir>,
        dirs: &[PathBuf],
        args: &[&str],
        overrides: &[&str],
        change: impl Fn(Command) -> Command,
    ) -> Broker {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.arg("--listen").arg(address.to_string());
        for dir in dirs {
            command.arg("--data").arg(dir);
        }
        command.args(args);
        for setting in overrides {
            command.arg("--override").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = change(command).spawn().unwrap();
        Broker { process, address, data: data.clone() }
    }

    fn listening(mut self) -> Option<Broker> {
        let deadline = Instant::now() + START_DEADLINE;
        while !is_listening(self.address) {
            assert!(Instant::now() < deadline, "no listener on {} within {START_DEADLINE:?}", self.address);
            if !self.is_running() {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // The socket listens before the logs are open: an answer is what says that the start is over.
        if self.answers() {
            return Some(self);
        }
        assert!(!self.process.wait().unwrap().success(), "it closed a connection and stopped");
        None
    }

    fn answers(&self) -> bool {
        let Ok(stream) = TcpStream::connect(self.address) else { return false };
        let mut client = Client { stream, last_correlation_id: 0 };
        client.send(0, &ApiVersionsRequest::default());
        match client.receive(ANSWER_DEADLINE) {
            Answer::Frame(_) => true,
            Answer::Closed => false,
            Answer::Silence => panic!("no answer on {} within {ANSWER_DEADLINE:?}", self.address),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn data(&self) -> &Arc<TempDir> {
        &self.data
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Resident memory of the process, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most that it has been so far.
    pub fn most_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Ends the broker as `kill -9` does.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until the broker ends by itself.
    pub fn ended(mut self) -> ExitStatus {
        let deadline = Instant::now() + START_DEADLINE;
        while self.is_running() {
            assert!(Instant::now() < deadline, "still running after {START_DEADLINE:?}");
            thread::sleep(Duration::from_millis(5));
        }
        self.process.wait().unwrap()
    }

    /// Asks the broker to stop, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.process.wait().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection to a port of the ephemeral range at which nobody listens may be made from that very port, to itself.
fn is_listening(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok_and(|stream| stream.local_addr().unwrap() != address)
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// What came back on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Frame(Bytes),
    Closed,
    /// Nothing within the time given.
    Silence,
}

/// One connection. Frames are without their length prefix.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    last_correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, last_correlation_id: 0 }
    }

    /// Sends bytes as they are. A broken connection shows at the next `receive`.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            assert!(is_closed(&error), "{error}");
        }
    }

    pub fn send_frame(&mut self, frame: &[u8]) {
        self.send_raw(&framed(frame));
    }

    /// No more bytes will come from here.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub fn receive(&mut self, patience: Duration) -> Answer {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let mut length = [0; 4];
        if let Err(error) = self.stream.read_exact(&mut length) {
            return no_frame(&error);
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        match self.stream.read_exact(&mut frame) {
            Ok(()) => Answer::Frame(frame.into()),
            Err(error) => no_frame(&error),
        }
    }

    /// Whether anything comes within the time given. It stays unread.
    pub fn has_bytes(&mut self, patience: Duration) -> bool {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        self.stream.peek(&mut [0]).is_ok_and(|read| read > 0)
    }

    #[track_caller]
    pub fn receive_frame(&mut self) -> Bytes {
        match self.receive(ANSWER_DEADLINE) {
            Answer::Frame(frame) => frame,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    /// Asserts that the broker ends the connection without an answer.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        assert_eq!(self.receive(ANSWER_DEADLINE), Answer::Closed);
    }

    /// Sends a request without waiting, and says under which correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.last_correlation_id += 1;
        self.send_frame(&request_frame(R::KEY, version, self.last_correlation_id, &encoded(request, version)));
        self.last_correlation_id
    }

    /// Receives the response to the request sent under `correlation_id`.
    #[track_caller]
    pub fn response<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        let mut frame = self.receive_frame();
        assert_eq!(frame.get_i32(), correlation_id);
        if ApiKey::try_from(R::KEY).unwrap().response_header_version(version) >= 1 {
            assert_eq!(frame.get_u8(), 0, "tagged fields of the header");
        }
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "{} bytes behind the response", frame.len());
        response
    }

    #[track_caller]
    pub fn request<R: Request>(&mut self, version: i16, request: &R) -> R::Response
    where
        R::Response: Debug,
    {
        let correlation_id = self.send(version, request);
        self.response::<R>(version, correlation_id)
    }
}

fn no_frame(error: &io::Error) -> Answer {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Answer::Silence,
        _ if is_closed(error) => Answer::Closed,
        _ => panic!("{error}"),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

pub fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    message.encode(&mut body, version).unwrap();
    body.freeze()
}

/// A frame with its length before it.
pub fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as i32).to_be_bytes()[..], frame].concat()
}

/// A request header and a body, of any key and version.
pub fn request_frame(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let is_flexible = ApiKey::try_from(api_key).is_ok_and(|api| api.request_header_version(version) >= 2);
    let tagged_fields: &[u8] = if is_flexible { &[0] } else { &[] };
    let (key, version) = (api_key.to_be_bytes(), version.to_be_bytes());
    [&key[..], &version, &correlation_id.to_be_bytes(), b"\0\x04test", tagged_fields, body].concat()
}
