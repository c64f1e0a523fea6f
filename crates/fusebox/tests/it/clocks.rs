//! The clocks against the system's.

use std::time::Duration;

use fusebox::{Clock, CoarseClock};
use rustix::time::{ClockId, clock_gettime};

/// Not only does it go forward: it is the system's time, whole seconds and all. (A mutant that lost the
/// seconds went forward, too, until the next second began.)
#[test]
fn the_coarse_clock_tells_the_time_since_the_machine_started() {
    let precise = || Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("not negative");
    let coarse = CoarseClock::new();
    let (before, now, after) = (precise(), coarse.now(), precise());
    assert!(now <= after, "{now:?} is after {after:?}");
    let behind = before.saturating_sub(now);
    assert!(behind < Duration::from_secs(1), "{behind:?} behind");
    assert!(Duration::from_nanos(coarse.nanos()) >= now);
}
