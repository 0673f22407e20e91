//! Responses onto a socket: our bytes by `send`, file slices by `sendfile`.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::protocol::response::{Piece, Response};
use crate::sys::{self, FileSlice};

/// So much of a file goes out before the worker turns to other connections: to a peer that takes all it is given, one
/// `sendfile` of a large slice is long at work.
const SENT_AT_ONCE_BYTES: u32 = 256 << 10;

/// Writes a whole response. Must not be cancelled half way unless the connection ends with it. A peer that takes nothing
/// for `idle_max` is given up, as one that says nothing is (`Selector.IdleExpiryManager` goes by both).
pub(super) async fn write(socket: &TcpStream, response: Response, idle_max: Option<Duration>) -> io::Result<()> {
    let mut pieces = response.pieces.into_iter().filter(|piece| !piece.is_empty()).peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            // More to come: let the kernel put this into one packet with what follows.
            Piece::Bytes(bytes) => write_bytes(socket, &bytes, pieces.peek().is_some(), idle_max).await?,
            Piece::File(slice) => write_slice(socket, slice, idle_max).await?,
        }
    }
    Ok(())
}

async fn write_bytes(socket: &TcpStream, mut bytes: &[u8], more: bool, idle_max: Option<Duration>) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = when_writable(socket, idle_max, || sys::send(socket, bytes, more)).await?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

async fn write_slice(socket: &TcpStream, mut slice: FileSlice, idle_max: Option<Duration>) -> io::Result<()> {
    while slice.length > 0 {
        let piece = FileSlice { length: slice.length.min(SENT_AT_ONCE_BYTES), ..slice.clone() };
        let sent = when_writable(socket, idle_max, || sys::send_file(socket, &piece)).await?;
        // The file ended: it was cut under a slice that a reader still held. The response cannot be finished.
        let sent = u32::try_from(sent).ok().filter(|sent| *sent > 0).ok_or(io::ErrorKind::UnexpectedEof)?;
        slice.position += u64::from(sent);
        slice.length = slice.length.saturating_sub(sent);
        if slice.length > 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

async fn when_writable(
    socket: &TcpStream,
    idle_max: Option<Duration>,
    send: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let sending = socket.async_io(Interest::WRITABLE, send);
    match idle_max {
        None => sending.await,
        Some(idle_max) => tokio::time::timeout(idle_max, sending).await?,
    }
}
