//! The limits: the least that any broker has to do with these bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

pub const ROLE_FLAG: &str = "--raw-role";
/// Reads a socket into a file.
pub const SINK: &str = "sink";
/// Sends a file that is in the page cache into a socket, over and over.
pub const SOURCE: &str = "source";

const CHUNK_BYTES: usize = 1 << 20;

/// Runs a bare loop for one connection, in the process that the bench started for it.
pub fn run(role_and_port: &str, file: &str) {
    let (role, port) = role_and_port.split_once(':').unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
    loop {
        let (socket, _) = listener.accept().unwrap();
        match role {
            SINK => sink(socket, file),
            SOURCE => source(socket, file),
            other => unreachable!("{other}"),
        }
    }
}

fn sink(mut socket: TcpStream, file: &str) {
    let mut file = File::create(file).unwrap();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = socket.read(&mut chunk).unwrap();
        if read == 0 {
            return socket.write_all(b".").unwrap();
        }
        file.write_all(&chunk[..read]).unwrap();
    }
}

fn source(socket: TcpStream, file: &str) {
    let file = File::open(file).unwrap();
    let length = file.metadata().unwrap().len() as usize;
    loop {
        let mut position = 0;
        while (position as usize) < length {
            let left = length - position as usize;
            if nix::sys::sendfile::sendfile(&socket, &file, Some(&mut position), left).is_err() {
                return; // the reader has what it wanted
            }
        }
    }
}

/// Sends `mib` to the sink and waits until it has written all.
pub fn pour(port: u16, mib: u64) {
    let mut socket = connect(port);
    let chunk = vec![0x5a; CHUNK_BYTES];
    for _ in 0..mib {
        socket.write_all(&chunk).unwrap();
    }
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    socket.read_exact(&mut [0]).unwrap();
}

/// Receives `mib` from the source.
pub fn drain(port: u16, mib: u64) {
    let mut socket = connect(port);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = mib << 20;
    while left > 0 {
        left = left.saturating_sub(socket.read(&mut chunk).unwrap() as u64);
    }
}

fn connect(port: u16) -> TcpStream {
    for _ in 0..200 {
        if let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) {
            return socket;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the bare loop did not come up on port {port}");
}
