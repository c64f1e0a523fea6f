//! Slow calls: finished ones, and those still under way.

use std::time::Duration;

use fusebox::{Cause, CircuitBreaker, EventKind, Outcome, SlowCall, State, Totals, VirtualClock};

use crate::support::{SECOND, breaker, fail, half_open, small, succeed};

fn slow_breaker() -> (CircuitBreaker, VirtualClock) {
    let slow = SlowCall {
        longer_than: SECOND,
        rate: 0.5,
        minimum: 3,
    };
    breaker(small().with_slow_call(slow))
}

fn slow_call(breaker: &CircuitBreaker, clock: &VirtualClock, outcome: Outcome) {
    let permit = breaker.try_acquire().expect("admitted");
    clock.advance(SECOND);
    permit.record(outcome);
}

fn last_trip(breaker: &CircuitBreaker) -> (Cause, Totals) {
    let events = breaker.recent_events();
    let EventKind::Transition { cause, totals, .. } = events.last().expect("an event").kind else {
        panic!("a transition");
    };
    (cause, totals)
}

#[test]
fn slow_successes_open_the_circuit_at_their_own_rate() {
    let (breaker, clock) = slow_breaker();
    succeed(&breaker, 4);
    for _ in 0..3 {
        slow_call(&breaker, &clock, Outcome::Success);
    }
    assert_eq!(breaker.state(), State::Closed, "3 of 7");
    slow_call(&breaker, &clock, Outcome::Success);
    assert_eq!(breaker.state(), State::Open, "4 of 8");
    assert_eq!(
        last_trip(&breaker),
        (
            Cause::SlowCallRate,
            Totals {
                calls: 8,
                failures: 0,
                slow: 4
            }
        )
    );
    assert_eq!(breaker.snapshot().counts.slow, 4);
}

#[test]
fn calls_under_way_count_once_and_only_while_they_are() {
    let (breaker, clock) = slow_breaker();
    succeed(&breaker, 5);
    let mut hung: Vec<_> = (0..4)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    clock.advance(3 * SECOND);
    assert_eq!(breaker.state(), State::Closed, "4 of 9");
    // Finished, they move from "under way" into the window: still 4 of 9.
    hung.pop().expect("one").success();
    hung.pop().expect("one").success();
    assert_eq!(
        breaker.snapshot().window,
        Totals {
            calls: 7,
            failures: 0,
            slow: 2
        }
    );
    assert_eq!(breaker.state(), State::Closed);
    // Cancelled, it is gone: 3 of 8, then one more makes 4 of 9.
    drop(hung.pop());
    let more = breaker.try_acquire().expect("closed");
    clock.advance(SECOND);
    assert_eq!(breaker.state(), State::Closed);
    let last = breaker.try_acquire().expect("closed");
    clock.advance(SECOND);
    assert_eq!(breaker.state(), State::Open, "5 of 10");
    assert_eq!(
        last_trip(&breaker),
        (
            Cause::SlowCallRate,
            Totals {
                calls: 10,
                failures: 0,
                slow: 5
            }
        )
    );
    drop((hung, more, last));
    assert_eq!(breaker.snapshot().in_flight, 0);
}

/// Two that hang are not enough, and are known already when a third one ends.
#[test]
fn a_slow_call_that_ends_is_judged_together_with_those_that_hang() {
    let (breaker, clock) = slow_breaker();
    let hung = [breaker.try_acquire(), breaker.try_acquire()];
    clock.advance(5 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
    slow_call(&breaker, &clock, Outcome::Success);
    assert_eq!(breaker.state(), State::Open);
    let all = Totals {
        calls: 3,
        failures: 0,
        slow: 3,
    };
    assert_eq!(last_trip(&breaker), (Cause::SlowCallRate, all));
    drop(hung);
}

#[test]
fn a_slow_probe_is_a_failed_one() {
    let (breaker, clock) = slow_breaker();
    half_open(&breaker, &clock);
    slow_call(&breaker, &clock, Outcome::Success);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(last_trip(&breaker).0, Cause::ProbeSlow);
    assert_eq!(breaker.snapshot().recovery_attempts.failure, 1);
}

#[test]
fn neutral_calls_have_no_speed() {
    let (breaker, clock) = slow_breaker();
    for _ in 0..20 {
        slow_call(&breaker, &clock, Outcome::Neutral);
    }
    assert_eq!(
        (breaker.state(), breaker.snapshot().counts.slow),
        (State::Closed, 0)
    );
}

#[test]
fn calls_of_an_earlier_period_are_not_under_way_for_this_one() {
    let (breaker, clock) = slow_breaker();
    let old: Vec<_> = (0..10)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    fail(&breaker, 2);
    clock.advance(SECOND);
    succeed(&breaker, 2);
    clock.advance(100 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
    for permit in old {
        permit.success();
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().window.slow, 0);
}

#[test]
fn no_slow_rule_judges_no_speed() {
    let (breaker, clock) = breaker(small());
    let hung: Vec<_> = (0..50)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    clock.advance(Duration::from_hours(1));
    assert_eq!(breaker.state(), State::Closed);
    for permit in hung {
        permit.success();
    }
    assert_eq!(breaker.snapshot().counts.slow, 0);
}

#[test]
fn a_disabled_circuit_does_not_open_for_calls_that_hang() {
    let (breaker, clock) = slow_breaker();
    breaker.disable();
    let hung: Vec<_> = (0..10)
        .map(|_| breaker.try_acquire().expect("disabled"))
        .collect();
    clock.advance(60 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
    for permit in hung {
        permit.success();
    }
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.success, counts.slow), (10, 0), "nothing is judged");
}

#[test]
fn a_new_limit_judges_calls_under_way_anew() {
    let limit = |seconds, minimum| {
        small().with_slow_call(SlowCall {
            longer_than: seconds * SECOND,
            rate: 0.5,
            minimum,
        })
    };
    let (breaker, clock) = breaker(limit(1, 3));
    let hung = [breaker.try_acquire(), breaker.try_acquire()];
    clock.advance(SECOND);
    assert_eq!(breaker.state(), State::Closed, "two are not enough");
    breaker.set_config(limit(10, 2)).expect("valid");
    clock.advance(8 * SECOND);
    assert_eq!(breaker.state(), State::Closed, "not slow by the new limit");
    clock.advance(SECOND);
    assert_eq!(breaker.state(), State::Open);
    drop(hung);
    breaker.reset();
    let hung = [breaker.try_acquire(), breaker.try_acquire()];
    breaker.set_config(small()).expect("valid");
    clock.advance(60 * SECOND);
    assert_eq!(breaker.state(), State::Closed, "no limit, no slow calls");
    drop(hung);
}

/// Nobody would look at them again before the old limit.
#[test]
fn a_shorter_limit_finds_those_that_hang_at_once() {
    let limit = |seconds| {
        small().with_slow_call(SlowCall {
            longer_than: seconds * SECOND,
            rate: 0.5,
            minimum: 2,
        })
    };
    let (breaker, clock) = breaker(limit(100));
    let hung = [breaker.try_acquire(), breaker.try_acquire()];
    clock.advance(5 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
    breaker.set_config(limit(6)).expect("valid");
    assert_eq!(breaker.state(), State::Closed);
    breaker.set_config(limit(5)).expect("valid");
    assert_eq!(breaker.state(), State::Open);
    drop(hung);
}
