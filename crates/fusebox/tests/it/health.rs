//! Active health checks: idle circuits heal, sick ones do not.

use std::future::pending;
use std::task::{Context, Waker};

use fusebox::{Cause, EventKind, Outcome, State};

use crate::support::{SECOND, breaker, call, fail, small, succeed};

#[tokio::test]
async fn a_good_check_ends_the_break_and_then_counts_as_a_probe() {
    let (breaker, _) = breaker(small());
    fail(&breaker, 2);
    let good = || async { Outcome::Success };
    assert_eq!(breaker.probe(good).await, State::HalfOpen);
    assert_eq!(breaker.probe(good).await, State::HalfOpen);
    assert_eq!(
        breaker.probe(good).await,
        State::Closed,
        "healed without one real call"
    );
    let causes: Vec<Cause> = breaker
        .recent_events()
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::Transition { cause, .. } => Some(cause),
            _ => None,
        })
        .collect();
    assert_eq!(
        causes,
        [
            Cause::FailureRate,
            Cause::HealthCheck,
            Cause::ProbesSucceeded
        ]
    );
}

#[tokio::test]
async fn a_bad_check_leaves_the_break_alone_and_fails_a_probe() {
    let (breaker, clock) = breaker(small());
    fail(&breaker, 2);
    clock.advance(SECOND / 2);
    for outcome in [Outcome::Failure, Outcome::Neutral] {
        assert_eq!(breaker.probe(|| async move { outcome }).await, State::Open);
    }
    assert_eq!(
        breaker.retry_after(),
        Some(SECOND / 2),
        "no longer, no shorter"
    );
    clock.advance(SECOND / 2);
    assert_eq!(breaker.probe_sync(|| Outcome::Failure), State::Open);
    assert_eq!(breaker.retry_after(), Some(2 * SECOND));
}

#[test]
fn a_closed_circuit_and_taken_slots_need_no_check() {
    let never = || -> Outcome { panic!("no check is due") };
    let (breaker, clock) = breaker(small());
    assert_eq!(breaker.probe_sync(never), State::Closed);
    fail(&breaker, 2);
    clock.advance(SECOND);
    let probes = [breaker.try_acquire(), breaker.try_acquire()];
    assert_eq!(breaker.probe_sync(never), State::HalfOpen);
    drop(probes);
    breaker.force_open("drill");
    assert_eq!(breaker.probe_sync(never), State::Open);
    breaker.disable();
    assert_eq!(breaker.probe_sync(never), State::Closed);
}

#[test]
fn a_break_the_dependency_asked_for_is_kept() {
    let (breaker, clock) = breaker(small());
    call(&breaker, Outcome::Failure);
    breaker
        .try_acquire()
        .expect("closed")
        .record_with_hint(Outcome::Failure, Some(30 * SECOND));
    assert_eq!(
        breaker.probe_sync(|| -> Outcome { panic!("it asked for quiet") }),
        State::Open
    );
    assert!(!breaker.end_break());
    clock.advance(30 * SECOND);
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_verdict_of_an_earlier_break_does_not_end_the_present_one() {
    let (breaker, clock) = breaker(small());
    fail(&breaker, 2);
    let meanwhile = breaker.clone();
    let state = breaker.probe_sync(|| {
        // The check takes long: the break ends, a probe fails, a second break begins.
        clock.advance(SECOND);
        fail(&meanwhile, 1);
        Outcome::Success
    });
    assert_eq!(
        (state, breaker.retry_after()),
        (State::Open, Some(2 * SECOND))
    );
    assert!(breaker.end_break(), "but who knows better may say so");
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[test]
fn one_check_at_a_time_and_a_cancelled_one_leaves_nothing() {
    let (breaker, _) = breaker(small());
    fail(&breaker, 2);
    assert!(breaker.end_break());
    let mut hanging = Box::pin(breaker.probe(pending::<Outcome>));
    let mut context = Context::from_waker(Waker::noop());
    assert!(hanging.as_mut().poll(&mut context).is_pending());
    assert_eq!(breaker.snapshot().in_flight, 1);
    assert_eq!(
        breaker.probe_sync(|| -> Outcome { panic!("another is under way") }),
        State::HalfOpen
    );
    drop(hanging);
    assert_eq!(breaker.snapshot().in_flight, 0);
    assert_eq!(breaker.probe_sync(|| Outcome::Success), State::HalfOpen);
    assert_eq!(breaker.probe_sync(|| Outcome::Success), State::Closed);
}
