//! The retry budget: a token bucket that successes fill and repetitions empty.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One token, in the bucket's own unit; keeps fractions exact without floating point.
const TOKEN: u64 = 1_000;

/// How many repetitions a dependency's callers may afford together.
///
/// Every success deposits a part of a token, every retry or hedge withdraws a whole one. While all
/// is well the bucket is full and a rare failure is retried at once; in an outage it runs dry, and
/// the extra load of retries ends at `deposit` per success instead of multiplying every call. The
/// share adapts by itself: it follows the successes, not the clock.
///
/// Clones share one bucket. All operations are lock-free.
///
/// ```
/// use fusebox_resilient::RetryBudget;
///
/// let budget = RetryBudget::new(2, 0.5);
/// assert!(budget.withdraw() && budget.withdraw());
/// assert!(!budget.withdraw(), "empty");
/// budget.deposit();
/// budget.deposit();
/// assert!(budget.withdraw(), "two successes paid for one retry");
/// assert_eq!(budget.denied(), 1);
/// ```
#[derive(Clone)]
pub struct RetryBudget {
    bucket: Arc<Bucket>,
}

struct Bucket {
    capacity: u64,
    deposit: u64,
    level: AtomicU64,
    granted: AtomicU64,
    denied: AtomicU64,
}

impl RetryBudget {
    /// A full bucket of `capacity` tokens that gains `deposit` tokens with every success.
    ///
    /// `deposit` is rounded to a thousandth and brought into 0..=1; no number counts as 0.
    pub fn new(capacity: u32, deposit: f64) -> Self {
        let capacity = u64::from(capacity) * TOKEN;
        let share = if deposit > 0.0 { deposit.min(1.0) } else { 0.0 };
        // At most 1000 after the line above, so neither sign nor size can be lost.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=1000"
        )]
        let deposit = (share * 1_000.0).round() as u64;
        Self {
            bucket: Arc::new(Bucket {
                capacity,
                deposit,
                level: AtomicU64::new(capacity),
                granted: AtomicU64::new(0),
                denied: AtomicU64::new(0),
            }),
        }
    }

    /// Books a success.
    pub fn deposit(&self) {
        let bucket = &*self.bucket;
        // The common case, a full bucket, writes nothing: no cache line bounces between threads.
        if bucket.level.load(Ordering::Relaxed) >= bucket.capacity {
            return;
        }
        let filled = bucket
            .level
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| {
                Some((level + bucket.deposit).min(bucket.capacity))
            });
        debug_assert!(filled.is_ok(), "the closure always answers Some");
    }

    /// Takes a token for one repetition; false, and counted, when there is none.
    #[must_use = "without a token there is no repetition"]
    pub fn withdraw(&self) -> bool {
        let bucket = &*self.bucket;
        // Relaxed is enough: the number alone decides, nothing else is published with it.
        let taken = bucket
            .level
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| {
                level.checked_sub(TOKEN)
            })
            .is_ok();
        let counter = if taken {
            &bucket.granted
        } else {
            &bucket.denied
        };
        counter.fetch_add(1, Ordering::Relaxed);
        taken
    }

    /// Whole tokens left.
    pub fn tokens(&self) -> u64 {
        self.bucket.level.load(Ordering::Relaxed) / TOKEN
    }

    /// Most tokens the bucket holds.
    pub fn capacity(&self) -> u64 {
        self.bucket.capacity / TOKEN
    }

    /// Repetitions paid for since the start.
    pub fn granted(&self) -> u64 {
        self.bucket.granted.load(Ordering::Relaxed)
    }

    /// Repetitions refused since the start.
    pub fn denied(&self) -> u64 {
        self.bucket.denied.load(Ordering::Relaxed)
    }
}

/// Ten tokens, and a tenth of a token per success: at most one retry in ten calls in the long run.
impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(10, 0.1)
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("tokens", &self.tokens())
            .field("capacity", &self.capacity())
            .field("denied", &self.denied())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_takes_no_more() {
        let budget = RetryBudget::new(3, 1.0);
        for _ in 0..100 {
            budget.deposit();
        }
        assert_eq!(budget.tokens(), 3);
        assert!(budget.withdraw());
        assert_eq!(budget.tokens(), 2);
        budget.deposit();
        budget.deposit();
        assert_eq!(budget.tokens(), 3, "never above the capacity");
        assert_eq!(budget.capacity(), 3);
    }

    #[test]
    fn ten_successes_of_a_tenth_pay_exactly_one_retry() {
        let budget = RetryBudget::new(1, 0.1);
        assert!(budget.withdraw());
        for _ in 0..9 {
            budget.deposit();
        }
        assert!(!budget.withdraw(), "nine tenths are not a token");
        budget.deposit();
        assert!(budget.withdraw(), "no rounding error accumulates");
        assert_eq!((budget.granted(), budget.denied()), (2, 1));
    }

    /// Retries in a budget cost what they bring: with rare failures each is retried, in an outage the
    /// dependency gets at most the bucket more than the calls themselves.
    #[test]
    fn it_adapts_to_the_share_of_failures() {
        let load = |one_of: u32| {
            let budget = RetryBudget::default();
            let mut sent = 0_u32;
            for call in 0..10_000 {
                sent += 1;
                if call % one_of == 0 {
                    sent += u32::from(budget.withdraw());
                } else {
                    budget.deposit();
                }
            }
            sent
        };
        assert_eq!(load(20), 10_500, "5 % fail, and each of them is retried");
        assert_eq!(load(1), 10_010, "all fail, and the bucket is soon empty");
        let half = load(2);
        assert!(
            (10_400..10_550).contains(&half),
            "{half}: a tenth of the successes"
        );
    }

    #[test]
    fn odd_parameters_are_brought_into_range() {
        for (deposit, after_one) in [(f64::NAN, 0), (-1.0, 0), (7.0, 1), (f64::INFINITY, 1)] {
            let budget = RetryBudget::new(1, deposit);
            assert!(budget.withdraw());
            budget.deposit();
            assert_eq!(budget.tokens(), after_one, "{deposit}");
        }
        assert!(!RetryBudget::new(0, 1.0).withdraw());
    }

    #[test]
    fn threads_together_get_no_more_than_there_is() {
        let budget = RetryBudget::new(1_000, 1.0);
        let granted: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| (0..500).map(|_| u64::from(budget.withdraw())).sum::<u64>())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(granted, 1_000, "4000 asked");
        assert_eq!((budget.granted(), budget.denied()), (1_000, 3_000));
        assert_eq!(budget.tokens(), 0);
    }

    #[test]
    fn deposits_and_withdrawals_of_many_threads_balance() {
        let budget = RetryBudget::new(100_000, 1.0);
        while budget.withdraw() {}
        let taken: u64 = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2_000).for_each(|_| budget.deposit()));
            }
            let takers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..2_000)
                            .map(|_| u64::from(budget.withdraw()))
                            .sum::<u64>()
                    })
                })
                .collect();
            takers.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(taken + budget.tokens(), 8_000);
    }
}
