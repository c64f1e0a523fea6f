//! One consistent view of a breaker, for metrics, consoles and health pages.

use std::time::Duration;

use crate::config::BreakerConfig;
use crate::state::{ManualMode, Mode, State};
use crate::window::Totals;

/// Calls since the breaker was built, by what became of them. Never decreases.
///
/// Every admitted call ends as exactly one of success, failure and neutral, so their sum and the
/// calls still under way are all that were admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CallCounts {
    /// Calls that succeeded.
    pub success: u64,
    /// Calls that failed.
    pub failure: u64,
    /// Calls whose result said nothing, and abandoned ones.
    pub neutral: u64,
    /// Successes and failures that took longer than the slow threshold.
    pub slow: u64,
    /// Calls refused.
    pub blocked: u64,
    /// Calls whose result came after the circuit had moved on. They are also counted by their
    /// outcome.
    pub late: u64,
}

/// Half-open periods that came to a verdict, since the breaker was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryAttempts {
    /// Those that closed the circuit.
    pub success: u64,
    /// Those that opened it again.
    pub failure: u64,
}

/// Changes of state since the breaker was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transitions {
    counts: [[u64; 3]; 3],
}

impl Transitions {
    /// The changes that can happen, in the order [`Transitions::iter`] uses.
    ///
    /// `open` to `closed` and `closed` to `open` also happen by an operator's hand.
    pub const POSSIBLE: [(State, State); 5] = [
        (State::Closed, State::Open),
        (State::Open, State::Closed),
        (State::Open, State::HalfOpen),
        (State::HalfOpen, State::Closed),
        (State::HalfOpen, State::Open),
    ];

    /// How often the circuit went from `from` to `to`.
    pub fn count(&self, from: State, to: State) -> u64 {
        self.counts[from.index()][to.index()]
    }

    /// All possible changes with their counts, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (State, State, u64)> + '_ {
        Self::POSSIBLE
            .into_iter()
            .map(|(from, to)| (from, to, self.count(from, to)))
    }

    /// All changes together.
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    pub(crate) fn book(&mut self, from: State, to: State) {
        self.counts[from.index()][to.index()] += 1;
    }
}

/// Time spent in each state since the breaker was built, the present stay included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeInState {
    times: [Duration; 3],
}

impl TimeInState {
    /// Time spent in `state`.
    pub fn get(&self, state: State) -> Duration {
        self.times[state.index()]
    }

    pub(crate) fn add(&mut self, state: State, time: Duration) {
        let slot = &mut self.times[state.index()];
        *slot = slot.saturating_add(time);
    }
}

/// Everything a breaker knows about itself.
///
/// State, mode, window and time left are of one moment. Counters are read while calls go on and are
/// exact once they rest; none ever decreases. Between a change of state and its entry in the books
/// (well below a microsecond) the new state is seen with the old books.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The service whose circuit it is.
    pub service_name: String,
    /// The circuit's name.
    pub circuit_name: String,
    /// False for a pass-through breaker, which judges and counts no calls.
    pub enabled: bool,
    /// The state, the present time taken into account.
    pub state: State,
    /// Who decides about the circuit.
    pub mode: Mode,
    /// Why an operator forced the circuit open, while it is.
    pub forced_because: Option<String>,
    /// The manual mode the circuit is in: who put it there, why, and until when.
    pub manual: Option<ManualMode>,
    /// Calls by what became of them.
    pub counts: CallCounts,
    /// Calls admitted and not yet settled.
    pub in_flight: u64,
    /// What the window holds. It starts empty after every change of state.
    pub window: Totals,
    /// Failures since the last success, in the present closed period.
    pub consecutive_failures: u32,
    /// Number of the present period: every change of state or mode begins a new one.
    pub generation: u64,
    /// Half-open periods by verdict.
    pub recovery_attempts: RecoveryAttempts,
    /// Changes of state.
    pub transitions: Transitions,
    /// Time in each state.
    pub time_in_state: TimeInState,
    /// Time until the break ends, while open and not by force.
    pub retry_after: Option<Duration>,
    /// Uses of a fallback in place of the call, by type, sorted.
    pub fallbacks: Vec<(&'static str, u64)>,
    /// Times the circuit would have opened, had its mode not been metrics only.
    pub would_have_opened: u64,
    /// Events an observer panicked on.
    pub observer_panics: u64,
    /// Events dropped because observers were too slow.
    pub events_dropped: u64,
    /// The least number of failures before a trip; the same as in `config`.
    pub failure_threshold: u32,
    /// Probes that must succeed before the circuit closes; the same as in `config`.
    pub success_threshold: u32,
    /// The longest break; the same as in `config`.
    pub recovery_timeout: Duration,
    /// The settings in force.
    pub config: BreakerConfig,
}
