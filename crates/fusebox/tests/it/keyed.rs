//! Circuits made by key: bounded, removed when idle, never while they say something.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use fusebox::{
    BreakerConfig, CircuitBreaker, Clock, Mode, Registry, RegistryError, State, VirtualClock,
};

use crate::support::{SECOND, fail, small};

fn registry(capacity: usize) -> (Registry, VirtualClock) {
    let clock = VirtualClock::new();
    let registry = Registry::builder("gateway")
        .clock(Arc::new(clock.clone()))
        .capacity(capacity)
        .template(small())
        .build()
        .expect("the template makes sense");
    (registry, clock)
}

fn ask(registry: &Registry, key: &str) -> CircuitBreaker {
    registry.get_or_register(key).expect(key)
}

fn names(registry: &Registry) -> Vec<String> {
    registry.states().into_keys().collect()
}

#[test]
fn a_key_has_one_circuit_made_from_the_template() {
    let (registry, _) = registry(10);
    fail(&ask(&registry, "tenant/1"), 2);
    assert_eq!(ask(&registry, "tenant/1").state(), State::Open);
    assert_eq!(ask(&registry, "tenant/2").state(), State::Closed);
    let made = registry.get("tenant/1").expect("made above").snapshot();
    assert_eq!(
        (made.config, made.service_name),
        (small(), "gateway".into())
    );
    assert_eq!(names(&registry), ["tenant/1", "tenant/2"]);
    // A registered circuit is one a key may find, and a keyed one holds its name.
    let file = registry
        .register("file", BreakerConfig::new())
        .expect("free");
    fail(&file, 5);
    assert_eq!(ask(&registry, "file").state(), State::Open);
    assert!(matches!(
        registry.register("tenant/1", small()),
        Err(RegistryError::NameTaken { name, .. }) if name == "tenant/1"
    ));
    assert!(matches!(
        registry.get_or_register(""),
        Err(RegistryError::Config { .. })
    ));
}

#[test]
fn keys_of_several_kinds_have_settings_of_their_own_and_one_bound() {
    let (registry, _) = registry(2);
    let patient = Arc::new(small().with_failure_threshold(7));
    let host = |key: &str| registry.get_or_register_with(key, &patient);
    assert_eq!(host("host/1").expect("room").snapshot().config, *patient);
    assert_eq!(ask(&registry, "host/1").snapshot().config, *patient);
    assert_eq!(ask(&registry, "tenant/1").snapshot().config, small());
    let found = host("tenant/1").expect("there");
    assert_eq!(found.snapshot().config, small(), "it keeps its own");
    // Keyed ones as well: they go when room is needed, and when they are idle.
    for key in ["host/2", "host/3", "host/4"] {
        host(key).expect("room is made");
    }
    assert_eq!((registry.len(), registry.evicted()), (2, 3));
    assert_eq!(registry.evict_idle() + registry.evict_idle(), 2);
    // Until it is configured by name: then it is one that was registered.
    host("host/5").expect("room");
    registry.reconfigure("host/5", small()).expect("sensible");
    assert_eq!(registry.evict_idle() + registry.evict_idle(), 0);
    // The settings over them must make sense for each.
    let nonsense = Arc::new(small().with_failure_threshold(0));
    assert!(matches!(
        registry.get_or_register_with("host/6", &nonsense),
        Err(RegistryError::Config { name, .. }) if name == "host/6"
    ));
}

/// resilience4j #650 and #703: a breaker for each key leaked memory and metric series.
///
/// `FUSEBOX_KEYS` says how many keys, 1000000 for the whole of it.
#[test]
fn any_number_of_keys_stays_within_the_bound() {
    const BOUND: usize = 10_000;
    let keys: usize = std::env::var("FUSEBOX_KEYS")
        .ok()
        .map_or(40_000, |keys| keys.parse().expect("a number of keys"));
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new());
    let registry = Registry::builder("gateway")
        .clock(Arc::clone(&clock))
        .capacity(BOUND)
        .template(small())
        .build()
        .expect("sensible");
    // Every breaker alive holds the clock, whether the registry still knows it or not.
    let alive = || Arc::strong_count(&clock) - 2;
    fail(&ask(&registry, "sick"), 2);
    for key in 0..keys {
        ask(&registry, &format!("key-{key}"));
        if key == BOUND - 2 {
            assert_eq!(
                (registry.len(), registry.evicted()),
                (BOUND, 0),
                "at the bound"
            );
        }
        if key == BOUND - 1 {
            assert_eq!(
                (registry.len(), registry.evicted()),
                (BOUND, 1),
                "beyond it"
            );
        }
        assert!(registry.len() <= BOUND && alive() <= BOUND);
    }
    assert_eq!((registry.len(), alive()), (BOUND, BOUND));
    assert_eq!(usize::try_from(registry.evicted()), Ok(keys + 1 - BOUND));
    assert_eq!(registry.refused(), 0);
    let sick = registry.get("sick").expect("an open circuit stays");
    assert_eq!(sick.state(), State::Open);
}

/// One round clears the marks of all that were used, the second comes to the last of them.
#[test]
fn room_is_made_though_all_were_used_and_only_the_last_may_go() {
    let (registry, _) = registry(6);
    for key in ["a", "b", "c", "d", "e", "f", "a", "b", "c", "d", "e", "f"] {
        ask(&registry, key);
    }
    for key in ["a", "b", "c", "d", "e"] {
        fail(&ask(&registry, key), 2);
    }
    ask(&registry, "g");
    assert_eq!(names(&registry), ["a", "b", "c", "d", "e", "g"]);
}

#[test]
fn what_is_asked_for_again_outlives_what_came_once() {
    let (registry, _) = registry(4);
    for key in ["a", "b", "c", "d"] {
        ask(&registry, key);
    }
    ask(&registry, "a");
    ask(&registry, "c");
    ask(&registry, "e");
    assert_eq!(names(&registry), ["a", "c", "d", "e"]);
    ask(&registry, "f");
    assert_eq!(names(&registry), ["a", "c", "e", "f"]);
    // Even of those that were asked for again one goes, when there is no other.
    for key in ["a", "c", "e", "f"] {
        ask(&registry, key);
    }
    ask(&registry, "g");
    assert_eq!(registry.len(), 4);
    assert!(registry.get("g").is_some());
}

#[test]
fn a_circuit_that_says_something_is_never_removed() {
    let (registry, clock) = registry(6);
    fail(&ask(&registry, "open"), 2);
    fail(&ask(&registry, "half-open"), 2);
    clock.advance(SECOND);
    assert_eq!(ask(&registry, "half-open").state(), State::HalfOpen);
    fail(&ask(&registry, "open"), 1);
    ask(&registry, "forced").force_open("drill");
    ask(&registry, "watched").metrics_only();
    let permit = ask(&registry, "busy").try_acquire().expect("closed");
    registry.register("named", small()).expect("free");
    let before = names(&registry);
    assert_eq!(before.len(), 6);

    let refused = registry.get_or_register("new").expect_err("all must stay");
    assert!(matches!(refused, RegistryError::Full { capacity: 6, .. }));
    assert_eq!(registry.evict_idle(), 0, "used since the last look");
    assert_eq!(registry.evict_idle(), 0, "unused, but it says something");
    assert_eq!(names(&registry), before);
    assert_eq!((registry.refused(), registry.evicted()), (1, 0));

    permit.success();
    // Nobody searches again at once: the flood of new keys may go on.
    assert!(registry.get_or_register("new").is_err());
    clock.advance(Duration::from_millis(100));
    ask(&registry, "new");
    assert!(registry.get("busy").is_none(), "it was done");
    assert_eq!(
        registry.get("forced").expect("stays").snapshot().mode,
        Mode::ForcedOpen
    );
    assert_eq!((registry.refused(), registry.evicted()), (2, 1));
}

#[test]
fn a_registered_circuit_finds_room_that_keyed_ones_had() {
    let (registry, _) = registry(2);
    ask(&registry, "a");
    ask(&registry, "b");
    // A circuit that cannot be made sends no other away.
    let nonsense = small().with_failure_threshold(0);
    assert!(registry.register("named", nonsense).is_err());
    assert_eq!(names(&registry), ["a", "b"]);
    registry.register("named", small()).expect("room is made");
    assert_eq!(names(&registry), ["b", "named"]);
    registry
        .register("named too", small())
        .expect("room is made");
    assert!(matches!(
        registry.register("one more", small()),
        Err(RegistryError::Full { capacity: 2, .. })
    ));
}

#[test]
fn idle_circuits_go_after_two_looks() {
    let (registry, _) = registry(10);
    registry.register("named", small()).expect("free");
    ask(&registry, "idle");
    ask(&registry, "used");
    assert_eq!(registry.evict_idle(), 0, "both were new");
    ask(&registry, "used");
    assert_eq!(registry.evict_idle(), 1);
    assert_eq!(names(&registry), ["named", "used"]);
    assert_eq!(registry.evict_idle(), 1);
    assert_eq!(registry.evict_idle(), 0);
    assert_eq!(
        (names(&registry), registry.evicted()),
        (vec!["named".into()], 2)
    );
}

#[test]
fn a_removed_circuit_is_in_no_list_and_its_name_is_free() {
    let (registry, _) = registry(10);
    let old = registry.register("file", small()).expect("free");
    ask(&registry, "tenant");
    fail(&old, 2);
    assert!(registry.remove("file").is_some());
    assert!(registry.remove("file").is_none());
    assert_eq!(names(&registry), ["tenant"]);
    let new = registry.register("file", small()).expect("free again");
    assert_eq!((old.state(), new.state()), (State::Open, State::Closed));
    assert_eq!(
        ask(&registry, "tenant").state(),
        State::Closed,
        "still found"
    );
}

#[test]
fn pass_through_circuits_are_bounded_too() {
    let registry = Registry::builder("gateway")
        .enabled(false)
        .capacity(2)
        .build()
        .expect("sensible");
    for key in 0..10 {
        fail(&ask(&registry, &key.to_string()), 10);
    }
    assert_eq!((registry.len(), registry.evicted()), (2, 8));
    assert!(!registry.is_enabled());
    assert_eq!(registry.capacity(), 2);
    let least = Registry::builder("gateway").capacity(0).build();
    assert_eq!(least.expect("sensible").capacity(), 1);
}

#[test]
fn threads_that_ask_for_one_key_share_its_circuit() {
    let (registry, _) = registry(8);
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (registry, barrier) = (&registry, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..500 {
                    // One key for all, and keys that push each other out.
                    ask(registry, "shared");
                    ask(registry, &format!("{thread}-{round}"));
                    assert!(registry.len() <= 8);
                }
            });
        }
    });
    assert_eq!(registry.len(), 8);
    let listed: BTreeSet<String> = names(&registry).into_iter().collect();
    assert_eq!(listed.len(), 8, "no name twice");
    for name in listed {
        assert!(registry.get(&name).is_some(), "{name} is listed and found");
    }
}

/// A look at a circuit may run observers, and observers may come back to the registry.
#[test]
fn an_observer_may_use_the_registry_while_room_is_made() {
    let (registry, clock) = registry(2);
    fail(&ask(&registry, "a"), 2);
    fail(&ask(&registry, "b"), 2);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (sink, again) = (Arc::clone(&heard), registry.clone());
    registry.on_event(move |event| {
        let found = again.get(&event.circuit).is_some();
        sink.lock()
            .unwrap()
            .push((event.circuit.to_string(), found));
    });
    // Both breaks are over; whoever looks for room finds that out.
    clock.advance(SECOND);
    assert!(registry.get_or_register("c").is_err());
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard, [("a".to_owned(), true), ("b".to_owned(), true)]);
}
