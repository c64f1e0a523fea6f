//! How fast records are handed over: a bound for always, and one while an outage is made up for.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills at the present rate and holds a twentieth of a second.
#[derive(Debug)]
pub(super) struct Pace {
    always: Option<NonZeroU32>,
    recovery: Option<NonZeroU32>,
    recovering: bool,
    tokens: f64,
    filled: Instant,
}

impl Pace {
    pub(super) fn new(
        always: Option<NonZeroU32>,
        recovery: Option<NonZeroU32>,
        now: Instant,
    ) -> Self {
        Self {
            always,
            recovery,
            recovering: false,
            tokens: 0.0,
            filled: now,
        }
    }

    /// An outage has ended: its backlog is fed at the recovery's rate.
    pub(super) fn recover(&mut self) {
        self.recovering = true;
        self.tokens = self.tokens.min(1.0);
    }

    /// Everything there is has been fed.
    pub(super) fn caught_up(&mut self) {
        self.recovering = false;
    }

    fn rate(&self) -> Option<f64> {
        let recovery = self.recovery.filter(|_| self.recovering);
        let rate = [self.always, recovery].into_iter().flatten().min()?;
        Some(f64::from(rate.get()))
    }

    /// Takes leave for one record, or says when there will be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let Some(rate) = self.rate() else {
            return Ok(());
        };
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * rate).min((rate / 20.0).max(1.0));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - self.tokens) / rate;
        // A timer is no finer than that.
        Err(now + Duration::from_secs_f64(missing).max(Duration::from_millis(1)))
    }

    /// Gives the leave back: the record was not handed over.
    pub(super) fn give_back(&mut self) {
        if self.rate().is_some() {
            self.tokens += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_one_second(pace: &mut Pace, mut now: Instant) -> u32 {
        let end = now + Duration::from_secs(1);
        let mut taken = 0;
        while now < end {
            match pace.take(now) {
                Ok(()) => taken += 1,
                Err(at) => now = at,
            }
        }
        taken
    }

    #[test]
    fn the_lower_bound_counts_and_the_recoverys_only_during_one() {
        let start = Instant::now();
        let mut pace = Pace::new(NonZeroU32::new(1000), NonZeroU32::new(100), start);
        let second = Duration::from_secs(1);
        let full = in_one_second(&mut pace, start);
        assert!((950..=1050).contains(&full), "{full}");
        pace.recover();
        let slow = in_one_second(&mut pace, start + second);
        assert!((95..=106).contains(&slow), "{slow}");
        pace.caught_up();
        let full = in_one_second(&mut pace, start + second * 2);
        assert!((950..=1050).contains(&full), "{full}");
        let mut free = Pace::new(None, None, start);
        free.recover();
        assert!((0..10_000).all(|_| free.take(start).is_ok()));
    }
}
