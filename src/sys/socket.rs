//! Sockets: listening, and sending a file's bytes without bringing them into this process.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::FileSlice;

/// A non-blocking listening socket at `address`, with `SO_REUSEADDR` so that a restart need not wait for old
/// connections to leave TIME_WAIT. Those that it accepts inherit `SO_KEEPALIVE`, by which a peer that vanished is
/// noticed (`SocketServer.configureAcceptedSocketChannel`). Must be called inside the runtime.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// One `sendfile(2)`: moves up to the whole of `slice` into `socket`; returns the bytes moved. `WouldBlock` when the
/// socket is full, 0 when the file ended before the slice did.
pub fn send_file(socket: &impl AsFd, slice: &FileSlice) -> io::Result<usize> {
    let mut position = i64::try_from(slice.position).map_err(|_| io::ErrorKind::InvalidInput)?;
    let sent = nix::sys::sendfile::sendfile(socket, slice.file.as_ref(), Some(&mut position), slice.length as usize)?;
    Ok(sent)
}

/// One `send(2)` of up to all of `parts`, one after the other; returns the bytes taken. `more` says that more follows at once, so that the
/// kernel may wait for it to fill a packet (`MSG_MORE`).
pub fn send(socket: &impl AsFd, parts: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    // A peer that is gone is an error here, not a SIGPIPE.
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    match parts {
        [part] => Ok(rustix::net::send(socket, part, flags)?),
        parts => Ok(rustix::net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags)?),
    }
}

/// Sets the sizes of a socket's kernel buffers in bytes; `None` leaves the system's choice, which adapts itself.
pub fn set_buffer_sizes(socket: &impl AsFd, send: Option<u32>, receive: Option<u32>) -> io::Result<()> {
    if let Some(bytes) = send {
        nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::SndBuf, &(bytes as usize))?;
    }
    if let Some(bytes) = receive {
        nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBuf, &(bytes as usize))?;
    }
    Ok(())
}
