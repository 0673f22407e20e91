//! The limits: the least that any broker has to do with these bytes. Each runs in a process of its own, so that its CPU
//! time can be told apart, and is asked by the same client over as many sockets as the broker is.

mod disk;
mod echo;
mod group;
mod sink;
mod source;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::server::Server;

pub use disk::{Syncs, sync_loop};
pub use echo::Duty;
pub use source::write_file as write_source;

/// What makes of this program a limit. It comes first of the arguments.
const ROLE_FLAG: &str = "--raw";

/// `recv`, crc32c over what came, `pwrite`; an answer to each frame.
pub fn sink(dir: &Path, files: usize, frame_bytes: usize, answer_bytes: usize) -> Server {
    let numbers = [files, frame_bytes, answer_bytes].map(|number| number.to_string());
    start("sink", dir, &numbers)
}

/// A cached file by `sendfile`, a slice for each request.
pub fn source(file: &Path, slice_bytes: usize) -> Server {
    start("source", file, &[slice_bytes.to_string()])
}

/// Answers frames on a runtime as the broker has it, and does nothing else but what `duty` says.
pub fn echo(dir: &Path, answer_bytes: usize, duty: Duty) -> Server {
    start("echo", dir, &[answer_bytes, duty.gathers.into(), duty.stores.into()].map(|number| number.to_string()))
}

/// A frame of each connection into a file, the file onto the disk, an answer to each.
pub fn group(dir: &Path, connections: usize, frame_bytes: usize, answer_bytes: usize) -> Server {
    start("group", dir, &[connections, frame_bytes, answer_bytes].map(|number| number.to_string()))
}

fn start(role: &str, path: &Path, numbers: &[String]) -> Server {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ROLE_FLAG, role]).arg(path).args(numbers);
    Server::announcing(command)
}

/// Runs as a limit, if the arguments say so; until it is killed.
pub fn run_if_asked() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [flag, role, path, numbers @ ..] = &args[..] else { return };
    if flag != ROLE_FLAG {
        return;
    }
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    match (role.as_str(), &numbers[..]) {
        ("sink", &[files, frame_bytes, answer_bytes]) => sink::serve(path.as_ref(), files, frame_bytes, answer_bytes),
        ("source", &[slice_bytes]) => source::serve(path.as_ref(), slice_bytes),
        ("echo", &[answer_bytes, gathers, stores]) => {
            echo::serve(path.as_ref(), answer_bytes, Duty { gathers: gathers != 0, stores: stores != 0 });
        }
        ("group", &[connections, frame_bytes, answer_bytes]) => {
            group::serve(path.as_ref(), connections, frame_bytes, answer_bytes);
        }
        other => panic!("{other:?}"),
    }
}

/// Gives each connection, with its number, a thread.
fn serve_threads(serve: impl Fn(TcpStream, usize) + Sync) {
    let listener = announced();
    std::thread::scope(|scope| {
        for number in 0.. {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nodelay(true).unwrap();
            let serve = &serve;
            scope.spawn(move || serve(socket, number));
        }
    });
}

fn announced() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    #[allow(clippy::print_stdout, reason = "the process that started this one reads it")]
    {
        println!("{}", listener.local_addr().unwrap().port());
    }
    listener
}
