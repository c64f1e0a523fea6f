//! Where time comes from: a monotonic clock as a parameter, so that tests drive it by hand.

mod coarse;
mod ticker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use coarse::CoarseClock;
pub use ticker::TickerClock;

/// A source of monotonic time.
///
/// A breaker tolerates a clock that steps back (time then stands still for it until the clock has
/// caught up), but the wall clock is still the wrong source: a step forward would end breaks early.
pub trait Clock: Send + Sync {
    /// Time since some fixed origin; never less than an earlier answer.
    fn now(&self) -> Duration;

    /// The same in whole nanoseconds, for clocks that have them at hand.
    fn nanos(&self) -> u64 {
        u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The clock of a breaker: one of those known here, which are read without an indirect call, or any
/// other [`Clock`].
///
/// | clock | a reading costs about | error |
/// |---|---|---|
/// | [`MonotonicClock`], the default | 23 ns | none |
/// | [`CoarseClock`] | 4 ns | up to the kernel's tick, 1 to 10 ms |
/// | [`TickerClock`] | 0.3 ns | its period, more when its thread does not get a processor |
/// | [`VirtualClock`] | 0.3 ns | none: it stands still |
///
/// A closed circuit with a count window and without slow calls reads no clock at all. A time window
/// reads it once a call, slow calls twice. Breaks and windows of a second or more do well with a
/// coarse clock or a ticker; slow calls of a few milliseconds want the default.
///
/// There is none that reads the processor's own counter: whether that runs evenly over cores and
/// sleep depends on the machine, and finding out is the business of a crate of its own (`quanta`),
/// of which a [`Clock`] is made in three lines.
#[derive(Clone)]
pub struct TimeSource(Source);

#[derive(Clone)]
enum Source {
    /// A time that somebody else writes down: a thread, or a test.
    Written {
        nanos: Arc<AtomicU64>,
        by_thread: bool,
    },
    Monotonic(MonotonicClock),
    Coarse(CoarseClock),
    Other(Arc<dyn Clock>),
}

impl TimeSource {
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        if let Source::Written { nanos, .. } = &self.0 {
            return nanos.load(Ordering::Acquire);
        }
        self.read()
    }

    /// Not part of every call's code: reading one of these costs more than calling this.
    #[inline(never)]
    fn read(&self) -> u64 {
        match &self.0 {
            Source::Written { nanos, .. } => nanos.load(Ordering::Acquire),
            Source::Monotonic(clock) => clock.nanos(),
            Source::Coarse(clock) => clock.nanos(),
            Source::Other(clock) => clock.nanos(),
        }
    }

    /// A time that is not after the present one, and how far it may be before it: the time itself,
    /// or, where that is dear, a cheaper one. For whoever asks whether something has been reached
    /// that is hardly ever near.
    #[inline]
    pub(crate) fn at_least(&self) -> (u64, u64) {
        match &self.0 {
            Source::Written { nanos, .. } => (nanos.load(Ordering::Acquire), 0),
            Source::Monotonic(clock) => clock.at_least(),
            _ => (self.read(), 0),
        }
    }
}

impl From<MonotonicClock> for TimeSource {
    fn from(clock: MonotonicClock) -> Self {
        Self(Source::Monotonic(clock))
    }
}

impl From<CoarseClock> for TimeSource {
    fn from(clock: CoarseClock) -> Self {
        Self(Source::Coarse(clock))
    }
}

impl From<TickerClock> for TimeSource {
    fn from(clock: TickerClock) -> Self {
        Self(Source::Written {
            nanos: clock.into_nanos(),
            by_thread: true,
        })
    }
}

impl From<VirtualClock> for TimeSource {
    fn from(clock: VirtualClock) -> Self {
        Self(Source::Written {
            nanos: clock.nanos,
            by_thread: false,
        })
    }
}

impl From<Arc<dyn Clock>> for TimeSource {
    fn from(clock: Arc<dyn Clock>) -> Self {
        Self(Source::Other(clock))
    }
}

impl<C: Clock + 'static> From<Arc<C>> for TimeSource {
    fn from(clock: Arc<C>) -> Self {
        Self(Source::Other(clock))
    }
}

impl fmt::Debug for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Monotonic(_) => "Monotonic",
            Source::Coarse(_) => "Coarse",
            Source::Written {
                by_thread: true, ..
            } => "Ticker",
            Source::Written { .. } => "Virtual",
            Source::Other(_) => "Other",
        })
    }
}

/// The process's monotonic clock; its origin is the moment of its creation.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock {
    origin: Reading,
}

/// What the system's monotonic clock reads: on Linux in nanoseconds, so that the coarse clock of the
/// same origin can stand in for it.
#[cfg(target_os = "linux")]
type Reading = u64;
#[cfg(not(target_os = "linux"))]
type Reading = std::time::Instant;

#[cfg(target_os = "linux")]
fn read(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    // Neither is negative for time since the machine started.
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl MonotonicClock {
    /// A clock that reads zero now.
    #[cfg(target_os = "linux")]
    pub fn new() -> Self {
        Self {
            origin: read(rustix::time::ClockId::Monotonic),
        }
    }

    /// A clock that reads zero now.
    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where real time enters the core"
    )]
    pub fn new() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// The time as of the kernel's last tick, and how far behind that may be.
    #[cfg(target_os = "linux")]
    #[inline(never)]
    fn at_least(self) -> (u64, u64) {
        /// Two of the longest ticks there are.
        const SLACK: u64 = 20_000_000;
        let tick = read(rustix::time::ClockId::MonotonicCoarse);
        (tick.saturating_sub(self.origin), SLACK)
    }

    #[cfg(not(target_os = "linux"))]
    fn at_least(self) -> (u64, u64) {
        (self.nanos(), 0)
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    #[cfg(target_os = "linux")]
    #[inline]
    fn nanos(&self) -> u64 {
        read(rustix::time::ClockId::Monotonic).saturating_sub(self.origin)
    }

    #[cfg(not(target_os = "linux"))]
    fn nanos(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when it is told to; clones share the same time.
///
/// Resolution is one nanosecond, range 584 years.
#[derive(Debug, Clone, Default)]
pub struct VirtualClock {
    nanos: Arc<AtomicU64>,
}

impl VirtualClock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves this clock, and all its clones, forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        // `fetch_update` so that an absurd step stops at the end of time instead of wrapping to zero.
        let moved = self
            .nanos
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                Some(now.saturating_add(by))
            });
        debug_assert!(moved.is_ok(), "the closure always answers Some");
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Acquire))
    }

    fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_virtual_clock_share_time() {
        let clock = VirtualClock::new();
        let other = clock.clone();
        clock.advance(Duration::from_millis(5));
        other.advance(Duration::from_millis(7));
        assert_eq!(clock.now(), Duration::from_millis(12));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Duration::from_nanos(u64::MAX));
        clock.advance(Duration::from_secs(1));
        assert_eq!(other.now(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn the_monotonic_clock_never_steps_back() {
        let clock = MonotonicClock::new();
        let mut last = clock.now();
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
