//! A response as the connection sends it: bytes of ours, and runs of files that never enter this process.

use bytes::Bytes;

use crate::sys::FileSlice;

/// One run of a response.
#[derive(Debug, Clone)]
pub enum Piece {
    Bytes(Bytes),
    File(FileSlice),
}

impl Piece {
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(slice) => slice.length as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A whole response frame, length prefix included, in the order of its bytes.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub pieces: Vec<Piece>,
}

impl Response {
    /// Bytes of ours; what lies in files takes no memory.
    pub fn memory_bytes(&self) -> usize {
        let bytes = |piece: &Piece| if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 };
        self.pieces.iter().map(bytes).sum()
    }
}

impl From<Bytes> for Response {
    fn from(frame: Bytes) -> Response {
        Response { pieces: vec![Piece::Bytes(frame)] }
    }
}
