//! When work that failed is tried again.

use std::time::Duration;

use tokio::time::Instant;

/// A growing wait; it starts over after a success.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retry {
    failures: u32,
    not_before: Option<Instant>,
}

impl Retry {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// When it is due, if that is not now.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    pub(super) fn failed(&mut self, now: Instant, min: Duration, max: Duration) {
        self.not_before = Some(now + doubled(min, max, self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

/// `min` doubled `times` times, at most `max`.
pub(super) fn doubled(min: Duration, max: Duration, times: u32) -> Duration {
    min.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
        .min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let waits: Vec<_> = (0..8).map(|n| doubled(min, max, n).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(doubled(min, max, 31), max);
        assert_eq!(doubled(min, max, 4000), max);
    }
}
