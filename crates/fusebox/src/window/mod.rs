//! Sliding windows: exact totals over the last N calls or over the last stretch of time.

mod count;
mod lanes;
mod time;

use std::sync::OnceLock;

use crate::config::Window;
use crate::engine::word::{WINDOWS, nanos};
pub(crate) use count::{CountWindow, MOST_CALLS, REFRESH};
pub(crate) use lanes::{Here, Lane, Lanes, OTHER_STRIPES, Others, Stripe, add_own};
pub(crate) use time::TimeWindow;

/// What a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Totals {
    /// Judged calls: successes and failures.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were slow, failed or not.
    pub slow: u64,
}

/// One judged call, as a window keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

#[cfg(test)]
impl Totals {
    pub(crate) fn add(&mut self, mark: Mark) {
        self.calls += 1;
        self.failures += u64::from(mark.failed);
        self.slow += u64::from(mark.slow);
    }
}

/// The window of one breaker.
#[derive(Debug)]
pub(crate) enum Sliding {
    Count(CountWindow),
    Time(TimeWindow),
}

impl Sliding {
    /// An empty window; `shape` has passed [`crate::BreakerConfig::validate`].
    pub(crate) fn new(shape: Window) -> Self {
        match shape {
            Window::Count(calls) => Sliding::Count(CountWindow::new(calls)),
            Window::Time { length, buckets } => {
                Sliding::Time(TimeWindow::new(nanos(length), buckets))
            }
        }
    }

    fn has_shape(&self, shape: Window) -> bool {
        match (self, shape) {
            (Sliding::Count(window), Window::Count(calls)) => window.has_shape(calls),
            (Sliding::Time(window), Window::Time { length, buckets }) => {
                window.has_shape(nanos(length), buckets)
            }
            _ => false,
        }
    }

    /// Takes a quick success in; see [`CountWindow::succeed`].
    #[inline]
    pub(crate) fn succeed(
        &self,
        here: Here<'_>,
        lanes: Lanes<'_>,
        generation: u64,
        now: u64,
    ) -> bool {
        match self {
            Sliding::Count(window) => window.succeed(generation),
            Sliding::Time(window) => window.succeed(here, lanes, generation, now),
        }
    }

    /// Takes one call of `generation` in, and answers the totals; `None` when it is too late.
    pub(crate) fn record(
        &self,
        lanes: Lanes<'_>,
        generation: u64,
        mark: Mark,
        now: u64,
    ) -> Option<Totals> {
        match self {
            Sliding::Count(window) => window.record(generation, mark),
            Sliding::Time(window) => window.record(lanes.here(), lanes, generation, mark, now),
        }
    }

    /// What the window holds of `generation` at `now`.
    pub(crate) fn totals(&self, lanes: Lanes<'_>, generation: u64, now: u64) -> Totals {
        match self {
            Sliding::Count(window) => window.totals(generation),
            Sliding::Time(window) => window.totals(lanes, generation, now),
        }
    }
}

/// All windows a breaker has had, by shape. The control word says which is in use.
///
/// None is ever thrown away, since somebody may still be writing into it; a shape that comes back
/// finds its old window, whose content is of an earlier generation and so counts as none.
#[derive(Debug)]
pub(crate) struct Windows {
    window: Sliding,
    next: OnceLock<Box<Windows>>,
}

impl Windows {
    pub(crate) fn new(shape: Window) -> Self {
        Self {
            window: Sliding::new(shape),
            next: OnceLock::new(),
        }
    }

    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> &Sliding {
        if index == 0 {
            return &self.window;
        }
        self.later(index)
    }

    /// The window that a word which [is plain](crate::engine::word::Word::is_plain) speaks of.
    #[inline]
    pub(crate) fn first(&self) -> &Sliding {
        &self.window
    }

    #[cold]
    fn later(&self, index: usize) -> &Sliding {
        let found = self.iter().nth(index);
        // The control word names only windows that were there before it did.
        &found.unwrap_or(self).window
    }

    /// The number of the window of that shape, made now if need be; `None` when there are too many.
    /// For one thread at a time.
    pub(crate) fn of_shape(&self, shape: Window) -> Option<usize> {
        let mut last = self;
        for (index, entry) in self.iter().enumerate() {
            if entry.window.has_shape(shape) {
                return Some(index);
            }
            last = entry;
        }
        let index = self.iter().count();
        if index == WINDOWS {
            return None;
        }
        last.next.get_or_init(|| Box::new(Windows::new(shape)));
        Some(index)
    }

    /// See [`CountWindow::refresh`].
    pub(crate) fn refresh(&self, generation: u64) {
        for entry in self.iter() {
            if let Sliding::Count(window) = &entry.window {
                window.refresh(generation);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Windows> {
        std::iter::successors(Some(self), |entry| entry.next.get().map(|next| &**next))
    }
}
