//! How far long work has come: on a terminal one line that is written over, else a line now and then.

use std::time::{Duration, Instant};

use crate::log::inspect::Survey;

/// What is done sooner says nothing.
const SILENT: Duration = Duration::from_secs(2);
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Back to the line's start, and what stands there away.
const CLEAR_LINE: &str = "\r\x1b[K";

#[derive(Debug)]
pub(super) struct Progress {
    total: Survey,
    done: Survey,
    is_terminal: bool,
    next: Instant,
    /// A line stands on the terminal.
    shown: bool,
}

impl Progress {
    pub(super) fn new(total: Survey, now: Instant, is_terminal: bool) -> Progress {
        Progress { total, done: Survey::default(), is_terminal, next: now + SILENT, shown: false }
    }

    /// Notes what was done, and gives what is to be written, if anything is due.
    pub(super) fn add(&mut self, bytes: u64, files: u64, now: Instant) -> Option<String> {
        self.done.bytes += bytes;
        self.done.files += files;
        if now < self.next {
            return None;
        }
        self.next = now + if self.is_terminal { TERMINAL_INTERVAL } else { LINE_INTERVAL };
        self.shown = self.is_terminal;
        let line = format!(
            "{} of {} files, {} of {} MiB",
            self.done.files,
            self.total.files,
            self.done.bytes >> 20,
            self.total.bytes >> 20
        );
        Some(if self.is_terminal { format!("{CLEAR_LINE}{line}") } else { format!("{line}\n") })
    }

    /// What takes the line away again, so that something else can be written.
    pub(super) fn clear(&mut self) -> Option<&'static str> {
        std::mem::take(&mut self.shown).then_some(CLEAR_LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Survey = Survey { files: 5, bytes: 3 << 20 };

    #[test]
    fn short_work_says_nothing() {
        let start = Instant::now();
        let mut progress = Progress::new(TOTAL, start, false);
        assert_eq!(progress.add(1 << 20, 1, start + Duration::from_millis(1999)), None);
        assert_eq!(progress.clear(), None);
    }

    #[test]
    fn what_is_no_terminal_gets_a_line_every_ten_seconds() {
        let start = Instant::now();
        let mut progress = Progress::new(TOTAL, start, false);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(progress.add(1 << 20, 1, after(2)).as_deref(), Some("1 of 5 files, 1 of 3 MiB\n"));
        assert_eq!(progress.add(1 << 20, 1, after(11)), None);
        assert_eq!(progress.add(0, 1, after(12)).as_deref(), Some("3 of 5 files, 2 of 3 MiB\n"));
        assert_eq!(progress.clear(), None);
    }

    #[test]
    fn a_terminals_line_is_written_over_and_cleared_before_other_lines() {
        let start = Instant::now();
        let mut progress = Progress::new(TOTAL, start, true);
        let line = progress.add(0, 0, start + SILENT).unwrap();
        assert_eq!(line, "\r\x1b[K0 of 5 files, 0 of 3 MiB");
        assert_eq!(progress.clear(), Some(CLEAR_LINE));
        assert_eq!(progress.clear(), None);
    }
}
