//! What a durable produce comes down to with its way to and fro: a group commit that is always full, on one thread, which
//! never looks for work: it knows that each producer has one request outstanding.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// Serves so many connections at a time, all of which send the same number of frames.
pub(super) fn serve(dir: &Path, connections: usize, frame_bytes: usize, answer_bytes: usize) {
    let (listener, answer) = (super::announced(), super::echo::answer(answer_bytes));
    loop {
        let mut sockets: Vec<TcpStream> = (0..connections).map(|_| accept(&listener)).collect();
        let file = tempfile::tempfile_in(dir).unwrap();
        // Whoever has what he wanted leaves.
        while commit(&mut sockets, &file, frame_bytes, &answer).is_ok() {}
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

fn commit(sockets: &mut [TcpStream], mut file: &File, frame_bytes: usize, answer: &[u8]) -> io::Result<()> {
    let mut frame = vec![0; frame_bytes];
    for socket in &mut *sockets {
        socket.read_exact(&mut frame)?;
        std::hint::black_box(crc32c::crc32c(&frame));
        file.write_all(&frame)?;
    }
    file.sync_data()?;
    sockets.iter_mut().try_for_each(|socket| socket.write_all(answer))
}
