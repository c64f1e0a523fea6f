//! What the circuit tells about itself.

use std::time::Duration;

use super::word::{Phase, Streak};
use super::{Engine, Observer};
use crate::config::BreakerConfig;
use crate::event::Event;
use crate::snapshot::{CallCounts, Snapshot};
use crate::state::{Mode, State};
use crate::sync::Ordering;

impl Engine {
    pub(crate) fn state(&self) -> State {
        let (word, _) = self.look();
        word.phase().state()
    }

    /// Time until the break ends by itself.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        loop {
            let (word, now) = self.look();
            if word.phase().state() != State::Open {
                return None;
            }
            if let Ok(left) = self.time_left(word, now) {
                return left;
            }
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        // One reading of the word for all that depends on it.
        let (word, now, left) = loop {
            let (word, now) = self.look();
            if word.phase().state() != State::Open {
                break (word, now, None);
            }
            if let Ok(left) = self.time_left(word, now) {
                break (word, now, left);
            }
        };
        let generation = word.generation();
        let window = self.window(word).totals(self.lanes(), generation, now);
        let streak = Streak::from_bits(self.streak.load(Ordering::Acquire));
        let (counts, in_flight) = self.counts();
        let config = BreakerConfig::clone(&self.settings.load());
        let mode = word.phase().mode();
        self.read(|journal| {
            let manual = journal.manual().filter(|manual| manual.mode == mode);
            let forced = manual.filter(|manual| manual.mode == Mode::ForcedOpen);
            Snapshot {
                service_name: self.of.service.to_string(),
                circuit_name: self.of.circuit.to_string(),
                enabled: word.phase() != Phase::SwitchedOff,
                state: word.phase().state(),
                mode,
                forced_because: forced.and_then(|manual| manual.why.clone()),
                manual: manual.cloned(),
                counts,
                in_flight,
                window,
                consecutive_failures: streak.of(generation),
                generation,
                recovery_attempts: journal.recoveries,
                transitions: journal.transitions,
                time_in_state: journal.time_in_state(self.date(now)),
                retry_after: left,
                fallbacks: journal.fallbacks.iter().map(|(k, n)| (*k, *n)).collect(),
                would_have_opened: journal.would_have_opened,
                observer_panics: journal.observer_panics,
                events_dropped: journal.log.dropped(),
                failure_threshold: config.failure_threshold,
                success_threshold: config.success_threshold,
                recovery_timeout: config.recovery_timeout,
                config,
            }
        })
    }

    /// Counts by what became of calls, and calls under way.
    fn counts(&self) -> (CallCounts, u64) {
        let failure = self.failures.load(Ordering::Acquire);
        let neutral = self.neutral.load(Ordering::Acquire);
        let lanes = self.lanes();
        let successes = lanes.sum(|lane| lane.successes.load(Ordering::Acquire));
        // After those that have ended: who is counted as ended was counted as admitted before.
        let admitted = lanes.sum(|lane| lane.admitted.load(Ordering::Relaxed));
        let counts = CallCounts {
            success: successes,
            failure,
            neutral,
            slow: self.slow.load(Ordering::Relaxed),
            blocked: lanes.sum(|lane| lane.refused.load(Ordering::Relaxed)),
            late: self.late.load(Ordering::Relaxed),
        };
        let ended = successes + failure + neutral;
        (counts, admitted.saturating_sub(ended))
    }

    pub(crate) fn recent_events(&self) -> Vec<Event> {
        self.look();
        self.read(|journal| journal.log.recent())
    }

    pub(crate) fn observe(&self, observer: Observer) {
        self.write(|journal| journal.observe(observer));
    }

    pub(crate) fn count_fallback(&self, fallback_type: &'static str, times: u64) {
        self.write(|journal| *journal.fallbacks.entry(fallback_type).or_default() += times);
    }
}
