//! The books of a circuit: what is written down once for every change, in the order of changes.
//!
//! The control word decides who makes a change and when it holds. Whoever made it then enters it
//! here, under a lock that no admission, no refusal and no result takes: only makers of changes,
//! operators and readers of the books do. Entries are booked in the order of their generations; one
//! that arrives before its predecessor waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Cause, Event, EventKind, EventLog, Names};
use crate::snapshot::{RecoveryAttempts, TimeInState, Transitions};
use crate::state::{ManualMode, Mode, State};
use crate::window::Totals;

pub(crate) type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// One change of the control word that begins a generation.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) cause: Cause,
    pub(crate) totals: Totals,
    pub(crate) at: Duration,
    pub(crate) break_for: Option<Duration>,
    pub(crate) also: Also,
}

/// What else the change means.
#[derive(Debug)]
pub(crate) enum Also {
    Nothing,
    /// The mode is another one, or has another end.
    Mode {
        from: Mode,
        change: Box<NewMode>,
    },
    Reset {
        from: Mode,
    },
    /// Only a mode kept it from opening.
    WouldOpen,
    /// New settings with a window of another shape.
    Reshaped,
}

#[derive(Debug)]
pub(crate) struct NewMode {
    pub(crate) to: Mode,
    pub(crate) who: Option<String>,
    pub(crate) why: Option<String>,
    pub(crate) until: Option<Duration>,
}

pub(crate) struct Journal {
    /// The generation to be booked next.
    next: u64,
    /// Entries whose predecessors are still on their way.
    early: BTreeMap<u64, Entry>,
    /// The state of the last booked generation, and since when.
    state: State,
    since: Duration,
    /// Completed stays.
    stays: TimeInState,
    manual: Option<Box<ManualMode>>,
    pub(crate) recoveries: RecoveryAttempts,
    pub(crate) transitions: Transitions,
    pub(crate) would_have_opened: u64,
    pub(crate) observer_panics: u64,
    /// Bounded by the program's text: keys are static.
    pub(crate) fallbacks: BTreeMap<&'static str, u64>,
    pub(crate) log: EventLog,
    /// Replaced as a whole, so that delivery walks a list nobody changes.
    observers: Option<Arc<[Observer]>>,
}

impl Journal {
    /// That of a circuit which was closed when it was built, at `since`.
    pub(crate) fn new(since: Duration) -> Self {
        Self {
            next: 1,
            early: BTreeMap::new(),
            state: State::Closed,
            since,
            stays: TimeInState::default(),
            manual: None,
            recoveries: RecoveryAttempts::default(),
            transitions: Transitions::default(),
            would_have_opened: 0,
            observer_panics: 0,
            fallbacks: BTreeMap::new(),
            log: EventLog::new(),
            observers: None,
        }
    }

    /// Takes the entry of a generation in. Every generation but the first has exactly one.
    pub(crate) fn enter(&mut self, of: &Names, generation: u64, entry: Entry) {
        if generation != self.next {
            self.early.insert(generation, entry);
            return;
        }
        self.book(of, generation, entry);
        while let Some(entry) = self.early.remove(&self.next) {
            self.book(of, self.next, entry);
        }
    }

    /// Writes down something that begins no generation.
    pub(crate) fn note(&mut self, of: &Names, at: Duration, generation: u64, kind: EventKind) {
        self.log.push(of, at.max(self.since), generation, kind);
    }

    fn book(&mut self, of: &Names, generation: u64, entry: Entry) {
        self.next = generation + 1;
        // Dates come from each maker's own look at the clock; in the books time never steps back.
        let at = entry.at.max(self.since);
        let mut tell = |kind| self.log.push(of, at, generation, kind);
        match entry.also {
            Also::Nothing => {}
            Also::Mode { from, change } => {
                let NewMode {
                    to,
                    who,
                    why,
                    until,
                } = *change;
                tell(EventKind::ModeChanged {
                    from,
                    to,
                    who: who.clone(),
                    why: why.clone(),
                    until,
                });
                self.manual = (to != Mode::Automatic).then(|| {
                    Box::new(ManualMode {
                        mode: to,
                        who,
                        why,
                        since: at,
                        until,
                    })
                });
            }
            Also::Reset { from } => {
                tell(EventKind::Reset);
                if from != Mode::Automatic {
                    tell(EventKind::ModeChanged {
                        from,
                        to: Mode::Automatic,
                        who: None,
                        why: None,
                        until: None,
                    });
                }
                self.manual = None;
            }
            Also::WouldOpen => {
                self.would_have_opened += 1;
                tell(EventKind::WouldOpen {
                    cause: entry.cause,
                    totals: entry.totals,
                });
            }
            Also::Reshaped => tell(EventKind::Reconfigured),
        }
        let (from, to) = (entry.from, entry.to);
        if from == to {
            return;
        }
        self.stays.add(from, at.saturating_sub(self.since));
        self.since = at;
        self.state = to;
        self.transitions.book(from, to);
        match (from, to, entry.cause) {
            (State::HalfOpen, _, Cause::Operator | Cause::ModeOver) => {}
            (State::HalfOpen, State::Closed, _) => self.recoveries.success += 1,
            (State::HalfOpen, State::Open, _) => self.recoveries.failure += 1,
            _ => {}
        }
        let kind = EventKind::Transition {
            from,
            to,
            cause: entry.cause,
            totals: entry.totals,
            break_for: entry.break_for,
        };
        self.log.push(of, at, generation, kind);
    }

    /// Time in each state up to `now`, the present stay included.
    pub(crate) fn time_in_state(&self, now: Duration) -> TimeInState {
        let mut times = self.stays;
        times.add(self.state, now.saturating_sub(self.since));
        times
    }

    pub(crate) fn manual(&self) -> Option<&ManualMode> {
        self.manual.as_deref()
    }

    pub(crate) fn observe(&mut self, observer: Observer) {
        let known = self
            .observers
            .iter()
            .flat_map(|known| known.iter().cloned());
        self.observers = Some(known.chain([observer]).collect());
    }

    /// The next event to deliver, and to whom; for the one who holds the claim, which `None` ends.
    pub(crate) fn next_delivery(&mut self) -> Option<(Event, Arc<[Observer]>)> {
        let event = self.log.next()?;
        let observers = self.observers.get_or_insert_with(|| Arc::new([]));
        Some((event, Arc::clone(observers)))
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("next", &self.next)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
