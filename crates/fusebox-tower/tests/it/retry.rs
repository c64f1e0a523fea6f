//! Retry: when it repeats, how long it waits, and who pays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fusebox::backoff::Backoff;
use fusebox_resilient::{Deadline, RetryBudget, Verdict};
use fusebox_tower::{
    Always, BreakerLayer, ByError, Error, RetryLayer, RetryPolicy, classify_fn, replay_fn,
};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::probe::{Answer, DOWN, Probe, Ready, TestError, Trouble, breaker};

const MS: Duration = Duration::from_millis(1);

fn policy(budget: &RetryBudget) -> RetryPolicy {
    let backoff = Backoff::new(100 * MS, 2_000 * MS).with_jitter(0.0);
    RetryPolicy::new(budget.clone()).with_backoff(backoff)
}

fn gaps(probe: &Probe) -> Vec<Duration> {
    let times = probe.times();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn repeats_after_growing_waits_until_it_goes_well() {
    let budget = RetryBudget::new(10, 0.5);
    let probe = Probe::answering([DOWN, DOWN]);
    let mut service = RetryLayer::new(policy(&budget), ByError, Always).layer(probe.clone());
    assert_eq!(service.ready().await.unwrap().call(5).await, Ok(5));
    assert_eq!(gaps(&probe), [100 * MS, 200 * MS]);
    assert_eq!(
        (budget.granted(), budget.tokens()),
        (2, 8),
        "and half a token for the success"
    );
}

#[tokio::test(start_paused = true)]
async fn gives_up_after_the_last_attempt_with_its_error() {
    let budget = RetryBudget::new(10, 0.5);
    let probe = Probe::answering([DOWN; 9]);
    let layer = RetryLayer::new(policy(&budget).with_max_attempts(4), ByError, Always);
    let answer = layer.layer(probe.clone()).oneshot(5).await;
    assert_eq!(answer, Err(Error::Inner(Trouble::Down)));
    assert_eq!((probe.calls(), budget.granted()), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_shared_and_ends_the_repeating() {
    let budget = RetryBudget::new(3, 0.0);
    let probe = Probe::answering([DOWN; 100]);
    let layer = RetryLayer::new(policy(&budget), ByError, Always);
    for _ in 0..20 {
        assert!(layer.layer(probe.clone()).oneshot(5).await.is_err());
    }
    assert_eq!(probe.calls(), 23, "twenty calls and three repetitions");
}

/// The copy of a request may be large: none is made for an attempt that there will not be.
#[tokio::test(start_paused = true)]
async fn a_request_is_copied_once_for_each_repetition() {
    for (attempts, expected) in [(1, 0), (2, 1), (4, 3)] {
        let budget = RetryBudget::new(10, 0.0);
        let copies = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&copies);
        let counting = replay_fn(move |request: &u32| {
            count.fetch_add(1, Ordering::Relaxed);
            Some(*request)
        });
        let probe = Probe::answering([DOWN; 9]);
        let policy = policy(&budget).with_max_attempts(attempts);
        let layer = RetryLayer::new(policy, ByError, counting);
        assert!(layer.layer(probe.clone()).oneshot(5).await.is_err());
        assert_eq!(probe.calls(), attempts as usize);
        assert_eq!(copies.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_success_pays_into_the_budget() {
    let budget = RetryBudget::new(10, 1.0);
    let probe = Probe::answering([DOWN, DOWN, DOWN]);
    let layer = RetryLayer::new(policy(&budget).with_max_attempts(3), ByError, Always);
    assert!(layer.layer(probe.clone()).oneshot(5).await.is_err());
    assert_eq!(budget.tokens(), 8, "two withdrawn");
    assert!(layer.layer(probe).oneshot(5).await.is_ok());
    assert_eq!(budget.tokens(), 9);
}

#[tokio::test(start_paused = true)]
async fn what_must_be_sent_once_is_sent_once() {
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::answering([DOWN; 9]);
    let even = replay_fn(|request: &u32| request.is_multiple_of(2).then_some(*request));
    let layer = RetryLayer::new(policy(&budget), ByError, even);
    assert!(layer.layer(probe.clone()).oneshot(1).await.is_err());
    assert_eq!((probe.calls(), budget.granted()), (1, 0));
    assert!(layer.layer(probe.clone()).oneshot(2).await.is_err());
    assert_eq!(probe.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_is_repeated_at_the_time_it_names() {
    let budget = RetryBudget::new(10, 0.0);
    let busy = Answer::Now(Err(Trouble::Busy(1_500 * MS)));
    let probe = Probe::answering([busy]);
    let layer = RetryLayer::new(policy(&budget), ByError, Always);
    assert_eq!(layer.layer(probe.clone()).oneshot(5).await, Ok(5));
    assert_eq!(gaps(&probe), [1_500 * MS]);

    let longest = Trouble::Busy(2_000 * MS);
    let probe = Probe::answering([Answer::Now(Err(longest))]);
    assert_eq!(layer.layer(probe.clone()).oneshot(5).await, Ok(5));
    assert_eq!(gaps(&probe), [2_000 * MS]);

    let too_long = Trouble::Busy(2_001 * MS);
    probe.answer(Answer::Now(Err(too_long)));
    let start = Instant::now();
    let answer = layer.layer(probe).oneshot(5).await;
    assert_eq!(
        answer,
        Err(Error::Inner(too_long)),
        "for the caller to come back later"
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn responses_are_repeated_too() {
    let budget = RetryBudget::new(10, 0.0);
    let by_response = classify_fn(|result: Result<&u32, &TestError>| match result {
        Ok(503) => Verdict::failure().with_retry_after(Some(700 * MS)),
        _ => fusebox::Outcome::Success.into(),
    });
    let probe = Probe::answering([Answer::Now(Ok(503))]);
    let layer = RetryLayer::new(policy(&budget), by_response, Always);
    assert_eq!(layer.layer(probe.clone()).oneshot(200).await, Ok(200));
    assert_eq!(gaps(&probe), [700 * MS]);
}

// Even when the classification has it that everything should be tried again.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_our_own_is_never_repeated() {
    let stubborn = classify_fn(|_: Result<&u32, &TestError>| Verdict::failure());
    let budget = RetryBudget::new(10, 0.0);
    let breaker = breaker();
    breaker.force_open("drill");
    let probe = Probe::new();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy(&budget), stubborn, Always))
        .layer(BreakerLayer::new(breaker, ByError))
        .service(probe.clone());
    assert!(matches!(
        service.oneshot(5).await,
        Err(Error::NotPermitted(_))
    ));
    assert_eq!((probe.calls(), budget.granted()), (0, 0));
}

// The circuit opens in the middle of the attempts: what the caller gets is the refusal.
#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_ends_the_attempts() {
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::answering([DOWN; 9]);
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(
            policy(&budget).with_max_attempts(9),
            ByError,
            Always,
        ))
        .layer(BreakerLayer::new(breaker(), ByError))
        .service(probe.clone());
    let refused = service.ready().await.unwrap().call(5).await.unwrap_err();
    assert!(refused.refused_for().is_some());
    assert_eq!(probe.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_wait_goes_beyond_the_deadline_in_force() {
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::answering([DOWN; 9]);
    let layer = RetryLayer::new(policy(&budget), ByError, Always);
    let start = Instant::now();
    let answer = Deadline::after(250 * MS)
        .scope(layer.layer(probe.clone()).oneshot(5))
        .await;
    assert_eq!(answer, Err(Error::Inner(Trouble::Down)));
    assert_eq!(probe.calls(), 2, "the second wait would end at 300 ms");
    assert_eq!((start.elapsed(), budget.granted()), (100 * MS, 1));
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_cannot_become_ready_ends_the_call_with_its_error() {
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::answering([DOWN]);
    probe.readiness([Ready::Yes, Ready::Again, Ready::Error]);
    let layer = RetryLayer::new(policy(&budget), ByError, Always);
    let answer = layer.layer(probe.clone()).oneshot(5).await;
    assert_eq!(answer, Err(Error::Inner(Trouble::Unready)));
    assert_eq!(probe.calls(), 1);
}

// A failed response may hold a connection and its buffers.
#[tokio::test(start_paused = true)]
async fn nothing_of_the_failed_attempt_lives_during_the_wait() {
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::answering([DOWN]);
    let mut service = RetryLayer::new(policy(&budget), ByError, Always).layer(probe.clone());
    let mut call = crate::probe::ByHand::new(service.ready().await.unwrap().call(5));
    assert!(call.poll().is_pending());
    assert_eq!((probe.calls(), probe.in_flight()), (1, 0));
}
