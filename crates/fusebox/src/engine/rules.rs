//! The policy of a breaker in whole numbers: when to trip, and how long to stay open.

use std::time::Duration;

use crate::backoff::{Backoff, unit};
use crate::config::{BreakerConfig, SlowCall, TripRule, basis_points};
use crate::window::Totals;

/// The trip rules of a configuration, rates in basis points so that comparisons are exact.
#[derive(Debug)]
pub(crate) struct Rules {
    rule: TripRule,
    failure_threshold: u32,
    failure_points: u64,
    slow: Option<(SlowCall, u64)>,
}

impl Rules {
    pub(crate) fn new(config: &BreakerConfig) -> Self {
        Self {
            rule: config.trip_rule,
            failure_threshold: config.failure_threshold,
            failure_points: basis_points(config.failure_rate),
            slow: config.slow_call.map(|slow| (slow, basis_points(slow.rate))),
        }
    }

    pub(crate) fn judges_speed(&self) -> bool {
        self.slow.is_some()
    }

    /// How long a call may take before it is slow.
    pub(crate) fn slow_after(&self) -> Option<Duration> {
        self.slow.map(|(slow, _)| slow.longer_than)
    }

    pub(crate) fn is_slow(&self, elapsed: Duration) -> bool {
        self.slow_after().is_some_and(|longest| elapsed >= longest)
    }

    pub(crate) fn too_many_failures(&self, totals: Totals, consecutive: u32) -> bool {
        match self.rule {
            TripRule::Rate => {
                totals.failures >= u64::from(self.failure_threshold)
                    && reaches(totals.failures, totals.calls, self.failure_points)
            }
            TripRule::Consecutive => consecutive >= self.failure_threshold,
        }
    }

    pub(crate) fn too_many_slow(&self, totals: Totals) -> bool {
        self.slow.is_some_and(|(slow, points)| {
            totals.slow >= u64::from(slow.minimum) && reaches(totals.slow, totals.calls, points)
        })
    }
}

/// Is `part` at least `points` ten-thousandths of `whole`?
fn reaches(part: u64, whole: u64, points: u64) -> bool {
    u128::from(part) * 10_000 >= u128::from(whole) * u128::from(points)
}

/// The lengths of successive breaks: growing, jittered, and bowing to the dependency's wish.
#[derive(Debug)]
pub(crate) struct Breaks {
    /// Breaks since the circuit was last closed.
    taken: u32,
    random: u64,
}

impl Breaks {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            taken: 0,
            random: seed,
        }
    }

    /// The next break. A `hint` of the dependency wins over the growing break: at least as long as
    /// asked (jitter only adds), at least `first_break`, at most `retry_after_cap`.
    pub(crate) fn next(&mut self, config: &BreakerConfig, hint: Option<Duration>) -> Duration {
        let random = self.random();
        let attempt = self.taken;
        self.taken = self.taken.saturating_add(1);
        match hint {
            Some(wish) => {
                let extra = wish
                    .min(config.retry_after_cap)
                    .mul_f64(unit(config.break_jitter) * random);
                wish.saturating_add(extra)
                    .max(config.first_break)
                    .min(config.retry_after_cap)
            }
            None => Backoff {
                min: config.first_break,
                max: config.recovery_timeout,
                factor: 2.0,
                jitter: config.break_jitter,
            }
            .delay(attempt, random),
        }
    }

    /// The circuit closed: the next break is a first one.
    pub(crate) fn start_over(&mut self) {
        self.taken = 0;
    }

    /// A number from 0 up to 1 (`SplitMix64`: spreads replicas, keeps no secrets).
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits fit the mantissa exactly"
    )]
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_compared_exactly() {
        // 0.1 * 30 is more than 3 in floating point; three of thirty are a tenth all the same.
        assert!(reaches(3, 30, basis_points(0.1)));
        assert!(!reaches(2, 30, basis_points(0.1)));
        assert!(reaches(u64::MAX, u64::MAX, basis_points(1.0)));
    }

    #[test]
    fn random_numbers_fill_the_unit_interval() {
        let mut breaks = Breaks::new(7);
        let drawn: Vec<f64> = (0..1_000).map(|_| breaks.random()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let low = drawn.iter().filter(|x| **x < 0.5).count();
        assert!((400..600).contains(&low), "{low}");
    }

    #[test]
    fn breaks_grow_to_the_cap_and_start_over() {
        let config = BreakerConfig::new().with_break_jitter(0.0);
        let mut breaks = Breaks::new(1);
        let mut next = || breaks.next(&config, None).as_secs();
        let lengths: Vec<u64> = (0..8).map(|_| next()).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
        breaks.start_over();
        assert_eq!(breaks.next(&config, None).as_secs(), 1);
    }

    #[test]
    fn a_wish_is_heeded_between_first_break_and_cap() {
        let config = BreakerConfig::new();
        let mut breaks = Breaks::new(1);
        for _ in 0..100 {
            let length = breaks.next(&config, Some(Duration::from_secs(90)));
            assert!(length >= Duration::from_secs(90) && length <= Duration::from_secs(108));
        }
        assert_eq!(
            breaks.next(&config, Some(Duration::MAX)),
            Duration::from_mins(5)
        );
        assert_eq!(
            breaks.next(&config, Some(Duration::from_millis(3))),
            Duration::from_secs(1)
        );
    }
}
