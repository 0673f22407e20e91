//! Requests off a socket: a length, a cap, and one buffer for each frame.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::config::Network;

/// What is read at once while the next frame's length is not known. Most requests fit, and many small ones together, and
/// then cost one `recv`.
const HEAD_BYTES: usize = 8192;
/// How long one request may take to come in, for it holds its memory from its first byte on. No client waits longer than
/// this for an answer (`request.timeout.ms` is 30 s, librdkafka's `socket.timeout.ms` 60 s).
const FRAME_TIME_MAX: Duration = Duration::from_secs(60);
/// The unit in which request memory is counted, so that a large `queued.max.request.bytes` still fits a semaphore.
const MEMORY_UNIT_BYTES: usize = 1024;

/// Requests up to this size have an eighth of the memory to themselves: no number of large ones that do not arrive keeps
/// a heartbeat or a metadata request waiting.
const SMALL_BYTES_MAX: usize = 64 << 10;
const SMALL_SHARE: u32 = 8;
/// A larger request gets memory for so much at first, and for the rest when that has arrived: memory is not to be had by
/// announcing a length. Batches of the usual 1 MiB are below it and still cost one allocation.
const FRONT_BYTES: usize = 2 << 20;

/// The memory that requests may take, over all connections (`queued.max.request.bytes`).
#[derive(Debug)]
pub(super) struct RequestMemory {
    small: Pool,
    large: Pool,
}

#[derive(Debug)]
struct Pool {
    units: Semaphore,
    units_max: u32,
}

impl RequestMemory {
    pub(super) fn new(bytes_max: usize) -> RequestMemory {
        let units_max = units(bytes_max);
        let small = (units_max / SMALL_SHARE).max(1);
        RequestMemory { small: Pool::new(small), large: Pool::new(units_max.saturating_sub(small).max(1)) }
    }

    fn pool(&self, frame_bytes: usize) -> &Pool {
        if frame_bytes <= SMALL_BYTES_MAX { &self.small } else { &self.large }
    }
}

impl Pool {
    fn new(units_max: u32) -> Pool {
        Pool { units: Semaphore::new(units_max as usize), units_max }
    }

    /// Waits for room. A request that is larger than all there is takes all there is; `held` is what it has already.
    async fn reserve(&self, bytes: usize, held: u32) -> Result<SemaphorePermit<'_>, ReadError> {
        let units = units(bytes).saturating_sub(held).min(self.units_max.saturating_sub(held));
        self.units.acquire_many(units).await.map_err(|_| ReadError::Closed)
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(MEMORY_UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// One request: its bytes, without the length prefix, and the memory it holds while it lives.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) bytes: Bytes,
    pub(super) memory: SemaphorePermit<'a>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The other end is gone, between two frames.
    #[error("closed")]
    Closed,
    #[error("closed in the middle of a request")]
    CutShort,
    #[error("request of {length} bytes (socket.request.max.bytes is {max})")]
    BadLength { length: i32, max: usize },
    #[error("request of {size} bytes did not come in within {FRAME_TIME_MAX:?}")]
    TooSlow { size: usize },
    #[error("idle")]
    Idle,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames from one socket.
#[derive(Debug)]
pub(super) struct FrameReader<'a, S> {
    socket: S,
    /// Bytes that came in beyond the last frame.
    head: BytesMut,
    request_bytes_max: usize,
    idle_max: Option<Duration>,
    memory: &'a RequestMemory,
}

impl<'a, S: AsyncRead + Unpin> FrameReader<'a, S> {
    pub(super) fn new(socket: S, network: &Network, memory: &'a RequestMemory) -> Self {
        let (request_bytes_max, idle_max) = (network.request_bytes_max, network.idle_max);
        FrameReader { socket, head: BytesMut::new(), request_bytes_max, idle_max, memory }
    }

    /// Whether the next frame is here as a whole.
    pub(super) fn has_next(&self) -> bool {
        let Some((length, rest)) = self.head.split_first_chunk() else { return false };
        usize::try_from(i32::from_be_bytes(*length)).is_ok_and(|length| length <= rest.len())
    }

    /// The next frame. After `Idle` between two frames it may be called again.
    pub(super) async fn next(&mut self) -> Result<Frame<'a>, ReadError> {
        while self.head.len() < size_of::<i32>() {
            if self.head.is_empty() {
                // What the frames before have been read into is theirs.
                self.head = BytesMut::new();
            }
            if within(self.idle_max, receive_head(&mut self.socket, &mut self.head)).await? == 0 {
                return Err(if self.head.is_empty() { ReadError::Closed } else { ReadError::CutShort });
            }
        }
        let length = self.head.get_i32();
        let size = usize::try_from(length).ok().filter(|size| (1..=self.request_bytes_max).contains(size));
        let size = size.ok_or(ReadError::BadLength { length, max: self.request_bytes_max })?;
        let memory = self.memory.pool(size).reserve(size.min(FRONT_BYTES), 0).await?;
        if size <= self.head.len() {
            return Ok(Frame { bytes: self.head.split_to(size).freeze(), memory });
        }
        timeout(FRAME_TIME_MAX, self.rest(size, memory)).await.map_err(|_| ReadError::TooSlow { size })?
    }

    /// Reads a frame that is only partly in the head into a buffer of its own.
    async fn rest(&mut self, size: usize, mut memory: SemaphorePermit<'a>) -> Result<Frame<'a>, ReadError> {
        let mut frame = BytesMut::with_capacity(size.min(FRONT_BYTES));
        frame.put(self.head.split());
        self.fill(&mut frame, size.min(FRONT_BYTES)).await?;
        if frame.len() < size {
            let held = u32::try_from(memory.num_permits()).unwrap_or(u32::MAX);
            memory.merge(self.memory.pool(size).reserve(size, held).await?);
            frame.reserve(size - frame.len());
            self.fill(&mut frame, size).await?;
        }
        Ok(Frame { bytes: frame.freeze(), memory })
    }

    async fn fill(&mut self, frame: &mut BytesMut, size: usize) -> Result<(), ReadError> {
        while frame.len() < size {
            let missing = size - frame.len();
            match within(self.idle_max, self.socket.read_buf(&mut (&mut *frame).limit(missing))).await {
                Ok(0) | Err(ReadError::Idle) => return Err(ReadError::CutShort),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Receives what has come, by way of the stack: a connection that waits has no buffer.
async fn receive_head(socket: &mut (impl AsyncRead + Unpin), head: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut stack = [MaybeUninit::uninit(); HEAD_BYTES];
        let mut received = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut received))?;
        head.extend_from_slice(received.filled());
        Poll::Ready(Ok(received.filled().len()))
    })
    .await
}

async fn within(
    idle_max: Option<Duration>,
    receiving: impl Future<Output = io::Result<usize>>,
) -> Result<usize, ReadError> {
    match idle_max {
        None => Ok(receiving.await?),
        Some(idle_max) => Ok(timeout(idle_max, receiving).await.map_err(|_| ReadError::Idle)??),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn reader<'a>(socket: DuplexStream, memory: &'a RequestMemory) -> FrameReader<'a, DuplexStream> {
        FrameReader { socket, head: BytesMut::new(), request_bytes_max: 1 << 20, idle_max: Some(IDLE), memory }
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        [&(body.len() as i32).to_be_bytes(), body].concat()
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_however_they_were_cut() {
        let bodies: Vec<Vec<u8>> = [1, 3, 4091, 4092, 4093, 5000, 100_000, 2].map(|len| vec![len as u8; len]).into();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
        for chunk in [1, 2, 3, 7, 4096, 65_536, stream.len()] {
            let memory = RequestMemory::new(1 << 30);
            let (near, mut far) = duplex(1 << 20);
            let sent = stream.clone();
            let writing = tokio::spawn(async move {
                for part in sent.chunks(chunk) {
                    far.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
                far
            });
            let mut frames = reader(near, &memory);
            for body in &bodies {
                assert_eq!(frames.next().await.unwrap().bytes, body, "in chunks of {chunk}");
            }
            drop(writing.await.unwrap());
            assert!(matches!(frames.next().await, Err(ReadError::Closed)));
        }
    }

    #[tokio::test]
    async fn a_length_that_is_negative_zero_or_over_the_cap_is_refused_before_anything_is_allocated() {
        for length in [-1, i32::MIN, 0, (1 << 20) + 1, i32::MAX] {
            let memory = RequestMemory::new(1 << 30);
            let (near, mut far) = duplex(64);
            far.write_all(&length.to_be_bytes()).await.unwrap();
            assert!(matches!(reader(near, &memory).next().await, Err(ReadError::BadLength { .. })), "{length}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_ends_early_is_cut_short() {
        let whole = framed(&[7; 10_000]);
        for cut in [1, 3, 4, 5, 4096, 9_999] {
            let memory = RequestMemory::new(1 << 30);
            let (near, mut far) = duplex(1 << 20);
            far.write_all(&whole[..cut]).await.unwrap();
            drop(far);
            assert!(matches!(reader(near, &memory).next().await, Err(ReadError::CutShort)), "after {cut} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_frames_is_idle_and_within_one_is_cut_short() {
        let memory = RequestMemory::new(1 << 30);
        let (near, mut far) = duplex(1 << 20);
        let mut frames = reader(near, &memory);
        assert!(matches!(frames.next().await, Err(ReadError::Idle)));
        far.write_all(&framed(&[7; 10_000])[..5000]).await.unwrap();
        assert!(matches!(frames.next().await, Err(ReadError::CutShort)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_drips_in_does_not_hold_its_memory_for_long() {
        let memory = RequestMemory::new(8 << 10);
        let (near, mut far) = duplex(1 << 20);
        far.write_all(&10_000_i32.to_be_bytes()).await.unwrap();
        let dripping = tokio::spawn(async move {
            while far.write_all(b".").await.is_ok() {
                tokio::time::sleep(IDLE / 2).await;
            }
        });
        let started = tokio::time::Instant::now();
        assert!(matches!(reader(near, &memory).next().await, Err(ReadError::TooSlow { size: 10_000 })));
        assert_eq!(started.elapsed(), FRAME_TIME_MAX);
        assert_eq!(memory.small.units.available_permits(), 1);
        dripping.await.unwrap();
    }

    #[tokio::test]
    async fn requests_that_were_only_announced_keep_no_other_waiting() {
        let memory = RequestMemory::new(256 << 20);
        let large = |socket| FrameReader { request_bytes_max: 100 << 20, ..reader(socket, &memory) };
        let mut announced = Vec::new();
        for _ in 0..15 {
            let (near, mut far) = duplex(1 << 20);
            far.write_all(&(100_i32 << 20).to_be_bytes()).await.unwrap();
            far.write_all(&[7; 5000]).await.unwrap();
            let mut frames = large(near);
            let mut waiting = Box::pin(async move { frames.next().await.map(|_| far) });
            assert!(futures_util::poll!(&mut waiting).is_pending());
            announced.push(waiting);
        }
        let (near, mut far) = duplex(1 << 20);
        let mut frames = large(near);
        for size in [100, 1 << 20, 40 << 20] {
            let body = vec![1; size];
            let sending = async { far.write_all(&framed(&body)).await.unwrap() };
            let (frame, ()) = tokio::join!(frames.next(), sending);
            assert_eq!(frame.unwrap().bytes.len(), size);
        }
    }

    #[tokio::test]
    async fn requests_wait_for_memory_and_one_larger_than_all_of_it_still_gets_through() {
        let memory = RequestMemory::new(8 << 10);
        let (near, mut far) = duplex(1 << 20);
        far.write_all(&[framed(&[1; 6000]), framed(&[2; 6000]), framed(&[3; 60_000])].concat()).await.unwrap();
        let mut frames = reader(near, &memory);
        let first = frames.next().await.unwrap();
        {
            let mut second = std::pin::pin!(frames.next());
            assert!(futures_util::poll!(&mut second).is_pending());
            drop(first);
            assert_eq!(second.await.unwrap().bytes, vec![2; 6000]);
        }
        assert_eq!(frames.next().await.unwrap().bytes, vec![3; 60_000]);
    }
}
