//! What is off by default: more trip rules, policies for abandoned calls, the ramp, modes with an
//! end, calls in two steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fusebox::{
    Abandoned, BreakerConfig, Cause, CircuitBreaker, CustomRule, EventKind, Mode, ModeChange,
    Outcome, Ramp, SlowCall, State, VirtualClock, Window,
};

use crate::support::{SECOND, breaker, call, fail, half_open, small, succeed};

fn last_cause(breaker: &CircuitBreaker) -> Cause {
    let events = breaker.recent_events();
    let mut causes = events.iter().rev().filter_map(|event| match event.kind {
        EventKind::Transition { cause, .. } => Some(cause),
        _ => None,
    });
    causes.next().expect("a transition")
}

fn slow(minimum: u32) -> SlowCall {
    SlowCall {
        longer_than: SECOND,
        rate: 0.5,
        minimum,
    }
}

#[test]
fn several_rules_hold_at_once_and_each_gives_its_own_cause() {
    // Half of the calls and at least five, or three in a row, or half of them slow.
    let config = small()
        .with_window(Window::Count(20))
        .with_failure_threshold(5)
        .with_consecutive_failures(3)
        .with_slow_call(slow(2));
    let (row, _) = breaker(config.clone());
    succeed(&row, 15);
    fail(&row, 2);
    succeed(&row, 1);
    fail(&row, 2);
    assert_eq!(row.state(), State::Closed);
    fail(&row, 1);
    assert_eq!(row.state(), State::Open);
    assert_eq!(last_cause(&row), Cause::ConsecutiveFailures);

    let (rate, _) = breaker(config.clone());
    for _ in 0..4 {
        fail(&rate, 1);
        succeed(&rate, 1);
    }
    fail(&rate, 1);
    assert_eq!(last_cause(&rate), Cause::FailureRate);

    let (speed, clock) = breaker(config);
    for _ in 0..2 {
        let permit = speed.try_acquire().expect("closed");
        clock.advance(SECOND);
        permit.success();
    }
    assert_eq!(last_cause(&speed), Cause::SlowCallRate);
}

#[test]
fn a_rule_of_ones_own_sees_totals_and_streak() {
    let rule = CustomRule::new(|seen| {
        seen.totals.failures == 3 && seen.totals.calls == 7 && seen.consecutive_failures == 2
    });
    let config = small().with_failure_threshold(10).with_custom_rule(rule);
    let (breaker, _) = breaker(config);
    succeed(&breaker, 3);
    fail(&breaker, 1);
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(last_cause(&breaker), Cause::CustomRule);
}

#[test]
fn a_rule_of_ones_own_is_asked_about_slow_calls_and_its_panic_is_no() {
    let seen_slow = CustomRule::new(|seen| {
        assert!(seen.totals.slow < 2, "a bug of the rule");
        false
    });
    let config = small()
        .with_failure_threshold(10)
        .with_slow_call(slow(5))
        .with_custom_rule(seen_slow);
    let (breaker, clock) = breaker(config);
    for _ in 0..2 {
        let permit = breaker.try_acquire().expect("closed");
        clock.advance(SECOND);
        permit.success();
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().observer_panics, 1);
}

#[test]
fn a_live_change_of_the_rule_holds() {
    let (breaker, _) = breaker(small().with_failure_threshold(10));
    fail(&breaker, 1);
    let always = CustomRule::new(|_| true);
    breaker
        .set_config(small().with_failure_threshold(10).with_custom_rule(always))
        .expect("valid");
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn abandoned_calls_are_what_the_policy_says() {
    let (neutral, _) = breaker(small());
    let (failure, _) = breaker(small().with_abandoned(Abandoned::Failure));
    for _ in 0..5 {
        drop(neutral.try_acquire());
        drop(failure.try_acquire());
    }
    assert_eq!(neutral.state(), State::Closed);
    assert_eq!(neutral.snapshot().counts.neutral, 5);
    assert_eq!(failure.state(), State::Open);
    let counts = failure.snapshot().counts;
    assert_eq!((counts.failure, counts.neutral), (2, 0));
    // Who says that a call is neutral is believed.
    failure.reset();
    for _ in 0..5 {
        failure.try_acquire().expect("closed").neutral();
        failure.enter().expect("closed").neutral();
    }
    assert_eq!(failure.state(), State::Closed);
}

/// A hedge always cancels the slow one of two, so the slow dependency was never seen to be slow.
#[test]
fn what_is_cancelled_because_it_was_slow_counts_as_slow() {
    let config = small()
        .with_slow_call(slow(2))
        .with_judge_calls_under_way(false)
        .with_abandoned(Abandoned::Slow);
    let (breaker, clock) = breaker(config);
    for _ in 0..10 {
        drop(breaker.try_acquire().expect("closed"));
    }
    assert_eq!(breaker.snapshot().window.calls, 0, "quick ones say nothing");
    for expected in [State::Closed, State::Open] {
        let hedged = breaker.try_acquire().expect("closed");
        clock.advance(SECOND);
        drop(hedged);
        assert_eq!(breaker.state(), expected);
    }
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.neutral, counts.slow, counts.failure), (12, 2, 0));
    clock.advance(SECOND);
    let probe = breaker.try_acquire().expect("half-open");
    clock.advance(SECOND);
    drop(probe);
    assert_eq!(last_cause(&breaker), Cause::ProbeSlow);
}

#[test]
fn a_panic_is_neutral_under_every_policy() {
    let (breaker, clock) = breaker(small().with_abandoned(Abandoned::Failure));
    let panics = |breaker: &CircuitBreaker| {
        let call =
            || breaker.call_sync_with(|_: &Result<(), ()>| Outcome::Success, || panic!("a bug"));
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        let permit = breaker.try_acquire().expect("admitted");
        let held = || {
            let _held = permit;
            panic!("a bug")
        };
        let held: Result<(), _> = catch_unwind(AssertUnwindSafe(held));
        assert!(held.is_err());
    };
    for _ in 0..3 {
        panics(&breaker);
    }
    assert_eq!(
        (breaker.state(), breaker.snapshot().counts.neutral),
        (State::Closed, 6)
    );
    half_open(&breaker, &clock);
    panics(&breaker);
    assert_eq!(
        (breaker.state(), breaker.snapshot().in_flight),
        (State::HalfOpen, 0)
    );
}

#[test]
fn calls_under_way_are_left_alone_when_told_so() {
    let config = small()
        .with_slow_call(slow(2))
        .with_judge_calls_under_way(false);
    let (breaker, clock) = breaker(config.clone());
    let hung: Vec<_> = (0..4)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    clock.advance(60 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
    // Switched on live, it counts the calls that begin from then on.
    breaker
        .set_config(config.with_judge_calls_under_way(true))
        .expect("valid");
    let more: Vec<_> = (0..3)
        .map(|_| breaker.try_acquire().expect("closed"))
        .collect();
    clock.advance(SECOND);
    assert_eq!(breaker.state(), State::Open);
    drop((hung, more));
    assert_eq!(breaker.snapshot().in_flight, 0);
}

/// Those that began while they were judged are left alone as well.
#[test]
fn calls_under_way_are_left_alone_from_when_it_is_told() {
    let config = small().with_slow_call(slow(2));
    let (breaker, clock) = breaker(config.clone());
    let hung = [breaker.try_acquire(), breaker.try_acquire()];
    breaker
        .set_config(config.with_judge_calls_under_way(false))
        .expect("valid");
    clock.advance(60 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
    drop(hung);
}

fn ramping() -> (CircuitBreaker, VirtualClock) {
    let ramp = Ramp {
        length: 9 * SECOND,
        steps: 3,
    };
    let (breaker, clock) = breaker(small().with_ramp(ramp));
    half_open(&breaker, &clock);
    succeed(&breaker, 2);
    (breaker, clock)
}

fn share(breaker: &CircuitBreaker) -> usize {
    let admitted = (0..40).filter_map(|_| breaker.try_acquire().ok());
    admitted.map(fusebox::Permit::success).count()
}

#[test]
fn traffic_comes_back_in_steps() {
    let (breaker, clock) = ramping();
    for expected in [10, 20, 30] {
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(share(&breaker), expected);
        clock.advance(Duration::from_millis(2_999));
        assert_eq!(share(&breaker), expected, "to the end of the step");
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(share(&breaker), 40);
    let seen = breaker.snapshot();
    assert_eq!(seen.recovery_attempts.success, 1);
    assert_eq!(seen.transitions.count(State::HalfOpen, State::Closed), 1);
}

#[test]
fn a_trip_on_the_ramp_is_a_failed_recovery_and_the_break_is_longer() {
    let (breaker, clock) = ramping();
    for _ in 0..8 {
        if let Ok(permit) = breaker.try_acquire() {
            permit.failure();
        }
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(last_cause(&breaker), Cause::FailureRate);
    assert_eq!(breaker.retry_after(), Some(2 * SECOND));
    assert_eq!(breaker.snapshot().recovery_attempts.failure, 1);
    clock.advance(2 * SECOND);
    succeed(&breaker, 2);
    clock.advance(9 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 2);
    assert_eq!(
        breaker.retry_after(),
        Some(SECOND),
        "closed, breaks start over"
    );
}

#[test]
fn the_ramp_ends_without_traffic_too_and_when_it_is_switched_off() {
    let (idle, clock) = ramping();
    clock.advance(100 * SECOND);
    assert_eq!(idle.state(), State::Closed);
    let times = idle.snapshot().time_in_state;
    assert_eq!(
        times.get(State::HalfOpen),
        9 * SECOND,
        "dated when it was due"
    );
    let (off, _) = ramping();
    off.set_config(small()).expect("valid");
    assert_eq!(share(&off), 40);
}

// Another window begins another generation, and the ramp's end was left behind in the old one: every
// call looked for it for ever. Found by random settings under random traffic.
#[test]
fn a_window_of_another_shape_leaves_the_ramp_as_it_is() {
    let (breaker, clock) = ramping();
    clock.advance(3 * SECOND);
    let config = breaker.snapshot().config.with_window(Window::Count(64));
    breaker.set_config(config).expect("valid");
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(share(&breaker), 20);
    clock.advance(Duration::from_millis(5_999));
    assert_eq!(breaker.state(), State::HalfOpen);
    clock.advance(Duration::from_millis(1));
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_forced_mode_says_who_why_and_until_when_and_ends_by_itself() {
    let (breaker, clock) = breaker(small());
    clock.advance(SECOND);
    breaker.force(
        ModeChange::to(Mode::ForcedOpen)
            .by("astrid")
            .because("a new disk")
            .lasting(60 * SECOND),
    );
    let seen = breaker.snapshot();
    let manual = seen.manual.expect("forced");
    assert_eq!(manual.mode, Mode::ForcedOpen);
    assert_eq!(
        (manual.who.as_deref(), manual.why.as_deref()),
        (Some("astrid"), Some("a new disk"))
    );
    assert_eq!((manual.since, manual.until), (SECOND, Some(61 * SECOND)));
    assert_eq!(seen.forced_because.as_deref(), Some("a new disk"));
    clock.advance(20 * SECOND);
    let refusal = breaker.try_acquire().expect_err("forced open");
    assert_eq!(refusal.retry_after(), Some(40 * SECOND));
    assert!(!breaker.end_break());
    clock.advance(Duration::from_nanos(39_999_999_999));
    assert_eq!(breaker.state(), State::Open);
    clock.advance(Duration::from_nanos(1));
    let seen = breaker.snapshot();
    assert_eq!(
        (seen.state, seen.mode, seen.manual),
        (State::Closed, Mode::Automatic, None)
    );
    assert_eq!(last_cause(&breaker), Cause::ModeOver);
    fail(&breaker, 2);
    assert_eq!(breaker.retry_after(), Some(SECOND), "it decides for itself");
}

#[test]
fn the_same_mode_again_replaces_its_end_and_its_reason() {
    let (breaker, clock) = breaker(small());
    let open = || ModeChange::to(Mode::ForcedOpen);
    breaker.force(open().because("first").lasting(10 * SECOND));
    breaker.force(open().because("second").lasting(30 * SECOND));
    assert_eq!(breaker.snapshot().forced_because.as_deref(), Some("second"));
    clock.advance(20 * SECOND);
    assert_eq!(breaker.retry_after(), Some(10 * SECOND));
    breaker.force(open());
    clock.advance(1_000 * SECOND);
    assert_eq!(
        (breaker.state(), breaker.retry_after()),
        (State::Open, None)
    );
    breaker.force(ModeChange::to(Mode::Automatic).lasting(SECOND));
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.manual), (State::Closed, None));
}

#[test]
fn the_other_modes_end_too() {
    let (breaker, clock) = breaker(small());
    for mode in [Mode::Disabled, Mode::MetricsOnly] {
        breaker.force(ModeChange::to(mode).by("otto").lasting(10 * SECOND));
        fail(&breaker, 7);
        let seen = breaker.snapshot();
        assert_eq!((seen.mode, seen.state), (mode, State::Closed));
        assert_eq!(
            seen.manual.and_then(|manual| manual.until),
            Some(clock_now(&clock) + 10 * SECOND)
        );
        clock.advance(10 * SECOND);
        fail(&breaker, 1);
        assert_eq!(breaker.snapshot().mode, Mode::Automatic);
        let told = breaker.recent_events().pop().map(|event| event.kind);
        let ended = EventKind::ModeChanged {
            from: mode,
            to: Mode::Automatic,
            who: None,
            why: None,
            until: None,
        };
        assert_eq!(told, Some(ended));
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open);
        breaker.reset();
    }
}

fn clock_now(clock: &VirtualClock) -> Duration {
    fusebox::Clock::now(clock)
}

#[test]
fn a_call_in_two_steps_is_counted_like_any() {
    let (breaker, clock) = breaker(small());
    let (other, _) = crate::support::breaker(small());
    for _ in 0..2 {
        let token = breaker.try_acquire().expect("closed").into_token();
        assert_eq!(breaker.snapshot().in_flight, 1);
        let token = other
            .settle(token, Outcome::Success, None)
            .expect_err("it is not the other's");
        breaker
            .settle(token, Outcome::Failure, Some(7 * SECOND))
            .expect("it is this one's");
    }
    assert_eq!(breaker.retry_after(), Some(7 * SECOND));
    assert_eq!(other.snapshot().counts, fusebox::CallCounts::default());
    clock.advance(7 * SECOND);
    // Tokens that are lost: the lease gives the slots back.
    for _ in 0..2 {
        let lost = breaker.try_acquire().expect("a slot").into_token();
        drop(lost);
    }
    assert!(breaker.try_acquire().is_err());
    clock.advance(10 * SECOND);
    assert_eq!(breaker.state(), State::Open);
    clock.advance(2 * SECOND);
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
    let off = CircuitBreaker::builder("off")
        .enabled(false)
        .build()
        .expect("valid");
    let token = off.try_acquire().expect("always").into_token();
    off.settle(token, Outcome::Failure, None).expect("nobody's");
}

#[test]
fn windows_that_come_back_start_empty() {
    let (breaker, _) = breaker(small());
    let shapes = [
        Window::Count(10),
        Window::Count(20),
        Window::Time {
            length: SECOND,
            buckets: 4,
        },
    ];
    for round in 0..9 {
        let config = small().with_window(shapes[round % 3]);
        breaker.set_config(config).expect("valid");
        if round > 0 {
            assert_eq!(breaker.snapshot().window.calls, 0, "round {round}");
        }
        succeed(&breaker, 5);
        fail(&breaker, 1);
        assert_eq!(breaker.snapshot().window.calls, 6);
        succeed(&breaker, 1);
    }
    assert_eq!(
        breaker.snapshot().counts.success,
        54,
        "lifetime counts go on"
    );
    let old = breaker.try_acquire().expect("closed");
    breaker
        .set_config(small().with_window(Window::Count(11)))
        .expect("valid");
    old.failure();
    let seen = breaker.snapshot();
    assert_eq!(
        (seen.window.calls, seen.counts.late, seen.in_flight),
        (0, 1, 0)
    );
}

#[test]
fn a_breaker_keeps_at_most_so_many_windows_and_says_so() {
    let (breaker, _) = breaker(small());
    let shaped = |calls| small().with_window(Window::Count(calls));
    for calls in 11..74 {
        breaker.set_config(shaped(calls)).expect("valid");
    }
    let refused = breaker.set_config(shaped(74)).expect_err("the 65th");
    assert_eq!(refused.setting(), "window");
    assert_eq!(
        breaker.snapshot().config,
        shaped(73),
        "the old settings stay"
    );
    breaker.set_config(shaped(20)).expect("known already");
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_reshaped_window_while_open_leaves_the_break_and_probes_alone() {
    let (breaker, clock) = breaker(small());
    fail(&breaker, 2);
    let shaped = |calls| small().with_window(Window::Count(calls));
    breaker.set_config(shaped(30)).expect("valid");
    assert_eq!(breaker.retry_after(), Some(SECOND));
    clock.advance(SECOND);
    let probe = breaker.try_acquire().expect("a slot");
    breaker.set_config(shaped(40)).expect("valid");
    probe.success();
    call(&breaker, Outcome::Success);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().counts.late, 0);
    succeed(&breaker, 60);
    assert_eq!(breaker.snapshot().window.calls, 40, "the new shape holds");
}

/// Once, whatever they change, and in whatever state.
#[test]
fn new_settings_are_told() {
    let (breaker, _) = breaker(small());
    let shaped = |calls| small().with_window(Window::Count(calls));
    let told = || {
        let events = breaker.recent_events();
        let told = events
            .iter()
            .filter(|event| event.kind == EventKind::Reconfigured);
        told.count()
    };
    breaker.set_config(small()).expect("valid");
    assert_eq!(told(), 1);
    breaker.set_config(shaped(20)).expect("valid");
    assert_eq!(told(), 2, "another shape while closed");
    fail(&breaker, 2);
    breaker.set_config(shaped(30)).expect("valid");
    assert_eq!(told(), 3, "another shape while open");
}

#[test]
fn settings_by_default_have_none_of_it() {
    let config = BreakerConfig::new();
    assert!(config.consecutive_failures.is_none() && config.custom_rule.is_none());
    assert!(config.ramp.is_none() && config.judge_calls_under_way);
    assert_eq!(config.abandoned, Abandoned::Neutral);
}
