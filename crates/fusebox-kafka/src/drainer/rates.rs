//! Records coming and going in a second, smoothed over about ten.

use tokio::time::Instant;

/// Seconds over which a change makes itself felt.
const MEMORY: f64 = 10.0;

#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, u64, u64)>,
    delivered: f64,
    arrived: f64,
}

impl Rates {
    /// Takes the totals of the present moment; answers deliveries and arrivals in a second.
    pub(super) fn take(&mut self, now: Instant, delivered: u64, arrived: u64) -> (f64, f64) {
        if let Some((at, delivered_before, arrived_before)) = self.last {
            let seconds = now.saturating_duration_since(at).as_secs_f64();
            if seconds < 0.1 {
                return (self.delivered, self.arrived);
            }
            let weight = 1.0 - (-seconds / MEMORY).exp();
            let per_second = |now: u64, before: u64| {
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52 records")]
                let grown = now.saturating_sub(before) as f64;
                grown / seconds
            };
            self.delivered += weight * (per_second(delivered, delivered_before) - self.delivered);
            self.arrived += weight * (per_second(arrived, arrived_before) - self.arrived);
        }
        self.last = Some((now, delivered, arrived));
        (self.delivered, self.arrived)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::drainer::DrainerStats;

    #[test]
    fn rates_follow_and_tell_when_a_backlog_is_full_or_empty() {
        let start = Instant::now();
        let mut rates = Rates::default();
        let mut last = (0.0, 0.0);
        for second in 0..100_u64 {
            last = rates.take(
                start + Duration::from_secs(second),
                second * 20,
                second * 50,
            );
        }
        assert!(
            (last.0 - 20.0).abs() < 0.1 && (last.1 - 50.0).abs() < 0.1,
            "{last:?}"
        );
        let mut stats = DrainerStats {
            waiting: 400,
            drain_rate: last.0,
            arrival_rate: last.1,
            ..DrainerStats::default()
        };
        let full = stats
            .time_to_full(1000)
            .map(|time| time.as_secs_f64().round());
        assert_eq!(full, Some(20.0));
        assert_eq!(stats.time_to_empty(), None);
        stats.arrival_rate = 10.0;
        assert_eq!(stats.time_to_full(1000), None);
        let empty = stats.time_to_empty().map(|time| time.as_secs_f64().round());
        assert_eq!(empty, Some(40.0));
        stats.waiting = 0;
        assert_eq!(stats.time_to_empty(), Some(Duration::ZERO));
        assert_eq!(stats.time_to_full(0), Some(Duration::ZERO));
    }
}
