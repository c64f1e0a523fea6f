//! The kernel's coarse clock: cheap, because it is only as new as the last tick.

use std::time::Duration;

use super::Clock;

/// The kernel's monotonic clock as of its last tick: behind by at most 1 to 10 ms, at a fifth of the
/// cost. Where there is none (not on Linux) it is a [`MonotonicClock`](super::MonotonicClock).
///
/// Its origin is the start of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoarseClock {
    #[cfg(not(target_os = "linux"))]
    fine: super::MonotonicClock,
}

impl CoarseClock {
    /// The clock.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for CoarseClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    #[cfg(target_os = "linux")]
    #[inline]
    fn nanos(&self) -> u64 {
        super::read(rustix::time::ClockId::MonotonicCoarse)
    }

    #[cfg(not(target_os = "linux"))]
    fn nanos(&self) -> u64 {
        self.fine.nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::super::MonotonicClock;
    use super::*;

    #[test]
    fn it_goes_forward_with_the_fine_clock_and_at_most_a_tick_behind() {
        let (coarse, fine) = (CoarseClock::new(), MonotonicClock::new());
        let began = coarse.now();
        let mut last = began;
        // Until it has ticked a few times.
        let mut ticks = 0;
        while ticks < 5 {
            let now = coarse.now();
            assert!(now >= last);
            ticks += u32::from(now > last);
            last = now;
            assert!(fine.now() < Duration::from_secs(20), "it stands still");
        }
        let behind = fine.now().saturating_sub(last.saturating_sub(began));
        assert!(behind < Duration::from_secs(1), "{behind:?}");
    }
}
