//! How fast records are handed over: an operator's bound for always, and an adaptive one while a
//! backlog is made up for.
//!
//! ```text
//!         outage ended · backlog found · trouble of the cluster
//!   Free ───────────────────────────────────────────────────────► CatchingUp
//!     ▲                                                               │
//!     └───────────────── everything there is was handed over ─────────┘
//! ```
//!
//! Free, only the operator's bound counts. Catching up, records and bytes are bounded by one share
//! of `RECORDS` and `BYTES`, which [`Share`] moves; docs/design/publishing.md has the reasons.

mod baseline;
mod bucket;
mod share;
#[cfg(test)]
mod tests;

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use tokio::time::Instant;

use self::baseline::Baseline;
use self::bucket::Bucket;
use self::share::Share;

/// Records in a second at a share of 1.
const RECORDS: f64 = 1_000.0;

/// Bytes in a second at a share of 1.
const BYTES: f64 = (4 << 20) as f64;

/// How much may be handed over in a second; what is not set is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PaceLimit {
    /// Records in a second.
    pub records: Option<NonZeroU32>,
    /// Bytes in a second, framing included. A larger record goes all the same, and is made up for.
    pub bytes: Option<NonZeroU64>,
}

/// How much may be handed over in a second at present.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct PaceNow {
    /// Records in a second; none is no bound but the window.
    pub records: Option<f64>,
    /// Bytes in a second.
    pub bytes: Option<f64>,
}

/// How often the pace was halved while a backlog was made up for, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PaceCuts {
    /// Even the fastest acknowledgements were slow.
    pub slow: u64,
    /// The cluster refused records for now, or could not be reached.
    pub refused: u64,
    /// The producer was full.
    pub full: u64,
}

/// Why the pace is halved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Slow,
    Refused,
    Full,
}

#[derive(Debug)]
pub(super) struct Pace {
    always: PaceLimit,
    recovery: PaceLimit,
    phase: Phase,
    baseline: Baseline,
    records: Bucket,
    bytes: Bucket,
    filled: Instant,
    cuts: PaceCuts,
}

#[derive(Debug)]
enum Phase {
    Free,
    CatchingUp(Share),
}

impl Pace {
    /// A pace that is catching up, for whoever begins may find a backlog, with leave for one burst.
    pub(super) fn new(always: PaceLimit, recovery: PaceLimit, now: Instant) -> Self {
        let mut pace = Self {
            always,
            recovery,
            phase: Phase::CatchingUp(Share::new(now)),
            baseline: Baseline::default(),
            records: Bucket::new(1.0),
            bytes: Bucket::new(1.0),
            filled: now,
            cuts: PaceCuts::default(),
        };
        pace.refill(Duration::from_secs(1));
        pace
    }

    /// There is a backlog to be made up for, and the cluster may be weak.
    pub(super) fn catch_up(&mut self, now: Instant) {
        self.fill(now);
        self.records.begin_again();
        self.bytes.begin_again();
        self.phase = Phase::CatchingUp(Share::new(now));
    }

    /// Everything there is has been handed over.
    pub(super) fn caught_up(&mut self) {
        self.phase = Phase::Free;
    }

    /// A record handed over at `fed` was acknowledged.
    pub(super) fn acknowledged(&mut self, fed: Instant, now: Instant) {
        let took = now.saturating_duration_since(fed);
        self.baseline.acknowledged(took, now);
        if let Phase::CatchingUp(share) = &mut self.phase {
            share.acknowledged(fed, took);
        }
    }

    /// The cluster or the producer did not take a record that was handed over at `fed`. While nothing
    /// was made up for, it is as after an outage from now on.
    pub(super) fn trouble(&mut self, cut: Cut, fed: Instant, now: Instant) {
        self.fill(now);
        match &mut self.phase {
            Phase::CatchingUp(share) => {
                if share.trouble(fed, now) {
                    self.note(cut);
                }
            }
            Phase::Free => self.catch_up(now),
        }
    }

    /// Whether a record may go now, whatever its size, or when to ask again.
    pub(super) fn ready(&mut self, now: Instant) -> Result<(), Instant> {
        self.fill(now);
        let bound = self.baseline.bound();
        if let Phase::CatchingUp(share) = &mut self.phase
            && share.judge(bound, now)
        {
            self.note(Cut::Slow);
        }
        let rates = self.now();
        let wait = |bucket: &Bucket, rate: Option<f64>| rate.and_then(|rate| bucket.wait(rate));
        let records = wait(&self.records, rates.records);
        let bytes = wait(&self.bytes, rates.bytes);
        let Some(longest) = records.max(bytes) else {
            return Ok(());
        };
        if let Phase::CatchingUp(share) = &mut self.phase {
            // What an operator holds back is no reason to grow.
            let shared = shared(share);
            if (records.is_some() && rates.records == shared.records)
                || (bytes.is_some() && rates.bytes == shared.bytes)
            {
                share.held_back();
            }
        }
        Err(now + longest)
    }

    /// A record of this size was handed over.
    pub(super) fn spent(&mut self, size: usize, now: Instant) {
        if let Phase::CatchingUp(share) = &mut self.phase {
            share.handed_over(now);
        }
        let rates = self.now();
        if rates.records.is_some() {
            self.records.spend(1.0);
        }
        if rates.bytes.is_some() {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
            self.bytes.spend(size as f64);
        }
    }

    /// What may go in a second at present.
    pub(super) fn now(&self) -> PaceNow {
        let always = rates(self.always);
        let Phase::CatchingUp(share) = &self.phase else {
            return always;
        };
        let shared = shared(share);
        let recovery = rates(self.recovery);
        PaceNow {
            records: least([shared.records, recovery.records, always.records]),
            bytes: least([shared.bytes, recovery.bytes, always.bytes]),
        }
    }

    pub(super) fn cuts(&self) -> PaceCuts {
        self.cuts
    }

    /// Fills the buckets at the present rates, which must be done before these change.
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.refill(passed);
    }

    fn refill(&mut self, passed: Duration) {
        let rates = self.now();
        let buckets = [&mut self.records, &mut self.bytes];
        for (bucket, rate) in buckets.into_iter().zip([rates.records, rates.bytes]) {
            match rate {
                Some(rate) => bucket.fill(rate, passed),
                // Without a bound nothing is owed.
                None => *bucket = Bucket::new(1.0),
            }
        }
    }

    fn note(&mut self, cut: Cut) {
        let PaceNow { records, bytes } = self.now();
        tracing::debug!(?cut, records, bytes, "pace halved");
        match cut {
            Cut::Slow => self.cuts.slow += 1,
            Cut::Refused => self.cuts.refused += 1,
            Cut::Full => self.cuts.full += 1,
        }
    }
}

fn rates(limit: PaceLimit) -> PaceNow {
    #[expect(clippy::cast_precision_loss, reason = "a bound, no sum")]
    let bytes = limit.bytes.map(|bytes| bytes.get() as f64);
    PaceNow {
        records: limit.records.map(|records| records.get().into()),
        bytes,
    }
}

fn shared(share: &Share) -> PaceNow {
    PaceNow {
        records: Some(RECORDS * share.get()),
        bytes: Some(BYTES * share.get()),
    }
}

fn least(bounds: [Option<f64>; 3]) -> Option<f64> {
    bounds.into_iter().flatten().reduce(f64::min)
}
