//! The policy of a breaker in whole numbers: when to trip, and how long to stay open.

use std::time::Duration;

use super::word::nanos;
use crate::backoff::{Backoff, unit};
use crate::config::{BreakerConfig, TripRule, basis_points};
use crate::event::Cause;
use crate::window::Totals;

impl BreakerConfig {
    /// The limit of slow calls in nanoseconds.
    pub(crate) fn slow_after(&self) -> u64 {
        let limit = |slow: crate::config::SlowCall| nanos(slow.longer_than).min(NO_LIMIT - 1);
        self.slow_call.map_or(NO_LIMIT, limit)
    }

    /// The first of the rules about failures that is met, if any.
    pub(crate) fn too_many_failures(&self, totals: Totals, consecutive: u32) -> Option<Cause> {
        let least = self.failure_threshold;
        let rate = self.trip_rule == TripRule::Rate
            && totals.failures >= u64::from(least)
            && reaches(totals.failures, totals.calls, self.failure_rate);
        let in_a_row = match self.trip_rule {
            TripRule::Rate => self.consecutive_failures,
            TripRule::Consecutive => Some(least),
        };
        if rate {
            Some(Cause::FailureRate)
        } else {
            in_a_row
                .is_some_and(|most| consecutive >= most)
                .then_some(Cause::ConsecutiveFailures)
        }
    }

    pub(crate) fn too_many_slow(&self, totals: Totals) -> bool {
        self.slow_call.is_some_and(|slow| {
            totals.slow >= u64::from(slow.minimum) && reaches(totals.slow, totals.calls, slow.rate)
        })
    }

    /// The break that follows `taken` others since the circuit was last closed. A `hint` of the
    /// dependency wins over the growing break: at least as long as asked (jitter only adds), at
    /// least `first_break`, at most `retry_after_cap`.
    pub(crate) fn break_length(&self, taken: u32, hint: Option<Duration>, random: f64) -> Duration {
        match hint {
            Some(wish) => {
                let extra = wish
                    .min(self.retry_after_cap)
                    .mul_f64(unit(self.break_jitter) * random);
                wish.saturating_add(extra)
                    .max(self.first_break)
                    .min(self.retry_after_cap)
            }
            None => Backoff {
                min: self.first_break,
                max: self.recovery_timeout,
                factor: 2.0,
                jitter: self.break_jitter,
            }
            .delay(taken, random),
        }
    }
}

/// The limit of slow calls, in nanoseconds, where no speed is judged; no limit is as long.
pub(crate) const NO_LIMIT: u64 = u64::MAX;

/// A number from 0 up to 1, the same for the same breaker and generation, so that no state is kept
/// and threads that compute it twice agree (`SplitMix64`: spreads replicas, keeps no secrets).
#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits fit the mantissa exactly"
)]
pub(crate) fn random(seed: u64, generation: u64) -> f64 {
    let step = generation
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut z = seed.wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

/// Is `part` at least the share `rate` of `whole`? In basis points, so that it is exact.
fn reaches(part: u64, whole: u64, rate: f64) -> bool {
    u128::from(part) * 10_000 >= u128::from(whole) * u128::from(basis_points(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_compared_exactly() {
        // 0.1 * 30 is more than 3 in floating point; three of thirty are a tenth all the same.
        assert!(reaches(3, 30, 0.1));
        assert!(!reaches(2, 30, 0.1));
        assert!(reaches(u64::MAX, u64::MAX, 1.0));
    }

    #[test]
    fn random_numbers_fill_the_unit_interval() {
        for drawn in [
            (0..1_000).map(|n| random(7, n)).collect::<Vec<_>>(),
            (0..1_000).map(|n| random(n, 1)).collect(),
        ] {
            assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
            let low = drawn.iter().filter(|x| **x < 0.5).count();
            assert!((400..600).contains(&low), "{low}");
        }
        assert_eq!(random(3, 9).to_bits(), random(3, 9).to_bits());
    }

    /// The first numbers of the generator with this seed, as its authors' program prints them.
    #[test]
    #[expect(clippy::cast_precision_loss, reason = "53 bits, as above")]
    fn random_numbers_are_those_of_the_generator_named() {
        let published: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        for (generation, number) in (0..).zip(published) {
            let expected = (number >> 11) as f64 / (1_u64 << 53) as f64;
            assert_eq!(random(1_234_567, generation).to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn breaks_grow_to_the_cap() {
        let settings = BreakerConfig::new().with_break_jitter(0.0);
        let length = |taken| settings.break_length(taken, None, 0.3).as_secs();
        let lengths: Vec<u64> = (0..8).map(length).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_wish_is_heeded_between_first_break_and_cap() {
        let settings = BreakerConfig::new();
        for generation in 0..100 {
            let wish = Some(Duration::from_secs(90));
            let length = settings.break_length(0, wish, random(1, generation));
            assert!(length >= Duration::from_secs(90) && length <= Duration::from_secs(108));
        }
        let length = |wish| settings.break_length(0, Some(wish), 0.5);
        assert_eq!(length(Duration::MAX), Duration::from_mins(5));
        assert_eq!(length(Duration::from_millis(3)), Duration::from_secs(1));
    }

    #[test]
    fn no_limit_is_longer_than_any_limit() {
        assert_eq!(BreakerConfig::new().slow_after(), NO_LIMIT);
        let slow = crate::SlowCall {
            longer_than: Duration::MAX,
            rate: 1.0,
            minimum: 1,
        };
        assert!(BreakerConfig::new().with_slow_call(slow).slow_after() < NO_LIMIT);
    }
}
