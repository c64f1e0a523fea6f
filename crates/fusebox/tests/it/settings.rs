//! Settings by pattern of names, from text, put in force while the circuits run.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use fusebox::{
    Abandoned, BreakerConfig, CircuitSettings, EventKind, Mode, ModeChange, Outcome, Overrides,
    Pattern, Ramp, Registry, RegistryError, SETTINGS, SlowCall, State, TripRule, VirtualClock,
    Window,
};
use proptest::prelude::*;

use crate::support::{SECOND, fail, small};

fn given(pairs: &[(&str, &str)]) -> Overrides {
    let mut overrides = Overrides::new();
    for (name, text) in pairs {
        overrides.set(name, text).expect(name);
    }
    overrides
}

fn refused(pairs: &[(&str, &str)], base: &BreakerConfig) -> String {
    given(pairs).apply(base).expect_err("nonsense").to_string()
}

#[test]
fn what_is_not_given_stays() {
    let base = small().with_slow_call(SlowCall {
        longer_than: SECOND,
        rate: 0.3,
        minimum: 2,
    });
    assert_eq!(given(&[]).apply(&base), Ok(base.clone()));
    assert!(given(&[]).is_empty() && !given(&[("failure_threshold", "3")]).is_empty());
    let changed = given(&[("failure_threshold", "3"), ("slow_call_rate", "0.9")]);
    let expected = base
        .clone()
        .with_failure_threshold(3)
        .with_slow_call(SlowCall {
            longer_than: SECOND,
            rate: 0.9,
            minimum: 2,
        });
    assert_eq!(changed.apply(&base), Ok(expected));
}

#[test]
fn every_setting_reaches_its_field() {
    let all = [
        ("failure_threshold", "7"),
        ("trip_rule", "rate"),
        ("failure_rate", "0.25"),
        ("consecutive_failures", "8"),
        ("window_length", "20s"),
        ("window_buckets", "10"),
        ("slow_call_longer_than", "1500ms"),
        ("slow_call_rate", "0.75"),
        ("slow_call_minimum", "4"),
        ("judge_calls_under_way", "false"),
        ("abandoned", "slow"),
        ("first_break", "2"),
        ("recovery_timeout", "1m"),
        ("break_jitter", "0.1"),
        ("retry_after_cap", "1h"),
        ("success_threshold", "3"),
        ("half_open_lease", "45s"),
        ("ramp_length", "20s"),
        ("ramp_steps", "4"),
    ];
    let base = BreakerConfig::new().with_trip_rule(TripRule::Consecutive);
    let config = given(&all).apply(&base).expect("sensible");
    let expected = BreakerConfig::new()
        .with_failure_threshold(7)
        .with_trip_rule(TripRule::Rate)
        .with_consecutive_failures(8)
        .with_judge_calls_under_way(false)
        .with_abandoned(Abandoned::Slow)
        .with_ramp(Ramp {
            length: Duration::from_secs(20),
            steps: 4,
        })
        .with_failure_rate(0.25)
        .with_window(Window::Time {
            length: Duration::from_secs(20),
            buckets: 10,
        })
        .with_slow_call(SlowCall {
            longer_than: Duration::from_millis(1_500),
            rate: 0.75,
            minimum: 4,
        })
        .with_first_break(Duration::from_secs(2))
        .with_recovery_timeout(Duration::from_mins(1))
        .with_break_jitter(0.1)
        .with_retry_after_cap(Duration::from_hours(1))
        .with_success_threshold(3)
        .with_half_open_lease(Duration::from_secs(45));
    assert_eq!(config, expected);
    let mut known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    known.retain(|name| *name != "window_calls");
    assert_eq!(known, all.map(|(name, _)| name));
    assert!(SETTINGS.iter().all(|setting| !setting.meaning.is_empty()));
}

#[test]
fn windows_are_of_calls_or_of_time() {
    let count = BreakerConfig::new().with_window(Window::Count(50));
    let time = BreakerConfig::new();
    let window = |pairs: &[_], base: &BreakerConfig| given(pairs).apply(base).expect("ok").window;
    let of = |secs, buckets| Window::Time {
        length: Duration::from_secs(secs),
        buckets,
    };
    assert_eq!(window(&[("window_calls", "9")], &time), Window::Count(9));
    assert_eq!(window(&[("window_length", "30s")], &count), of(30, 20));
    assert_eq!(window(&[("window_length", "30s")], &time), of(30, 20));
    assert_eq!(window(&[("window_buckets", "5")], &time), of(10, 5));
    assert_eq!(
        refused(&[("window_calls", "9"), ("window_length", "30s")], &time),
        "window_calls is 9; allowed is either a window of calls, or one of time with window_length \
         and window_buckets"
    );
    assert_eq!(
        refused(&[("window_buckets", "5")], &count),
        "window_buckets is 5; allowed is only with a window of time: give window_length as well"
    );
}

#[test]
fn slow_calls_are_judged_switched_off_and_need_a_length() {
    let off = BreakerConfig::new();
    let slow = |pairs: &[_], base: &BreakerConfig| given(pairs).apply(base).expect("ok").slow_call;
    let on = slow(&[("slow_call_longer_than", "2s")], &off);
    let expected = SlowCall {
        longer_than: Duration::from_secs(2),
        rate: 0.5,
        minimum: 5,
    };
    assert_eq!(on, Some(expected));
    let on = off.clone().with_slow_call(expected);
    assert_eq!(slow(&[("slow_call_longer_than", "0")], &on), None);
    for (setting, value) in [("slow_call_rate", "0.5"), ("slow_call_minimum", "3")] {
        let shown = refused(&[(setting, value)], &off);
        assert_eq!(
            shown,
            format!("{setting} is {value}; allowed is only with slow_call_longer_than")
        );
    }
}

#[test]
fn traffic_comes_back_in_steps_at_once_and_needs_a_length() {
    let off = BreakerConfig::new();
    let ramp = |pairs: &[_], base: &BreakerConfig| given(pairs).apply(base).expect("ok").ramp;
    let of = |secs, steps| {
        let length = Duration::from_secs(secs);
        Some(Ramp { length, steps })
    };
    assert_eq!(ramp(&[("ramp_length", "30s")], &off), of(30, 10));
    let on = off.clone().with_ramp(of(20, 5));
    assert_eq!(ramp(&[("ramp_steps", "7")], &on), of(20, 7));
    assert_eq!(ramp(&[("ramp_length", "40s")], &on), of(40, 5));
    assert_eq!(ramp(&[("ramp_length", "0")], &on), None);
    assert_eq!(
        refused(&[("ramp_steps", "7")], &off),
        "ramp_steps is 7; allowed is only with ramp_length"
    );
}

#[test]
fn a_row_of_failures_counts_beside_the_rate_or_not() {
    let row = |text, base: &BreakerConfig| {
        let config = given(&[("consecutive_failures", text)]).apply(base);
        config.expect("ok").consecutive_failures
    };
    let off = BreakerConfig::new();
    assert_eq!(row("4", &off), Some(4));
    assert_eq!(row("0", &off.with_consecutive_failures(9)), None);
}

#[test]
fn text_that_is_no_value_is_refused_with_all_an_operator_needs() {
    let mut overrides = Overrides::new();
    let unknown = overrides.set("failure_treshold", "3").expect_err("a typo");
    assert!(
        unknown
            .to_string()
            .starts_with("failure_treshold; allowed is a setting of circuits: failure_threshold, "),
        "{unknown}"
    );
    let none = overrides.set("recovery_timeout", "soon").expect_err("none");
    assert_eq!(
        none.to_string(),
        "recovery_timeout is soon; allowed is seconds, or a number with the unit ms, s, m or h"
    );
    assert!(overrides.is_empty());
}

#[test]
fn variables_are_found_by_prefix_and_all_bad_ones_are_named() {
    let variables = BTreeMap::from([
        ("BCS_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "7"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "9"),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "45"),
        ("BCS_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "  "),
        ("OTHER_CIRCUIT_BREAKER_FAILURE_RATE", "0.1"),
    ]);
    let prefixes = ["BCS_CIRCUIT_BREAKER_", "CIRCUIT_BREAKER_"];
    let read = Overrides::from_variables(&prefixes, |name| variables.get(name)).expect("good");
    let expected = given(&[("failure_threshold", "7"), ("recovery_timeout", "45")]);
    assert_eq!(read, expected);

    let bad = |name: &str| match name {
        "BCS_CIRCUIT_BREAKER_FAILURE_THRESHOLD" => Some("many"),
        "CIRCUIT_BREAKER_TRIP_RULE" => Some("both"),
        _ => None,
    };
    let error = Overrides::from_variables(&prefixes, bad).expect_err("bad");
    assert_eq!(
        error.to_string(),
        "BCS_CIRCUIT_BREAKER_FAILURE_THRESHOLD is many; allowed is a whole number from 0 to \
         4294967295; CIRCUIT_BREAKER_TRIP_RULE is both; allowed is rate or consecutive"
    );
    assert_eq!(error.problems().len(), 2);
}

#[test]
fn the_most_specific_pattern_wins_alone() {
    let thresholds = |pairs: &[(&str, &str)]| {
        let mut settings =
            CircuitSettings::new().with_defaults(given(&[("success_threshold", "9")]));
        for (pattern, threshold) in pairs {
            let overrides = given(&[("failure_threshold", threshold)]);
            settings = settings.with_circuits(pattern, overrides).expect(pattern);
        }
        settings
    };
    let pairs = [
        ("*", "1"),
        ("*.content", "2"),
        ("cj.*", "3"),
        ("cj.content", "4"),
    ];
    let mut backwards = pairs;
    backwards.reverse();
    let settings = thresholds(&pairs);
    assert_eq!(
        settings,
        thresholds(&backwards),
        "the order of writing says nothing"
    );
    for (name, threshold) in [
        ("cj.content", 4),
        ("file.content", 2),
        ("cj.kafka", 3),
        ("file.kafka", 1),
    ] {
        let config = settings.effective(name, &small()).expect("sensible");
        assert_eq!(
            config,
            small()
                .with_failure_threshold(threshold)
                .with_success_threshold(9)
        );
    }
    // A second table for the same pattern takes the place of the first.
    let again = settings
        .with_circuits("*", given(&[("failure_rate", "0.9")]))
        .expect("ok");
    let config = again.effective("file.kafka", &small()).expect("sensible");
    assert_eq!(
        config,
        small().with_failure_rate(0.9).with_success_threshold(9)
    );
    assert_eq!(
        again.pattern_for("cj.content").map(Pattern::as_str),
        Some("cj.content")
    );
    assert_eq!(CircuitSettings::new().pattern_for("any"), None);
    assert_eq!(again.circuits().count(), 4);
    // With either of the two there is something.
    let mut some = Overrides::new();
    some.failure_threshold = Some(3);
    let defaults_alone = CircuitSettings::new().with_defaults(some.clone());
    let circuits_alone = CircuitSettings::new().with_circuits("a*", some);
    assert!(!defaults_alone.is_empty() && !circuits_alone.expect("a pattern").is_empty());
    assert!(!again.is_empty() && CircuitSettings::new().is_empty());
    assert_eq!(again.defaults(), &given(&[("success_threshold", "9")]));
}

#[test]
fn a_window_of_one_kind_hides_the_other_beneath() {
    let settings = CircuitSettings::new()
        .with_defaults(given(&[("window_length", "60s"), ("window_buckets", "6")]))
        .with_circuits("calls", given(&[("window_calls", "40")]))
        .and_then(|s| s.with_circuits("finer", given(&[("window_buckets", "12")])))
        .expect("patterns");
    let window = |name| {
        settings
            .effective(name, &BreakerConfig::new())
            .expect("ok")
            .window
    };
    assert_eq!(window("calls"), Window::Count(40));
    let of = |buckets| Window::Time {
        length: Duration::from_mins(1),
        buckets,
    };
    assert_eq!((window("finer"), window("other")), (of(12), of(6)));
    let other_way = CircuitSettings::new()
        .with_defaults(given(&[("window_calls", "40")]))
        .with_circuits("time", given(&[("window_length", "60s")]))
        .expect("a pattern");
    let time = other_way
        .effective("time", &BreakerConfig::new())
        .expect("ok");
    assert_eq!(time.window, of(20));
}

/// resilience4j #299, #546, #975, #850, #1116, #2181: other settings need another object, and
/// state, counters and subscriptions are lost with the old one.
#[test]
fn new_settings_keep_state_counters_and_observers() {
    let clock = VirtualClock::new();
    let registry = Registry::with_clock("gateway", Arc::new(clock.clone()));
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    registry.on_event(move |event| sink.lock().unwrap().push(event.kind.clone()));
    let open = registry.register("open", small()).expect("free");
    let closed = registry.register("closed", small()).expect("free");
    fail(&open, 2);
    fail(&closed, 1);
    let before = (open.snapshot(), closed.snapshot());

    let settings = CircuitSettings::new()
        .with_defaults(given(&[("failure_threshold", "3")]))
        .with_circuits("closed", given(&[("failure_threshold", "4")]))
        .expect("a pattern");
    let changed = registry.apply_settings(settings.clone()).expect("sensible");
    assert_eq!(changed, ["closed", "open"]);
    let after = (open.snapshot(), closed.snapshot());
    assert_eq!(
        (after.0.state, after.0.retry_after),
        (State::Open, before.0.retry_after)
    );
    assert_eq!(
        (after.0.counts, after.1.counts),
        (before.0.counts, before.1.counts)
    );
    assert_eq!(
        after.1.window, before.1.window,
        "the window holds what it held"
    );
    assert_eq!(
        (after.0.failure_threshold, after.1.failure_threshold),
        (3, 4)
    );
    fail(&closed, 2);
    assert_eq!(closed.state(), State::Closed);
    fail(&closed, 1);
    assert_eq!(
        closed.state(),
        State::Open,
        "the fourth failure, the first one counted"
    );
    let opened = events
        .lock()
        .unwrap()
        .iter()
        .filter(|kind| {
            matches!(
                kind,
                EventKind::Transition {
                    to: State::Open,
                    ..
                }
            )
        })
        .count();
    assert_eq!(opened, 2, "observers still hear");

    // The same again changes nothing; a circuit that comes later has them from the start.
    assert_eq!(registry.apply_settings(settings), Ok(Vec::new()));
    let later = registry.register("later", small()).expect("free");
    assert_eq!(later.snapshot().failure_threshold, 3);
    assert_eq!(
        registry
            .get_or_register("keyed")
            .expect("room")
            .snapshot()
            .failure_threshold,
        3
    );
    // Without them the code's settings are back.
    let changed = registry
        .apply_settings(CircuitSettings::new())
        .expect("sensible");
    assert_eq!(changed, ["closed", "keyed", "later", "open"]);
    assert_eq!(open.snapshot().config, small());
    assert!(registry.settings().is_empty());
}

#[test]
fn settings_that_make_no_sense_are_refused_whole() {
    let registry = Registry::new("gateway");
    let few = small().with_window(Window::Count(4));
    let named = registry
        .register("file.content", few.clone())
        .expect("free");
    let other = registry.register("file.kafka", small()).expect("free");
    let good = CircuitSettings::new()
        .with_circuits("*", given(&[("success_threshold", "7")]))
        .expect("a pattern");
    registry.apply_settings(good.clone()).expect("sensible");

    // Made from the template, so what is wrong with it is told of the pattern alone.
    registry.get_or_register("nobody").expect("room");
    let bad = good
        .with_circuits("file.*", given(&[("failure_threshold", "5")]))
        .and_then(|s| s.with_circuits("nobody", given(&[("failure_rate", "1.5")])))
        .expect("patterns");
    let error = registry
        .apply_settings(bad)
        .expect_err("two of three are nonsense");
    assert_eq!(
        error.to_string(),
        "circuits.\"nobody\".failure_rate is 1.5; allowed is more than 0 and at most 1; \
         circuits.\"file.*\" for circuit file.content.failure_threshold is 5; allowed is at most \
         the calls in the window, or the circuit could never open"
    );
    assert_eq!(named.snapshot().config, few.with_success_threshold(7));
    assert_eq!(other.snapshot().config, small().with_success_threshold(7));
    assert_eq!(registry.settings().circuits().count(), 1);
}

#[test]
fn what_is_wrong_with_several_circuits_is_told_in_their_order() {
    let registry = Registry::new("gateway");
    for name in ["c", "a", "b"] {
        let few = small().with_window(Window::Count(4));
        registry.register(name, few).expect("free");
    }
    let many = CircuitSettings::new().with_defaults(given(&[("failure_threshold", "5")]));
    let error = registry.apply_settings(many).expect_err("5 of 4");
    let places: Vec<&str> = error.problems().iter().map(|p| p.place.as_str()).collect();
    let of = ["a", "b", "c"].map(|name| format!("defaults for circuit {name}"));
    assert_eq!(places, of);
}

#[test]
fn what_is_wrong_with_the_defaults_is_told_once() {
    let settings = CircuitSettings::new()
        .with_defaults(given(&[("failure_rate", "2")]))
        .with_circuits("a*", given(&[("failure_threshold", "3")]))
        .expect("a pattern");
    let error = Registry::new("s")
        .apply_settings(settings)
        .expect_err("nonsense");
    assert_eq!(error.problems().len(), 1, "{error}");
    assert_eq!(error.problems()[0].place, "defaults");
}

/// The second one comes while the first has changed one circuit of two. If it did not wait, the first
/// would go on over its settings.
#[test]
fn two_that_change_settings_do_not_mix_theirs() {
    let registry = Registry::new("gateway");
    for name in ["a", "b"] {
        registry.register(name, small()).expect("free");
    }
    let of_all = |threshold| {
        let overrides = given(&[("failure_threshold", threshold)]);
        CircuitSettings::new().with_defaults(overrides)
    };
    let second = of_all("4");
    let (done, is_done) = mpsc::channel();
    let once = Mutex::new(Some((registry.clone(), second, done)));
    let is_done = Arc::new(Mutex::new(is_done));
    let waiting = Arc::clone(&is_done);
    registry.on_event(move |_| {
        // Not held over what follows: the second one's events come here too.
        let first = once.lock().unwrap().take();
        if let Some((registry, second, done)) = first {
            std::thread::spawn(move || {
                let changed = registry.apply_settings(second);
                done.send(changed).expect("the test waits for it");
            });
            // It must not be done before the first one is; long enough for one that does not wait.
            let early = waiting.lock().unwrap().recv_timeout(SECOND / 4);
            assert!(early.is_err(), "the second did not wait: {early:?}");
        }
    });
    registry.apply_settings(of_all("3")).expect("sensible");
    let observer_panics = |registry: &Registry| -> u64 {
        registry.snapshots().iter().map(|s| s.observer_panics).sum()
    };
    // An observer's panic is caught and counted.
    assert_eq!(observer_panics(&registry), 0, "the second did not wait");
    let changed = is_done.lock().unwrap().recv_timeout(20 * SECOND);
    assert_eq!(changed, Ok(Ok(vec!["a".to_owned(), "b".to_owned()])));
    let all = registry.snapshots();
    assert!(all.iter().all(|s| s.failure_threshold == 4));
    assert_eq!(registry.settings().defaults().failure_threshold, Some(4));
}

#[test]
fn a_circuit_that_would_make_no_sense_is_not_registered() {
    let settings = CircuitSettings::new()
        .with_defaults(given(&[("failure_threshold", "50")]))
        .clone();
    let registry = Registry::builder("gateway")
        .settings(settings)
        .build()
        .expect("sensible");
    let error = registry
        .register("file", small().with_window(Window::Count(10)))
        .expect_err("50 of 10");
    assert!(
        error
            .source()
            .expect("a cause")
            .to_string()
            .starts_with("failure_threshold is 50")
    );
    let nonsense = CircuitSettings::new().with_defaults(given(&[("failure_rate", "2")]));
    let error = Registry::builder("gateway")
        .settings(nonsense)
        .build()
        .expect_err("nonsense");
    assert_eq!(
        error.to_string(),
        "defaults.failure_rate is 2.0; allowed is more than 0 and at most 1"
    );
}

#[test]
fn one_circuit_is_reconfigured_beneath_the_settings() {
    let registry = Registry::new("gateway");
    registry
        .apply_settings(CircuitSettings::new().with_defaults(given(&[("success_threshold", "7")])))
        .expect("sensible");
    let file = registry.register("file", small()).expect("free");
    registry
        .reconfigure("file", small().with_failure_threshold(9))
        .expect("sensible");
    assert_eq!(
        file.snapshot().config,
        small().with_failure_threshold(9).with_success_threshold(7)
    );
    assert!(matches!(
        registry.reconfigure("nobody", small()),
        Err(RegistryError::Unknown { name, .. }) if name == "nobody"
    ));
    let error = registry
        .reconfigure("file", small().with_failure_rate(0.0))
        .expect_err("nonsense");
    assert!(matches!(error, RegistryError::Config { .. }));
    assert_eq!(file.snapshot().failure_threshold, 9);
    registry
        .apply_settings(CircuitSettings::new())
        .expect("sensible");
    assert_eq!(file.snapshot().config, small().with_failure_threshold(9));
}

#[test]
fn circuits_are_forced_by_pattern_and_let_go_by_themselves() {
    let clock = VirtualClock::new();
    let registry = Registry::with_clock("gateway", Arc::new(clock.clone()));
    for name in ["b.content", "a.content", "a.kafka"] {
        registry.register(name, small()).expect("free");
    }
    let pattern = Pattern::new("*.content").expect("a pattern");
    let change = ModeChange::to(Mode::ForcedOpen)
        .by("astrid")
        .because("content is being moved")
        .lasting(60 * SECOND);
    let forced = registry.force_matching(&pattern, &change);
    assert_eq!(forced, ["a.content", "b.content"]);
    let states = |registry: &Registry| registry.states().into_values().collect::<Vec<_>>();
    assert_eq!(states(&registry), [State::Open, State::Closed, State::Open]);
    let snapshot = registry.get("a.content").expect("there").snapshot();
    let manual = snapshot.manual.expect("forced");
    assert_eq!(manual.who.as_deref(), Some("astrid"));
    assert_eq!(manual.why.as_deref(), Some("content is being moved"));
    assert_eq!(manual.until, Some(60 * SECOND));

    let one = Pattern::new("b.*").expect("a pattern");
    let automatic = ModeChange::to(Mode::Automatic);
    assert_eq!(registry.force_matching(&one, &automatic), ["b.content"]);
    assert_eq!(
        states(&registry),
        [State::Open, State::Closed, State::Closed]
    );
    clock.advance(60 * SECOND);
    assert_eq!(states(&registry), [State::Closed; 3], "it ended by itself");
}

/// A breaker takes at most 64 different windows in its life. One that takes no more must not leave
/// the others with settings that were refused.
#[test]
fn settings_that_one_circuit_does_not_take_are_taken_back_from_all() {
    let registry = Registry::new("gateway");
    let calls = |calls: u32| given(&[("window_calls", &calls.to_string())]);
    let first = registry.register("a", small()).expect("free");
    let worn = registry.register("worn", small()).expect("free");
    let mut most = 0;
    for n in 100..300 {
        match worn.set_config(small().with_window(Window::Count(n))) {
            Ok(()) => most = n,
            Err(_) => break,
        }
    }
    assert!(most < 299, "it takes no more windows");
    let before = (first.snapshot().config, worn.snapshot().config);
    let settings = CircuitSettings::new().with_defaults(calls(400));
    let error = registry.apply_settings(settings).expect_err("one too many");
    assert!(
        error.to_string().starts_with("circuit worn.window is "),
        "{error}"
    );
    assert_eq!((first.snapshot().config, worn.snapshot().config), before);
    assert!(registry.settings().is_empty());
    // The rest can go on without it.
    let settings = CircuitSettings::new()
        .with_circuits("a", calls(400))
        .expect("a pattern");
    assert_eq!(registry.apply_settings(settings), Ok(vec!["a".to_owned()]));
}

proptest! {
    /// Whatever the settings: refused with a reason, or a breaker that opens on failures alone and
    /// heals on successes alone.
    #[test]
    fn random_settings_are_refused_or_work(
        chosen in prop::collection::btree_map(
            0..SETTINGS.len(),
            prop_oneof![
                "[0-9]{1,6}", "0\\.[0-9]{1,4}", "[0-9]{1,3}(ms|s|m|h)", "rate|consecutive", "[a-z-]{0,4}",
            ],
            0..6,
        ),
        others in prop::collection::btree_map(0..SETTINGS.len(), "[1-9][0-9]?", 0..4),
    ) {
        let overrides = |chosen: BTreeMap<usize, String>| {
            let mut overrides = Overrides::new();
            for (setting, text) in chosen {
                let name = SETTINGS[setting].name;
                if let Err(problem) = overrides.set(name, &text) {
                    prop_assert!(problem.to_string().starts_with(name));
                    prop_assert!(!problem.allowed.is_empty());
                }
            }
            Ok(overrides)
        };
        let settings = CircuitSettings::new()
            .with_defaults(overrides(chosen)?)
            .with_circuits("c*", overrides(others)?)
            .expect("a pattern");
        let clock = VirtualClock::new();
        let built = Registry::builder("s").clock(Arc::new(clock.clone())).settings(settings.clone()).build();
        let registry = match built {
            Ok(registry) => registry,
            Err(error) => {
                prop_assert!(!error.problems().is_empty());
                // The same settings are refused by a registry that runs.
                prop_assert_eq!(Registry::new("s").apply_settings(settings), Err(error));
                return Ok(());
            }
        };
        let breaker = registry.get_or_register("c1").expect("checked beforehand");
        let config = breaker.snapshot().config;
        prop_assert_eq!(config.validate(), Ok(()));
        for _ in 0..config.failure_threshold.min(20_000) {
            let Ok(permit) = breaker.try_acquire() else { break };
            permit.record(Outcome::Failure);
        }
        if config.failure_threshold <= 20_000 {
            prop_assert_eq!(breaker.state(), State::Open);
            clock.advance(config.recovery_timeout.max(config.first_break));
            prop_assert_eq!(breaker.state(), State::HalfOpen);
        }
    }
}

#[cfg(feature = "toml")]
mod file {
    use super::*;

    #[test]
    fn a_file_gives_what_its_text_says() {
        let settings = CircuitSettings::from_toml(
            r#"
            [defaults]
            failure_rate = 0.4          # a number
            recovery_timeout = 90       # seconds

            [circuits."*.content_client"]
            failure_threshold = 1_000
            first_break = "250ms"

            [circuits."cj_*"]
            trip_rule = "consecutive"
            success_threshold = 0x10
            judge_calls_under_way = false

            [circuits.plain]
            window_calls = 30
            "#,
        )
        .expect("a good file");
        let expected = CircuitSettings::new()
            .with_defaults(given(&[
                ("failure_rate", "0.4"),
                ("recovery_timeout", "90"),
            ]))
            .with_circuits(
                "*.content_client",
                given(&[("failure_threshold", "1000"), ("first_break", "250ms")]),
            )
            .and_then(|s| {
                let rule = given(&[
                    ("trip_rule", "consecutive"),
                    ("success_threshold", "16"),
                    ("judge_calls_under_way", "false"),
                ]);
                s.with_circuits("cj_*", rule)
            })
            .and_then(|s| s.with_circuits("plain", given(&[("window_calls", "30")])))
            .expect("patterns");
        assert_eq!(settings, expected);
        assert_eq!(CircuitSettings::from_toml(""), Ok(CircuitSettings::new()));
    }

    #[test]
    fn a_bad_file_is_refused_with_every_line_that_is_wrong() {
        let text = r#"
[default]
failure_rate = 0.4

[circuits."*.kafka"]
failure_threshold = "few"
failure_treshold = 3
window_calls = [7]

[circuits.""]
[circuits]
all = 7
"#;
        let error = CircuitSettings::from_toml(text)
            .expect_err("bad")
            .to_string();
        for expected in [
            "line 2: default; allowed is [defaults] and [circuits.\"pattern\"]",
            "line 6: circuits.\"*.kafka\".failure_threshold is few; allowed is a whole number",
            "line 7: circuits.\"*.kafka\".failure_treshold; allowed is a setting of circuits: ",
            "line 8: circuits.\"*.kafka\".window_calls is of type array; allowed is a number, a text",
            "line 10: circuits is the pattern \"\" cannot be used: it is empty",
            "line 12: circuits.\"all\" is 7; allowed is a table of settings",
        ] {
            assert!(error.contains(expected), "{expected}\nis not in\n{error}");
        }
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_lines() {
        // A number that no integer holds is shown as it was written.
        let huge = "[defaults]\nfailure_threshold = 99999999999999999999\n";
        let error = CircuitSettings::from_toml(huge).expect_err("too many");
        assert!(
            error.to_string().contains(" is 99999999999999999999;"),
            "{error}"
        );
        let error = CircuitSettings::from_toml("[defaults]\nfailure_rate = \n").expect_err("bad");
        let shown = error.to_string();
        assert!(shown.starts_with("line 2: not TOML: "), "{shown}");
        let twice = "[defaults]\nfailure_rate = 0.1\nfailure_rate = 0.2\n";
        let shown = CircuitSettings::from_toml(twice)
            .expect_err("twice")
            .to_string();
        assert!(shown.starts_with("line 3: not TOML: "), "{shown}");
    }

    proptest! {
        /// Any text is an answer, never a panic.
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[?[a-z\"*.=\n 0-9]{0,40}\\]?){0,4}") {
            if let Err(error) = CircuitSettings::from_toml(&text) {
                prop_assert!(!error.problems().is_empty());
            }
        }
    }
}
