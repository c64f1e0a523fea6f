//! The state table of the design page, row by row: the breaker does what it says.

use std::collections::BTreeMap;

use fusebox::{
    BreakerConfig, CircuitBreaker, CustomRule, Mode, ModeChange, Outcome, Ramp, SlowCall, State,
    VirtualClock, Window,
};

use crate::support::{SECOND, breaker, fail, half_open, small, succeed};

const PAGE: &str = include_str!("../../../../docs/design/breaker.md");

/// What a row's doing ends in, from which state.
type Row = (State, State);
type Doing = fn() -> Vec<Row>;

/// Brings a breaker to where the row begins, does what the row says, and answers both states.
fn row(
    config: BreakerConfig,
    before: impl Fn(&CircuitBreaker, &VirtualClock),
    then: impl Fn(&CircuitBreaker, &VirtualClock),
) -> Row {
    let (breaker, clock) = breaker(config);
    before(&breaker, &clock);
    let from = breaker.state();
    then(&breaker, &clock);
    (from, breaker.state())
}

fn slow() -> SlowCall {
    SlowCall {
        longer_than: SECOND,
        rate: 0.5,
        minimum: 1,
    }
}

fn on_ramp() -> BreakerConfig {
    small().with_ramp(Ramp {
        length: SECOND,
        steps: 1,
    })
}

fn closed(_: &CircuitBreaker, _: &VirtualClock) {}

fn open(breaker: &CircuitBreaker, _: &VirtualClock) {
    fail(breaker, 2);
}

fn ramp(breaker: &CircuitBreaker, clock: &VirtualClock) {
    half_open(breaker, clock);
    succeed(breaker, 2);
}

/// From every state there is.
fn from_any(then: fn(&CircuitBreaker, &VirtualClock)) -> Vec<Row> {
    let forced = |breaker: &CircuitBreaker, _: &VirtualClock| breaker.force_open("drill");
    let mut rows = vec![
        row(small(), closed, then),
        row(small(), open, then),
        row(small(), half_open, then),
        row(on_ramp(), ramp, then),
    ];
    rows.push(row(small(), forced, then));
    rows
}

fn doings() -> BTreeMap<&'static str, Doing> {
    let mut doings = closed_and_open();
    doings.extend(half_open_and_any());
    doings
}

fn closed_and_open() -> BTreeMap<&'static str, Doing> {
    let mut doings: BTreeMap<&'static str, Doing> = BTreeMap::new();
    doings.insert("T1", || {
        let in_a_row = small()
            .with_failure_threshold(9)
            .with_consecutive_failures(2);
        vec![
            row(small(), closed, |breaker, _| fail(breaker, 2)),
            row(in_a_row, closed, |breaker, _| fail(breaker, 2)),
        ]
    });
    doings.insert("T2", || {
        let ended = |breaker: &CircuitBreaker, clock: &VirtualClock| {
            let permit = breaker.try_acquire().expect("closed");
            clock.advance(SECOND);
            permit.success();
        };
        let under_way = |breaker: &CircuitBreaker, clock: &VirtualClock| {
            let _token = breaker.try_acquire().expect("closed").into_token();
            clock.advance(SECOND);
        };
        let only_ended = small()
            .with_slow_call(slow())
            .with_judge_calls_under_way(false);
        vec![
            row(only_ended, closed, ended),
            row(small().with_slow_call(slow()), closed, under_way),
        ]
    });
    doings.insert("T3", || {
        let rule = CustomRule::new(|seen| seen.totals.failures == 1);
        vec![row(small().with_custom_rule(rule), closed, |breaker, _| {
            fail(breaker, 1);
        })]
    });
    doings.insert("T4", || {
        vec![row(small(), open, |_, clock| clock.advance(SECOND))]
    });
    doings.insert("T5", || {
        vec![row(small(), open, |breaker, _| {
            breaker.probe_sync(|| Outcome::Success);
        })]
    });
    doings.insert("T15", || {
        vec![row(small(), closed, |breaker, _| {
            fail(breaker, 1);
            let config = small().with_window(Window::Count(50));
            breaker.set_config(config).expect("valid");
            assert_eq!(breaker.snapshot().window.calls, 0);
            assert_eq!(breaker.snapshot().consecutive_failures, 1);
        })]
    });
    doings
}

fn half_open_and_any() -> BTreeMap<&'static str, Doing> {
    let mut doings: BTreeMap<&'static str, Doing> = BTreeMap::new();
    doings.insert("T6", || {
        vec![row(small(), half_open, |breaker, _| succeed(breaker, 2))]
    });
    doings.insert("T7", || {
        vec![row(on_ramp(), half_open, |breaker, _| {
            succeed(breaker, 2);
            assert!((0..4).any(|_| breaker.try_acquire().is_err()), "a share");
        })]
    });
    doings.insert("T8", || {
        vec![row(on_ramp(), ramp, |_, clock| clock.advance(SECOND))]
    });
    doings.insert("T9", || {
        vec![row(on_ramp(), ramp, |breaker, _| {
            for _ in 0..4 {
                if let Ok(permit) = breaker.try_acquire() {
                    permit.failure();
                }
            }
        })]
    });
    doings.insert("T10", || {
        let slow_probe = |breaker: &CircuitBreaker, clock: &VirtualClock| {
            let permit = breaker.try_acquire().expect("a slot");
            clock.advance(SECOND);
            permit.success();
        };
        vec![
            row(small(), half_open, |breaker, _| fail(breaker, 1)),
            row(small().with_slow_call(slow()), half_open, slow_probe),
        ]
    });
    doings.insert("T11", || {
        vec![row(small(), half_open, |breaker, clock| {
            for _ in 0..2 {
                let _hung = breaker.try_acquire().expect("a slot").into_token();
            }
            clock.advance(10 * SECOND);
        })]
    });
    doings.insert("T12", || from_any(|breaker, _| breaker.force_open("drill")));
    doings.insert("T13", || {
        let mut rows = from_any(|breaker, _| breaker.disable());
        rows.extend(from_any(|breaker, _| breaker.metrics_only()));
        rows.extend(from_any(|breaker, _| breaker.reset()));
        let forced = |breaker: &CircuitBreaker, _: &VirtualClock| breaker.force_open("drill");
        rows.push(row(small(), forced, |breaker, _| breaker.automatic()));
        rows
    });
    doings.insert("T14", || {
        let for_a_second = |breaker: &CircuitBreaker, _: &VirtualClock| {
            breaker.force(ModeChange::to(Mode::ForcedOpen).lasting(SECOND));
        };
        vec![row(small(), for_a_second, |_, clock| clock.advance(SECOND))]
    });
    doings
}

#[test]
fn the_breaker_does_what_the_table_of_the_design_page_says() {
    let mut doings = doings();
    for line in PAGE.lines().filter(|line| line.starts_with("| T")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, id, from, _, to, ..] = cells[..] else {
            panic!("a row is cut short: {line}");
        };
        let doing = doings
            .remove(id)
            .unwrap_or_else(|| panic!("nobody knows how to do {id}, or it is there twice"));
        for (seen_from, seen_to) in doing() {
            let word = |state: State| state.to_string().replace('_', "-");
            assert!(
                from == "any" || word(seen_from) == from,
                "{id} begins in {seen_from}"
            );
            assert_eq!(word(seen_to), to, "{id}, from {seen_from}");
        }
    }
    assert!(doings.is_empty(), "not in the table: {:?}", doings.keys());
}
