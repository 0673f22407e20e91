//! One connection: frames in, replies out in the order of their requests.
//!
//! Two halves run in one task, the reading one first at each of its turns. The reading half takes a reply slot, reads a
//! frame, dispatches it, and puts the reply into the slot; the writing half empties the slots in turn. A staged reply
//! (Produce, Fetch) lets the reading half go on, so that requests overlap; any other reply is awaited first, so that they
//! take effect one after the other.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::framing::{Frame, FrameReader, ReadError, RequestMemory};
use super::responses;
use crate::api::dispatch::{self, Pending, Rejected, Reply};
use crate::api::{Client, Services};
use crate::protocol::response::{Piece, Response};

/// Requests of one connection that may be under way at once. Clients keep 5 or fewer in flight by default.
const IN_FLIGHT_MAX: u32 = 32;
/// Requests without an answer (`acks=0`) that are read before a writing half that waits for room in the socket has a go. Without
/// it the reading half would use up all that the runtime lets a task do in one turn, for as long as they keep coming.
const UNANSWERED_MAX: u32 = 16;
/// A reply with more memory than this is written before another request is read: what a client that does not read makes
/// pile up is then bounded by one such reply, and not by as many as may be in flight.
const REPLY_BYTES_ALONE: usize = 1 << 20;
/// How long replies of what came before may take when nothing more is read.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// The slot of one request, in the order of the requests. The permit makes room for another request when the reply has
/// been written.
struct Slot<'a> {
    reply: Outgoing,
    in_flight: SemaphorePermit<'a>,
}

/// A reply that waits for its turn.
enum Outgoing {
    Ready(Response),
    Pending(Pending),
}

impl Outgoing {
    /// What a reply that is ready keeps in memory while it waits; one that is not has only its request's partitions.
    fn memory_bytes(&self) -> usize {
        match self {
            Outgoing::Ready(response) => response.memory_bytes(),
            Outgoing::Pending(_) => 0,
        }
    }
}

/// Why the reading half ended.
enum End {
    /// The other end is gone: nobody reads what is still under way.
    Gone,
    /// Nothing more is read, but what came before gets its answer.
    Drain,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) services: Arc<Services>,
    pub(super) client: Arc<Client>,
    pub(super) memory: Arc<RequestMemory>,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) async fn serve(self, mut socket: TcpStream) {
        let network = &self.services.config.network;
        let (read, write) = socket.split();
        let frames = FrameReader::new(read, network, &self.memory);
        let in_flight = Semaphore::new(IN_FLIGHT_MAX as usize);
        let (slots, queued) = mpsc::unbounded_channel();
        let peer = self.client.peer;
        let mut writing = std::pin::pin!(write_replies(write.as_ref(), queued, network.idle_max));
        let end = tokio::select! {
            // What has been read is answered in the same turn.
            biased;
            end = self.read_requests(frames, &in_flight, slots) => end,
            written = &mut writing => {
                report(peer, written);
                return;
            }
        };
        if let End::Drain = end {
            match timeout(DRAIN_TIME_MAX, writing).await {
                Ok(written) => report(peer, written),
                Err(_) => tracing::debug!(%peer, "connection closed before all replies were written"),
            }
        }
    }

    async fn read_requests<'a>(
        &self,
        mut frames: FrameReader<'_, ReadHalf<'_>>,
        in_flight: &'a Semaphore,
        slots: mpsc::UnboundedSender<Slot<'a>>,
    ) -> End {
        let mut stopping = self.services.stopping.clone();
        let mut unanswered = 0;
        loop {
            let Ok(permit) = in_flight.acquire().await else { return End::Gone };
            // First, so that nothing is begun once the stop is said, even if more has come in already.
            if *stopping.borrow() {
                return End::Drain;
            }
            let frame = match frames.has_next() {
                true => frames.next().await,
                false => tokio::select! {
                    _ = stopping.wait_for(|stopping| *stopping) => return End::Drain,
                    frame = frames.next() => frame,
                },
            };
            let frame = match frame {
                Ok(frame) => frame,
                // Idle is a client that neither asks nor waits for an answer.
                Err(ReadError::Idle) if in_flight.available_permits() + 1 < IN_FLIGHT_MAX as usize => continue,
                Err(error) => return self.end_of(error),
            };
            let reply = match self.answer(frame).await {
                Ok(Some(reply)) => reply,
                Ok(None) => {
                    unanswered = (unanswered + 1) % UNANSWERED_MAX;
                    if unanswered == 0 {
                        yield_now().await;
                    }
                    continue;
                }
                Err(rejected) => {
                    tracing::warn!(peer = %self.client.peer, %rejected, "connection closed");
                    return End::Drain;
                }
            };
            let alone = reply.memory_bytes() > REPLY_BYTES_ALONE;
            if slots.send(Slot { reply, in_flight: permit }).is_err() {
                return End::Gone;
            }
            if alone && in_flight.acquire_many(IN_FLIGHT_MAX).await.is_err() {
                return End::Gone;
            }
        }
    }

    /// Handles one request, whose memory is free again when it is on disk or in the reply.
    async fn answer(&self, Frame { bytes, memory }: Frame<'_>) -> Result<Option<Outgoing>, Rejected> {
        let response = match dispatch::dispatch(&self.services, &self.client, bytes)? {
            Reply::None => return Ok(None),
            Reply::Staged(pending) => return Ok(Some(Outgoing::Pending(pending))),
            Reply::Now(response) => response,
            Reply::InTurn(pending) => pending.await?,
            Reply::AwaitsOthers(pending) => {
                // What it waits for may itself wait for memory.
                drop(memory);
                pending.await?
            }
        };
        Ok(Some(Outgoing::Ready(response)))
    }

    fn end_of(&self, error: ReadError) -> End {
        let peer = self.client.peer;
        match error {
            ReadError::Closed | ReadError::Io(_) => {
                tracing::debug!(%peer, %error, "connection closed by the client");
                End::Gone
            }
            ReadError::Idle => {
                tracing::debug!(%peer, "idle connection closed");
                End::Gone
            }
            ReadError::CutShort | ReadError::BadLength { .. } | ReadError::TooSlow { .. } => {
                tracing::warn!(%peer, %error, "connection closed");
                End::Drain
            }
        }
    }
}

/// Empties the slots in turn until there are no more.
async fn write_replies(
    socket: &TcpStream,
    mut slots: mpsc::UnboundedReceiver<Slot<'_>>,
    idle_max: Option<Duration>,
) -> Result<(), WriteError> {
    let (mut queued, mut outbox) = (Vec::new(), Outbox { socket, idle_max, pieces: Vec::new(), in_flight: Vec::new() });
    while filled(&mut slots, &mut queued).await {
        for Slot { reply, in_flight } in queued.drain(..) {
            let response = match reply {
                Outgoing::Ready(response) => Ok(response),
                Outgoing::Pending(mut pending) => {
                    match poll_fn(|context| Poll::Ready(pending.as_mut().poll(context))).await {
                        Poll::Ready(response) => response,
                        Poll::Pending => {
                            outbox.send().await?;
                            pending.await
                        }
                    }
                }
            };
            let response = match response {
                Ok(response) => response,
                Err(rejected) => {
                    // What is answered before it has had its effect.
                    outbox.send().await?;
                    return Err(rejected.into());
                }
            };
            outbox.pieces.extend(response.pieces);
            outbox.in_flight.push(in_flight);
        }
        outbox.send().await?;
    }
    Ok(())
}

/// Takes the slots that are filled, and waits where none is; `false`: none will be. No waker is left behind for that: who
/// fills them is the same task, which comes here after that at the same turn. With one, the runtime would give the task
/// another turn for each request, and have a second worker woken up to take it over.
async fn filled<'a>(slots: &mut mpsc::UnboundedReceiver<Slot<'a>>, queued: &mut Vec<Slot<'a>>) -> bool {
    poll_fn(|_| {
        loop {
            match slots.try_recv() {
                Ok(slot) => queued.push(slot),
                Err(TryRecvError::Empty) if queued.is_empty() => return Poll::Pending,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Poll::Ready(!queued.is_empty()),
            }
        }
    })
    .await
}

/// Replies that are ready together go out together: few system calls, and few packets.
struct Outbox<'a> {
    socket: &'a TcpStream,
    idle_max: Option<Duration>,
    pieces: Vec<Piece>,
    in_flight: Vec<SemaphorePermit<'a>>,
}

impl Outbox<'_> {
    async fn send(&mut self) -> io::Result<()> {
        // Taken, not cleared: a connection that is idle keeps no room for a large reply.
        responses::write(self.socket, &std::mem::take(&mut self.pieces), self.idle_max).await?;
        self.in_flight.clear();
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn report(peer: std::net::SocketAddr, written: Result<(), WriteError>) {
    match written {
        Ok(()) => {}
        Err(WriteError::Io(error)) => tracing::debug!(%peer, %error, "connection lost"),
        Err(WriteError::Rejected(error)) => tracing::warn!(%peer, %error, "connection closed"),
    }
}
