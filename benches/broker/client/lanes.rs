//! A closed loop over many connections: each keeps some requests in flight, and sends the next when one is answered.
//!
//! One thread and one epoll, so that the generator takes little from a server that it shares the machine with. What came in
//! one read is answered by one `writev`.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// Frames that one `writev` takes.
const GATHERED_MAX: usize = 16;
const READ_BYTES: usize = 64 << 10;
const ANSWER_WAIT_MAX_MS: u16 = 60_000;

pub struct Lanes {
    epoll: Epoll,
    lanes: Vec<Lane>,
    frames: Vec<Bytes>,
    in_flight_max: usize,
    /// Where the error code stands in an answer.
    error_at: usize,
    scratch: Vec<u8>,
}

/// One connection. Of the frames it sends every n-th of n lanes, beginning with its own.
struct Lane {
    socket: TcpStream,
    /// The first frame that is not wholly sent, and how much of it is.
    next: usize,
    next_sent: usize,
    unsent: usize,
    in_flight: usize,
    /// An answer that has not come in whole.
    partial: Vec<u8>,
}

impl Lanes {
    pub fn connect(
        address: SocketAddr,
        connections: usize,
        in_flight_max: usize,
        frames: Vec<Bytes>,
        error_at: usize,
    ) -> Lanes {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let lanes = (0..connections).map(|number| {
            let socket = TcpStream::connect(address).unwrap();
            socket.set_nodelay(true).unwrap();
            socket.set_nonblocking(true).unwrap();
            let both_edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            epoll.add(&socket, EpollEvent::new(both_edges, number as u64)).unwrap();
            let next = number % frames.len();
            Lane { socket, next, next_sent: 0, unsent: 0, in_flight: 0, partial: Vec::new() }
        });
        let lanes = lanes.collect();
        Lanes { epoll, lanes, frames, in_flight_max, error_at, scratch: vec![0; READ_BYTES] }
    }

    /// Sends so many requests over all connections, and returns when all are answered.
    pub fn exchange(&mut self, requests: u64) {
        let (mut unasked, mut answered) = (requests, 0);
        let step = self.lanes.len();
        for lane in &mut self.lanes {
            lane.admit(&mut unasked, self.in_flight_max);
            lane.send(&self.frames, step);
        }
        let mut events = vec![EpollEvent::empty(); self.lanes.len().min(1024)];
        while answered < requests {
            let count = self.epoll.wait(&mut events, ANSWER_WAIT_MAX_MS).unwrap();
            assert!(count > 0, "no answer within {ANSWER_WAIT_MAX_MS} ms");
            for event in &events[..count] {
                let lane = &mut self.lanes[event.data() as usize];
                if event.events().contains(EpollFlags::EPOLLIN) {
                    answered += lane.receive(&mut self.scratch, self.error_at);
                    lane.admit(&mut unasked, self.in_flight_max);
                }
                lane.send(&self.frames, step);
            }
        }
    }
}

impl Lane {
    fn admit(&mut self, unasked: &mut u64, in_flight_max: usize) {
        let admitted = *unasked.min(&mut ((in_flight_max - self.in_flight) as u64));
        *unasked -= admitted;
        self.unsent += admitted as usize;
        self.in_flight += admitted as usize;
    }

    /// Sends until nothing is left to send or the socket takes no more.
    fn send(&mut self, frames: &[Bytes], step: usize) {
        while self.unsent > 0 {
            let mut slices = [IoSlice::new(&[]); GATHERED_MAX];
            let count = self.unsent.min(GATHERED_MAX);
            for (position, slice) in slices[..count].iter_mut().enumerate() {
                let frame = &frames[(self.next + position * step) % frames.len()];
                *slice = IoSlice::new(if position == 0 { &frame[self.next_sent..] } else { frame });
            }
            match self.socket.write_vectored(&slices[..count]) {
                Ok(sent) => self.sent(sent, frames, step),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("sending: {error}"),
            }
        }
    }

    fn sent(&mut self, bytes: usize, frames: &[Bytes], step: usize) {
        self.next_sent += bytes;
        while self.unsent > 0 && self.next_sent >= frames[self.next].len() {
            self.next_sent -= frames[self.next].len();
            self.next = (self.next + step) % frames.len();
            self.unsent -= 1;
        }
    }

    /// Takes the answers that have come.
    fn receive(&mut self, scratch: &mut [u8], error_at: usize) -> u64 {
        let mut answers = 0;
        loop {
            let came = match self.socket.read(scratch) {
                Ok(0) => panic!("the connection was closed"),
                Ok(came) => came,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("receiving: {error}"),
            };
            answers += self.cut(&scratch[..came], error_at);
            // On an edge, less than was asked for is all there was.
            if came < scratch.len() {
                break;
            }
        }
        self.in_flight -= answers as usize;
        answers
    }

    fn cut(&mut self, came: &[u8], error_at: usize) -> u64 {
        if self.partial.is_empty() {
            let (answers, used) = whole_answers(came, error_at);
            self.partial.extend_from_slice(&came[used..]);
            return answers;
        }
        self.partial.extend_from_slice(came);
        let (answers, used) = whole_answers(&self.partial, error_at);
        self.partial.drain(..used);
        answers
    }
}

/// How many answers stand whole at the beginning, and how many bytes they are. None of them may be an error.
fn whole_answers(bytes: &[u8], error_at: usize) -> (u64, usize) {
    let (mut answers, mut used) = (0, 0);
    while let Some((length, rest)) = bytes[used..].split_first_chunk::<4>() {
        let length = i32::from_be_bytes(*length) as usize;
        let Some(answer) = rest.get(..length) else { break };
        let error = i16::from_be_bytes([answer[error_at], answer[error_at + 1]]);
        assert_eq!(error, 0, "a request was refused");
        used += 4 + length;
        answers += 1;
    }
    (answers, used)
}
