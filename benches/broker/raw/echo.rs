//! What a small request comes down to: a frame off a socket, an answer into it, on a runtime of several threads; and that with
//! the frame in a file before it is answered.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READ_BYTES: usize = 64 << 10;

/// What a connection does with the frames that came in one read.
#[derive(Clone, Copy)]
pub struct Duty {
    /// Their answers leave in one write.
    pub gathers: bool,
    /// Each is written to the connection's file by a write of its own.
    pub stores: bool,
}

pub(super) fn serve(dir: &Path, answer_bytes: usize, duty: Duty) {
    let listener = super::announced();
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let file = duty.stores.then(|| tempfile::tempfile_in(dir).unwrap());
            tokio::spawn(connection(socket, answer_bytes, duty, file));
        }
    });
}

async fn connection(mut socket: TcpStream, answer_bytes: usize, duty: Duty, file: Option<File>) {
    let (answer, mut end) = (answer(answer_bytes), 0);
    let (mut buffer, mut filled, mut answers) = (vec![0; READ_BYTES], 0, Vec::new());
    loop {
        match socket.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(came) => filled += came,
        }
        let mut used = 0;
        while let Some((length, rest)) = buffer[used..filled].split_first_chunk::<4>() {
            let length = i32::from_be_bytes(*length) as usize;
            if rest.len() < length {
                break;
            }
            if let Some(file) = &file {
                file.write_all_at(&rest[..length], end).unwrap();
                end += length as u64;
            }
            used += 4 + length;
            answers.extend_from_slice(&answer);
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
        let at_once = if duty.gathers { READ_BYTES } else { answer.len() };
        for part in answers.chunks(at_once) {
            if socket.write_all(part).await.is_err() {
                return;
            }
        }
        answers.clear();
    }
}

/// An answer of so many bytes, its length before it, that has no error in it.
pub(super) fn answer(bytes: usize) -> Vec<u8> {
    [&(bytes as i32).to_be_bytes()[..], &vec![0; bytes]].concat()
}
