//! When a call is tried again, and when not.

use std::cell::Cell;
use std::time::Duration;

use fusebox::backoff::Backoff;
use fusebox::{Classify, Outcome, Registry, State};
use fusebox_resilient::{CallError, Deadline, Reason, Resilience, RetryBudget, Settings, Verdict};
use tokio::time::Instant;

use crate::support::*;

const MS: Duration = Duration::from_millis(1);

fn plain_backoff() -> Settings {
    Settings::new().with_backoff(Backoff::new(MS * 100, MS * 2_000).with_jitter(0.0))
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_repeated_is() {
    let fake = Fake::failing(2);
    let client = fake.clone().resilient(&resilience(10)).unwrap();
    assert_eq!(client.fetch("/p/", 5).await.unwrap(), "/p/5#3");
    let fake = Fake::failing(2);
    let client = fake.clone().resilient(&resilience(10)).unwrap();
    assert!(client.resolve(1, vec![]).await.is_err());
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_attempts_end() {
    let resilience = builder(10).settings(plain_backoff()).build().unwrap();
    let fake = Fake::failing(9);
    let client = fake.clone().resilient(&resilience).unwrap();
    let start = Instant::now();
    let Err(ApiError::Down(Some(context))) = client.fetch("x", 1).await else {
        panic!("the dependency is down")
    };
    assert_eq!((fake.calls(), context.attempts()), (3, 3));
    assert_eq!(start.elapsed(), MS * 300, "100 and 200 ms");
    assert!(client.twice().await.is_err());
    assert_eq!(fake.calls(), 5, "its attribute says two attempts");
    let failures = resilience
        .registry()
        .get("bc")
        .unwrap()
        .snapshot()
        .counts
        .failure;
    assert_eq!(failures, 5, "every attempt is judged by itself");
}

#[tokio::test(start_paused = true)]
async fn neutral_errors_are_not_tried_again() {
    let fake = Fake::with([Step::Fail(ApiError::BadRequest)]);
    let client = fake.clone().resilient(&resilience(10)).unwrap();
    assert_eq!(client.fetch("x", 1).await, Err(ApiError::BadRequest));
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_is_waited_for_and_no_failure() {
    let fake = Fake::with(std::iter::repeat_n(
        Step::Fail(ApiError::Throttled(MS * 700)),
        2,
    ));
    let resilience = resilience(1);
    let client = fake.clone().resilient(&resilience).unwrap();
    let start = Instant::now();
    assert!(client.fetch("x", 1).await.is_ok());
    assert!(start.elapsed() >= MS * 1_400, "never earlier than asked");
    assert!(start.elapsed() <= MS * 1_600, "and not much later");
    assert_eq!(
        resilience.registry().get("bc").unwrap().state(),
        State::Closed
    );
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_more_patience_than_there_is_gets_none() {
    for (asked, calls) in [(2_001, 1), (2_000, 2)] {
        let fake = Fake::with([Step::Fail(ApiError::Throttled(MS * asked))]);
        let client = fake.clone().resilient(&resilience(1)).unwrap();
        assert_eq!(client.fetch("x", 1).await.is_ok(), calls == 2);
        assert_eq!(fake.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_ends_the_attempts_with_the_real_error() {
    let fake = Fake::failing(9);
    let client = fake.clone().resilient(&resilience(2)).unwrap();
    let error = client.fetch("x", 1).await.unwrap_err();
    assert!(
        error.is_down(),
        "not the refusal a third attempt would meet"
    );
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_ends_the_attempts() {
    let budget = RetryBudget::new(3, 0.5);
    let resilience = builder(1_000)
        .settings(plain_backoff().with_budget(budget.clone()))
        .build()
        .unwrap();
    let fake = Fake::failing(100);
    let client = fake.clone().resilient(&resilience).unwrap();
    for _ in 0..50 {
        assert!(client.fetch("x", 1).await.is_err());
    }
    assert_eq!(fake.calls(), 53, "three retries for all of them together");
    assert_eq!((budget.granted(), budget.denied()), (3, 49));
    while client.fetch("x", 1).await.is_err() {}
    for _ in 0..10 {
        assert!(client.fetch("x", 1).await.is_ok());
    }
    assert_eq!(budget.tokens(), 3, "successes have filled it again");
}

#[tokio::test(start_paused = true)]
async fn no_wait_goes_beyond_the_deadline() {
    let resilience = builder(10).settings(plain_backoff()).build().unwrap();
    let fake = Fake::failing(9);
    let client = fake.clone().resilient(&resilience).unwrap();
    let start = Instant::now();
    let error = Deadline::after(MS * 250)
        .scope(client.fetch("x", 1))
        .await
        .unwrap_err();
    assert!(error.is_down());
    assert_eq!(fake.calls(), 2, "the second wait would end at 300 ms");
    assert_eq!(start.elapsed(), MS * 100);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_cuts_off_without_blame() {
    let resilience = resilience(1);
    let fake = Fake::with([Step::Hang]);
    let client = fake.clone().resilient(&resilience).unwrap();
    let deadline = Deadline::after(MS * 250);
    let error = deadline.scope(client.fetch("x", 1)).await.unwrap_err();
    assert_eq!(error.rejected().reason(), &Reason::DeadlineExceeded);
    assert!(deadline.has_passed());
    let error = deadline.scope(client.fetch("x", 1)).await.unwrap_err();
    assert!(error.rejected().was_not_sent(), "too late to begin with");
    assert_eq!(fake.calls(), 1);
    let snapshot = resilience.registry().get("bc").unwrap().snapshot();
    assert_eq!(
        (snapshot.state, snapshot.counts.failure),
        (State::Closed, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn the_total_timeout_bounds_all_attempts() {
    let fake = Fake::with(std::iter::repeat_n(Step::Hang, 9));
    let settings = plain_backoff()
        .with_total_timeout(MS * 1_000)
        .with_attempt_timeout(MS * 600);
    let resilience = builder(10).settings(settings).build().unwrap();
    let client = fake.clone().resilient(&resilience).unwrap();
    let start = Instant::now();
    let error = client.fetch("x", 1).await.unwrap_err();
    assert_eq!(error.rejected().reason(), &Reason::DeadlineExceeded);
    assert_eq!(
        start.elapsed(),
        MS * 1_000,
        "600, a wait of 100, and what is left"
    );
    assert_eq!(fake.calls(), 2);
    let failures = resilience
        .registry()
        .get("bc")
        .unwrap()
        .snapshot()
        .counts
        .failure;
    assert_eq!(failures, 1, "the second had less than an attempt's time");
}

/// A refusal that knows its end read as a throttle: the outer policy waited for the inner circuit, at the
/// expense of its budget, and asked again. What is refused is not tried again, however near the end.
#[tokio::test(start_paused = true)]
async fn the_refusal_of_an_inner_circuit_is_not_tried_again() {
    struct Down;
    impl Classify for Down {
        fn outcome(&self) -> Outcome {
            Outcome::Failure
        }
    }
    let resilience = Resilience::new(&Registry::new("gateway"));
    let inner = resilience.policy("content", "content.fetch").unwrap();
    let outer = resilience.policy("library", "library.fetch").unwrap();
    for _ in 0..5 {
        assert!(inner.call(async || Err::<(), _>(Down)).await.is_err());
    }
    let made = Cell::new(0);
    let answer = outer
        .repeat(|| {
            made.set(made.get() + 1);
            inner.call(async || Ok::<_, Down>(()))
        })
        .await;
    let inner_error = answer.err().and_then(CallError::into_inner).unwrap();
    let refusal = inner_error.rejected().unwrap();
    assert!(refusal.retry_after().unwrap() <= Duration::from_secs(1));
    assert_eq!((made.get(), outer.budget().unwrap().granted()), (1, 0));
    assert_eq!(
        Verdict::of(refusal.not_permitted().unwrap()),
        Verdict::neutral()
    );
}
