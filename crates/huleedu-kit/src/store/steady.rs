//! Time for what must not come too early.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::now_ms;

/// From how much on a clock that was set ahead is worth a word.
const WORTH_TELLING: Duration = Duration::from_mins(1);

/// The wall clock, as long as it goes as time does. One that is set ahead while the process runs does not take
/// this one along; one that is set back does.
#[derive(Debug)]
pub(super) struct SteadyClock(Mutex<Anchor>);

#[derive(Debug)]
struct Anchor {
    at: Instant,
    /// Unix milliseconds.
    wall: i64,
    told: bool,
}

impl SteadyClock {
    pub(super) fn start() -> Self {
        Self::starting(Instant::now(), now_ms())
    }

    fn starting(at: Instant, wall: i64) -> Self {
        Self(Mutex::new(Anchor {
            at,
            wall,
            told: false,
        }))
    }

    /// Unix milliseconds.
    pub(super) fn now_ms(&self) -> i64 {
        self.at(Instant::now(), now_ms())
    }

    fn at(&self, now: Instant, wall: i64) -> i64 {
        let mut anchor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(anchor.at);
        let steady = anchor.wall.saturating_add(super::millis(passed));
        if wall < steady {
            (anchor.at, anchor.wall, anchor.told) = (now, wall, false);
            return wall;
        }
        let ahead = wall.saturating_sub(steady);
        if ahead > super::millis(WORTH_TELLING) && !anchor.told {
            anchor.told = true;
            tracing::warn!(
                ahead_ms = ahead,
                "the clock was set ahead; until a restart applied events are remembered longer by as much"
            );
        }
        steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_ahead_is_not_followed_and_one_that_is_set_back_is() {
        const HOUR: i64 = 3_600_000;
        let begin = Instant::now();
        let after = |hours: u64| begin + Duration::from_hours(hours);
        let clock = SteadyClock::starting(begin, 1_000 * HOUR);
        assert_eq!(clock.at(after(1), 1_001 * HOUR), 1_001 * HOUR);
        // A month ahead.
        assert_eq!(clock.at(after(2), 1_732 * HOUR), 1_002 * HOUR);
        assert_eq!(clock.at(after(3), 1_733 * HOUR), 1_003 * HOUR);
        // And put right again.
        assert_eq!(clock.at(after(4), 1_004 * HOUR), 1_004 * HOUR);
        // Two hours back: from there on that is the time.
        assert_eq!(clock.at(after(5), 1_003 * HOUR), 1_003 * HOUR);
        assert_eq!(clock.at(after(6), 1_004 * HOUR), 1_004 * HOUR);
        assert_eq!(clock.at(after(7), 1_007 * HOUR), 1_005 * HOUR);
    }
}
