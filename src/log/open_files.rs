//! A cap on the files of segments that are open at once (`log.max.open.files`).

/// The segments that hold open files, over all log dirs.
#[derive(Debug)]
pub struct OpenFiles {
    max: usize,
}

impl OpenFiles {
    /// At most `max` files.
    pub fn up_to(max: usize) -> OpenFiles {
        OpenFiles { max }
    }
}
