//! What happened to a circuit: the events, their order, and their way to the observers.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::state::{Mode, State};
use crate::window::Totals;

/// Events kept for [`crate::CircuitBreaker::recent_events`].
pub(crate) const RECENT: usize = 64;
/// Events that may wait for observers; beyond it the oldest is dropped and counted.
pub(crate) const BACKLOG: usize = 1024;

/// Something that happened to a circuit.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Number of the event in its circuit, from 1, without gaps.
    pub sequence: u64,
    /// When it happened, on the breaker's clock. The end of a break or of a lease is dated when it
    /// was due, even when nobody looked at that moment.
    pub at: Duration,
    /// The service whose circuit it is.
    pub service: Arc<str>,
    /// The circuit's name.
    pub circuit: Arc<str>,
    /// Number of the period the event began, or happened in.
    pub generation: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a circuit.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// The state changed.
    Transition {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// Why.
        cause: Cause,
        /// The totals that caused it: of the window for a trip (calls under way for too long
        /// included), of the probes for the end of a half-open period, otherwise zero.
        totals: Totals,
        /// Length of the break that begins, when one of known length does.
        break_for: Option<Duration>,
    },
    /// The mode changed, by an operator's hand or because its time was over.
    ModeChanged {
        /// The mode before.
        from: Mode,
        /// The mode after.
        to: Mode,
        /// The operator; `None` when the mode ended by itself, or nobody was named.
        who: Option<String>,
        /// The operator's reason.
        why: Option<String>,
        /// When the new mode ends by itself, on the breaker's clock.
        until: Option<Duration>,
    },
    /// The circuit would have opened, had its mode not been metrics only.
    WouldOpen {
        /// Why it would have.
        cause: Cause,
        /// The window's totals at that moment; the window starts empty again.
        totals: Totals,
    },
    /// An operator reset the circuit.
    Reset,
    /// The settings were changed.
    Reconfigured,
}

/// Why a circuit changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Too large a share of the calls failed.
    FailureRate,
    /// Too many calls in a row failed.
    ConsecutiveFailures,
    /// Too large a share of the calls was slow.
    SlowCallRate,
    /// The breaker's own [`CustomRule`](crate::CustomRule) said so.
    CustomRule,
    /// The break was over.
    BreakOver,
    /// A health check ended the break early.
    HealthCheck,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// A probe was slow.
    ProbeSlow,
    /// The probes held all slots for too long.
    LeaseExpired,
    /// An operator changed the mode or reset the circuit.
    Operator,
    /// The time of a manual mode was over.
    ModeOver,
}

impl Cause {
    /// The name used in labels, logs and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::FailureRate => "failure_rate",
            Cause::ConsecutiveFailures => "consecutive_failures",
            Cause::SlowCallRate => "slow_call_rate",
            Cause::CustomRule => "custom_rule",
            Cause::BreakOver => "break_over",
            Cause::HealthCheck => "health_check",
            Cause::ProbesSucceeded => "probes_succeeded",
            Cause::ProbeFailed => "probe_failed",
            Cause::ProbeSlow => "probe_slow",
            Cause::LeaseExpired => "lease_expired",
            Cause::Operator => "operator",
            Cause::ModeOver => "mode_over",
        }
    }
}

/// The events of one circuit: numbered, the latest kept, the undelivered waiting.
///
/// Lives under the journal's lock, so the order of numbers is the order of changes. Delivery is by
/// one thread at a time: whoever finds events waiting and nobody at work takes over
/// ([`EventLog::claim`]) and takes one after the other ([`EventLog::next`]) until none is left.
#[derive(Debug)]
pub(crate) struct EventLog {
    last: u64,
    recent: VecDeque<Event>,
    waiting: VecDeque<Event>,
    delivering: bool,
    dropped: u64,
}

impl EventLog {
    pub(crate) fn new() -> Self {
        Self {
            last: 0,
            recent: VecDeque::new(),
            waiting: VecDeque::new(),
            delivering: false,
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, of: &Names, at: Duration, generation: u64, kind: EventKind) {
        self.last += 1;
        let event = Event {
            sequence: self.last,
            at,
            service: Arc::clone(&of.service),
            circuit: Arc::clone(&of.circuit),
            generation,
            kind,
        };
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        if self.waiting.len() == BACKLOG {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(event);
    }

    pub(crate) fn recent(&self) -> Vec<Event> {
        self.recent.iter().cloned().collect()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// True when the caller must now deliver: events wait and nobody else is at it.
    pub(crate) fn claim(&mut self) -> bool {
        let mine = !self.delivering && !self.waiting.is_empty();
        self.delivering |= mine;
        mine
    }

    /// The next event to deliver, for the one who holds the claim; `None` ends the claim.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let event = self.waiting.pop_front();
        if event.is_none() {
            self.delivering = false;
        }
        event
    }
}

/// Whose circuit it is, and what it is called.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Names {
    pub(crate) service: Arc<str>,
    pub(crate) circuit: Arc<str>,
}

/// The names of a circuit, shared by all that speaks of it.
///
/// A refusal carries them, at the rate an open circuit is called, and counting references would be
/// most of its cost. So the names of the first circuits of a process are kept for its life, and
/// only those of later ones are counted.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    Kept(&'static Names),
    Counted(Arc<Names>),
}

/// Names kept for the life of the process, and the longest that are, in bytes.
const KEPT: usize = 1024;
const LONGEST_KEPT: usize = 200;

static NAMES: Mutex<BTreeSet<&'static Names>> = Mutex::new(BTreeSet::new());

impl Identity {
    /// The identity of a breaker.
    pub(crate) fn of_breaker(service: &str, circuit: &str) -> Self {
        let names = || Names {
            service: service.into(),
            circuit: circuit.into(),
        };
        if service.len() + circuit.len() > LONGEST_KEPT {
            return Identity::Counted(Arc::new(names()));
        }
        let names = names();
        let mut kept = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&names) {
            return Identity::Kept(known);
        }
        if kept.len() == KEPT {
            return Identity::Counted(Arc::new(names));
        }
        let known: &'static Names = Box::leak(Box::new(names));
        kept.insert(known);
        Identity::Kept(known)
    }

    /// The identity of a refusal that no breaker made.
    pub(crate) fn new(service: Arc<str>, circuit: Arc<str>) -> Self {
        Identity::Counted(Arc::new(Names { service, circuit }))
    }
}

impl Deref for Identity {
    type Target = Names;

    fn deref(&self) -> &Names {
        match self {
            Identity::Kept(names) => names,
            Identity::Counted(names) => names,
        }
    }
}

/// By the names, however they are held.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Identity {}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use super::*;

    /// Labels, logs and dashboards hold on to these words.
    #[test]
    fn causes_have_the_names_others_know() {
        let names = [
            (Cause::FailureRate, "failure_rate"),
            (Cause::ConsecutiveFailures, "consecutive_failures"),
            (Cause::SlowCallRate, "slow_call_rate"),
            (Cause::CustomRule, "custom_rule"),
            (Cause::BreakOver, "break_over"),
            (Cause::HealthCheck, "health_check"),
            (Cause::ProbesSucceeded, "probes_succeeded"),
            (Cause::ProbeFailed, "probe_failed"),
            (Cause::ProbeSlow, "probe_slow"),
            (Cause::LeaseExpired, "lease_expired"),
            (Cause::Operator, "operator"),
            (Cause::ModeOver, "mode_over"),
        ];
        for (cause, name) in names {
            assert_eq!(cause.as_str(), name);
        }
    }

    #[test]
    fn the_same_names_are_kept_once_and_not_without_bound() {
        let (a, b) = (
            Identity::of_breaker("s", "same"),
            Identity::of_breaker("s", "same"),
        );
        let (Identity::Kept(a), Identity::Kept(b)) = (&a, &b) else {
            panic!("the first names of the process are kept: {a:?} {b:?}");
        };
        assert!(std::ptr::eq(*a, *b));
        let at = Identity::of_breaker("s", &"c".repeat(LONGEST_KEPT - 1));
        assert!(matches!(at, Identity::Kept(_)));
        let beyond = Identity::of_breaker("s", &"c".repeat(LONGEST_KEPT));
        assert!(matches!(beyond, Identity::Counted(_)));
        for n in 0..=KEPT {
            Identity::of_breaker("many", &n.to_string());
        }
        let later = Identity::of_breaker("many", "later");
        assert!(matches!(later, Identity::Counted(_)));
        assert_eq!(later, Identity::new("many".into(), "later".into()));
        assert!(matches!(
            Identity::of_breaker("s", "same"),
            Identity::Kept(_)
        ));
    }
}
