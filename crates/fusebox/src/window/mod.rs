//! Sliding windows: exact totals over the last N calls or over the last stretch of time.

mod count;
mod time;

use std::time::Duration;

use crate::config::Window;
use count::CountWindow;
use time::TimeWindow;

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

impl Totals {
    fn add(&mut self, mark: Mark) {
        self.calls += 1;
        self.failures += u64::from(mark.failed);
        self.slow += u64::from(mark.slow);
    }

    fn remove(&mut self, other: Totals) {
        self.calls -= other.calls;
        self.failures -= other.failures;
        self.slow -= other.slow;
    }
}

impl From<Mark> for Totals {
    fn from(mark: Mark) -> Self {
        let mut one = Totals::default();
        one.add(mark);
        one
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
            Window::Time { length, buckets } => Sliding::Time(TimeWindow::new(length, buckets)),
        }
    }

    /// Takes one call in. `now` never goes back from one use to the next.
    pub(crate) fn record(&mut self, mark: Mark, now: Duration) {
        match self {
            Sliding::Count(window) => window.record(mark),
            Sliding::Time(window) => window.record(mark, now),
        }
    }

    /// What the window holds at `now`.
    pub(crate) fn totals(&mut self, now: Duration) -> Totals {
        match self {
            Sliding::Count(window) => window.totals(),
            Sliding::Time(window) => window.totals(now),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        match self {
            Sliding::Count(window) => window.clear(),
            Sliding::Time(window) => window.clear(),
        }
    }
}
