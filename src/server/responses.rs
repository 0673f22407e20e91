//! Responses onto a socket: our bytes by `send`, file slices by `sendfile`.

use std::io::{self, IoSlice};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::protocol::response::Piece;
use crate::sys::{self, FileSlice};

/// So much of files goes out before the worker turns to other connections: to a peer that takes all it is given, one
/// `sendfile` of a large slice is long at work.
const TURN_BYTES: u32 = 1 << 20;

/// Writes whole responses. Must not be cancelled half way unless the connection ends with it. A peer that takes nothing
/// for `idle_max` is given up, as one that says nothing is (`Selector.IdleExpiryManager` goes by both).
pub(super) async fn write(socket: &TcpStream, pieces: &[Piece], idle_max: Option<Duration>) -> io::Result<()> {
    let mut left_in_turn = TURN_BYTES;
    let mut runs = pieces.chunk_by(|a, b| matches!((a, b), (Piece::Bytes(_), Piece::Bytes(_)))).peekable();
    while let Some(run) = runs.next() {
        match run {
            [Piece::File(slice)] => write_slice(socket, slice.clone(), &mut left_in_turn, idle_max).await?,
            // More to come: let the kernel put this into one packet with what follows.
            run => write_bytes(socket, run, runs.peek().is_some(), idle_max).await?,
        }
    }
    Ok(())
}

async fn write_bytes<'a>(
    socket: &TcpStream,
    run: &'a [Piece],
    more: bool,
    idle_max: Option<Duration>,
) -> io::Result<()> {
    let bytes_of = |piece: &'a Piece| match piece {
        Piece::Bytes(bytes) => Some(IoSlice::new(bytes)),
        Piece::File(_) => None,
    };
    let mut parts: Vec<IoSlice<'a>> = run.iter().filter_map(bytes_of).collect();
    let mut rest = parts.as_mut_slice();
    // Drops what is empty.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let sent = when_writable(socket, idle_max, || sys::send(socket, rest, more)).await?;
        IoSlice::advance_slices(&mut rest, sent);
    }
    Ok(())
}

async fn write_slice(
    socket: &TcpStream,
    mut slice: FileSlice,
    left_in_turn: &mut u32,
    idle_max: Option<Duration>,
) -> io::Result<()> {
    while slice.length > 0 {
        if *left_in_turn == 0 {
            tokio::task::yield_now().await;
            *left_in_turn = TURN_BYTES;
        }
        let piece = FileSlice { length: slice.length.min(*left_in_turn), ..slice.clone() };
        let sent = when_writable(socket, idle_max, || sys::send_file(socket, &piece)).await?;
        // The file ended: it was cut under a slice that a reader still held. The response cannot be finished.
        let sent = u32::try_from(sent).ok().filter(|sent| *sent > 0).ok_or(io::ErrorKind::UnexpectedEof)?;
        slice.position += u64::from(sent);
        slice.length = slice.length.saturating_sub(sent);
        *left_in_turn = left_in_turn.saturating_sub(sent);
    }
    Ok(())
}

async fn when_writable(
    socket: &TcpStream,
    idle_max: Option<Duration>,
    mut send: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    // Mostly there is room, and no clock is needed.
    match socket.try_io(Interest::WRITABLE, &mut send) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        sent => return sent,
    }
    let sending = socket.async_io(Interest::WRITABLE, send);
    match idle_max {
        None => sending.await,
        Some(idle_max) => tokio::time::timeout(idle_max, sending).await?,
    }
}
