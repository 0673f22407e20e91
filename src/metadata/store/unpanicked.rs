//! redb notices some damage by an assertion. Here that is an error like any other, and says nothing by itself.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

pub(super) const DAMAGED: &str = "the file is damaged";

/// Why redb gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Redb(redb::Error),
    #[error("{DAMAGED} ({0})")]
    Panicked(String),
}

thread_local! {
    /// This thread's panics become errors.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a file that may be damaged in ways that redb only notices by an assertion.
pub(super) fn unpanicked<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Unusable> {
    keep_caught_panics_silent();
    let outer = IS_CAUGHT.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(outer);
    match done {
        Ok(result) => result.map_err(Unusable::Redb),
        Err(panicked) => Err(Unusable::Panicked(first_line(panicked.as_ref()))),
    }
}

/// All other panics are told by the hook that there was.
fn keep_caught_panics_silent() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !IS_CAUGHT.get() {
                tell(panicked);
            }
        }));
    });
}

fn first_line(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().map(String::as_str).or(panicked.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("a panic").to_owned()
}
