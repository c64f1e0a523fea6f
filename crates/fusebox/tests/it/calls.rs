//! Whole calls: what they return, what they count, and what an outer breaker sees.

use std::time::Duration;

use fusebox::{BreakerConfig, CallError, CircuitBreaker, Classify, NotPermitted, Outcome, State};
use thiserror::Error;

use crate::support::{SECOND, breaker, fail, half_open, small, succeed};

#[derive(Debug, PartialEq, Eq, Error)]
enum Trouble {
    #[error("the store is down")]
    Down(Option<Duration>),
    #[error("no such text")]
    NotFound,
}

impl Classify for Trouble {
    fn outcome(&self) -> Outcome {
        match self {
            Trouble::Down(_) => Outcome::Failure,
            Trouble::NotFound => Outcome::Neutral,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Trouble::Down(wish) => *wish,
            Trouble::NotFound => None,
        }
    }
}

#[tokio::test]
async fn results_pass_through_and_errors_classify_themselves() {
    let (breaker, _) = breaker(small());
    let ok: Result<u32, CallError<Trouble>> = breaker.call(|| async { Ok(7) }).await;
    assert_eq!(ok, Ok(7));
    let neutral = breaker
        .call(|| async { Err::<(), _>(Trouble::NotFound) })
        .await;
    assert_eq!(neutral, Err(CallError::Inner(Trouble::NotFound)));
    for _ in 0..2 {
        let down = breaker
            .call(|| async { Err::<(), _>(Trouble::Down(None)) })
            .await;
        assert_eq!(
            down.expect_err("fails").into_inner(),
            Some(Trouble::Down(None))
        );
    }
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.success, counts.neutral, counts.failure), (1, 1, 2));

    let mut called = false;
    let refused = breaker
        .call(|| {
            called = true;
            async { Ok::<_, Trouble>(()) }
        })
        .await
        .expect_err("open");
    assert!(!called, "a refused call is never made");
    let refusal = refused.not_permitted().expect("a refusal").clone();
    assert_eq!(refusal.circuit(), "content_client");
    assert_eq!(refusal.service(), "spellchecker");
    assert_eq!(refusal.state(), State::Open);
    assert_eq!(refusal.retry_after(), Some(SECOND));
    assert_eq!(
        refused.to_string(),
        "circuit content_client of spellchecker is open: the call was not permitted"
    );
}

#[test]
fn plain_functions_are_protected_the_same_way() {
    let (breaker, clock) = breaker(small());
    assert_eq!(breaker.call_sync(|| Ok::<_, Trouble>(1)), Ok(1));
    for _ in 0..2 {
        let wish = Some(20 * SECOND);
        assert!(
            breaker
                .call_sync(|| Err::<(), _>(Trouble::Down(wish)))
                .is_err()
        );
    }
    assert_eq!(
        breaker.retry_after(),
        Some(20 * SECOND),
        "longer than the longest own break"
    );
    clock.advance(20 * SECOND);
    // A result can be judged a failure though it is `Ok`.
    let judged = breaker.call_sync_with(|_| Outcome::Failure, || Ok::<_, Trouble>(503));
    assert_eq!(judged, Ok(503));
    assert_eq!(breaker.state(), State::Open);
}

/// What is left of the break, not how long it was or when it ends.
#[test]
fn a_refusal_tells_the_time_that_is_left() {
    let (breaker, clock) = breaker(small());
    clock.advance(7 * SECOND);
    fail(&breaker, 2);
    for tenths in (1..=10).rev() {
        let refusal = breaker.try_acquire().expect_err("open");
        assert_eq!(refusal.retry_after(), Some(tenths * SECOND / 10));
        clock.advance(SECOND / 10);
    }
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[test]
fn a_wish_in_an_earlier_failure_of_the_period_counts() {
    let (breaker, clock) = breaker(small());
    let wish = |seconds: u32| Some(seconds * SECOND);
    let permit = breaker.try_acquire().expect("closed");
    permit.record_with_hint(Outcome::Failure, wish(9));
    clock.advance(SECOND);
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), wish(8));
    // A wish that has passed by the time of the trip is none.
    clock.advance(8 * SECOND);
    succeed(&breaker, 2);
    breaker
        .try_acquire()
        .expect("closed")
        .record_with_hint(Outcome::Failure, wish(3));
    clock.advance(3 * SECOND);
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), Some(SECOND));
    assert!(breaker.end_break(), "nobody asked for this break");
}

#[test]
fn the_longest_wish_of_the_period_wins_and_dies_with_it() {
    let (breaker, _) = breaker(small());
    for wishes in [[9, 4], [4, 9]] {
        for seconds in wishes {
            let permit = breaker.try_acquire().expect("closed");
            permit.record_with_hint(Outcome::Failure, Some(seconds * SECOND));
        }
        assert_eq!(breaker.retry_after(), Some(9 * SECOND));
        breaker.reset();
    }
    let permit = breaker.try_acquire().expect("closed");
    permit.record_with_hint(Outcome::Failure, Some(9 * SECOND));
    breaker.reset();
    fail(&breaker, 2);
    assert_eq!(
        breaker.retry_after(),
        Some(SECOND),
        "the wish was of an earlier period"
    );
}

#[test]
fn only_failures_carry_a_wish() {
    let (breaker, _) = breaker(small());
    let long = Some(50 * SECOND);
    breaker
        .try_acquire()
        .expect("closed")
        .record_with_hint(Outcome::Neutral, long);
    breaker
        .try_acquire()
        .expect("closed")
        .record_with_hint(Outcome::Success, long);
    fail(&breaker, 2);
    assert_eq!(breaker.retry_after(), Some(SECOND));
}

#[test]
fn the_refusal_of_an_inner_circuit_is_neutral_for_the_outer() {
    let (inner, _) = breaker(small());
    let (outer, clock) = breaker(small());
    fail(&inner, 2);
    for _ in 0..20 {
        let answer = outer.call_sync(|| inner.call_sync(|| Ok::<(), Trouble>(())));
        let Err(CallError::Inner(refused)) = answer else {
            panic!("the outer circuit passes the call, the inner refuses it");
        };
        assert_eq!(refused.outcome(), Outcome::Neutral);
        let refusal = refused.not_permitted().expect("the inner one's");
        assert_eq!(refusal.retry_after(), Some(SECOND));
    }
    assert_eq!(outer.state(), State::Closed);
    half_open(&outer, &clock);
    for _ in 0..20 {
        assert!(outer.call_sync(|| inner.try_acquire().map(drop)).is_err());
    }
    assert_eq!(outer.state(), State::HalfOpen);
    let boxed: Box<dyn Classify> = Box::new(NotPermitted::new("a", "b", State::Open, None));
    assert_eq!(boxed.outcome(), Outcome::Neutral);
}

/// What the whole design of permits rests on: they travel.
#[test]
fn permits_and_breakers_go_anywhere() {
    fn anywhere<T: Send + 'static>(_: &T) {}
    let (breaker, _) = breaker(small());
    let permit = breaker.try_acquire().expect("closed");
    anywhere(&permit);
    anywhere(&breaker);
    let returned = std::thread::spawn(move || permit.failure()).join();
    assert!(returned.is_ok());
    assert_eq!(breaker.snapshot().counts.failure, 1);
}

/// A borrowed permit counts as an owned one does, also when it is dropped.
#[test]
fn a_borrowed_permit_reports_once() {
    let breaker = CircuitBreaker::builder("borrowed")
        .config(
            BreakerConfig::new()
                .with_failure_threshold(1)
                .with_failure_rate(0.1),
        )
        .build()
        .expect("sensible");
    breaker.enter().expect("closed").success();
    breaker.enter().expect("closed").neutral();
    drop(breaker.enter().expect("closed"));
    let seen = breaker.snapshot();
    assert_eq!((seen.counts.success, seen.counts.neutral), (1, 2));
    assert_eq!((seen.counts.failure, seen.in_flight), (0, 0));
    let wish = Some(Duration::from_secs(100));
    let permit = breaker.enter().expect("closed");
    permit.record_with_hint(Outcome::Failure, wish);
    let refusal = breaker.enter().expect_err("open");
    assert!(refusal.retry_after() > Some(Duration::from_secs(99)));
    let seen = breaker.snapshot();
    assert_eq!((seen.counts.failure, seen.counts.blocked), (1, 1));
    breaker.reset();
    breaker.enter().expect("closed").failure();
    assert_eq!(breaker.snapshot().counts.failure, 2);
}
