//! Who gets leave to make a call: everybody while the circuit is closed, nobody while it is open, as many
//! as there are slots while it is half-open, and a growing share after that.
//!
//! Nearly all calls are answered by [`Engine::admit_here`] or, refused, by [`Engine::refuse_quickly`]; what
//! these leave is answered after a look.

use super::Engine;
use super::overdue::{CellName, Overdue};
use super::rules::NO_LIMIT;
use super::word::{Phase, Slots, Word, nanos};
use crate::error::Left;
use crate::state::State;
use crate::sync::{Ordering, update};
use crate::window::{Lane, add_own};

/// The admission of one call. That of a switched-off breaker reports to nobody.
///
/// Three plain words, so that the compiler keeps it in registers over the call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(super) word: Word,
    /// When it was admitted; [`NO_LIMIT`] while no speed is judged.
    pub(super) began: u64,
    /// Where it is counted among the calls under way that may become overdue.
    pub(super) cell: CellName,
}

/// The answer to who asks for leave: a ticket, or a refusal in a ticket's place.
///
/// Not a `Result` of the two, which the compiler would take apart and put together again, also for
/// calls that are admitted at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admission(Ticket);

impl Admission {
    fn refused(refusal: Refusal) -> Self {
        Self(Ticket {
            word: Word::refusal(refusal.state == State::HalfOpen),
            began: refusal.left.bits(),
            cell: CellName::NONE,
        })
    }

    #[inline]
    pub(crate) fn is_refusal(self) -> bool {
        self.0.word.is_refusal()
    }

    /// The ticket of what is no refusal.
    #[inline]
    pub(crate) fn ticket(self) -> Ticket {
        self.0
    }

    /// The refusal of what is one.
    #[inline]
    pub(crate) fn refusal(self) -> Refusal {
        let state = if self.0.word == Word::refusal(true) {
            State::HalfOpen
        } else {
            State::Open
        };
        Refusal {
            state,
            left: Left::from_bits(self.0.began),
        }
    }

    #[cfg(all(test, fusebox_loom))]
    pub(super) fn result(self) -> Result<Ticket, Refusal> {
        if self.is_refusal() {
            Err(self.refusal())
        } else {
            Ok(self.ticket())
        }
    }
}

/// A refused call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) state: State,
    pub(crate) left: Left,
}

impl Ticket {
    /// Of a call whose speed nobody judges.
    #[inline]
    fn untimed(word: Word) -> Self {
        Self {
            word,
            began: NO_LIMIT,
            cell: CellName::NONE,
        }
    }
}

/// What came of asking for a probe's slot.
pub(super) enum Slot {
    Taken(Ticket),
    Full,
    Moved,
}

impl Engine {
    /// Admits or refuses a call.
    #[inline]
    pub(crate) fn admit(&self) -> Admission {
        self.admit_here().0
    }

    /// Admits or refuses a call. With the present thread's own lane if it was admitted at once: then
    /// the word of its ticket [is plain](Word::is_plain), and it has no cell.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn admit_here(&self) -> (Admission, Option<&Lane>) {
        let word = self.word();
        if word.is_plain()
            && let Some(own) = self.lanes().own()
        {
            let mut ticket = Ticket::untimed(word);
            let judged = self.slow_after.load(Ordering::Relaxed) != NO_LIMIT;
            if !judged || !self.judges_under_way.load(Ordering::Relaxed) {
                if judged {
                    ticket.began = self.now();
                }
                add_own(&own.admitted);
                return (Admission(ticket), Some(own));
            }
        }
        (self.admit_otherwise(word), None)
    }

    #[inline(never)]
    fn admit_otherwise(&self, word: Word) -> Admission {
        if word.is_closed() {
            let limit = self.slow_after.load(Ordering::Relaxed);
            if limit == NO_LIMIT {
                return Admission(self.admit_untimed(word));
            }
            if let Some(ticket) = self.admit_timed(word, limit) {
                return Admission(ticket);
            }
        }
        if let Some(refusal) = self.refuse_quickly(word) {
            return Admission::refused(refusal);
        }
        self.admit_slowly()
            .map_or_else(Admission::refused, Admission)
    }

    fn admit_untimed(&self, word: Word) -> Ticket {
        let here = self.lanes().here();
        here.add(&here.lane.admitted);
        Ticket::untimed(word)
    }

    /// `None` when calls under way must be looked at first.
    #[inline]
    fn admit_timed(&self, word: Word, limit: u64) -> Option<Ticket> {
        let now = self.now();
        let under_way = self.judges_under_way.load(Ordering::Relaxed);
        let overdue = self.overdue.get().filter(|_| under_way).map(AsRef::as_ref);
        if overdue.is_some_and(|overdue| overdue.is_due(now)) {
            return None;
        }
        Some(self.admit_from(word, now, limit, overdue))
    }

    /// A refusal that needs no look: the circuit is surely still open, or half-open with all its
    /// slots taken by probes that surely still have their lease.
    fn refuse_quickly(&self, word: Word) -> Option<Refusal> {
        let generation = word.generation();
        match word.phase() {
            Phase::Open | Phase::OpenAsked => {
                let end = self.end_of(word).ok()??;
                let now = self.before(end)?;
                Some(self.refuse(word, Left::nanos(end - now)))
            }
            Phase::HalfOpen => {
                let slots = Slots::from_bits(self.slots.load(Ordering::Acquire));
                let probes = self.probes.load(Ordering::Relaxed);
                if !slots.is_of(generation) || slots.taken() < probes || slots.succeeded() >= probes
                {
                    return None;
                }
                self.before(self.lease_end())?;
                Some(self.refuse(word, Left::UNKNOWN))
            }
            _ => None,
        }
    }

    #[cold]
    fn admit_slowly(&self) -> Result<Ticket, Refusal> {
        loop {
            let (word, now) = self.look();
            match word.phase() {
                Phase::SwitchedOff => return Ok(Ticket::untimed(word)),
                Phase::Ramp if !self.ramp_admits(word, now) => {
                    return Err(self.refuse(word, Left::UNKNOWN));
                }
                Phase::Closed | Phase::Ramp | Phase::Disabled | Phase::MetricsOnly => {
                    return Ok(self.admit_judged(word, now));
                }
                Phase::HalfOpen => match self.take_slot(word, now) {
                    Slot::Taken(ticket) => return Ok(ticket),
                    Slot::Full => return Err(self.refuse(word, Left::UNKNOWN)),
                    Slot::Moved => {}
                },
                Phase::Open | Phase::OpenAsked | Phase::ForcedOpen => {
                    if let Ok(left) = self.time_left(word, now) {
                        return Err(self.refuse(word, left.into()));
                    }
                }
            }
        }
    }

    fn admit_judged(&self, word: Word, now: u64) -> Ticket {
        let limit = self.slow_after.load(Ordering::Relaxed);
        if limit == NO_LIMIT || word.phase() == Phase::Disabled {
            return self.admit_untimed(word);
        }
        let under_way = self.judges_under_way.load(Ordering::Relaxed);
        let overdue = self.overdue.get().filter(|_| under_way).map(AsRef::as_ref);
        self.admit_from(word, now, limit, overdue)
    }

    /// A call that begins now, counted among those under way if there is where.
    #[expect(
        clippy::inline_always,
        reason = "one of its two callers is a healthy call's way, and a ticket is large"
    )]
    #[inline(always)]
    fn admit_from(&self, word: Word, now: u64, limit: u64, overdue: Option<&Overdue>) -> Ticket {
        let mut ticket = self.admit_untimed(word);
        ticket.began = now;
        if let Some(overdue) = overdue {
            // The thread has its lane by now.
            let stripe = self.lanes().stripe();
            ticket.cell = overdue.begin(stripe, word.generation(), now, limit);
        }
        ticket
    }

    fn refuse(&self, word: Word, left: Left) -> Refusal {
        let here = self.lanes().here();
        here.add(&here.lane.refused);
        Refusal {
            state: word.phase().state(),
            left,
        }
    }

    pub(super) fn take_slot(&self, word: Word, now: u64) -> Slot {
        let generation = word.generation();
        let probes = self.probes.load(Ordering::Acquire);
        let mut full = false;
        let taken = update(&self.slots, |seen| {
            let seen = Slots::from_bits(seen);
            let seen = if seen.is_of(generation) {
                seen
            } else if seen.is_newer_than(generation) {
                return None;
            } else {
                Slots::none(generation)
            };
            full = seen.taken() >= probes;
            if full {
                return None;
            }
            // Before the slot is taken, so that whoever finds none left finds this date as well;
            // else it could take an earlier probe's lease for over.
            self.last_probe.fetch_max(now, Ordering::AcqRel);
            Some(seen.begin().bits())
        });
        if taken.is_none() {
            return if full { Slot::Full } else { Slot::Moved };
        }
        let limit = self.slow_after.load(Ordering::Relaxed);
        Slot::Taken(Ticket {
            began: if limit == NO_LIMIT { NO_LIMIT } else { now },
            ..self.admit_untimed(word)
        })
    }

    /// Of `n + 1` calls in step `k` of `n`, `k` pass, evenly spread.
    fn ramp_admits(&self, word: Word, now: u64) -> bool {
        let (Some(ramp), Ok(Some(end))) = (self.settings.load().ramp, self.end_of(word)) else {
            return true;
        };
        let length = nanos(ramp.length);
        // A live change may have made the ramp shorter than what is left of it.
        let elapsed = u128::from(length.saturating_sub(end.saturating_sub(now)));
        let steps = u64::from(ramp.steps);
        let over = elapsed * u128::from(steps) / u128::from(length.max(1));
        let passing = u64::try_from(over).map_or(steps, |over| (over + 1).min(steps));
        let turn = self.ramp_turn.fetch_add(1, Ordering::Relaxed) % (steps + 1);
        (turn + 1) * passing / (steps + 1) > turn * passing / (steps + 1)
    }
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use super::*;
    use crate::config::BreakerConfig;
    use crate::engine::{Ending, for_test};
    use crate::outcome::Outcome;

    /// The thread that counts the last success of the probes may be stopped before it closes the
    /// circuit. The next call does, and is not refused until the lease is over.
    #[test]
    fn the_verdict_on_probes_waits_for_no_thread() {
        let config = BreakerConfig::new()
            .with_failure_threshold(1)
            .with_success_threshold(1);
        let (engine, clock) = for_test(config);
        let failed = Ending::result(Outcome::Failure, None);
        engine.settle(engine.admit().ticket(), failed);
        clock.advance(engine.retry_after().expect("open"));
        assert!(!engine.admit().is_refusal(), "a probe");
        assert!(engine.admit().is_refusal(), "its slot was the only one");
        let counted = Slots::from_bits(engine.slots.load(Ordering::Acquire)).succeed();
        engine.slots.store(counted.bits(), Ordering::Release);
        assert!(!engine.admit().is_refusal());
        assert_eq!(engine.state(), State::Closed);
    }
}
