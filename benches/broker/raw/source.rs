//! What a fetch comes down to: a request off a socket, a slice of a cached file into it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use nix::sys::sendfile::sendfile;
use rustix::net::{SendFlags, send};

/// More than any request has.
const REQUEST_BYTES: usize = 64 << 10;

/// The file is written in pieces as a log is.
pub fn write_file(path: &Path, slice_bytes: usize, slices: u64) {
    let mut file = File::create(path).unwrap();
    let slice = vec![0x5a; slice_bytes];
    (0..slices).for_each(|_| file.write_all(&slice).unwrap());
}

/// One slice after the other, from the beginning again at the end.
pub(super) fn serve(path: &Path, slice_bytes: usize) {
    super::serve_threads(|socket, _| connection(socket, &File::open(path).unwrap(), slice_bytes));
}

fn connection(mut socket: TcpStream, file: &File, slice_bytes: usize) {
    let length = file.metadata().unwrap().len() as usize;
    let head = (slice_bytes as i32).to_be_bytes();
    let (mut request, mut position) = (vec![0; REQUEST_BYTES], 0);
    // One request is in flight at a time, and comes in whole.
    while socket.read(&mut request).unwrap_or(0) > 0 {
        if position as usize + slice_bytes > length {
            position = 0;
        }
        send(&socket, &head, SendFlags::MORE).unwrap();
        let end = position as usize + slice_bytes;
        while (position as usize) < end {
            let left = end - position as usize;
            if sendfile(&socket, file, Some(&mut position), left).is_err() {
                return;
            }
        }
    }
}
