//! What a produce comes down to: bytes off a socket, a checksum over them, bytes into a file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const CHUNK_BYTES: usize = 1 << 20;

/// Frames of one size go to each connection's files in turn.
pub(super) fn serve(dir: &Path, files: usize, frame_bytes: usize, answer_bytes: usize) {
    let answer = super::echo::answer(answer_bytes);
    super::serve_threads(|socket, number| {
        let paths: Vec<PathBuf> = (0..files).map(|index| dir.join(format!("sink-{number}-{index}"))).collect();
        connection(socket, &paths, frame_bytes, &answer);
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    });
}

fn connection(mut socket: TcpStream, paths: &[PathBuf], frame_bytes: usize, answer: &[u8]) {
    let create = |path| OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    let files: Vec<File> = paths.iter().map(create).collect();
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut frame, mut position, mut in_frame, mut sum) = (0, 0, 0, 0);
    loop {
        // With one file there is no need to stop at a frame's end.
        let wanted = if files.len() == 1 { CHUNK_BYTES } else { CHUNK_BYTES.min(frame_bytes - in_frame) };
        // Whoever has what he wanted may leave with a reset.
        let came = socket.read(&mut chunk[..wanted]).unwrap_or(0);
        if came == 0 {
            std::hint::black_box(sum);
            return;
        }
        sum = crc32c::crc32c_append(sum, &chunk[..came]);
        // All files grow alike: the position is that of whole turns, and what of this frame is written.
        let turn = (frame / files.len()) as u64 * frame_bytes as u64;
        let at = if files.len() == 1 { position } else { turn + in_frame as u64 };
        files[frame % files.len()].write_all_at(&chunk[..came], at).unwrap();
        position += came as u64;
        in_frame += came;
        while in_frame >= frame_bytes {
            in_frame -= frame_bytes;
            frame += 1;
            if socket.write_all(answer).is_err() {
                return;
            }
        }
    }
}
