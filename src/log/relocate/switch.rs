//! The writer's part of a switch. All of it happens under the append lock.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{FutureLog, NotExchanged};
use crate::log::writer::{Ended, LogWriter};
use crate::log::{DirContext, LogError, LogReader, OpenOptions, open};

impl LogWriter {
    /// Leaves the log as a clean stop would, if no more than `bytes_max` are yet to be copied; whether it is. A flush that is
    /// under way is then over, and a later one finds nothing to do: none looks for files that have moved.
    pub(in crate::log) fn prepare_move(&mut self, future: &FutureLog, bytes_max: u64) -> Result<bool, LogError> {
        self.check_writable()?;
        future.progress.check()?;
        future.context.check()?;
        if !Arc::ptr_eq(&self.shared, &future.source) {
            return Err(LogError::Gone);
        }
        let view = self.shared.view();
        if future.bytes_behind(&view) > bytes_max {
            return Ok(false);
        }
        self.complete_active(view.end_offset).map_err(|error| self.shared.context.write_failed(error))?;
        self.shared.flush()?;
        Ok(true)
    }

    /// False until a batch has come.
    pub(in crate::log) fn has_folder(&self) -> bool {
        self.shared.dir.exists()
    }

    /// Goes on in another folder, which holds the same log. Producers keep what a snapshot does not tell of them. Where it
    /// cannot be opened there, this writer is closed.
    pub(in crate::log) fn go_on_in(&mut self, dir: &Path, context: &Arc<DirContext>) -> Result<LogReader, LogError> {
        let view = self.shared.view();
        let opened = open(OpenOptions {
            dir: dir.to_owned(),
            log_start_offset: view.start_offset,
            recovery_point: view.end_offset,
            clean: true,
            context: Arc::clone(context),
            ..self.options.clone()
        });
        // Whoever still looks here is told to look at the new log; who has a file open reads on undisturbed.
        self.shared.moved.store(true, Ordering::SeqCst);
        view.segments.iter_from(0).for_each(|segment| segment.retire());
        self.ended = Some(Ended::Closed);
        let (mut writer, reader) = opened?;
        writer.producers = std::mem::take(&mut self.producers);
        *self = writer;
        Ok(reader)
    }

    /// What is to be said of it. Where the folders are in between, nothing may be appended to either.
    pub(in crate::log) fn move_failed(&mut self, failed: NotExchanged, future: &mut FutureLog) -> LogError {
        if !failed.is_undone {
            future.is_kept = true;
            self.ended = Some(Ended::Closed);
            future.context.fail(&failed.error);
        }
        failed.error
    }
}
