//! The state machine of one circuit: pure, without lock and without clock.
//!
//! Every operation takes the present time, first brings the circuit up to it ([`Engine::advance`]),
//! and then acts. So the state is a function of the history and the time, whoever looks and when.
//!
//! | in | when | to |
//! |---|---|---|
//! | closed | a failure or a slow call meets the trip rule | open, for a break |
//! | open | the break is over, or a health check says so | half-open |
//! | half-open | `success_threshold` probes succeeded | closed |
//! | half-open | a probe fails or is slow | open, for a longer break |
//! | half-open | all slots are taken and the lease has run out | open, for a longer break |
//! | any | `force_open` | forced open |
//! | any | another mode, or a reset | closed |
//!
//! Every change of phase or mode begins a new *generation*. A ticket carries the generation it was
//! issued in; a result of an older one is counted and moves nothing.

mod control;
mod judge;
mod overdue;
mod rules;
mod tally;

use std::time::Duration;

use crate::config::BreakerConfig;
use crate::event::{Cause, EventKind, EventLog};
use crate::outcome::Outcome;
use crate::state::{Mode, State};
use crate::window::{Mark, Sliding, Totals};
use overdue::Overdue;
use rules::{Breaks, Rules};
pub(crate) use tally::Tally;

/// The admission of one call.
#[derive(Debug)]
pub(crate) struct Ticket {
    generation: u64,
    serial: u64,
    admitted_at: Duration,
}

/// A refused call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) state: State,
    pub(crate) retry_after: Option<Duration>,
}

/// What a health check may do about the circuit.
#[derive(Debug)]
pub(crate) enum ProbePlan {
    /// Nothing: calls pass, or an operator or the dependency itself has the say.
    Idle,
    /// A good result ends the break of this generation.
    EndBreak { generation: u64 },
    /// The check takes a probe's slot.
    Probe(Ticket),
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open {
        until: Duration,
        /// The dependency itself asked for this break.
        hinted: bool,
    },
    HalfOpen {
        in_flight: u32,
        succeeded: u32,
        /// Only meaningful while all slots are taken.
        lease_until: Duration,
    },
    /// Exactly when the mode is [`Mode::ForcedOpen`].
    Forced,
}

impl Phase {
    fn state(self) -> State {
        match self {
            Phase::Closed => State::Closed,
            Phase::Open { .. } | Phase::Forced => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    const fn half_open() -> Self {
        Phase::HalfOpen {
            in_flight: 0,
            succeeded: 0,
            lease_until: Duration::ZERO,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Engine {
    config: BreakerConfig,
    rules: Rules,
    /// Manual modes other than forced open imply [`Phase::Closed`].
    mode: Mode,
    why: Option<String>,
    phase: Phase,
    generation: u64,
    window: Sliding,
    consecutive: u32,
    /// Until when the dependency asked to be left alone, in a failure of this generation.
    hint_until: Duration,
    breaks: Breaks,
    overdue: Overdue,
    next_serial: u64,
    /// The latest time seen.
    last: Duration,
    tally: Tally,
    log: EventLog,
}

impl Engine {
    /// A closed circuit at `now`; `config` has been validated.
    pub(crate) fn new(config: BreakerConfig, seed: u64, now: Duration, log: EventLog) -> Self {
        Self {
            rules: Rules::new(&config),
            mode: Mode::Automatic,
            why: None,
            phase: Phase::Closed,
            generation: 0,
            window: Sliding::new(config.window),
            consecutive: 0,
            hint_until: Duration::ZERO,
            breaks: Breaks::new(seed),
            overdue: Overdue::default(),
            next_serial: 0,
            last: now,
            tally: Tally::new(now),
            log,
            config,
        }
    }

    pub(crate) fn log(&mut self) -> &mut EventLog {
        &mut self.log
    }

    pub(crate) fn log_ref(&self) -> &EventLog {
        &self.log
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    pub(crate) fn config(&self) -> &BreakerConfig {
        &self.config
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn consecutive_failures(&self) -> u32 {
        self.consecutive
    }

    pub(crate) fn state(&self) -> State {
        self.phase.state()
    }

    /// What the window holds, as of the last [`Engine::advance`].
    pub(crate) fn window_totals(&mut self) -> Totals {
        self.window.totals(self.last)
    }

    /// Time until the break ends, as of the last [`Engine::advance`].
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.phase {
            Phase::Open { until, .. } => Some(until.saturating_sub(self.last)),
            _ => None,
        }
    }

    /// Brings the circuit up to `now` and answers the time that counts.
    ///
    /// A clock that steps back, or a caller that read it before waiting for the lock, gets the
    /// latest time seen. Terminates: a half-open period begins without probes, so it cannot expire
    /// in the same call.
    pub(crate) fn advance(&mut self, now: Duration) -> Duration {
        let now = now.max(self.last);
        self.last = now;
        loop {
            match self.phase {
                Phase::Open { until, .. } if now >= until => {
                    self.shift(
                        Phase::half_open(),
                        Cause::BreakOver,
                        Totals::default(),
                        until,
                    );
                }
                // Fewer probes than needed have succeeded, so with no slot free some are under way.
                Phase::HalfOpen {
                    in_flight,
                    succeeded,
                    lease_until,
                } if self.slots(in_flight, succeeded) == 0 && now >= lease_until => {
                    let probes = Totals {
                        calls: u64::from(succeeded),
                        ..Totals::default()
                    };
                    self.open(Cause::LeaseExpired, probes, lease_until);
                }
                Phase::Closed => {
                    self.judge_overdue(now);
                    break;
                }
                _ => break,
            }
        }
        now
    }

    /// Admits or refuses a call.
    pub(crate) fn admit(&mut self, now: Duration) -> Result<Ticket, Refusal> {
        let now = self.advance(now);
        match self.phase {
            Phase::Closed => {}
            Phase::HalfOpen {
                in_flight,
                succeeded,
                ..
            } if self.slots(in_flight, succeeded) > 0 => {
                self.phase = Phase::HalfOpen {
                    in_flight: in_flight + 1,
                    succeeded,
                    lease_until: now.saturating_add(self.config.half_open_lease),
                };
            }
            _ => {
                self.tally.calls.blocked += 1;
                return Err(Refusal {
                    state: self.state(),
                    retry_after: self.retry_after(),
                });
            }
        }
        let ticket = Ticket {
            generation: self.generation,
            serial: self.next_serial,
            admitted_at: now,
        };
        self.next_serial += 1;
        self.tally.in_flight += 1;
        if self.rules.judges_speed() && matches!(self.phase, Phase::Closed) {
            self.overdue.begin(ticket.serial, now);
        }
        Ok(ticket)
    }

    /// Takes the result of an admitted call.
    ///
    /// `elapsed` is measured from the admission; `hint` is the dependency's wish to be left alone.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is settled once")]
    pub(crate) fn settle(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        hint: Option<Duration>,
        now: Duration,
    ) {
        // Before the circuit is brought up to date: this call is no longer under way.
        self.overdue.end(ticket.serial);
        let now = self.advance(now);
        let slow = outcome != Outcome::Neutral
            && self.rules.is_slow(now.saturating_sub(ticket.admitted_at));
        self.tally.settled(outcome, slow);
        if ticket.generation != self.generation {
            self.tally.calls.late += 1;
            return;
        }
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure => true,
            Outcome::Neutral => {
                self.give_slot_back();
                return;
            }
        };
        if let (true, Some(hint)) = (failed, hint) {
            self.hint_until = self.hint_until.max(now.saturating_add(hint));
        }
        let mark = Mark { failed, slow };
        match self.phase {
            Phase::Closed if self.mode == Mode::Disabled => {}
            Phase::Closed => self.judge(mark, now),
            Phase::HalfOpen {
                in_flight,
                succeeded,
                lease_until,
            } => self.judge_probe(mark, in_flight, succeeded, lease_until, now),
            // No ticket carries the generation of a phase that admits nothing.
            Phase::Open { .. } | Phase::Forced => {}
        }
    }

    /// Free probe slots. Successes keep theirs: no more probes are sent than are needed.
    fn slots(&self, in_flight: u32, succeeded: u32) -> u32 {
        self.config
            .success_threshold
            .saturating_sub(in_flight.saturating_add(succeeded))
    }

    fn give_slot_back(&mut self) {
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase {
            *in_flight -= 1;
        }
    }

    /// Moves to `phase` and begins a new generation; the one place where the phase changes kind.
    fn shift(&mut self, phase: Phase, cause: Cause, totals: Totals, at: Duration) {
        let from = self.state();
        let to = phase.state();
        self.phase = phase;
        self.generation += 1;
        self.forget();
        if to == State::Closed {
            self.breaks.start_over();
        }
        if from != to {
            self.tally.moved(from, to, cause, at);
            let break_for = match phase {
                Phase::Open { until, .. } => Some(until.saturating_sub(at)),
                _ => None,
            };
            let kind = EventKind::Transition {
                from,
                to,
                cause,
                totals,
                break_for,
            };
            self.log.push(at, self.generation, kind);
        }
    }

    /// Forgets what the present period has seen.
    fn forget(&mut self) {
        self.window.clear();
        self.consecutive = 0;
        self.hint_until = Duration::ZERO;
        self.overdue.clear();
    }
}
