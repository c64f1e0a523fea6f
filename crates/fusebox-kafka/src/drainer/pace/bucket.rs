//! A bucket of leave that fills at a rate and may be overdrawn.

use std::time::Duration;

/// Seconds' worth that a full bucket holds.
const BURST: f64 = 0.05;

/// A timer is no finer than that.
const TICK: Duration = Duration::from_millis(1);

/// Leave for so much of something; the rate is told each time, for it changes.
///
/// Something may go whenever nothing is owed, however large it is: what it takes beyond the balance is
/// owed by what comes after it. So nothing is too large for a bucket, and the mean rate holds.
#[derive(Debug)]
pub(super) struct Bucket {
    balance: f64,
    /// What the smallest thing costs: so much always fits in.
    least: f64,
}

impl Bucket {
    /// A bucket with leave for one smallest thing.
    pub(super) fn new(least: f64) -> Self {
        Self {
            balance: least,
            least,
        }
    }

    /// Time has passed at this rate.
    pub(super) fn fill(&mut self, rate: f64, passed: Duration) {
        let most = (rate * BURST).max(self.least);
        self.balance = (self.balance + rate * passed.as_secs_f64()).min(most);
    }

    /// Takes back what was left: leave from faster times.
    pub(super) fn begin_again(&mut self) {
        self.balance = self.balance.min(self.least);
    }

    pub(super) fn spend(&mut self, cost: f64) {
        self.balance -= cost;
    }

    /// How long until something may go at this rate; nothing when it may now.
    pub(super) fn wait(&self, rate: f64) -> Option<Duration> {
        if self.balance > 0.0 {
            return None;
        }
        // What is owed, and then the first sign of a balance.
        let wait = Duration::try_from_secs_f64(-self.balance / rate).unwrap_or(Duration::MAX);
        Some(wait.max(TICK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_may_go_while_nothing_is_owed_and_is_paid_for_afterwards() {
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(1.0);
        assert_eq!(bucket.wait(100.0), None);
        bucket.spend(301.0);
        assert_eq!(bucket.wait(100.0), Some(second * 3));
        bucket.fill(100.0, second * 2);
        assert_eq!(bucket.wait(100.0), Some(second));
        // Exactly paid is not yet a balance.
        bucket.fill(100.0, second);
        assert_eq!(bucket.wait(100.0), Some(TICK));
        bucket.fill(100.0, TICK);
        assert_eq!(bucket.wait(100.0), None);
    }

    #[test]
    fn it_holds_no_more_than_a_burst_and_never_less_than_one() {
        let mut bucket = Bucket::new(1.0);
        bucket.fill(1_000.0, Duration::from_hours(1));
        bucket.spend(49.9);
        assert_eq!(bucket.wait(1_000.0), None);
        bucket.spend(0.2);
        assert!(bucket.wait(1_000.0).is_some());
        bucket.fill(0.5, Duration::from_hours(1));
        assert_eq!(bucket.wait(0.5), None);
        bucket.spend(1.0);
        assert!(bucket.wait(0.5).is_some());
        bucket.fill(1_000.0, Duration::from_hours(1));
        bucket.begin_again();
        bucket.spend(1.0);
        assert!(bucket.wait(1_000.0).is_some());
    }
}
