//! Exponential back-off with jitter, as a pure function of the attempt and a random number.

use std::time::Duration;

/// How long to wait before attempt after attempt.
///
/// The wait grows from `min` by `factor` up to `max`; jitter then takes away up to the given share,
/// so that a wait is never longer than `max` and many waiters spread out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait before the first repetition, without jitter.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Growth from one attempt to the next; values below 1 count as 1. Usually 2.
    pub factor: f64,
    /// Share of the wait that chance may take away: 0 none, 1 anything down to zero wait.
    pub jitter: f64,
}

impl Backoff {
    /// Doubling waits from `min` to `max`, of which chance takes up to a fifth.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            factor: 2.0,
            jitter: 0.2,
        }
    }

    /// The same with another growth.
    #[must_use]
    pub const fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The same with another jitter.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// The wait after `attempt` attempts have failed before this one (0 gives `min`).
    ///
    /// `random` is a number from 0 up to 1; what lies outside, or is no number, counts as the
    /// nearest bound (NaN as 0).
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        // `max` and `min` answer the other number for one that is none.
        let factor = self.factor.max(1.0);
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let limit = self.max.as_secs_f64();
        let grown = self.min.as_secs_f64() * factor.powi(exponent);
        // Growth may be infinite, or undefined (0 times infinite).
        let full = grown.min(limit);
        let share = 1.0 - unit(self.jitter) * unit(random);
        Duration::try_from_secs_f64(full * share)
            .unwrap_or(self.max)
            .min(self.max)
    }
}

/// `value` brought into 0..=1; NaN becomes 0.
#[expect(clippy::manual_clamp, reason = "`clamp` leaves NaN as it is")]
pub(crate) fn unit(value: f64) -> f64 {
    value.max(0.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_up_to_the_longest_wait() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<u64> = (0..6).map(|n| backoff.delay(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::from_secs(10));
        assert_eq!(backoff.delay(3, 1.0), Duration::from_millis(6_400));
    }

    #[test]
    fn odd_parameters_give_a_wait_all_the_same() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::from_secs(3));
        assert_eq!(backoff.delay(0, 0.5), Duration::ZERO);
        backoff.factor = f64::NAN;
        backoff.min = Duration::from_secs(2);
        assert_eq!(backoff.delay(7, f64::NAN), Duration::from_secs(2));
        backoff.max = Duration::MAX;
        backoff.min = Duration::MAX;
        assert_eq!(backoff.delay(0, -1.0), Duration::MAX);
    }

    proptest! {
        #[test]
        fn stays_between_its_bounds(
            min_ms in 0_u64..100_000,
            max_ms in 0_u64..1_000_000,
            attempt in any::<u32>(),
            jitter in 0.0_f64..=1.0,
            random in 0.0_f64..1.0,
        ) {
            let backoff = Backoff::new(Duration::from_millis(min_ms), Duration::from_millis(max_ms))
                .with_jitter(jitter);
            let wait = backoff.delay(attempt, random);
            prop_assert!(wait <= backoff.max);
            let least = backoff.min.min(backoff.max).mul_f64(1.0 - jitter);
            prop_assert!(wait + Duration::from_micros(1) >= least);
            prop_assert!(backoff.delay(attempt.saturating_add(1), random) >= wait);
        }
    }
}
