//! What a small request comes down to: a frame off a socket, an answer into it, on a runtime of several threads.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READ_BYTES: usize = 64 << 10;

pub(super) fn serve(answer_bytes: usize, gathers: bool) {
    let listener = super::announced();
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            tokio::spawn(connection(socket, answer_bytes, gathers));
        }
    });
}

async fn connection(mut socket: TcpStream, answer_bytes: usize, gathers: bool) {
    let answer = answer(answer_bytes);
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
            used += 4 + length;
            answers.extend_from_slice(&answer);
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
        let at_once = if gathers { READ_BYTES } else { answer.len() };
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
