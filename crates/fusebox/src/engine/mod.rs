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

mod overdue;
mod rules;
mod tally;

use std::time::Duration;

use crate::config::{BreakerConfig, TripRule};
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

    /// Changes the mode; the same mode again changes nothing.
    pub(crate) fn set_mode(&mut self, mode: Mode, why: Option<String>, now: Duration) {
        let now = self.advance(now);
        if mode == self.mode {
            return;
        }
        let from = std::mem::replace(&mut self.mode, mode);
        self.why.clone_from(&why);
        let phase = if mode == Mode::ForcedOpen {
            Phase::Forced
        } else {
            Phase::Closed
        };
        let kind = EventKind::ModeChanged {
            from,
            to: mode,
            why,
        };
        self.log.push(now, self.generation + 1, kind);
        self.shift(phase, Cause::Operator, Totals::default(), now);
    }

    /// Closes the circuit, whatever it was, and ends a manual mode.
    pub(crate) fn reset(&mut self, now: Duration) {
        let now = self.advance(now);
        self.log.push(now, self.generation + 1, EventKind::Reset);
        let from = std::mem::replace(&mut self.mode, Mode::Automatic);
        self.why = None;
        if from != Mode::Automatic {
            let kind = EventKind::ModeChanged {
                from,
                to: Mode::Automatic,
                why: None,
            };
            self.log.push(now, self.generation + 1, kind);
        }
        self.shift(Phase::Closed, Cause::Operator, Totals::default(), now);
    }

    /// Puts new settings in force; `config` has been validated.
    ///
    /// State, break under way, counts and observers stay. The window starts empty only when its
    /// shape changes.
    pub(crate) fn configure(&mut self, config: BreakerConfig, now: Duration) {
        let now = self.advance(now);
        if config.window != self.config.window {
            self.window = Sliding::new(config.window);
        }
        match config.slow_call {
            Some(_) => self.overdue.reconsider(),
            None => self.overdue.clear(),
        }
        self.rules = Rules::new(&config);
        self.config = config;
        self.log.push(now, self.generation, EventKind::Reconfigured);
        // Else nobody would be let through to succeed once more: the circuit would be wedged.
        if let Phase::HalfOpen { succeeded, .. } = self.phase
            && succeeded >= self.config.success_threshold
        {
            let probes = Totals {
                calls: u64::from(succeeded),
                ..Totals::default()
            };
            self.shift(Phase::Closed, Cause::ProbesSucceeded, probes, now);
        }
    }

    /// What a health check may do now.
    pub(crate) fn plan_probe(&mut self, now: Duration) -> ProbePlan {
        self.advance(now);
        match self.phase {
            Phase::Open { hinted: false, .. } => ProbePlan::EndBreak {
                generation: self.generation,
            },
            Phase::HalfOpen {
                in_flight,
                succeeded,
                ..
            } if self.slots(in_flight, succeeded) > 0 => {
                self.admit(now).map_or(ProbePlan::Idle, ProbePlan::Probe)
            }
            _ => ProbePlan::Idle,
        }
    }

    /// Ends the break now, unless the dependency itself asked for it, or a `generation` is given
    /// and over. Answers whether it did.
    pub(crate) fn end_break(&mut self, generation: Option<u64>, now: Duration) -> bool {
        let now = self.advance(now);
        let ours = generation.is_none_or(|generation| generation == self.generation);
        let ends = ours && matches!(self.phase, Phase::Open { hinted: false, .. });
        if ends {
            self.shift(
                Phase::half_open(),
                Cause::HealthCheck,
                Totals::default(),
                now,
            );
        }
        ends
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

    fn judge(&mut self, mark: Mark, now: Duration) {
        self.window.record(mark, now);
        self.consecutive = if mark.failed {
            self.consecutive.saturating_add(1)
        } else {
            0
        };
        // Only a call that made things worse may trip: never a success, though older successes
        // may have left the window since the last failure.
        let totals = self.window.totals(now);
        if mark.failed && self.rules.too_many_failures(totals, self.consecutive) {
            let cause = match self.config.trip_rule {
                TripRule::Rate => Cause::FailureRate,
                TripRule::Consecutive => Cause::ConsecutiveFailures,
            };
            self.trip(cause, totals, now);
        } else if mark.slow {
            self.judge_speed(now);
        }
    }

    fn judge_overdue(&mut self, now: Duration) {
        if let Some(longest) = self.rules.slow_after()
            && self.overdue.advance(longest, now)
            && self.mode != Mode::Disabled
        {
            self.judge_speed(now);
        }
    }

    /// Judges the share of slow calls, those still under way included.
    fn judge_speed(&mut self, now: Duration) {
        let mut totals = self.window.totals(now);
        let overdue = self.overdue.count();
        totals.calls += overdue;
        totals.slow += overdue;
        if self.rules.too_many_slow(totals) {
            self.trip(Cause::SlowCallRate, totals, now);
        }
    }

    fn judge_probe(
        &mut self,
        mark: Mark,
        in_flight: u32,
        succeeded: u32,
        lease_until: Duration,
        now: Duration,
    ) {
        let worked = !mark.failed && !mark.slow;
        let succeeded = succeeded + u32::from(worked);
        let probes = Totals {
            calls: u64::from(succeeded) + u64::from(!worked),
            failures: u64::from(mark.failed),
            slow: u64::from(mark.slow),
        };
        if mark.failed {
            self.open(Cause::ProbeFailed, probes, now);
        } else if mark.slow {
            self.open(Cause::ProbeSlow, probes, now);
        } else if succeeded >= self.config.success_threshold {
            self.shift(Phase::Closed, Cause::ProbesSucceeded, probes, now);
        } else {
            self.phase = Phase::HalfOpen {
                in_flight: in_flight - 1,
                succeeded,
                lease_until,
            };
        }
    }

    fn trip(&mut self, cause: Cause, totals: Totals, now: Duration) {
        if self.mode == Mode::MetricsOnly {
            self.tally.would_have_opened += 1;
            let kind = EventKind::WouldOpen { cause, totals };
            self.log.push(now, self.generation, kind);
            self.forget();
        } else {
            self.open(cause, totals, now);
        }
    }

    fn open(&mut self, cause: Cause, totals: Totals, at: Duration) {
        let hint = self
            .hint_until
            .checked_sub(at)
            .filter(|left| !left.is_zero());
        let length = self.breaks.next(&self.config, hint);
        let phase = Phase::Open {
            until: at.saturating_add(length),
            hinted: hint.is_some(),
        };
        self.shift(phase, cause, totals, at);
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
