//! Listening sockets, and the life of the connections that come in by them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::admission::Admission;
use super::connection::Connection;
use super::framing::RequestMemory;
use crate::api::{Client, Services};
use crate::config::{Listener, Network};
use crate::sys;

/// A pause after a failed accept, doubled up to the maximum: out of file descriptors, accepting at once would fail
/// again and burn the core that could finish what is in flight.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A listening socket, and the entry of `listeners` that it is for.
#[derive(Debug)]
pub struct Bound {
    listener: Listener,
    socket: TcpListener,
}

impl Bound {
    /// Binds; connections wait in the backlog until the server runs.
    pub fn bind(listener: Listener, network: &Network) -> io::Result<Bound> {
        let socket = sys::bind(listener.address, network.backlog)?;
        Ok(Bound { listener, socket })
    }

    /// Where it listens; the port is the real one also where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The running server. It stops when the services do.
#[derive(Debug)]
pub struct Server {
    /// Closed when the last listener and connection are gone: each holds a sender.
    alive: mpsc::Receiver<()>,
}

/// What every connection is given.
#[derive(Debug, Clone)]
struct Shared {
    services: Arc<Services>,
    admission: Arc<Admission>,
    memory: Arc<RequestMemory>,
    alive: mpsc::Sender<()>,
}

impl Server {
    /// Starts to accept.
    pub fn start(services: Arc<Services>, bound: Vec<Bound>) -> Server {
        let network = &services.config.network;
        let (alive, gone) = mpsc::channel(1);
        let admission = Admission::new(network);
        let memory = Arc::new(RequestMemory::new(network.queued_bytes_max));
        let shared = Shared { services, admission, memory, alive };
        for Bound { listener, socket } in bound {
            tokio::spawn(accept(socket, listener, shared.clone()));
        }
        Server { alive: gone }
    }

    /// Once the services are stopping nothing more is accepted or read, and what is in flight finishes. Returns when
    /// every connection is closed, or after `patience`: whether all of them were.
    pub async fn stopped(mut self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.alive.recv()).await.is_ok()
    }
}

async fn accept(socket: TcpListener, listener: Listener, shared: Shared) {
    let mut stopping = shared.services.stopping.clone();
    let mut pause = ACCEPT_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            accepted = accept_one(&socket, &shared.admission) => accepted,
        };
        let (socket, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = listener.name, %error, "accept failed, pausing {pause:?}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                continue;
            }
        };
        pause = ACCEPT_PAUSE;
        let Some(admitted) = shared.admission.admit(peer.ip(), permit) else {
            tracing::warn!(%peer, "connection refused: max.connections.per.ip is reached");
            continue;
        };
        match prepare(&socket, &shared.services.config.network) {
            Ok(local) => {
                let client = Arc::new(Client { listener: listener.clone(), local, peer });
                let shared = shared.clone();
                tokio::spawn(async move {
                    let Shared { services, memory, alive, .. } = shared;
                    Connection { services, client, memory }.serve(socket).await;
                    drop((admitted, alive));
                });
            }
            Err(error) => tracing::debug!(%peer, %error, "connection lost as it came"),
        }
    }
}

/// Accepts a connection, then waits until there may be one more: at the limit, those behind it stay in the backlog, and
/// other listeners get what becomes free as well (`ConnectionQuotas.waitForConnectionSlot`).
async fn accept_one(
    socket: &TcpListener,
    admission: &Admission,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let (socket, peer) = socket.accept().await?;
    Ok((socket, peer, admission.room().await?))
}

/// Sets the socket's options, and tells our address as the client sees it.
fn prepare(socket: &TcpStream, network: &Network) -> io::Result<SocketAddr> {
    socket.set_nodelay(true)?;
    sys::set_buffer_sizes(socket, network.send_buffer_bytes, network.receive_buffer_bytes)?;
    socket.local_addr()
}
