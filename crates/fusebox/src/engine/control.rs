//! What is done to a circuit from outside its calls: modes, reset, live settings, health checks.

use std::sync::Arc;

use super::word::{Dated, Phase, Word, nanos};
use super::{Also, Change, Engine, ProbePlan, Slot, parity};
use crate::config::{BreakerConfig, ConfigError};
use crate::engine::journal::NewMode;
use crate::event::{Cause, EventKind};
use crate::state::{Mode, ModeChange};
use crate::sync::{Ordering, lock};

impl Engine {
    /// Changes the mode. The same mode again changes nothing, unless `anew`: then reason, operator
    /// and end are replaced.
    pub(crate) fn set_mode(&self, change: &ModeChange, anew: bool) {
        loop {
            let (word, now) = self.look();
            let (from, to) = (word.phase().mode(), change.mode);
            let same = from == to && !(anew && to != Mode::Automatic);
            if same || word.phase() == Phase::SwitchedOff {
                return;
            }
            let until = change.lasting.filter(|_| to != Mode::Automatic);
            let until = until.map(|time| now.saturating_add(nanos(time)));
            let phase = match to {
                Mode::Automatic => Phase::Closed,
                Mode::ForcedOpen => Phase::ForcedOpen,
                Mode::Disabled => Phase::Disabled,
                Mode::MetricsOnly => Phase::MetricsOnly,
            };
            // Only around what follows: a look may call observers.
            let mut serial = lock(&self.operator);
            let level = if to == Mode::Automatic {
                0
            } else {
                *serial = serial.wrapping_add(1);
                // Not all at once with the mode that may still hold, whose end is in the other cell.
                let end = &self.mode_ends[parity((*serial).into())];
                end.store(Dated::new(0, until).bits(), Ordering::Release);
                *serial & 1
            };
            let new_mode = NewMode {
                to,
                who: change.who.clone(),
                why: change.why.clone(),
                until: until.map(|until| self.date(until)),
            };
            let also = Also::Mode {
                from,
                change: Box::new(new_mode),
            };
            let made = Change::new(phase, level, Cause::Operator, now);
            let done = self.shift_quietly(word, Change { also, ..made });
            drop(serial);
            if done {
                return self.deliver();
            }
        }
    }

    /// The time of a manual mode is over: the circuit starts closed and decides for itself.
    pub(super) fn end_mode(&self, word: Word, at: u64) -> bool {
        let change = Box::new(NewMode {
            to: Mode::Automatic,
            who: None,
            why: None,
            until: None,
        });
        let also = Also::Mode {
            from: word.phase().mode(),
            change,
        };
        let made = Change::new(Phase::Closed, 0, Cause::ModeOver, at);
        self.shift(word, Change { also, ..made })
    }

    /// Closes the circuit, whatever it was, and ends a manual mode.
    pub(crate) fn reset(&self) {
        loop {
            let (word, now) = self.look();
            if word.phase() == Phase::SwitchedOff {
                return;
            }
            let also = Also::Reset {
                from: word.phase().mode(),
            };
            let made = Change::new(Phase::Closed, 0, Cause::Operator, now);
            if self.shift(word, Change { also, ..made }) {
                return;
            }
        }
    }

    /// Puts new settings in force; `config` has been validated.
    ///
    /// State, break under way, counts and observers stay. When the window changes its shape, it
    /// starts empty, and results of calls under way are late.
    pub(crate) fn configure(&self, config: BreakerConfig) -> Result<(), ConfigError> {
        let operator = lock(&self.operator);
        let Some(window) = self.windows.of_shape(config.window) else {
            return Err(ConfigError::new(
                "window",
                &config.window,
                "one of at most 64 different windows in the life of a breaker",
            ));
        };
        let config = Arc::new(config);
        self.settings.store(Arc::clone(&config));
        self.prepare_overdue();
        let under_way = config.judge_calls_under_way;
        self.judges_under_way.store(under_way, Ordering::Release);
        self.slow_after
            .store(config.slow_after(), Ordering::Release);
        let lease = nanos(config.half_open_lease);
        self.lease.store(lease, Ordering::Release);
        self.probes
            .store(config.success_threshold, Ordering::Release);
        if let Some(overdue) = self.overdue.get() {
            overdue.reconsider();
        }
        let told = loop {
            let (word, now) = (self.word(), self.now());
            if word.window() == window {
                break false;
            }
            if word.phase().is_judged() {
                if self.reshape(word, window, now) {
                    break true;
                }
            } else if self.exchange_window(word, window) {
                break false;
            }
        };
        if !told {
            let (generation, at) = (self.word().generation(), self.date(self.now()));
            self.write(|journal| journal.note(&self.of, at, generation, EventKind::Reconfigured));
        }
        drop(operator);
        self.deliver();
        // Fewer probes may be needed now than have succeeded.
        self.look();
        Ok(())
    }

    /// Another window within the period: nothing is recorded in it.
    fn exchange_window(&self, word: Word, window: usize) -> bool {
        let next = Word::new(word.phase(), window, word.level(), word.generation());
        let (seen, next) = (word.bits(), next.bits());
        self.control
            .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Another window for a period that records: the next generation, in all else as before.
    fn reshape(&self, word: Word, window: usize, now: u64) -> bool {
        if word.phase() == Phase::Ramp {
            // The ramp goes on in the next generation, which looks for its end in a cell of its own.
            let Ok(Some(end)) = self.end_of(word) else {
                return false;
            };
            self.fix_break_end(word.generation().wrapping_add(1), end);
        }
        let made = Change::new(word.phase(), word.level(), Cause::Operator, now);
        let change = Change {
            window: Some(window),
            also: Also::Reshaped,
            ..made
        };
        let changed = self.shift_quietly(word, change);
        if changed {
            self.carry_streak(word.generation(), word.generation().wrapping_add(1));
        }
        changed
    }

    /// The turn for a health check, unless another is under way.
    pub(crate) fn take_turn(&self) -> Option<Turn<'_>> {
        let taken = self.checking.swap(true, Ordering::Acquire);
        (!taken).then_some(Turn(self))
    }

    /// What a health check may do now.
    pub(crate) fn plan_probe(&self) -> ProbePlan {
        loop {
            let (word, now) = self.look();
            return match word.phase() {
                Phase::Open => ProbePlan::EndBreak {
                    generation: word.generation(),
                },
                Phase::HalfOpen => match self.take_slot(word, now) {
                    Slot::Taken(ticket) => ProbePlan::Probe(ticket),
                    Slot::Full => ProbePlan::Idle,
                    Slot::Moved => continue,
                },
                _ => ProbePlan::Idle,
            };
        }
    }

    /// Ends the break now, unless the dependency itself asked for it, or a `generation` is given
    /// and over. Answers whether it did.
    pub(crate) fn end_break(&self, generation: Option<u64>) -> bool {
        let (word, now) = self.look();
        let ours = generation.is_none_or(|generation| generation == word.generation());
        let change = Change::new(Phase::HalfOpen, word.level(), Cause::HealthCheck, now);
        ours && word.phase() == Phase::Open && self.shift(word, change)
    }
}

/// One health check at a time.
pub(crate) struct Turn<'a>(&'a Engine);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.checking.store(false, Ordering::Release);
    }
}
