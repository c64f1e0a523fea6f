//! What is done to a circuit from outside its calls: modes, reset, live settings, health checks.

use std::time::Duration;

use super::{Engine, Phase, ProbePlan, Rules};
use crate::config::BreakerConfig;
use crate::event::{Cause, EventKind};
use crate::state::Mode;
use crate::window::{Sliding, Totals};

impl Engine {
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
        self.overdue.reconsider();
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
}
