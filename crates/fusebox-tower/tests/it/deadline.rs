//! Deadline and attempt timeout: whose time it is that runs out.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fusebox::State;
use fusebox_resilient::Deadline;
use fusebox_tower::{AttemptTimeoutLayer, BreakerLayer, ByError, DeadlineLayer, Error};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::probe::{Answer, Probe, TestError, breaker};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn work_ends_at_its_deadline_through_nobodys_fault() {
    let breaker = breaker();
    let probe = Probe::answering([Answer::Never; 5]);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(2 * SECOND))
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .service(probe.clone());
    for _ in 0..5 {
        let start = Instant::now();
        let Err(Error::DeadlineExceeded(error)) = service.clone().oneshot(1).await else {
            panic!("nothing answers");
        };
        assert!(error.was_sent());
        assert_eq!(start.elapsed(), 2 * SECOND);
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().counts.neutral, 5);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_runs_out_of_time_is_the_dependencys_fault() {
    let breaker = breaker();
    let probe = Probe::answering([Answer::Never; 3]);
    let service = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .layer(AttemptTimeoutLayer::new(SECOND))
        .service(probe.clone());
    for _ in 0..3 {
        let Err(Error::TimedOut(error)) = service.clone().oneshot(1).await else {
            panic!("nothing answers");
        };
        assert_eq!(error.after(), SECOND);
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_all_deadlines_counts() {
    let of_request = DeadlineLayer::new(|seconds: &u32| {
        (*seconds > 0).then(|| Duration::from_secs(u64::from(*seconds)))
    });
    let hang = || Probe::answering([Answer::Never]);
    for (request, around, ends) in [(3, 9, 3), (9, 4, 4), (0, 5, 5)] {
        let start = Instant::now();
        let around = Deadline::after(Duration::from_secs(around));
        let answer = around
            .scope(of_request.layer(hang()).oneshot(request))
            .await;
        assert!(matches!(answer, Err(Error::DeadlineExceeded(_))));
        assert_eq!(start.elapsed(), Duration::from_secs(ends));
    }
    let free = of_request.layer(Probe::answering([Answer::After(1_000 * SECOND, Ok(1))]));
    assert_eq!(free.oneshot(0).await, Ok(1), "nobody has named one");
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_is_not_begun() {
    let probe = Probe::new();
    let mut service = DeadlineLayer::new(SECOND).layer(probe.clone());
    let late = Deadline::after(SECOND);
    advance(SECOND).await;
    service.ready().await.unwrap();
    let Err(Error::DeadlineExceeded(error)) = late.scope(async { service.call(1).await }).await
    else {
        panic!("the deadline has passed");
    };
    assert!(!error.was_sent());
    assert_eq!(probe.calls(), 0);
}

/// Answers with the deadlines it saw in `call` and in `poll`.
struct Sees;

impl Service<u32> for Sees {
    type Response = [Option<Deadline>; 2];
    type Error = TestError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TestError>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let in_call = Deadline::current();
        Box::pin(async move { Ok([in_call, Deadline::current()]) })
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_in_force_for_all_that_runs_inside() {
    let due = Deadline::after(SECOND);
    let seen = DeadlineLayer::new(SECOND).layer(Sees).oneshot(1).await;
    assert_eq!(seen, Ok([Some(due); 2]));
    assert_eq!(Deadline::current(), None);
}
