//! What a result means for the circuit: the trip rules applied, and the verdict on probes.

use std::time::Duration;

use super::{Engine, Phase};
use crate::config::TripRule;
use crate::event::{Cause, EventKind};
use crate::state::Mode;
use crate::window::{Mark, Totals};

impl Engine {
    pub(super) fn judge(&mut self, mark: Mark, now: Duration) {
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

    pub(super) fn judge_overdue(&mut self, now: Duration) {
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

    pub(super) fn judge_probe(
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

    pub(super) fn open(&mut self, cause: Cause, totals: Totals, at: Duration) {
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
}
