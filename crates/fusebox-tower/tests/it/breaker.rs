//! The breaker: what it hears, what it refuses, and whose circuit it asks.

use std::borrow::Cow;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use fusebox::{Outcome, Registry, State};
use fusebox_resilient::Verdict;
use fusebox_tower::{BreakerLayer, ByError, Circuits, Error, Keyed, TokioClock, classify_fn};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt};

use crate::probe::{Answer, ByHand, DOWN, Probe, Ready, TestError, breaker, config};

#[tokio::test(start_paused = true)]
async fn opens_refuses_and_closes_again() {
    let breaker = breaker();
    let probe = Probe::answering([DOWN, DOWN, DOWN]);
    let mut service = BreakerLayer::new(breaker.clone(), ByError).layer(probe.clone());
    for _ in 0..3 {
        assert!(matches!(
            service.ready().await.unwrap().call(1).await,
            Err(Error::Inner(_))
        ));
    }
    let refused = service.ready().await.unwrap().call(1).await.unwrap_err();
    assert_eq!(refused.refused_for(), Some(Duration::from_secs(10)));
    assert!(refused.was_not_sent());
    assert_eq!(probe.calls(), 3, "the refused call was not made");
    advance(Duration::from_secs(10)).await;
    assert_eq!(service.ready().await.unwrap().call(5).await, Ok(5));
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_inner_service_is_still_ready() {
    let breaker = breaker();
    let probe = Probe::new();
    let mut service = BreakerLayer::new(breaker.clone(), ByError).layer(probe.clone());
    service.ready().await.unwrap();
    breaker.force_open("drill");
    assert!(matches!(service.call(1).await, Err(Error::NotPermitted(_))));
    breaker.reset();
    assert_eq!(
        service.call(2).await,
        Ok(2),
        "on the readiness the refused call left"
    );
}

#[tokio::test(start_paused = true)]
async fn responses_are_judged_and_their_retry_after_is_heeded() {
    let breaker = breaker();
    let by_response = classify_fn(|result: Result<&u32, &TestError>| match result {
        Ok(503) => Verdict::failure().with_retry_after(Some(Duration::from_secs(70))),
        Ok(404) => Verdict::neutral(),
        _ => Outcome::Success.into(),
    });
    let mut service = BreakerLayer::new(breaker.clone(), by_response).layer(Probe::new());
    for status in [503, 404, 503, 404, 503] {
        assert_eq!(
            service.ready().await.unwrap().call(status).await,
            Ok(status)
        );
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(
        breaker.retry_after(),
        Some(Duration::from_secs(70)),
        "not the ten of its own"
    );
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.failure, counts.neutral), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_is_neutral() {
    let breaker = breaker();
    let probe = Probe::answering([Answer::Never; 10]);
    let mut service = BreakerLayer::new(breaker.clone(), ByError).layer(probe);
    for polled in 0..10 {
        let mut call = ByHand::new(service.ready().await.unwrap().call(1));
        assert!(polled % 2 == 0 || call.poll().is_pending());
    }
    let now = breaker.snapshot();
    assert_eq!((now.counts.neutral, now.counts.failure), (10, 0));
    assert_eq!((now.state, now.in_flight), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_classification_gives_the_permit_back() {
    let breaker = breaker();
    let rude = classify_fn(|_: Result<&u32, &TestError>| -> Verdict { panic!("no idea") });
    let mut service = BreakerLayer::new(breaker.clone(), rude).layer(Probe::new());
    let mut call = ByHand::new(service.ready().await.unwrap().call(1));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.poll()));
    assert!(caught.is_err());
    assert_eq!(breaker.snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_readiness_is_no_failed_call() {
    let breaker = breaker();
    let layer = BreakerLayer::new(breaker.clone(), ByError);
    let probe = Probe::new();
    for _ in 0..5 {
        probe.readiness([Ready::Error]);
        assert!(layer.layer(probe.clone()).ready().await.is_err());
    }
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.failure, counts.neutral), (0, 0));
}

fn by_host(host: &u32) -> Cow<'_, str> {
    format!("h{host}").into()
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_circuit_and_the_rest_share_one() {
    let registry = Registry::with_clock("gateway", Arc::new(TokioClock::new()));
    let keyed = Keyed::new(&registry, "host", config(), 2, by_host).unwrap();
    let probe = Probe::answering([DOWN, DOWN, DOWN]);
    let layer = BreakerLayer::new(keyed.clone(), ByError);
    let (mut one, mut other) = (layer.layer(probe.clone()), layer.layer(probe.clone()));
    for _ in 0..3 {
        assert!(one.ready().await.unwrap().call(1).await.is_err());
    }
    let refused = other.ready().await.unwrap().call(1).await;
    assert!(
        matches!(refused, Err(Error::NotPermitted(_))),
        "one key, one circuit"
    );
    assert_eq!(
        other.ready().await.unwrap().call(2).await,
        Ok(2),
        "isolated from the other key"
    );
    for host in 3..1_000 {
        assert_eq!(one.ready().await.unwrap().call(host).await, Ok(host));
    }
    let names: Vec<String> = registry
        .breakers()
        .iter()
        .map(|breaker| breaker.name().to_owned())
        .collect();
    assert_eq!(
        names,
        ["host/h1", "host/h2", "host/other"],
        "bounded, whatever comes"
    );
    assert_eq!(keyed.circuit("h999").name(), "host/other");
    assert_eq!(keyed.circuit("other").snapshot().counts.success, 997);
}

#[tokio::test(start_paused = true)]
async fn a_second_set_of_keys_is_a_name_clash_but_a_key_in_use_is_shared() {
    let registry = Registry::new("gateway");
    let own = registry.register("host/h1", config()).unwrap();
    let keyed = Keyed::new(&registry, "host", config(), 2, by_host).unwrap();
    assert!(Keyed::new(&registry, "host", config(), 2, by_host).is_err());
    let permit = Circuits::try_acquire(&keyed, &1).unwrap();
    assert_eq!(own.snapshot().in_flight, 1);
    permit.success();
    assert_eq!(own.snapshot().counts.success, 1);
}

#[test]
fn threads_that_see_a_key_first_agree_on_its_circuit() {
    let registry = Registry::new("gateway");
    let keyed = Keyed::new(&registry, "host", config(), 50, by_host).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for host in 0..100_u32 {
                    keyed.try_acquire(&host).unwrap().success();
                }
            });
        }
    });
    assert_eq!(registry.len(), 51);
    let successes: u64 = registry.snapshots().iter().map(|s| s.counts.success).sum();
    assert_eq!(successes, 400);
    assert!(
        registry
            .snapshots()
            .iter()
            .all(|s| s.counts.success % 4 == 0)
    );
}

#[test]
fn the_bound_holds_when_new_keys_come_at_the_same_moment() {
    for _ in 0..300 {
        let registry = Registry::new("gateway");
        let keyed = Keyed::new(&registry, "host", config(), 1, by_host).unwrap();
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for host in 0..4_u32 {
                let (keyed, start) = (&keyed, &start);
                scope.spawn(move || {
                    start.wait();
                    keyed.try_acquire(&host).unwrap().success();
                });
            }
        });
        assert_eq!(registry.len(), 2, "one key and the rest");
    }
}
