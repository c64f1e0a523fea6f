//! The throttle as a layer: what it counts, what it holds back, and what it leaves alone.

use std::sync::Arc;
use std::time::Duration;

use fusebox::{Classify, Outcome};
use fusebox_limit::{Limit, Sample, Throttle, ThrottleConfig};
use fusebox_resilient::RetryBudget;
use fusebox_tower::limit::load_fn;
use fusebox_tower::{
    Always, AttemptTimeoutLayer, BreakerLayer, ByError, Error, LimitLayer, RetryLayer, RetryPolicy,
    ThrottleLayer, TokioClock,
};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::probe::{Answer, ByHand, DOWN, Probe, TestError, breaker};

/// Refuses everything that its formula would let it, so that no test depends on chance.
fn strict() -> Throttle {
    let config = ThrottleConfig::new().with_ratio(1.0).with_most_refused(1.0);
    Throttle::new(config, Arc::new(TokioClock::new())).unwrap()
}

fn counts(throttle: &Throttle) -> (u64, u64) {
    let now = throttle.snapshot();
    (now.requests, now.accepts)
}

#[tokio::test(start_paused = true)]
async fn what_is_turned_away_is_held_back_and_sent_again_later() {
    let throttle = strict();
    let busy = load_fn(|result: Result<&u32, &TestError>| match result {
        Ok(503) => Sample::Overloaded,
        _ => Sample::Success,
    });
    let probe = Probe::new();
    let mut service = ThrottleLayer::learning_by(throttle.clone(), busy).layer(probe.clone());
    let mut held_back = 0;
    for _ in 0..1_000 {
        match service.ready().await.unwrap().call(503).await {
            Err(error @ Error::Throttled(_)) => {
                assert!(error.was_not_sent());
                assert_eq!(error.outcome(), Outcome::Neutral);
                held_back += 1;
            }
            answer => assert_eq!(answer, Ok(503)),
        }
    }
    // The n-th call goes with the chance 1/n: some eight of a thousand.
    assert!(held_back > 950, "{held_back} of 1000");
    assert_eq!(probe.calls(), 1_000 - held_back);
    assert_eq!(counts(&throttle), (1_000, 0), "refused ones are requests");
    advance(Duration::from_secs(10)).await;
    assert_eq!(service.ready().await.unwrap().call(1).await, Ok(1));
    assert_eq!(counts(&throttle), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn only_time_outs_count_against_the_dependency() {
    let throttle = strict();
    let breaker = breaker();
    let limit = Limit::bulkhead(1, 0).unwrap();
    let probe = Probe::answering([DOWN; 2]);
    let service = ServiceBuilder::new()
        .layer(ThrottleLayer::new(throttle.clone()))
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .layer(LimitLayer::new(limit.clone()))
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
        .service(probe.clone());
    for _ in 0..2 {
        assert!(service.clone().oneshot(1).await.is_err());
    }
    assert_eq!(counts(&throttle), (0, 0), "errors that came in time");
    let place = limit.try_enter().unwrap();
    assert!(service.clone().oneshot(1).await.is_err());
    drop(place);
    breaker.force_open("drill");
    assert!(service.clone().oneshot(1).await.is_err());
    breaker.reset();
    assert_eq!(counts(&throttle), (0, 0), "refusals of our own");
    drop(service.clone().oneshot(1));
    let mut cancelled = ByHand::new(service.clone().oneshot(1));
    probe.answer(Answer::Never);
    assert!(cancelled.poll().is_pending());
    assert_eq!(counts(&throttle), (1, 0), "while it is under way");
    drop(cancelled);
    assert_eq!(counts(&throttle), (0, 0), "cancelled calls");
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    probe.answer(Answer::Never);
    assert!(matches!(service.oneshot(1).await, Err(Error::TimedOut(_))));
    assert_eq!(counts(&throttle), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_held_back_is_not_tried_again() {
    let throttle = strict();
    for _ in 0..100_000 {
        if let Ok(pass) = throttle.try_begin(0.0) {
            pass.overloaded();
        }
    }
    let budget = RetryBudget::new(10, 0.0);
    let probe = Probe::new();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(
            RetryPolicy::new(budget.clone()),
            ByError,
            Always,
        ))
        .layer(ThrottleLayer::new(throttle))
        .service(probe.clone());
    assert!(matches!(service.oneshot(1).await, Err(Error::Throttled(_))));
    assert_eq!((budget.granted(), probe.calls()), (0, 0));
}
