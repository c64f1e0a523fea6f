//! Counts the attempts of the call that is being polled.

use std::cell::Cell;

thread_local! {
    /// Attempts of the call around the running code; `None` outside of any.
    static CURRENT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Notes that an attempt is made now.
pub(crate) fn count() {
    CURRENT.set(CURRENT.get().map(|made| made.saturating_add(1)));
}

/// Runs `work` of a call that has made `attempts` so far, and counts on there.
pub(super) fn counting<T>(attempts: &mut u32, work: impl FnOnce() -> T) -> T {
    let _inside = Inside {
        before: CURRENT.replace(Some(*attempts)),
        attempts,
    };
    work()
}

/// Gives the thread back to the call around, also when the work panics.
struct Inside<'a> {
    before: Option<u32>,
    attempts: &'a mut u32,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(made) = CURRENT.replace(self.before) {
            *self.attempts = made;
        }
    }
}
