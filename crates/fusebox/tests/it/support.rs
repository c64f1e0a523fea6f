//! Breakers on virtual time, and shorthands for common moves.

use std::sync::Arc;
use std::time::Duration;

use fusebox::{BreakerConfig, CircuitBreaker, Outcome, State, VirtualClock, Window};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Small numbers: trips at 2 failures of which half, breaks of exactly 1, 2, 4, then 5 s, 2 probes.
pub(crate) fn small() -> BreakerConfig {
    BreakerConfig::new()
        .with_failure_threshold(2)
        .with_success_threshold(2)
        .with_recovery_timeout(5 * SECOND)
        .with_break_jitter(0.0)
        .with_half_open_lease(10 * SECOND)
        .with_window(Window::Count(10))
}

pub(crate) fn breaker(config: BreakerConfig) -> (CircuitBreaker, VirtualClock) {
    let clock = VirtualClock::new();
    let breaker = CircuitBreaker::builder("content_client")
        .service("spellchecker")
        .config(config)
        .clock(Arc::new(clock.clone()))
        .seed(1)
        .build()
        .expect("valid settings");
    (breaker, clock)
}

/// Makes one call with that outcome; panics when it is refused.
pub(crate) fn call(breaker: &CircuitBreaker, outcome: Outcome) {
    breaker.try_acquire().expect("admitted").record(outcome);
}

pub(crate) fn succeed(breaker: &CircuitBreaker, times: u32) {
    for _ in 0..times {
        call(breaker, Outcome::Success);
    }
}

pub(crate) fn fail(breaker: &CircuitBreaker, times: u32) {
    for _ in 0..times {
        call(breaker, Outcome::Failure);
    }
}

/// Brings a closed breaker to half-open.
pub(crate) fn half_open(breaker: &CircuitBreaker, clock: &VirtualClock) {
    while breaker.state() == State::Closed {
        fail(breaker, 1);
    }
    clock.advance(breaker.retry_after().expect("open"));
    assert_eq!(breaker.state(), State::HalfOpen);
}
