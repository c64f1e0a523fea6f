//! The share: one number for how fast a backlog is made up for, which acknowledgements move.
//!
//! | seen in an interval | share |
//! |---|---|
//! | nothing of it was acknowledged in time | half |
//! | nor now, but the queue behind the last halving is emptying | stays |
//! | trouble of the cluster | half, at once |
//! | something was, the pace was what bounded, never trouble | twice |
//! | the same after trouble | a step more |
//! | something was, and something else bounded | stays |
//!
//! It is never below its beginning.

use std::time::Duration;

use tokio::time::Instant;

/// How long acknowledgements are collected at least before they are judged.
const INTERVAL: Duration = Duration::from_millis(100);

/// The least share, and the first: what still goes, whatever the cluster says. One whose connections break
/// again and again looks like an overloaded one, and should get its backlog in time all the same.
pub(super) const LEAST: f64 = 1.0;

/// Beyond all that a process can hand over.
const MOST: f64 = 65_536.0;

/// What a halved share gains in an interval, as a part of what it was when trouble began.
const STEP: f64 = 1.0 / 16.0;

/// A share, and what has been seen since it was judged last.
#[derive(Debug)]
pub(super) struct Share {
    now: f64,
    growth: Growth,
    /// It has grown since it was halved last, or was never halved.
    has_grown: bool,
    /// When this interval began.
    since: Instant,
    /// When the first record was handed over in it.
    first: Option<Instant>,
    /// The fastest acknowledgement of such a record.
    fastest: Option<Duration>,
    /// A queue is emptying after a cut: what the fastest may take meanwhile.
    emptying: Option<Duration>,
    /// The pace held a record back in it.
    held_back: bool,
    /// When it was halved last: what was handed over before is not held against it.
    cut: Instant,
}

/// How the share grows.
#[derive(Debug, Clone, Copy)]
enum Growth {
    /// Nobody knows yet what the cluster stands.
    Doubling,
    /// The cluster did not stand sixteen times this.
    Steps(f64),
}

impl Share {
    /// A share of 1 that doubles. What was handed over before is not held against it.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            now: 1.0,
            growth: Growth::Doubling,
            has_grown: true,
            since: now,
            first: None,
            fastest: None,
            emptying: None,
            held_back: false,
            cut: now,
        }
    }

    pub(super) fn get(&self) -> f64 {
        self.now
    }

    /// A record is handed over.
    pub(super) fn handed_over(&mut self, now: Instant) {
        self.first.get_or_insert(now);
    }

    /// The pace holds a record back.
    pub(super) fn held_back(&mut self) {
        self.held_back = true;
    }

    /// A record that was handed over at `fed` was acknowledged after `took`.
    pub(super) fn acknowledged(&mut self, fed: Instant, took: Duration) {
        // An earlier one speaks for the pace before.
        if fed >= self.since {
            self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        }
    }

    /// The cluster, or the producer, did not take a record that was handed over at `fed`. Answers
    /// whether the share was cut for it: one trouble is told by many records.
    pub(super) fn trouble(&mut self, fed: Instant, now: Instant) -> bool {
        let known = fed < self.cut || now.saturating_duration_since(self.cut) < INTERVAL;
        !known && self.halve(now)
    }

    /// Judges the interval if it is over; `bound` is what an acknowledgement may take. Answers whether the
    /// share was cut.
    pub(super) fn judge(&mut self, bound: Duration, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) < INTERVAL {
            return false;
        }
        // How long the fastest takes is known before it comes.
        let waited = self.first.map(|at| now.saturating_duration_since(at));
        let Some(took) = self.fastest.or(waited) else {
            return false;
        };
        if took > self.emptying.unwrap_or(bound).max(bound) {
            let cut = self.halve(now);
            // What stands in the queue is not gone yet.
            self.emptying = Some(bound * 2);
            return cut;
        }
        if self.fastest.is_none() {
            return false;
        }
        if took > bound {
            // By an eighth at least each time, or it would take for ever.
            self.emptying = Some(took / 8 * 7);
            self.begin_interval(now);
            return false;
        }
        self.emptying = None;
        if self.held_back {
            self.has_grown = true;
            self.now = match self.growth {
                Growth::Doubling => self.now * 2.0,
                Growth::Steps(step) => self.now + step,
            }
            .min(MOST);
        }
        self.begin_interval(now);
        false
    }

    /// Answers whether there was anything to halve.
    fn halve(&mut self, now: Instant) -> bool {
        // One trouble may take several halvings; what the cluster did not stand is the first.
        if std::mem::take(&mut self.has_grown) {
            self.growth = Growth::Steps(self.now * STEP);
        }
        let before = self.now;
        self.now = (before / 2.0).max(LEAST);
        self.cut = now;
        self.begin_interval(now);
        self.now < before
    }

    fn begin_interval(&mut self, now: Instant) {
        self.since = now;
        self.first = None;
        self.fastest = None;
        self.held_back = false;
    }
}
