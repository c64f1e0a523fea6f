//! The whole breaker against a naive model: every call kept in a queue, every rule written out
//! anew, random traffic with calls that overlap.

use std::collections::VecDeque;
use std::time::Duration;

use fusebox::{BreakerConfig, Outcome, Permit, State, TripRule, Window};
use proptest::prelude::*;

use crate::support::breaker;

const BUCKET_MS: u64 = 500;
const BUCKETS: u32 = 4;
const LEASE_MS: u64 = 3_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    Acquire,
    /// Settle the call that was admitted this many calls before the last.
    Settle(usize, Outcome),
    Pass(u64),
    Reset,
}

/// Milliseconds everywhere.
struct Model {
    config: BreakerConfig,
    now: u64,
    state: State,
    generation: u64,
    /// Time and failure of the calls judged in this period.
    judged: VecDeque<(u64, bool)>,
    in_a_row: u32,
    open_until: u64,
    breaks: u32,
    probes_out: u32,
    probes_ok: u32,
    last_probe: u64,
}

impl Model {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        self.judged.clear();
        self.in_a_row = 0;
        self.probes_out = 0;
        self.probes_ok = 0;
        if state == State::Closed {
            self.breaks = 0;
        }
    }

    fn open(&mut self, at: u64) {
        let first = u64::try_from(self.config.first_break.as_millis()).expect("small");
        let longest = u64::try_from(self.config.recovery_timeout.as_millis()).expect("small");
        let length = (first << self.breaks.min(20)).min(longest);
        self.breaks += 1;
        self.open_until = at + length;
        self.enter(State::Open);
    }

    fn update(&mut self) {
        loop {
            let full = self.probes_out + self.probes_ok >= self.config.success_threshold;
            if self.state == State::Open && self.now >= self.open_until {
                self.enter(State::HalfOpen);
            } else if self.state == State::HalfOpen
                && full
                && self.probes_out > 0
                && self.now >= self.last_probe + LEASE_MS
            {
                self.open(self.last_probe + LEASE_MS);
            } else {
                return;
            }
        }
    }

    /// The generation of the ticket, or `None` when refused.
    fn acquire(&mut self) -> Option<u64> {
        self.update();
        match self.state {
            State::Closed => {}
            State::Open => return None,
            State::HalfOpen => {
                if self.probes_out + self.probes_ok >= self.config.success_threshold {
                    return None;
                }
                self.probes_out += 1;
                self.last_probe = self.now;
            }
        }
        Some(self.generation)
    }

    fn settle(&mut self, generation: u64, outcome: Outcome) {
        self.update();
        if generation != self.generation {
            return;
        }
        let half_open = self.state == State::HalfOpen;
        match outcome {
            Outcome::Success if half_open => {
                self.probes_out -= 1;
                self.probes_ok += 1;
                if self.probes_ok >= self.config.success_threshold {
                    self.enter(State::Closed);
                }
            }
            Outcome::Failure if half_open => self.open(self.now),
            Outcome::Success => {
                self.judged.push_back((self.now, false));
                self.in_a_row = 0;
            }
            Outcome::Failure => {
                self.judged.push_back((self.now, true));
                self.in_a_row += 1;
                if self.trips() {
                    self.open(self.now);
                }
            }
            _ if half_open => self.probes_out -= 1,
            _ => {}
        }
    }

    fn in_window(&self) -> Vec<bool> {
        let calls = self.judged.iter();
        if let Window::Count(n) = self.config.window {
            let skip = self.judged.len().saturating_sub(n as usize);
            calls.skip(skip).map(|(_, failed)| *failed).collect()
        } else {
            let present = self.now / BUCKET_MS;
            let inside = |at: u64| at / BUCKET_MS + u64::from(BUCKETS) > present;
            let recent = calls.filter(|(at, _)| inside(*at));
            recent.map(|(_, failed)| *failed).collect()
        }
    }

    fn trips(&self) -> bool {
        let window = self.in_window();
        let failures = window.iter().filter(|failed| **failed).count();
        match self.config.trip_rule {
            TripRule::Consecutive => self.in_a_row >= self.config.failure_threshold,
            // Half, in whole numbers: the rate of every configuration below.
            _ => failures >= self.config.failure_threshold as usize && failures * 2 >= window.len(),
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Failure),
        4 => Just(Outcome::Success),
        1 => Just(Outcome::Neutral),
    ];
    let step = prop_oneof![
        20 => Just(Step::Acquire),
        20 => (0_usize..4, outcome).prop_map(|(back, outcome)| Step::Settle(back, outcome)),
        6 => (0_u64..1_500).prop_map(Step::Pass),
        1 => (0_u64..20_000).prop_map(Step::Pass),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 0..400)
}

fn configs() -> impl Strategy<Value = BreakerConfig> {
    let window = prop_oneof![
        (5_u32..12).prop_map(Window::Count),
        Just(Window::Time {
            length: Duration::from_millis(BUCKET_MS * u64::from(BUCKETS)),
            buckets: BUCKETS,
        }),
    ];
    let rule = prop_oneof![Just(TripRule::Rate), Just(TripRule::Consecutive)];
    (1_u32..5, 1_u32..4, window, rule).prop_map(|(failures, successes, window, rule)| {
        BreakerConfig::new()
            .with_failure_threshold(failures)
            .with_success_threshold(successes)
            .with_window(window)
            .with_trip_rule(rule)
            .with_break_jitter(0.0)
            .with_first_break(Duration::from_millis(700))
            .with_recovery_timeout(Duration::from_secs(4))
            .with_half_open_lease(Duration::from_millis(LEASE_MS))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_breaker_does_what_the_naive_model_does(config in configs(), steps in steps()) {
        let (breaker, clock) = breaker(config.clone());
        let mut model = Model {
            config,
            now: 0,
            state: State::Closed,
            generation: 0,
            judged: VecDeque::new(),
            in_a_row: 0,
            open_until: 0,
            breaks: 0,
            probes_out: 0,
            probes_ok: 0,
            last_probe: 0,
        };
        let mut calls: Vec<(Permit, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Acquire => {
                    let permit = breaker.try_acquire();
                    let ticket = model.acquire();
                    prop_assert_eq!(permit.is_ok(), ticket.is_some());
                    calls.extend(permit.ok().zip(ticket));
                }
                Step::Settle(back, outcome) => {
                    if let Some(at) = calls.len().checked_sub(back + 1) {
                        let (permit, ticket) = calls.remove(at);
                        permit.record(outcome);
                        model.settle(ticket, outcome);
                    }
                }
                Step::Pass(ms) => {
                    clock.advance(Duration::from_millis(ms));
                    model.now += ms;
                }
                Step::Reset => {
                    breaker.reset();
                    model.update();
                    model.enter(State::Closed);
                }
            }
            // Looking must not matter, so look only now and then.
            if model.now.is_multiple_of(3) {
                model.update();
                let seen = breaker.snapshot();
                prop_assert_eq!(seen.state, model.state);
                prop_assert_eq!(seen.generation, model.generation);
                let window = model.in_window();
                prop_assert_eq!(seen.window.calls, window.len() as u64);
                let failures = window.iter().filter(|failed| **failed).count();
                prop_assert_eq!(seen.window.failures, failures as u64);
                if model.state == State::Open {
                    let left = Duration::from_millis(model.open_until - model.now);
                    prop_assert_eq!(seen.retry_after, Some(left));
                }
            }
        }
    }
}
