//! Random settings: each is refused with a reason, or makes a breaker that keeps its invariants
//! under random traffic.

use std::time::Duration;

use fusebox::{
    Abandoned, BreakerConfig, CustomRule, Mode, ModeChange, Outcome, Permit, Ramp, SlowCall, State,
    TripRule, Window,
};
use proptest::prelude::*;

use crate::support::breaker;

/// Sensible values, the edges of what is allowed, and nonsense.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 1_u32..12,
        1 => Just(0),
        1 => prop_oneof![Just(99_999_u32), Just(100_000), Just(100_001), Just(u32::MAX)],
    ]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.01_f64..=1.0,
        1 => prop_oneof![Just(0.0), Just(-0.5), Just(1.000_1), Just(f64::NAN), Just(f64::INFINITY), Just(0.000_05)],
    ]
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        12 => (1_u64..20_000).prop_map(Duration::from_millis),
        1 => prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::from_nanos(999_999)),
            Just(Duration::from_hours(24 * 366)),
            Just(Duration::from_hours(24 * 366) + Duration::from_nanos(1)),
            Just(Duration::MAX),
        ],
    ]
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        number().prop_map(Window::Count),
        (time(), number()).prop_map(|(length, buckets)| Window::Time { length, buckets }),
    ]
}

/// Boxed: the values of so many strategies at once do not fit on a test's stack.
fn config() -> BoxedStrategy<BreakerConfig> {
    let rules = (
        number(),
        share(),
        any::<bool>(),
        prop::option::weighted(0.2, number()),
        prop::option::weighted(0.4, (time(), share(), number())),
        any::<bool>(),
        0_u8..6,
        any::<bool>(),
    );
    let breaks = (time(), time(), share(), time(), number(), time());
    let ramp = prop::option::weighted(0.3, (time(), number()));
    (rules, breaks, window(), ramp)
        .prop_map(|(rules, breaks, window, ramp)| {
            let (failures, rate, consecutive, in_a_row, slow, under_way, abandoned, custom) = rules;
            let (first, longest, jitter, cap, probes, lease) = breaks;
            BreakerConfig::new()
                .with_failure_threshold(failures)
                .with_failure_rate(rate)
                .with_trip_rule(if consecutive {
                    TripRule::Consecutive
                } else {
                    TripRule::Rate
                })
                .with_consecutive_failures(in_a_row)
                .with_slow_call(slow.map(|(longer_than, rate, minimum)| SlowCall {
                    longer_than,
                    rate,
                    minimum,
                }))
                .with_judge_calls_under_way(under_way)
                .with_abandoned(match abandoned {
                    0 => Abandoned::Failure,
                    1 => Abandoned::Slow,
                    _ => Abandoned::Neutral,
                })
                .with_custom_rule(custom.then(|| CustomRule::new(|seen| seen.totals.failures == 3)))
                .with_first_break(first)
                .with_recovery_timeout(longest)
                .with_break_jitter(jitter)
                .with_retry_after_cap(cap)
                .with_success_threshold(probes)
                .with_half_open_lease(lease)
                .with_window(window)
                .with_ramp(ramp.map(|(length, steps)| Ramp { length, steps }))
        })
        .boxed()
}

#[derive(Debug, Clone)]
enum Step {
    Acquire,
    Settle(usize, Outcome, Option<Duration>),
    Abandon(usize),
    Pass(u64),
    Force(u8, u64),
    Reset,
    Configure(Box<BreakerConfig>),
}

fn steps() -> BoxedStrategy<Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Failure),
        3 => Just(Outcome::Success),
        1 => Just(Outcome::Neutral),
    ];
    let hint = prop::option::weighted(0.1, time());
    let step = prop_oneof![
        20 => Just(Step::Acquire),
        18 => (0_usize..4, outcome, hint).prop_map(|(back, outcome, hint)| Step::Settle(back, outcome, hint)),
        2 => (0_usize..4).prop_map(Step::Abandon),
        6 => (0_u64..3_000).prop_map(Step::Pass),
        1 => (0_u64..100_000).prop_map(Step::Pass),
        1 => (0_u8..4, 0_u64..5_000).prop_map(|(mode, ms)| Step::Force(mode, ms)),
        1 => Just(Step::Reset),
        1 => config().prop_map(|config| Step::Configure(Box::new(config))),
    ];
    prop::collection::vec(step.boxed(), 0..150).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn settings_are_refused_or_keep_the_invariants(config in config(), steps in steps()) {
        if let Err(refused) = config.validate() {
            prop_assert!(!refused.setting().is_empty() && !refused.allowed().is_empty());
            let built = fusebox::CircuitBreaker::builder("c").config(config).build();
            prop_assert_eq!(built.expect_err("refused").setting(), refused.setting());
            return Ok(());
        }
        let (breaker, clock) = breaker(config);
        let mut permits: Vec<Permit> = Vec::new();
        let (mut admitted, mut refused) = (0_u64, 0_u64);
        let mut last = breaker.snapshot();
        for step in steps {
            match step {
                Step::Acquire => match breaker.try_acquire() {
                    Ok(permit) => { admitted += 1; permits.push(permit); }
                    Err(refusal) => { refused += 1; prop_assert_ne!(refusal.state(), State::Closed); }
                },
                Step::Settle(back, outcome, hint) => {
                    if let Some(at) = permits.len().checked_sub(back + 1) {
                        permits.remove(at).record_with_hint(outcome, hint);
                    }
                }
                Step::Abandon(back) => {
                    if let Some(at) = permits.len().checked_sub(back + 1) {
                        drop(permits.remove(at));
                    }
                }
                Step::Pass(ms) => clock.advance(Duration::from_millis(ms)),
                Step::Force(mode, ms) => {
                    let modes = [Mode::Automatic, Mode::ForcedOpen, Mode::Disabled, Mode::MetricsOnly];
                    let change = ModeChange::to(modes[usize::from(mode)]);
                    // Zero is until somebody says so.
                    breaker.force(if ms < 1_000 { change } else { change.lasting(Duration::from_millis(ms)) });
                }
                Step::Reset => breaker.reset(),
                Step::Configure(config) => {
                    let valid = config.validate().is_ok();
                    prop_assert_eq!(breaker.set_config(*config).is_ok(), valid);
                }
            }
            let seen = breaker.snapshot();
            let counts = seen.counts;
            prop_assert_eq!(counts.success + counts.failure + counts.neutral + seen.in_flight, admitted);
            prop_assert_eq!((seen.in_flight, counts.blocked), (permits.len() as u64, refused));
            prop_assert!(seen.window.failures <= seen.window.calls && seen.window.slow <= seen.window.calls);
            prop_assert!(seen.generation >= last.generation && counts.late >= last.counts.late);
            prop_assert!(seen.state != State::Open || seen.mode == Mode::ForcedOpen || seen.retry_after.is_some());
            prop_assert_eq!(seen.manual.is_some(), seen.mode != Mode::Automatic);
            let spent: Duration = State::ALL.into_iter().map(|state| seen.time_in_state.get(state)).sum();
            prop_assert_eq!(spent, fusebox::Clock::now(&clock));
            last = seen;
        }
        // Never wedged: once the operator's hand is off, the time left, the lease and a ramp bring it
        // back, however long they are.
        breaker.automatic();
        for _ in 0..40 {
            if breaker.state() == State::Closed {
                break;
            }
            let ramp = breaker.snapshot().config.ramp.map_or(Duration::ZERO, |ramp| ramp.length);
            let lease = breaker.snapshot().config.half_open_lease;
            clock.advance(breaker.retry_after().unwrap_or(ramp.max(lease)));
            for _ in 0..12 {
                if let Ok(permit) = breaker.try_acquire() {
                    permit.success();
                }
            }
            let need = breaker.snapshot().config.success_threshold;
            for _ in 0..need {
                match breaker.try_acquire() {
                    Ok(permit) => permit.success(),
                    Err(_) => break,
                }
            }
        }
        prop_assert_eq!(breaker.state(), State::Closed);
    }
}
