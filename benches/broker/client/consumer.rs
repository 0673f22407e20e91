//! A consumer that looks at what stands around the records, and has the kernel throw the records away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv};

/// What is read at once of what stands around the records: little, for it is copied.
const HEAD_BYTES: usize = 512;
const DISCARD_BYTES: usize = 64 << 20;

pub struct Consumer {
    socket: TcpStream,
    head: Box<[u8; HEAD_BYTES]>,
    at: usize,
    end: usize,
    /// Never touched: `MSG_TRUNC` discards without a copy, but wants to be told of a buffer.
    discard: Vec<u8>,
}

/// What a fetch brought of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Fetched {
    pub partition: i32,
    pub bytes: u64,
}

impl Consumer {
    pub fn connect(address: SocketAddr) -> Consumer {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Consumer { socket, head: Box::new([0; HEAD_BYTES]), at: 0, end: 0, discard: vec![0; DISCARD_BYTES] }
    }

    /// Sends a Fetch of the version that [`super::frames::fetch`] has, and takes its answer. Gives the session's id.
    pub fn fetch(&mut self, request: &[u8], fetched: impl FnMut(Fetched)) -> i32 {
        self.send(request);
        self.receive(fetched)
    }

    pub fn send(&mut self, request: &[u8]) {
        self.socket.write_all(request).unwrap();
    }

    /// FetchResponse 12: `protocol/fetch_wire.rs` writes it.
    pub fn receive(&mut self, mut fetched: impl FnMut(Fetched)) -> i32 {
        let _length = self.i32();
        let _correlation = self.i32();
        self.tags();
        let _throttle = self.i32();
        let error = self.i16();
        assert_eq!(error, 0, "Fetch");
        let session = self.i32();
        for _ in 0..self.count() {
            let name = self.count();
            self.skip(name);
            for _ in 0..self.count() {
                fetched(self.partition());
            }
            self.tags();
        }
        self.tags();
        session
    }

    fn partition(&mut self) -> Fetched {
        let partition = self.i32();
        let error = self.i16();
        assert_eq!(error, 0, "Fetch of partition {partition}");
        // High watermark, last stable offset, log start offset.
        self.skip(3 * 8);
        for _ in 0..self.count() {
            self.skip(2 * 8);
            self.tags();
        }
        let _preferred_read_replica = self.i32();
        let bytes = self.count();
        self.skip(bytes);
        self.tags();
        Fetched { partition, bytes }
    }

    /// Sends any request, and throws its answer away. Gives the answer's length.
    pub fn exchange(&mut self, request: &[u8]) -> u64 {
        self.send(request);
        let length = self.i32() as u64;
        self.skip(length);
        length
    }

    fn tags(&mut self) {
        for _ in 0..self.varint() {
            let _tag = self.varint();
            let length = self.varint();
            self.skip(length);
        }
    }

    /// Of a compact array, string or bytes: one less than is written, and null is 0.
    fn count(&mut self) -> u64 {
        self.varint().saturating_sub(1)
    }

    fn varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let [byte] = self.take();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        while self.end - self.at < N {
            self.head.copy_within(self.at..self.end, 0);
            (self.end, self.at) = (self.end - self.at, 0);
            let read = self.socket.read(&mut self.head[self.end..]).unwrap();
            assert!(read > 0, "the connection was closed");
            self.end += read;
        }
        let bytes = self.head[self.at..self.at + N].try_into().unwrap();
        self.at += N;
        bytes
    }

    fn skip(&mut self, bytes: u64) {
        let in_head = (bytes as usize).min(self.end - self.at);
        self.at += in_head;
        let mut left = bytes as usize - in_head;
        while left > 0 {
            let length = left.min(self.discard.len());
            let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_WAITALL;
            let read = recv(self.socket.as_raw_fd(), &mut self.discard[..length], flags).unwrap();
            assert!(read > 0, "the connection was closed");
            left -= read;
        }
    }
}
