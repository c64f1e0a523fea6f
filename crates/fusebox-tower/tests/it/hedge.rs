//! Hedging: when the copy is sent, whose answer counts, and what becomes of the loser.

use std::time::Duration;

use fusebox_limit::Limit;
use fusebox_resilient::{RetryBudget, Verdict};
use fusebox_tower::{
    Always, BreakerLayer, ByError, DeadlineLayer, Error, HedgeLayer, LimitLayer, classify_fn,
    replay_fn,
};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::probe::{Answer, ByHand, DOWN, Probe, Ready, Trouble, breaker};

const MS: Duration = Duration::from_millis(1);

fn after(milliseconds: u64, answer: Answer) -> Answer {
    let Answer::Now(answer) = answer else {
        unreachable!("only answers can be delayed")
    };
    Answer::After(Duration::from_millis(milliseconds), answer)
}

fn layer(budget: &RetryBudget) -> HedgeLayer<ByError, Always> {
    HedgeLayer::new(100 * MS, budget.clone(), ByError, Always)
}

#[tokio::test(start_paused = true)]
async fn a_quick_answer_needs_no_copy() {
    let budget = RetryBudget::new(10, 1.0);
    let probe = Probe::answering([after(99, Answer::Now(Ok(1))), DOWN]);
    let service = layer(&budget).layer(probe.clone());
    assert_eq!(service.clone().oneshot(9).await, Ok(1));
    let failed = service.oneshot(9).await;
    assert_eq!(
        failed,
        Err(Error::Inner(Trouble::Down)),
        "a quick failure is for the retry layer"
    );
    assert_eq!((probe.calls(), budget.granted()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_copy_answers_for_a_slow_call_and_the_loser_ends_at_once() {
    let (budget, breaker) = (RetryBudget::new(10, 0.0), breaker());
    let probe = Probe::answering([Answer::Never, after(30, Answer::Now(Ok(2)))]);
    let mut service = ServiceBuilder::new()
        .layer(layer(&budget))
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .service(probe.clone());
    let start = Instant::now();
    let mut call = Box::pin(service.ready().await.unwrap().call(9));
    assert_eq!(call.as_mut().await, Ok(2));
    assert_eq!(start.elapsed(), 130 * MS);
    assert_eq!(
        probe.in_flight(),
        0,
        "though the response's future is still here"
    );
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.success, counts.neutral, counts.failure), (1, 1, 0));
    assert_eq!(budget.granted(), 1);
}

/// There is one place, and the slow call has it: the refusal of its copy says nothing about it.
#[tokio::test(start_paused = true)]
async fn the_refusal_of_a_copy_does_not_end_the_call() {
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::answering([after(500, Answer::Now(Ok(1)))]);
    let service = ServiceBuilder::new()
        .layer(layer(&budget))
        .layer(LimitLayer::new(Limit::bulkhead(1, 0).unwrap()))
        .service(probe.clone());
    let answer: Result<u32, Error<Trouble>> = service.oneshot(9).await;
    assert_eq!(answer.unwrap(), 1);
    assert_eq!((probe.calls(), budget.granted()), (1, 1));
}

/// Whatever the classification says: who waits has no time left for the other copy.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_time_ends_the_call() {
    let budget = RetryBudget::new(10, 0.0);
    let all_again = classify_fn(|_: Result<&u32, &Error<Trouble>>| Verdict::failure());
    let probe = Probe::answering([Answer::Never, Answer::Never]);
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::new(100 * MS, budget, all_again, Always))
        .layer(DeadlineLayer::new(200 * MS))
        .service(probe.clone());
    let start = Instant::now();
    let answer = service.oneshot(9).await;
    assert!(matches!(answer, Err(Error::DeadlineExceeded(_))));
    assert_eq!((start.elapsed(), probe.calls()), (200 * MS, 2));
}

#[tokio::test(start_paused = true)]
async fn without_money_or_leave_there_is_no_copy() {
    let broke = RetryBudget::new(0, 0.0);
    let slow = after(500, Answer::Now(Ok(1)));
    let probe = Probe::answering([slow]);
    assert_eq!(layer(&broke).layer(probe.clone()).oneshot(9).await, Ok(1));
    assert_eq!((probe.calls(), broke.denied()), (1, 1));

    let budget = RetryBudget::new(10, 0.0);
    let never = replay_fn(|_: &u32| None);
    let probe = Probe::answering([slow]);
    let once = HedgeLayer::new(100 * MS, budget.clone(), ByError, never);
    assert_eq!(once.layer(probe.clone()).oneshot(9).await, Ok(1));
    assert_eq!((probe.calls(), budget.granted()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn when_one_fails_the_other_counts() {
    let budget = RetryBudget::new(10, 0.0);
    for (first, second, answer) in [
        (after(150, DOWN), after(100, Answer::Now(Ok(2))), Ok(2)),
        (after(150, Answer::Now(Ok(1))), DOWN, Ok(1)),
        (
            after(150, DOWN),
            after(10, DOWN),
            Err(Error::Inner(Trouble::Down)),
        ),
        (
            after(150, DOWN),
            after(100, DOWN),
            Err(Error::Inner(Trouble::Down)),
        ),
    ] {
        let probe = Probe::answering([first, second]);
        assert_eq!(layer(&budget).layer(probe.clone()).oneshot(9).await, answer);
        assert_eq!((probe.calls(), probe.in_flight()), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_no_copy_can_better_counts_at_once() {
    let budget = RetryBudget::new(10, 0.0);
    let mine = Err(Trouble::Mine(1));
    let probe = Probe::answering([after(150, Answer::Now(mine)), Answer::Never]);
    let start = Instant::now();
    assert_eq!(
        layer(&budget).layer(probe).oneshot(9).await,
        mine.map_err(Error::Inner)
    );
    assert_eq!(start.elapsed(), 150 * MS);
}

#[tokio::test(start_paused = true)]
async fn the_copy_waits_for_its_readiness_and_its_failure_hurts_nobody() {
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::answering([after(300, Answer::Now(Ok(1)))]);
    let mut service = layer(&budget).layer(probe.clone());
    service.ready().await.unwrap();
    probe.readiness([Ready::Pending, Ready::Error]);
    let mut call = ByHand::new(service.call(9));
    assert!(call.poll().is_pending());
    advance(100 * MS).await;
    assert!(call.poll().is_pending());
    probe.wake();
    assert!(
        call.poll().is_pending(),
        "the readiness of the copy has failed"
    );
    advance(200 * MS).await;
    assert_eq!(call.poll(), std::task::Poll::Ready(Ok(1)));
    assert_eq!(probe.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_its_own_is_filled_by_successes() {
    let budget = RetryBudget::new(1, 1.0);
    let own = HedgeLayer::with_own_budget(100 * MS, budget.clone(), ByError, Always);
    for _ in 0..3 {
        let probe = Probe::answering([Answer::Never]);
        assert_eq!(own.layer(probe.clone()).oneshot(9).await, Ok(9));
    }
    assert_eq!((budget.granted(), budget.tokens()), (3, 1));
    let shared = layer(&budget);
    let probe = Probe::answering([Answer::Never]);
    assert_eq!(shared.layer(probe).oneshot(9).await, Ok(9));
    assert_eq!(budget.tokens(), 0, "here the retry layer would deposit");
}
