//! Bulkhead and limit that adapts as a layer.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use fusebox::{Classify, Outcome};
use fusebox_limit::{AdaptiveConfig, Limit, Sample};
use fusebox_tower::limit::load_fn;
use fusebox_tower::{AttemptTimeoutLayer, DeadlineLayer, Error, LimitLayer, TokioClock};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::probe::{Answer, ByHand, DOWN, Probe, Ready, TestError};

#[tokio::test(start_paused = true)]
async fn a_full_limit_without_a_queue_sheds() {
    let limit = Limit::bulkhead(1, 0).unwrap();
    let probe = Probe::answering([Answer::Never]);
    let mut service = LimitLayer::new(limit.clone()).layer(probe.clone());
    let mut first = ByHand::new(service.ready().await.unwrap().call(1));
    assert!(first.poll().is_pending());
    let full = service.ready().await.unwrap().call(2).await.unwrap_err();
    assert!(matches!(full, Error::Full(_)));
    assert!(full.was_not_sent());
    assert_eq!(full.outcome(), Outcome::Neutral);
    drop(first);
    assert_eq!(
        service.call(3).await,
        Ok(3),
        "on the readiness the refused call left"
    );
    assert_eq!(probe.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_take_the_ready_service_along() {
    let limit = Limit::bulkhead(1, 2).unwrap();
    let probe = Probe::answering([Answer::After(Duration::from_secs(1), Ok(1))]);
    let mut service = LimitLayer::new(limit.clone()).layer(probe.clone());
    let mut first = ByHand::new(service.ready().await.unwrap().call(1));
    assert!(first.poll().is_pending());
    let mut second = ByHand::new(service.ready().await.unwrap().call(2));
    assert!(second.poll().is_pending());
    // The handle has kept an unready clone; it must be polled again before its next call.
    probe.readiness([Ready::Again, Ready::Yes]);
    let mut third = ByHand::new(service.ready().await.unwrap().call(3));
    assert!(third.poll().is_pending());
    assert!(matches!(
        service.ready().await.unwrap().call(4).await,
        Err(Error::Full(_))
    ));
    assert_eq!((probe.calls(), limit.snapshot().waiting), (1, 2));

    advance(Duration::from_secs(1)).await;
    assert_eq!(first.poll(), Poll::Ready(Ok(1)));
    assert_eq!(
        (second.rung(), third.rung()),
        (1, 0),
        "first come, first served"
    );
    assert_eq!(second.poll(), Poll::Ready(Ok(2)));
    assert_eq!(third.poll(), Poll::Ready(Ok(3)));
    assert_eq!(limit.snapshot().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_outlasts_the_deadline_leaves_the_queue() {
    let limit = Limit::bulkhead(1, 5).unwrap();
    let probe = Probe::answering([Answer::Never]);
    let layer = LimitLayer::new(limit.clone());
    let mut hanging = ByHand::new(layer.layer(probe.clone()).oneshot(1));
    assert!(hanging.poll().is_pending());
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(2)))
        .layer(layer)
        .service(probe.clone());
    assert!(matches!(
        service.oneshot(2).await,
        Err(Error::DeadlineExceeded(_))
    ));
    let now = limit.snapshot();
    assert_eq!((now.in_use, now.waiting, now.gave_up), (1, 0, 1));
    assert_eq!(probe.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_limit_learns_from_time_outs_and_not_from_errors() {
    let clock = Arc::new(TokioClock::new());
    let limit = Limit::adaptive(AdaptiveConfig::new(), clock).unwrap();
    let probe = Probe::answering([DOWN; 50]);
    let service = ServiceBuilder::new()
        .layer(LimitLayer::new(limit.clone()))
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
        .service(probe.clone());
    for _ in 0..50 {
        assert!(service.clone().oneshot(1).await.is_err());
    }
    assert_eq!((limit.snapshot().limit, limit.snapshot().cuts), (20, 0));
    probe.answer(Answer::Never);
    assert!(matches!(
        service.clone().oneshot(1).await,
        Err(Error::TimedOut(_))
    ));
    assert_eq!((limit.snapshot().limit, limit.snapshot().cuts), (14, 1));
}

#[tokio::test(start_paused = true)]
async fn it_grows_while_it_is_used() {
    let config = AdaptiveConfig::new().with_bounds(1, 40).with_initial(1);
    let limit = Limit::adaptive(config, Arc::new(TokioClock::new())).unwrap();
    let service = LimitLayer::new(limit.clone()).layer(Probe::new());
    for _ in 0..3 {
        assert_eq!(service.clone().oneshot(1).await, Ok(1));
    }
    assert!(limit.snapshot().limit >= 3, "from the floor, by lone calls");
}

#[tokio::test(start_paused = true)]
async fn a_response_can_say_that_there_is_too_much_to_do() {
    let clock = Arc::new(TokioClock::new());
    let limit = Limit::adaptive(AdaptiveConfig::new(), clock).unwrap();
    let load = load_fn(|result: Result<&u32, &TestError>| match result {
        Ok(503) => Sample::Overloaded,
        _ => Sample::Ignored,
    });
    let service = LimitLayer::learning_by(limit.clone(), load).layer(Probe::new());
    assert_eq!(service.clone().oneshot(200).await, Ok(200));
    assert_eq!(limit.snapshot().limit, 20);
    assert_eq!(service.oneshot(503).await, Ok(503));
    assert_eq!(limit.snapshot().limit, 14);
}
