//! The lifetime counters of a breaker. They only grow: resets and mode changes leave them alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Cause;
use crate::outcome::Outcome;
use crate::snapshot::{CallCounts, RecoveryAttempts, TimeInState, Transitions};
use crate::state::State;

#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) calls: CallCounts,
    pub(crate) in_flight: u64,
    pub(crate) recoveries: RecoveryAttempts,
    pub(crate) transitions: Transitions,
    pub(crate) would_have_opened: u64,
    pub(crate) observer_panics: u64,
    /// Bounded by the program's text: keys are static.
    pub(crate) fallbacks: BTreeMap<&'static str, u64>,
    /// Completed stays.
    stays: TimeInState,
    /// When the present stay began.
    since: Duration,
}

impl Tally {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            calls: CallCounts::default(),
            in_flight: 0,
            recoveries: RecoveryAttempts::default(),
            transitions: Transitions::default(),
            would_have_opened: 0,
            observer_panics: 0,
            fallbacks: BTreeMap::new(),
            stays: TimeInState::default(),
            since: now,
        }
    }

    pub(crate) fn settled(&mut self, outcome: Outcome, slow: bool) {
        self.in_flight -= 1;
        self.calls.slow += u64::from(slow);
        match outcome {
            Outcome::Success => self.calls.success += 1,
            Outcome::Failure => self.calls.failure += 1,
            Outcome::Neutral => self.calls.neutral += 1,
        }
    }

    pub(crate) fn moved(&mut self, from: State, to: State, cause: Cause, at: Duration) {
        self.stays.add(from, at.saturating_sub(self.since));
        self.since = at;
        self.transitions.book(from, to);
        match cause {
            Cause::ProbesSucceeded => self.recoveries.success += 1,
            Cause::ProbeFailed | Cause::ProbeSlow | Cause::LeaseExpired => {
                self.recoveries.failure += 1;
            }
            _ => {}
        }
    }

    /// Time in each state up to `now`, the present stay in `state` included.
    pub(crate) fn time_in_state(&self, state: State, now: Duration) -> TimeInState {
        let mut times = self.stays;
        times.add(state, now.saturating_sub(self.since));
        times
    }
}
