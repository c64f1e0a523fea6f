//! The calls of the last stretch of time: a ring of buckets and their running sum.
//!
//! Time is cut into buckets of equal length, counted from the clock's origin. The window is the
//! bucket of the present moment and the `buckets - 1` before it, so it reaches back by its length
//! less at most one bucket.

use std::time::Duration;

use super::{Mark, Totals};

#[derive(Debug)]
pub(crate) struct TimeWindow {
    ring: Box<[Totals]>,
    bucket_nanos: u128,
    /// Number, from the clock's origin, of the newest bucket in the ring.
    newest: u128,
    /// Always the sum over the ring.
    sum: Totals,
}

impl TimeWindow {
    pub(crate) fn new(length: Duration, buckets: u32) -> Self {
        Self {
            ring: vec![Totals::default(); buckets as usize].into_boxed_slice(),
            bucket_nanos: (length.as_nanos() / u128::from(buckets)).max(1),
            newest: 0,
            sum: Totals::default(),
        }
    }

    pub(crate) fn record(&mut self, mark: Mark, now: Duration) {
        self.roll(now);
        let slot = self.slot(self.newest);
        self.ring[slot].add(mark);
        self.sum.add(mark);
    }

    pub(crate) fn totals(&mut self, now: Duration) -> Totals {
        self.roll(now);
        self.sum
    }

    pub(crate) fn clear(&mut self) {
        self.ring.fill(Totals::default());
        self.sum = Totals::default();
    }

    /// Forgets the buckets that have left the window by `now`.
    fn roll(&mut self, now: Duration) {
        let bucket = now.as_nanos() / self.bucket_nanos;
        let steps = bucket.saturating_sub(self.newest);
        if steps >= self.ring.len() as u128 {
            self.clear();
        } else {
            for passed in 1..=steps {
                let slot = self.slot(self.newest + passed);
                let old = std::mem::take(&mut self.ring[slot]);
                self.sum.remove(old);
            }
        }
        self.newest = self.newest.max(bucket);
    }

    fn slot(&self, bucket: u128) -> usize {
        (bucket % self.ring.len() as u128) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle keeps every call with the number of its bucket and counts anew each time.
        #[test]
        fn agrees_with_a_queue_of_dated_calls(
            buckets in 1_u32..12,
            bucket_ms in 1_u64..50,
            steps in prop::collection::vec((0_u64..120, any::<bool>(), any::<bool>(), 0_u8..100), 0..300),
        ) {
            let bucket = Duration::from_millis(bucket_ms);
            let mut window = TimeWindow::new(bucket * buckets, buckets);
            let mut oracle: VecDeque<(u128, Mark)> = VecDeque::new();
            let mut now = Duration::ZERO;
            for (step, failed, slow, dice) in steps {
                now += Duration::from_millis(step) / 3;
                let number = now.as_nanos() / bucket.as_nanos();
                match dice {
                    0 => { window.clear(); oracle.clear(); }
                    1..40 => {}
                    _ => {
                        let mark = Mark { failed, slow };
                        window.record(mark, now);
                        oracle.push_back((number, mark));
                    }
                }
                oracle.retain(|(then, _)| then + u128::from(buckets) > number);
                let expected = Totals {
                    calls: oracle.len() as u64,
                    failures: oracle.iter().filter(|(_, mark)| mark.failed).count() as u64,
                    slow: oracle.iter().filter(|(_, mark)| mark.slow).count() as u64,
                };
                prop_assert_eq!(window.totals(now), expected);
            }
        }
    }

    #[test]
    fn a_long_silence_empties_the_window_at_once() {
        let mut window = TimeWindow::new(Duration::from_secs(10), 10);
        window.record(
            Mark {
                failed: true,
                slow: false,
            },
            Duration::from_secs(3),
        );
        assert_eq!(window.totals(Duration::from_millis(12_999)).failures, 1);
        assert_eq!(window.totals(Duration::from_secs(13)), Totals::default());
        assert_eq!(window.totals(Duration::MAX), Totals::default());
    }
}
