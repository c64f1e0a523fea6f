//! The known flaws of breakers of this kind (B1 to B14), each with the test that keeps it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fusebox::{
    BreakerConfig, CircuitBreaker, Clock, Outcome, Registry, RegistryError, SlowCall, State,
    TripRule, VirtualClock, Window,
};

use crate::support::{SECOND, breaker, call, fail, half_open, small, succeed};

/// B1: 200 of 200 callers passed a half-open circuit and fell upon the sick dependency.
#[test]
fn b1_half_open_does_not_let_everybody_through() {
    let (breaker, clock) = breaker(small().with_success_threshold(3));
    half_open(&breaker, &clock);
    let admitted: Vec<_> = (0..200)
        .filter_map(|_| breaker.try_acquire().ok())
        .collect();
    assert_eq!(admitted.len(), 3);
}

/// B2: results were booked in whatever state the circuit was in when they came.
#[test]
fn b2_results_of_an_earlier_period_decide_nothing() {
    let (breaker, clock) = breaker(small().with_success_threshold(1));
    let slow_success = breaker.try_acquire().expect("closed");
    let slow_failure = breaker.try_acquire().expect("closed");
    half_open(&breaker, &clock);
    slow_success.success();
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    slow_failure.failure();
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
}

/// B3: failures that ended while open pushed the end of the break away.
#[test]
fn b3_stragglers_do_not_prolong_the_break() {
    let (breaker, clock) = breaker(small());
    let stragglers: Vec<_> = (0..3)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    fail(&breaker, 2);
    clock.advance(SECOND / 2);
    for straggler in stragglers {
        straggler.record_with_hint(Outcome::Failure, Some(100 * SECOND));
    }
    assert_eq!(breaker.retry_after(), Some(SECOND / 2));
    clock.advance(SECOND / 2);
    assert_eq!(breaker.state(), State::HalfOpen);
}

/// B4: on the wall clock, a step back froze the open state. A monotonic clock cannot step, and if
/// one does all the same, time stands still for the breaker until it has caught up.
#[test]
fn b4_a_clock_that_steps_back_breaks_nothing() {
    struct Stepping(AtomicU64);
    impl Clock for Stepping {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }
    let clock = Arc::new(Stepping(AtomicU64::new(100_000)));
    let breaker = CircuitBreaker::builder("stepping")
        .config(small())
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .build()
        .expect("valid settings");
    let permit = breaker.try_acquire().expect("closed");
    clock.0.store(40_000, Ordering::Relaxed);
    permit.failure();
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), Some(SECOND));
    assert_eq!(
        breaker.snapshot().time_in_state.get(State::Closed),
        Duration::ZERO
    );
    clock.0.store(100_999, Ordering::Relaxed);
    assert_eq!(
        breaker.state(),
        State::Open,
        "the break began at 100 s, not at 40 s"
    );
    clock.0.store(101_000, Ordering::Relaxed);
    assert_eq!(breaker.state(), State::HalfOpen);
}

/// B5: with no traffic the gauge showed "open" for ever, and what waited for it never woke.
#[test]
fn b5_an_idle_circuit_does_not_stay_open_for_ever() {
    let (breaker, clock) = breaker(small());
    fail(&breaker, 2);
    assert_eq!(
        breaker.snapshot().retry_after,
        Some(SECOND),
        "how long to sleep"
    );
    clock.advance(Duration::from_nanos(999_999_999));
    assert_eq!(breaker.state(), State::Open);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(breaker.snapshot().state.gauge(), 2);
}

/// B6: errors of unexpected classes left a half-open circuit without a verdict, and were not
/// counted.
#[test]
fn b6_neutral_results_are_counted_and_give_the_permit_back() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    for _ in 0..10 {
        call(&breaker, Outcome::Neutral);
    }
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.counts.neutral, snapshot.in_flight), (10, 0));
    assert_eq!(
        snapshot.state,
        State::HalfOpen,
        "ten neutral results close nothing"
    );
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
}

/// B6: and in the closed state a neutral result must not hide failures either.
#[test]
fn b6_neutral_results_reset_and_dilute_nothing() {
    let (breaker, _) = breaker(
        small()
            .with_trip_rule(TripRule::Consecutive)
            .with_failure_threshold(3),
    );
    fail(&breaker, 2);
    for _ in 0..50 {
        call(&breaker, Outcome::Neutral);
    }
    assert_eq!(breaker.snapshot().window.calls, 2);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

/// B7: cancelled calls vanished without giving their permit back.
#[test]
fn b7_a_call_dropped_half_way_is_counted_and_leaves_nothing_behind() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    for _ in 0..10 {
        let mut call = Box::pin(breaker.call_with(
            |_: &Result<(), ()>| Outcome::Success,
            std::future::pending::<Result<(), ()>>,
        ));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(breaker.snapshot().in_flight, 1);
        drop(call);
        assert_eq!(breaker.snapshot().in_flight, 0);
    }
    assert_eq!(breaker.snapshot().counts.neutral, 10);
    // A future that was never polled never asked for a permit.
    drop(breaker.call_with(|_: &Result<(), ()>| Outcome::Success, || async { Ok(()) }));
    assert_eq!(breaker.snapshot().counts.neutral, 10);
}

/// B8: a dependency that hangs never answered, so nothing was counted and nothing tripped.
#[test]
fn b8_calls_that_hang_open_the_circuit_while_they_hang() {
    let slow = SlowCall {
        longer_than: SECOND,
        rate: 0.5,
        minimum: 5,
    };
    let (breaker, clock) = breaker(small().with_slow_call(slow));
    let hung: Vec<_> = (0..5)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    clock.advance(Duration::from_nanos(999_999_999));
    assert_eq!(breaker.state(), State::Closed);
    clock.advance(Duration::from_nanos(1));
    assert!(breaker.try_acquire().is_err());
    drop(hung);
}

/// B9: reset changed the state without the lock, and views were torn.
#[test]
fn b9_resets_and_views_are_consistent_under_fire() {
    let (breaker, clock) = breaker(small());
    std::thread::scope(|scope| {
        for worker in 0..3_u32 {
            let (breaker, clock) = (&breaker, &clock);
            scope.spawn(move || {
                for turn in 0..2_000_u32 {
                    match worker {
                        0 => breaker.reset(),
                        1 => clock.advance(SECOND / 3),
                        _ => {}
                    }
                    if let Ok(permit) = breaker.try_acquire() {
                        if turn % 3 == 0 {
                            permit.success();
                        } else {
                            permit.failure();
                        }
                    }
                    let seen = breaker.snapshot();
                    assert_eq!(seen.retry_after.is_some(), seen.state == State::Open);
                    assert!(seen.window.failures <= seen.window.calls);
                    assert!(seen.window.failures < 2 || seen.state == State::Closed);
                }
            });
        }
    });
    breaker.reset();
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.in_flight), (State::Closed, 0));
}

/// B10: a callable that returned an awaitable was "successful" before it was awaited. Here the
/// future is part of the type; a closure that returns one is awaited before it is judged.
#[test]
fn b10_the_result_counts_not_the_future() {
    let (breaker, _) = breaker(small());
    let plain_closure_returning_a_future = || Box::pin(async { Err::<(), ()>(()) });
    for _ in 0..2 {
        let mut call = Box::pin(breaker.call_with(
            |result| {
                if result.is_ok() {
                    Outcome::Success
                } else {
                    Outcome::Failure
                }
            },
            plain_closure_returning_a_future,
        ));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_ready());
    }
    assert_eq!(breaker.snapshot().counts.failure, 2);
    assert_eq!(breaker.state(), State::Open);
}

/// B11: all replicas waited the same constant time and probed at the same moment, for ever.
#[test]
fn b11_a_hundred_replicas_probe_at_different_times() {
    let clock = VirtualClock::new();
    let mut breaks: Vec<Duration> = (0..100)
        .map(|_| {
            let replica = CircuitBreaker::builder("content_client")
                .clock(Arc::new(clock.clone()))
                .build()
                .expect("valid settings");
            fail(&replica, 5);
            replica.retry_after().expect("open")
        })
        .collect();
    assert!(
        breaks
            .iter()
            .all(|b| *b >= Duration::from_millis(799) && *b <= SECOND)
    );
    breaks.sort();
    breaks.dedup();
    assert!(breaks.len() > 90, "only {} different breaks", breaks.len());
}

/// B11: failed probes make the breaks longer, up to the recovery timeout; success starts over.
#[test]
fn b11_breaks_grow_and_start_over() {
    let (breaker, clock) = breaker(small());
    fail(&breaker, 2);
    for expected in [1, 2, 4, 5, 5] {
        let length = breaker.retry_after().expect("open");
        assert_eq!(length, expected * SECOND);
        clock.advance(length);
        fail(&breaker, 1);
    }
    clock.advance(5 * SECOND);
    succeed(&breaker, 2);
    fail(&breaker, 2);
    assert_eq!(breaker.retry_after(), Some(SECOND));
}

/// B12: nine failures, a success, nine failures: a count of consecutive failures saw nothing.
#[test]
fn b12_a_partial_outage_is_seen() {
    let config = || BreakerConfig::new().with_failure_threshold(10);
    let nine_one_nine = |breaker: &CircuitBreaker| {
        fail(breaker, 9);
        succeed(breaker, 1);
        while breaker.state() == State::Closed && breaker.snapshot().counts.failure < 18 {
            fail(breaker, 1);
        }
    };
    let (rate, _) = breaker(config());
    nine_one_nine(&rate);
    assert_eq!(rate.state(), State::Open);
    let (consecutive, _) = breaker(config().with_trip_rule(TripRule::Consecutive));
    nine_one_nine(&consecutive);
    assert_eq!(
        consecutive.state(),
        State::Closed,
        "the plan's own rule, for parity"
    );
}

/// B12: a rate over a lifetime never trips, a rate over a short stretch trips a healthy service.
#[test]
fn b12_sparse_failures_never_open_it() {
    let config = BreakerConfig::new().with_window(Window::Time {
        length: 10 * SECOND,
        buckets: 20,
    });
    let (breaker, clock) = breaker(config);
    for _ in 0..1_000 {
        // Four failures in ten seconds and nothing else: below the least number.
        clock.advance(3 * SECOND);
        fail(&breaker, 1);
    }
    for _ in 0..100 {
        // Many failures, but less than half.
        clock.advance(SECOND);
        succeed(&breaker, 60);
        fail(&breaker, 40);
    }
    assert_eq!(breaker.snapshot().transitions.total(), 0);
}

/// B13: a second breaker of the same name replaced the first, which lived on unseen.
#[test]
fn b13_a_name_clash_is_an_error_and_the_first_stays() {
    let registry = Registry::new("spellchecker");
    let first = registry
        .register("content_client", small().with_failure_threshold(1))
        .expect("free");
    let clash = registry
        .register("content_client", small())
        .expect_err("taken");
    assert!(matches!(clash, RegistryError::NameTaken { .. }));
    assert_eq!(
        clash.to_string(),
        "service spellchecker already has a circuit named content_client"
    );
    fail(&first, 1);
    assert_eq!(
        registry.get("content_client").expect("there").state(),
        State::Open
    );
}

/// B14: recovery attempts and refusals had no metric; elsewhere success was counted on failure.
#[test]
fn b14_recoveries_refusals_and_fallbacks_are_counted() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    fail(&breaker, 1);
    assert!(breaker.try_acquire().is_err());
    // Its series exists before its first use, or a dashboard cannot tell "never" from "unknown".
    breaker.declare_fallback("default");
    breaker.fallback("cache");
    clock.advance(2 * SECOND);
    succeed(&breaker, 2);
    let seen = breaker.snapshot();
    assert_eq!(
        (
            seen.recovery_attempts.success,
            seen.recovery_attempts.failure
        ),
        (1, 1)
    );
    assert_eq!(seen.counts.blocked, 1);
    assert_eq!(seen.fallbacks, [("cache", 1), ("default", 0)]);
    let all: Vec<u64> = seen.transitions.iter().map(|(_, _, n)| n).collect();
    assert_eq!(all, [1, 0, 2, 1, 1]);
    // An operator's reset is no recovery.
    half_open(&breaker, &clock);
    breaker.reset();
    assert_eq!(breaker.snapshot().recovery_attempts.success, 1);
}
