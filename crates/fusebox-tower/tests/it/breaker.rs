//! The breaker: what it hears, what it refuses, and whose circuit it asks.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fusebox::{CircuitSettings, Outcome, Overrides, Registry, State, VirtualClock};
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

fn registry(capacity: usize) -> Registry {
    Registry::builder("gateway")
        .clock(Arc::new(TokioClock::new()))
        .capacity(capacity)
        .build()
        .unwrap()
}

fn names(registry: &Registry) -> Vec<String> {
    registry.states().into_keys().collect()
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_circuit_within_the_registrys_bound() {
    let registry = registry(3);
    let keyed = Keyed::new(&registry, "host", config(), by_host).unwrap();
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
    assert_eq!(
        names(&registry),
        ["host/h1", "host/h999", "host/other"],
        "the idle one went, the open one stays"
    );
    assert_eq!(keyed.circuit_of("h1").state(), State::Open);
    assert_eq!(
        keyed.circuit_of("other").snapshot().counts.success,
        0,
        "there was room for each"
    );
}

#[tokio::test(start_paused = true)]
async fn while_all_circuits_must_stay_new_keys_share_one() {
    let registry = registry(2);
    let keyed = Keyed::new(&registry, "host", config(), by_host).unwrap();
    let probe = Probe::answering([DOWN, DOWN, DOWN]);
    let mut service = BreakerLayer::new(keyed.clone(), ByError).layer(probe);
    for _ in 0..3 {
        assert!(service.ready().await.unwrap().call(1).await.is_err());
    }
    for host in 2..12 {
        assert_eq!(service.ready().await.unwrap().call(host).await, Ok(host));
    }
    assert_eq!(names(&registry), ["host/h1", "host/other"]);
    assert_eq!(keyed.circuit_of("h9").name(), "host/other");
    assert_eq!(keyed.circuit_of("other").snapshot().counts.success, 10);
    keyed.circuit_of("h1").reset();
    // The registry does not search again at once.
    advance(Duration::from_secs(1)).await;
    assert_eq!(keyed.circuit_of("h9").name(), "host/h9");
}

#[tokio::test(start_paused = true)]
async fn keys_are_judged_by_their_own_settings_and_the_registrys_patterns() {
    let registry = registry(10);
    let keyed = Keyed::new(&registry, "host", config(), by_host).unwrap();
    assert_eq!(keyed.circuit_of("h1").snapshot().config, config());
    let mut stricter = Overrides::new();
    stricter.failure_threshold = Some(1);
    let settings = CircuitSettings::new().with_circuits("host/*", stricter);
    registry.apply_settings(settings.unwrap()).unwrap();
    for key in ["h1", "h2", "other"] {
        let config = keyed.circuit_of(key).snapshot().config;
        assert_eq!(config.failure_threshold, 1, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_set_of_keys_is_a_name_clash_but_a_key_in_use_is_shared() {
    let registry = Registry::new("gateway");
    let own = registry.register("host/h1", config()).unwrap();
    let keyed = Keyed::new(&registry, "host", config(), by_host).unwrap();
    assert!(Keyed::new(&registry, "host", config(), by_host).is_err());
    let permit = Circuits::try_acquire(&keyed, &1).unwrap();
    assert_eq!(own.snapshot().in_flight, 1);
    permit.success();
    assert_eq!(own.snapshot().counts.success, 1);
}

#[test]
fn threads_that_see_a_key_first_agree_on_its_circuit() {
    let registry = Registry::new("gateway");
    let keyed = Keyed::new(&registry, "host", config(), by_host).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for host in 0..100_u32 {
                    keyed.try_acquire(&host).unwrap().success();
                }
            });
        }
    });
    assert_eq!(registry.len(), 101);
    let successes: u64 = registry.snapshots().iter().map(|s| s.counts.success).sum();
    assert_eq!(successes, 400);
    assert!(
        registry
            .snapshots()
            .iter()
            .all(|s| s.counts.success % 4 == 0)
    );
}

/// To make room may deliver events of the circuit that goes, and their observer may ask for a key.
#[test]
fn an_observer_may_ask_for_a_circuit_while_one_is_made() {
    let clock = VirtualClock::new();
    let registry = Registry::builder("gateway")
        .clock(Arc::new(clock.clone()))
        .capacity(3)
        .build()
        .unwrap();
    let keyed = Keyed::new(&registry, "host", config(), by_host).unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let sick = keyed.circuit_of("h1");
    for _ in 0..3 {
        sick.try_acquire().unwrap().failure();
    }
    let (counter, again) = (Arc::clone(&asked), keyed.clone());
    registry.on_event(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        assert_eq!(again.circuit_of("h1").name(), "host/h1");
    });
    keyed.circuit_of("h2");
    // The break is over, so looking at the circuit makes its change visible.
    clock.advance(Duration::from_secs(10));
    assert_eq!(keyed.circuit_of("h3").name(), "host/h3");
    assert!(asked.load(Ordering::SeqCst) > 0, "the observer was called");
    assert_eq!(names(&registry), ["host/h1", "host/h3", "host/other"]);
}
