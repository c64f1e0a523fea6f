//! What the result of a call means for the circuit: the trip rules applied, and the verdict on
//! probes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::rules::NO_LIMIT;
use super::word::{Dated, Phase, Slots, Streak, Word};
use super::{Also, CellName, Change, Engine, Ticket};
use crate::config::{Abandoned, Evidence};
use crate::error::Left;
use crate::event::Cause;
use crate::outcome::Outcome;
use crate::sync::{Ordering, update};
use crate::window::{Lane, Mark, Sliding, TimeWindow, Totals, add_own};

/// How an admitted call ended: with a result, and perhaps the dependency's wish to be left alone, or
/// without one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    outcome: Option<Outcome>,
    wish: Left,
}

impl Ending {
    pub(crate) const ABANDONED: Ending = Ending {
        outcome: None,
        wish: Left::UNKNOWN,
    };

    #[inline]
    pub(crate) fn result(outcome: Outcome, retry_after: Option<Duration>) -> Self {
        Self {
            outcome: Some(outcome),
            wish: retry_after.into(),
        }
    }
}

impl Engine {
    /// Takes the result of an admitted call.
    #[inline]
    pub(crate) fn settle(&self, ticket: Ticket, ending: Ending) {
        let simple = ticket.word.is_plain() && !ticket.cell.is_some();
        let lane = if simple { self.lanes().own() } else { None };
        self.settle_here(lane, ticket, ending);
    }

    /// Takes the result of a call that was admitted on this thread; `lane` is as
    /// [`Engine::admit_here`] gave it.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn settle_here(&self, lane: Option<&Lane>, ticket: Ticket, ending: Ending) {
        // What is not inlined takes the parts of a ticket: as a whole it would go through memory,
        // for every call.
        let Ticket { word, began, cell } = ticket;
        if ending.outcome != Some(Outcome::Success) {
            self.settle_slowly(word, began, cell, ending.outcome, ending.wish);
        } else if !lane.is_some_and(|own| self.succeed_quickly(own, word, began)) {
            self.succeed_otherwise(word, began, cell);
        }
    }

    /// What nearly all calls are: a success, not slow, in the period it was admitted in, with
    /// nothing else due, by a thread with a lane of its own. No lock and no locked instruction, no
    /// allocation, and no clock unless window or speed need one. False when it is not so simple; then
    /// nothing has been done.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    fn succeed_quickly(&self, own: &Lane, word: Word, began: u64) -> bool {
        if self.word() != word {
            return false;
        }
        if began != NO_LIMIT
            && self.now().saturating_sub(began) >= self.slow_after.load(Ordering::Relaxed)
        {
            return false;
        }
        let generation = word.generation();
        let counted = match self.windows.first() {
            Sliding::Count(window) => {
                if !window.is_all_well(generation) && !window.succeed_by_ticket(generation) {
                    self.late.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
            Sliding::Time(window) => {
                self.is_before(window.edge()) && TimeWindow::succeed_quickly(own, generation)
            }
        };
        if counted {
            add_own(&own.successes);
            self.end_streak_if_any(generation);
        }
        counted
    }

    #[inline(never)]
    fn succeed_otherwise(&self, word: Word, began: u64, cell: CellName) {
        if !self.succeed(Ticket { word, began, cell }) {
            let success = Some(Outcome::Success);
            self.settle_slowly(word, began, cell, success, Left::UNKNOWN);
        }
    }

    /// A success in the closed period it was admitted in, not slow, nothing else due. False when it
    /// is not so simple; then nothing has been done.
    #[inline]
    fn succeed(&self, ticket: Ticket) -> bool {
        let word = self.word();
        if word != ticket.word || !word.is_closed() {
            return false;
        }
        let window = self.window(word);
        let generation = word.generation();
        let mut now = 0;
        if ticket.began != NO_LIMIT || matches!(window, Sliding::Time(_)) {
            now = self.now();
        }
        if ticket.began != NO_LIMIT
            && now.saturating_sub(ticket.began) >= self.slow_after.load(Ordering::Relaxed)
        {
            return false;
        }
        if ticket.cell.is_some()
            && let Some(overdue) = self.overdue.get()
        {
            if overdue.is_due(now) {
                return false;
            }
            overdue.end(generation, ticket.cell);
        }
        let here = self.lanes().here();
        here.add(&here.lane.successes);
        if !window.succeed(here, self.lanes(), generation, now) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        self.end_streak_if_any(generation);
        true
    }

    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    fn end_streak_if_any(&self, generation: u64) {
        if !Streak::from_bits(self.streak.load(Ordering::Relaxed)).is_zero() {
            self.end_streak(generation);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_slowly(
        &self,
        of: Word,
        began: u64,
        cell: CellName,
        outcome: Option<Outcome>,
        wish: Left,
    ) {
        if of.phase() == Phase::SwitchedOff {
            return;
        }
        // Before the circuit is brought up to date: this call is no longer under way.
        if cell.is_some()
            && let Some(overdue) = self.overdue.get()
        {
            overdue.end(of.generation(), cell);
        }
        let (word, now) = self.look();
        self.latest.fetch_max(now, Ordering::AcqRel);
        let limit = self.slow_after.load(Ordering::Relaxed);
        let long = began != NO_LIMIT && now.saturating_sub(began) >= limit;
        let (outcome, slow) = match outcome {
            Some(outcome) => (outcome, long && outcome != Outcome::Neutral),
            None => match self.settings.load().abandoned {
                Abandoned::Neutral => (Outcome::Neutral, false),
                Abandoned::Failure => (Outcome::Failure, long),
                Abandoned::Slow => (Outcome::Neutral, long),
            },
        };
        self.count(outcome, slow);
        if !word.same_period(of) {
            self.late.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let failed = outcome == Outcome::Failure;
        if outcome == Outcome::Neutral && !slow {
            if word.phase() == Phase::HalfOpen {
                self.give_slot_back(word);
            }
            return;
        }
        if failed && wish != Left::UNKNOWN {
            self.heed(word.generation(), now.saturating_add(wish.bits()));
        }
        let mark = Mark { failed, slow };
        if word.phase() == Phase::HalfOpen {
            self.judge_probe(word, mark, now);
        } else if word.phase().is_judged() {
            self.judge(word, mark, now);
        }
    }

    /// Counts an ended call, over the breaker's life.
    fn count(&self, outcome: Outcome, slow: bool) {
        if slow {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
        match outcome {
            Outcome::Success => {
                let here = self.lanes().here();
                here.add(&here.lane.successes);
            }
            Outcome::Failure => {
                self.failures.fetch_add(1, Ordering::Release);
            }
            Outcome::Neutral => {
                self.neutral.fetch_add(1, Ordering::Release);
            }
        }
    }

    fn judge(&self, word: Word, mark: Mark, now: u64) {
        let generation = word.generation();
        let Some(totals) = self
            .window(word)
            .record(self.lanes(), generation, mark, now)
        else {
            // The circuit has moved on since we looked.
            self.late.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let consecutive = if mark.failed {
            self.prolong_streak(generation)
        } else {
            self.end_streak(generation);
            0
        };
        // Only a call that made things worse may trip: never a quick success, though older
        // successes may have left the window since the last failure.
        if !mark.failed && !mark.slow {
            return;
        }
        let settings = self.settings.load();
        if mark.failed
            && let Some(cause) = settings.too_many_failures(totals, consecutive)
        {
            self.trip(word, cause, totals, now);
        } else if mark.slow && self.judge_speed(word, self.overdue_now(generation, now), now) {
            // It has opened for its slowness.
        } else if let Some(rule) = &settings.custom_rule {
            let evidence = Evidence {
                totals,
                consecutive_failures: consecutive,
            };
            match catch_unwind(AssertUnwindSafe(|| rule.trips(&evidence))) {
                Ok(true) => {
                    self.trip(word, Cause::CustomRule, totals, now);
                }
                Ok(false) => {}
                Err(_) => self.write(|journal| journal.observer_panics += 1),
            }
        }
    }

    fn overdue_now(&self, generation: u64, now: u64) -> u64 {
        let limit = self.slow_after.load(Ordering::Relaxed);
        let judged = self.judges_under_way.load(Ordering::Relaxed);
        let overdue = self.overdue.get().filter(|_| judged);
        overdue.map_or(0, |overdue| overdue.count(generation, now, limit))
    }

    /// Judges the share of slow calls, those still under way included; true when that changed the
    /// circuit.
    pub(super) fn judge_speed(&self, word: Word, overdue: u64, now: u64) -> bool {
        let mut totals = self
            .window(word)
            .totals(self.lanes(), word.generation(), now);
        totals.calls += overdue;
        totals.slow += overdue;
        self.settings.load().too_many_slow(totals)
            && self.trip(word, Cause::SlowCallRate, totals, now)
    }

    fn trip(&self, word: Word, cause: Cause, totals: Totals, now: u64) -> bool {
        if word.phase() != Phase::MetricsOnly {
            return self.open(word, cause, totals, now);
        }
        // A new generation all the same: what has been told is not told twice.
        let change = Change {
            totals,
            also: Also::WouldOpen,
            ..Change::new(Phase::MetricsOnly, word.level(), cause, now)
        };
        self.shift(word, change)
    }

    fn judge_probe(&self, word: Word, mark: Mark, now: u64) {
        let generation = word.generation();
        if mark.failed || mark.slow {
            let slots = Slots::from_bits(self.slots.load(Ordering::Acquire));
            if !slots.is_of(generation) {
                self.late.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let cause = if mark.failed {
                Cause::ProbeFailed
            } else {
                Cause::ProbeSlow
            };
            let probes = Totals {
                calls: u64::from(slots.succeeded()) + 1,
                failures: u64::from(mark.failed),
                slow: u64::from(mark.slow),
            };
            self.open(word, cause, probes, now);
            return;
        }
        let counted = update(&self.slots, |seen| {
            let seen = Slots::from_bits(seen);
            seen.is_of(generation).then(|| seen.succeed().bits())
        });
        let Some((_, slots)) = counted else {
            self.late.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let succeeded = Slots::from_bits(slots).succeeded();
        if succeeded >= self.probes.load(Ordering::Acquire) {
            let probes = Totals {
                calls: u64::from(succeeded),
                ..Totals::default()
            };
            self.close(word, probes, now);
        }
    }

    /// Only in the slot's own generation; in another the slots are others'.
    fn give_slot_back(&self, word: Word) {
        let given = update(&self.slots, |seen| {
            let seen = Slots::from_bits(seen);
            seen.is_of(word.generation())
                .then(|| seen.give_back().bits())
        });
        if given.is_none() {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Remembers the longest wish of the period.
    fn heed(&self, generation: u64, until: u64) {
        let wish = Dated::new(generation, Some(until));
        let _: Option<(u64, u64)> = update(&self.wish, |seen| {
            let seen = Dated::from_bits(seen);
            let longer = if seen.is_of(generation) {
                seen.nanos() < wish.nanos()
            } else {
                !seen.is_newer_than(generation)
            };
            longer.then_some(wish.bits())
        });
    }

    fn prolong_streak(&self, generation: u64) -> u32 {
        let longer = update(&self.streak, |seen| {
            let seen = Streak::from_bits(seen);
            let failures = seen.of(generation).saturating_add(1);
            (!seen.is_newer_than(generation)).then(|| Streak::new(generation, failures).bits())
        });
        longer.map_or(0, |(_, streak)| Streak::from_bits(streak).of(generation))
    }

    #[cold]
    fn end_streak(&self, generation: u64) {
        let _: Option<(u64, u64)> = update(&self.streak, |seen| {
            let failures = Streak::from_bits(seen).of(generation);
            (failures > 0).then(|| Streak::new(generation, 0).bits())
        });
    }

    /// Keeps a streak over a change of settings that begins a generation.
    pub(super) fn carry_streak(&self, from: u64, to: u64) {
        let _: Option<(u64, u64)> = update(&self.streak, |seen| {
            let failures = Streak::from_bits(seen).of(from);
            (failures > 0).then(|| Streak::new(to, failures).bits())
        });
    }
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use super::*;
    use crate::config::BreakerConfig;
    use crate::engine::for_test;

    /// A thread that was stopped may come with what was true of an earlier period.
    #[test]
    fn nobody_of_an_earlier_period_ends_a_streak() {
        let (engine, _) = for_test(BreakerConfig::new());
        let streak = || Streak::from_bits(engine.streak.load(Ordering::Acquire)).of(5);
        assert_eq!([1, 2].map(|_| engine.prolong_streak(5)), [1, 2]);
        engine.end_streak(4);
        assert_eq!((engine.prolong_streak(4), streak()), (0, 2));
        engine.carry_streak(4, 6);
        assert_eq!(streak(), 2);
        engine.end_streak(5);
        assert_eq!(streak(), 0);
    }
}
