//! Sliding windows: exact totals over the last N calls or over the last stretch of time.

mod count;
mod lanes;
mod time;

use std::sync::OnceLock;

use crate::config::Window;
use crate::engine::word::{WINDOWS, nanos};
use crate::sync::Ordering;
pub(crate) use count::{CountWindow, MOST_CALLS, REFRESH};
pub(crate) use lanes::Lane;
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

/// The window of one breaker, with the lanes that count what comes and goes.
#[derive(Debug)]
pub(crate) enum Sliding {
    Count(CountWindow),
    Time(TimeWindow),
}

/// What the lanes have counted over the breaker's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Passed {
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) successes: u64,
}

impl Passed {
    pub(crate) fn add(&mut self, other: Passed) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.successes += other.successes;
    }
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

    #[inline]
    pub(crate) fn lane(&self) -> Lane {
        match self {
            Sliding::Count(_) => CountWindow::lane(),
            Sliding::Time(window) => window.lane(),
        }
    }

    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn admitted(&self) {
        match self {
            Sliding::Count(window) => {
                let lane = CountWindow::lane();
                lane.add(&window.lanes[lane.index()].admitted);
            }
            Sliding::Time(window) => {
                let lane = window.lane();
                lane.add(&window.lanes[lane.index()].admitted);
            }
        }
    }

    pub(crate) fn refused(&self) {
        let lane = self.lane();
        match self {
            Sliding::Count(window) => lane.add(&window.lanes[lane.index()].refused),
            Sliding::Time(window) => lane.add(&window.lanes[lane.index()].refused),
        }
    }

    /// Takes a quick success in; see [`CountWindow::succeed`].
    #[inline]
    pub(crate) fn succeed(&self, generation: u64, now: u64) -> bool {
        match self {
            Sliding::Count(window) => window.succeed(generation),
            Sliding::Time(window) => window.succeed(window.lane(), generation, now),
        }
    }

    /// Counts a success over the breaker's life, and only that.
    #[inline]
    pub(crate) fn succeeded(&self) {
        let lane = self.lane();
        match self {
            Sliding::Count(window) => lane.add(&window.lanes[lane.index()].successes),
            Sliding::Time(window) => lane.add(&window.lanes[lane.index()].successes),
        }
    }

    /// Takes one call of `generation` in, and answers the totals; `None` when it is too late.
    pub(crate) fn record(&self, generation: u64, mark: Mark, now: u64) -> Option<Totals> {
        match self {
            Sliding::Count(window) => window.record(generation, mark),
            Sliding::Time(window) => window.record(self.lane(), generation, mark, now),
        }
    }

    /// What the window holds of `generation` at `now`.
    pub(crate) fn totals(&self, generation: u64, now: u64) -> Totals {
        match self {
            Sliding::Count(window) => window.totals(generation),
            Sliding::Time(window) => window.totals(generation, now),
        }
    }

    pub(crate) fn passed(&self) -> Passed {
        // Admissions last: who is counted as ended was counted as admitted before.
        let sum = |count: &dyn Fn(usize) -> u64, lanes: usize| {
            (0..lanes).map(count).fold(0, u64::wrapping_add)
        };
        match self {
            Sliding::Count(window) => {
                let lanes = &window.lanes;
                Passed {
                    successes: sum(&|i| lanes[i].successes.load(Ordering::Acquire), lanes.len()),
                    refused: sum(&|i| lanes[i].refused.load(Ordering::Relaxed), lanes.len()),
                    admitted: sum(&|i| lanes[i].admitted.load(Ordering::Relaxed), lanes.len()),
                }
            }
            Sliding::Time(window) => {
                let lanes = &window.lanes;
                Passed {
                    successes: sum(&|i| lanes[i].successes.load(Ordering::Acquire), lanes.len()),
                    refused: sum(&|i| lanes[i].refused.load(Ordering::Relaxed), lanes.len()),
                    admitted: sum(&|i| lanes[i].admitted.load(Ordering::Relaxed), lanes.len()),
                }
            }
        }
    }
}

/// All windows a breaker has had, by shape. The control word says which is in use.
///
/// None is ever thrown away, since somebody may still be writing into it; a shape that comes back
/// finds its old window, whose content is of an earlier generation and so counts as none.
#[derive(Debug)]
pub(crate) struct Windows {
    shape: Window,
    window: Sliding,
    next: OnceLock<Box<Windows>>,
}

impl Windows {
    pub(crate) fn new(shape: Window) -> Self {
        Self {
            shape,
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
            if entry.shape == shape {
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

    pub(crate) fn window(&self) -> &Sliding {
        &self.window
    }
}
