//! How fast the cluster acknowledges when it is well.

use std::time::Duration;

use tokio::time::Instant;

/// How long a fastest acknowledgement is remembered, once as the present one and once as the last.
const PERIOD: Duration = Duration::from_secs(30);

/// An acknowledgement may always take so long.
const LEAST_BOUND: Duration = Duration::from_millis(100);

/// How many times the fastest acknowledgement of late one may take.
const TOLERANCE: u32 = 4;

/// The fastest acknowledgement of the last one or two periods in which there were any.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    period: Option<(Instant, Duration)>,
    last: Option<Duration>,
}

impl Baseline {
    pub(super) fn acknowledged(&mut self, took: Duration, now: Instant) {
        match &mut self.period {
            Some((since, fastest)) if now.saturating_duration_since(*since) < PERIOD => {
                *fastest = took.min(*fastest);
            }
            period => {
                self.last = period.map(|(_, fastest)| fastest);
                *period = Some((now, took));
            }
        }
    }

    /// What an acknowledgement may take while all is well.
    pub(super) fn bound(&self) -> Duration {
        let period = self.period.map(|(_, fastest)| fastest);
        let fastest = period.into_iter().chain(self.last).min();
        fastest
            .unwrap_or_default()
            .saturating_mul(TOLERANCE)
            .max(LEAST_BOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_fastest_of_late_and_outlasts_a_silence() {
        let start = Instant::now();
        let (ms, seconds) = (Duration::from_millis, Duration::from_secs);
        let mut baseline = Baseline::default();
        assert_eq!(baseline.bound(), LEAST_BOUND);
        baseline.acknowledged(ms(60), start);
        baseline.acknowledged(ms(50), start + seconds(1));
        baseline.acknowledged(ms(900), start + seconds(29));
        assert_eq!(baseline.bound(), ms(200));
        // An outage of an hour, and then a slow cluster: the last good period still counts.
        let later = start + Duration::from_hours(1);
        baseline.acknowledged(ms(300), later);
        assert_eq!(baseline.bound(), ms(200));
        // It has moved to another continent.
        baseline.acknowledged(ms(300), later + seconds(30));
        assert_eq!(baseline.bound(), ms(1200));
        baseline.acknowledged(ms(1), later + seconds(31));
        assert_eq!(baseline.bound(), LEAST_BOUND);
    }
}
