//! Which of a breaker's windows is in use, and for how long what it holds counts.

use std::time::Duration;

use fusebox::{BreakerConfig, CircuitBreaker, Outcome, VirtualClock, Window};

const TEN_SECONDS: Window = seconds(10, 10);

const fn seconds(length: u64, buckets: u32) -> Window {
    Window::Time {
        length: Duration::from_secs(length),
        buckets,
    }
}

fn with(window: Window) -> BreakerConfig {
    BreakerConfig::new()
        .with_failure_threshold(5)
        .with_failure_rate(0.9)
        .with_window(window)
}

fn breaker(window: Window) -> CircuitBreaker {
    CircuitBreaker::builder("windows")
        .config(with(window))
        .clock(VirtualClock::new())
        .build()
        .expect("sensible")
}

fn record(breaker: &CircuitBreaker, outcome: Outcome, times: u32) {
    for _ in 0..times {
        breaker.try_acquire().expect("closed").record(outcome);
    }
}

/// New settings with a window of the same shape keep what it holds; with another, that one holds as many
/// calls as it should; and the first shape is known again when it comes back.
#[test]
fn each_shape_has_its_window() {
    for (first, other, most) in [
        (Window::Count(20), Window::Count(40), 40),
        (TEN_SECONDS, Window::Count(7), 7),
        (Window::Count(20), TEN_SECONDS, 60),
        // More buckets of the same length, and as many longer ones.
        (TEN_SECONDS, seconds(20, 20), 60),
        (TEN_SECONDS, seconds(20, 10), 60),
    ] {
        let breaker = breaker(first);
        record(&breaker, Outcome::Failure, 2);
        record(&breaker, Outcome::Success, 2);
        let config = with(first).with_failure_rate(0.8);
        breaker.set_config(config).expect("sensible");
        let held = breaker.snapshot().window;
        assert_eq!((held.calls, held.failures), (4, 2), "{first:?} kept");

        breaker.set_config(with(other)).expect("sensible");
        assert_eq!(breaker.snapshot().window.calls, 0, "{other:?} begins");
        record(&breaker, Outcome::Success, 60);
        assert_eq!(breaker.snapshot().window.calls, most, "{other:?}");
        record(&breaker, Outcome::Failure, 1);
        assert_eq!(breaker.snapshot().window.failures, 1, "{other:?}");

        // Far more often than there may be shapes.
        for _ in 0..100 {
            breaker.set_config(with(first)).expect("known");
            breaker.set_config(with(other)).expect("known");
        }
        assert_eq!(breaker.snapshot().window.calls, 0, "of an earlier period");
    }
}

/// The few bits by which a count window tells generations come round after 2^14 of them.
#[test]
fn marks_of_a_period_long_ago_do_not_count() {
    let breaker = breaker(Window::Count(5));
    record(&breaker, Outcome::Failure, 4);
    let began = breaker.snapshot().generation;
    for _ in 0..1 << 14 {
        breaker.reset();
    }
    assert_eq!(breaker.snapshot().generation, began + (1 << 14));
    record(&breaker, Outcome::Success, 3);
    let held = breaker.snapshot().window;
    assert_eq!((held.calls, held.failures), (3, 0));
}
