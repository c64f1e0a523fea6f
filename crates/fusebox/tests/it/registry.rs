//! The circuits of a service together.

use std::error::Error as _;
use std::sync::{Arc, Mutex};

use fusebox::{Registry, RegistryError, State, VirtualClock};

use crate::support::{SECOND, fail, small};

#[test]
fn it_lists_by_name_and_resets_all() {
    let clock = VirtualClock::new();
    let registry = Registry::with_clock("api_gateway", Arc::new(clock.clone()));
    for name in ["file", "batch_orchestrator", "content"] {
        let breaker = registry.register(name, small()).expect("free");
        assert_eq!((breaker.name(), breaker.service()), (name, "api_gateway"));
        fail(&breaker, 2);
    }
    let names = |registry: &Registry| -> Vec<String> {
        registry
            .snapshots()
            .into_iter()
            .map(|s| s.circuit_name)
            .collect()
    };
    assert_eq!(names(&registry), ["batch_orchestrator", "content", "file"]);
    assert!(registry.snapshots().iter().all(|s| s.state == State::Open));
    clock.advance(SECOND);
    let all_half_open = registry
        .snapshots()
        .iter()
        .all(|s| s.state == State::HalfOpen);
    assert!(all_half_open, "its breakers are on its clock");
    registry.clone().reset_all();
    assert!(
        registry
            .breakers()
            .iter()
            .all(|b| b.state() == State::Closed)
    );
    assert!(registry.get("spellchecker").is_none());
    assert_eq!(
        (registry.len(), registry.is_empty(), registry.service()),
        (3, false, "api_gateway")
    );
}

#[test]
fn one_circuit_knows_nothing_of_another() {
    let registry = Registry::new("api_gateway");
    let sick = registry.register("file", small()).expect("free");
    let well = registry.register("content", small()).expect("free");
    fail(&sick, 2);
    assert_eq!((sick.state(), well.state()), (State::Open, State::Closed));
}

#[test]
fn nonsense_is_refused_with_its_circuit_and_setting() {
    let registry = Registry::new("api_gateway");
    let error = registry
        .register("file", small().with_failure_threshold(0))
        .expect_err("nonsense");
    assert_eq!(
        error.to_string(),
        "the settings of circuit file were refused"
    );
    let source = error.source().expect("a cause").to_string();
    assert_eq!(source, "failure_threshold is 0; allowed is at least 1");
    assert!(
        registry.register("file", small()).is_ok(),
        "the name is still free"
    );
}

#[test]
fn it_is_bounded() {
    let registry = Registry::new("api_gateway");
    assert!(registry.is_empty());
    for n in 0..1_000 {
        registry
            .register(format!("tenant-{n}"), small())
            .expect("room");
    }
    let full = registry
        .register("one-too-many", small())
        .expect_err("full");
    assert!(matches!(
        full,
        RegistryError::Full {
            capacity: 1_000,
            ..
        }
    ));
}

#[test]
fn switched_off_it_wires_the_same_types_that_never_refuse() {
    let registry = Registry::disabled("api_gateway");
    assert!(!registry.is_enabled());
    let breaker = registry.register("file", small()).expect("free");
    fail(&breaker, 100);
    assert_eq!(registry.snapshots()[0].state, State::Closed);
    assert!(
        registry.register("file", small()).is_err(),
        "a clash is one all the same"
    );
    assert!(!breaker.is_enabled());
    let registry = Registry::new("api_gateway");
    let breaker = registry.register("file", small()).expect("free");
    assert!(registry.is_enabled() && breaker.is_enabled());
}

#[test]
fn its_observers_hear_circuits_of_before_and_after() {
    let registry = Registry::new("api_gateway");
    let before = registry.register("before", small()).expect("free");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    // An observer may come back to the registry.
    let again = registry.clone();
    registry.on_event(move |event| {
        sink.lock()
            .unwrap()
            .push((event.circuit.to_string(), again.len()));
    });
    let after = registry.register("after", small()).expect("free");
    fail(&before, 2);
    fail(&after, 2);
    assert_eq!(
        *heard.lock().unwrap(),
        [("before".to_owned(), 2), ("after".to_owned(), 2)]
    );
}
