//! The operator's hand: modes, reset, live settings, and the pass-through breaker.

use fusebox::{Cause, CircuitBreaker, EventKind, Mode, Outcome, State, TripRule, Window};

use crate::support::{SECOND, breaker, fail, half_open, small, succeed};

#[test]
fn forced_open_refuses_until_told_otherwise() {
    let (breaker, clock) = breaker(small());
    breaker.force_open("maintenance until nine");
    clock.advance(3_600 * SECOND);
    let refusal = breaker.try_acquire().expect_err("forced open");
    assert_eq!(
        (refusal.state(), refusal.retry_after()),
        (State::Open, None)
    );
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.mode), (State::Open, Mode::ForcedOpen));
    assert_eq!(
        seen.forced_because.as_deref(),
        Some("maintenance until nine")
    );
    assert!(
        !breaker.end_break(),
        "no health check overrides an operator"
    );

    breaker.automatic();
    let seen = breaker.snapshot();
    assert_eq!(
        (seen.state, seen.mode, seen.forced_because),
        (State::Closed, Mode::Automatic, None)
    );
    succeed(&breaker, 1);
}

#[test]
fn calls_from_before_a_change_of_mode_are_late() {
    let (breaker, _) = breaker(small());
    let old = [breaker.try_acquire(), breaker.try_acquire()];
    breaker.force_open("drill");
    breaker.automatic();
    for permit in old {
        permit.expect("admitted").failure();
    }
    assert_eq!(
        (breaker.state(), breaker.snapshot().counts.late),
        (State::Closed, 2)
    );
}

#[test]
fn disabled_lets_everything_pass_and_judges_nothing() {
    let (breaker, _) = breaker(small());
    breaker.disable();
    fail(&breaker, 100);
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.mode), (State::Closed, Mode::Disabled));
    assert_eq!((seen.window.calls, seen.counts.failure), (0, 100));
    breaker.automatic();
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn metrics_only_tells_when_it_would_have_opened() {
    let (breaker, _) = breaker(small());
    breaker.metrics_only();
    fail(&breaker, 5);
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.mode), (State::Closed, Mode::MetricsOnly));
    assert_eq!(seen.would_have_opened, 2, "once for each pair of failures");
    assert_eq!(seen.transitions.total(), 0);
    let told = breaker.recent_events();
    let would_open = |kind: &EventKind| matches!(kind, EventKind::WouldOpen { totals, .. } if totals.failures == 2);
    assert_eq!(
        told.iter().filter(|event| would_open(&event.kind)).count(),
        2
    );
}

#[test]
fn the_same_mode_again_changes_nothing() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    let before = breaker.snapshot();
    breaker.automatic();
    assert_eq!(breaker.snapshot(), before, "still half-open");
    breaker.force_open("first");
    breaker.force_open("second");
    assert_eq!(breaker.snapshot().forced_because.as_deref(), Some("first"));
}

#[test]
fn a_reset_closes_whatever_it_was_and_keeps_the_totals() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    fail(&breaker, 1);
    breaker.reset();
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.counts.failure), (State::Closed, 3));
    fail(&breaker, 2);
    assert_eq!(breaker.retry_after(), Some(SECOND), "breaks start over");
    breaker.force_open("drill");
    breaker.reset();
    assert_eq!(breaker.snapshot().mode, Mode::Automatic);
    succeed(&breaker, 1);
    // A reset of a closed circuit forgets its window.
    fail(&breaker, 1);
    breaker.reset();
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn settings_change_live_and_lose_nothing() {
    let (breaker, clock) = breaker(small().with_failure_threshold(5));
    fail(&breaker, 3);
    breaker
        .set_config(small().with_failure_threshold(4))
        .expect("valid");
    assert_eq!(
        breaker.snapshot().window.failures,
        3,
        "the same window goes on"
    );
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    let left = breaker.retry_after();
    breaker
        .set_config(
            small()
                .with_first_break(3 * SECOND)
                .with_success_threshold(1),
        )
        .expect("valid");
    assert_eq!(
        (breaker.state(), breaker.retry_after()),
        (State::Open, left)
    );
    clock.advance(SECOND);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed, "one success is enough now");
    assert_eq!(breaker.snapshot().counts.failure, 4);

    let refused = breaker.set_config(small().with_failure_threshold(0));
    assert_eq!(
        refused.expect_err("nonsense").setting(),
        "failure_threshold"
    );
    assert_eq!(
        breaker.snapshot().failure_threshold,
        2,
        "the old settings stay"
    );

    fail(&breaker, 1);
    breaker
        .set_config(small().with_window(Window::Count(20)))
        .expect("valid");
    assert_eq!(
        breaker.snapshot().window.calls,
        0,
        "another shape starts empty"
    );
    breaker
        .set_config(small().with_trip_rule(TripRule::Consecutive))
        .expect("valid");
    fail(&breaker, 1);
    assert_eq!(
        breaker.state(),
        State::Open,
        "two in a row, across the change"
    );
}

#[test]
fn fewer_probes_by_a_live_change_neither_wedge_nor_overflow() {
    let (breaker, clock) = breaker(small().with_success_threshold(3));
    half_open(&breaker, &clock);
    let probes: Vec<_> = (0..3)
        .map(|_| breaker.try_acquire().expect("a slot"))
        .collect();
    breaker
        .set_config(small().with_success_threshold(1))
        .expect("valid");
    assert!(breaker.try_acquire().is_err());
    for probe in probes {
        probe.success();
    }
    assert_eq!(breaker.state(), State::Closed);
}

/// A circuit whose last probe had just succeeded when the number was lowered had no free slot, no
/// probe under way and no success to come: it refused for ever.
#[test]
fn enough_probes_by_a_live_change_close_the_circuit() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    succeed(&breaker, 1);
    breaker
        .set_config(small().with_success_threshold(1))
        .expect("valid");
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().recovery_attempts.success, 1);
}

#[test]
fn a_pass_through_breaker_cannot_be_opened() {
    let off = CircuitBreaker::builder("content_client")
        .enabled(false)
        .build()
        .expect("valid");
    fail(&off, 100);
    off.force_open("drill");
    off.reset();
    let never = off.call_sync_with(|_: &Result<u8, ()>| Outcome::Failure, || Ok(1));
    assert_eq!(never, Ok(1));
    let seen = off.snapshot();
    assert_eq!(
        (seen.state, seen.mode, seen.enabled),
        (State::Closed, Mode::Disabled, false)
    );
    assert_eq!(seen.counts, fusebox::CallCounts::default());
    assert!(off.recent_events().is_empty());
    off.fallback("cache");
    assert_eq!(off.snapshot().fallbacks, [("cache", 1)]);
}

#[test]
fn a_breaker_without_a_name_is_refused() {
    let error = CircuitBreaker::builder("").build().expect_err("no name");
    assert_eq!(
        error.to_string(),
        "name is \"\"; allowed is any text but none"
    );
}

/// A lease that is changed while probes hang is theirs, too.
#[test]
fn a_new_lease_holds_for_probes_under_way() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    let hung = [0, 1].map(|_| breaker.try_acquire().expect("a slot"));
    clock.advance(3 * SECOND);
    breaker.try_acquire().expect_err("all slots are taken");
    breaker
        .set_config(small().with_half_open_lease(4 * SECOND))
        .expect("valid");
    assert_eq!(breaker.state(), State::HalfOpen);
    clock.advance(SECOND);
    assert_eq!(breaker.state(), State::Open, "4 s instead of 10");
    drop(hung);
}

/// Of two slots one has succeeded and the other hangs: the event says how many did.
#[test]
fn the_end_of_a_lease_tells_of_the_probes_that_succeeded() {
    let (breaker, clock) = breaker(small());
    half_open(&breaker, &clock);
    succeed(&breaker, 1);
    let hung = breaker.try_acquire().expect("a slot");
    clock.advance(10 * SECOND);
    assert_eq!(breaker.state(), State::Open);
    let events = breaker.recent_events();
    let EventKind::Transition { cause, totals, .. } = events.last().expect("an event").kind else {
        panic!("a transition");
    };
    assert_eq!((cause, totals.calls), (Cause::LeaseExpired, 1));
    drop(hung);
}
