//! Retry with budget, back-off and `Retry-After` as a layer.
//!
//! A result is tried again while all of this holds: it may be sent again ([`crate::Replay`]), the
//! verdict on it says that another attempt may go better, it is no refusal of our own, attempts are
//! left, a `Retry-After` is not longer than [`RetryPolicy::longest_hint`], the wait ends before the
//! deadline in force, and the [`RetryBudget`] pays. The first that does not hold hands the result
//! to the caller as it is: there is no error of this layer's own.
//!
//! The first attempt goes to the inner service that was polled ready; a later one to a clone, which
//! is polled ready after the wait, so that no readiness is held while waiting. When that readiness
//! ends in an error, the error is the call's.

mod future;
mod layer;
mod service;

use std::time::Duration;

use fusebox::backoff::Backoff;
use fusebox_resilient::{Deadline, RetryBudget, Verdict};

pub use future::ResponseFuture;
pub use layer::RetryLayer;
pub use service::Retry;

/// How often, how soon and at whose expense calls are repeated.
///
/// ```
/// use std::time::Duration;
/// use fusebox_resilient::RetryBudget;
/// use fusebox_tower::RetryPolicy;
///
/// let policy = RetryPolicy::new(RetryBudget::new(10, 0.1)).with_max_attempts(2);
/// assert_eq!(policy.longest_hint, Duration::from_secs(2));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Most attempts, the first included; 0 counts as 1. Default: 3.
    pub max_attempts: u32,
    /// Waits between attempts. Default: 50 ms doubling to 2 s, of which chance takes up to all.
    pub backoff: Backoff,
    /// The longest wait a dependency may ask for; when it asks for more, the call is over.
    /// Default: 2 s.
    pub longest_hint: Duration,
    /// What repetitions are paid from. One budget should serve all callers of one dependency.
    pub budget: RetryBudget,
}

impl RetryPolicy {
    /// The defaults, paid from `budget`.
    pub fn new(budget: RetryBudget) -> Self {
        let longest = Duration::from_secs(2);
        Self {
            max_attempts: 3,
            backoff: Backoff::new(Duration::from_millis(50), longest).with_jitter(1.0),
            longest_hint: longest,
            budget,
        }
    }

    /// The same with another [`RetryPolicy::max_attempts`].
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The same with another [`RetryPolicy::backoff`].
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The same with another [`RetryPolicy::longest_hint`].
    #[must_use]
    pub fn with_longest_hint(mut self, time: Duration) -> Self {
        self.longest_hint = time;
        self
    }

    /// The wait before the attempt after `made` of them, or `None` when there is none. Pays for it.
    fn wait(&self, verdict: Verdict, made: u32, random: f64) -> Option<Duration> {
        if !verdict.may_retry() || made >= self.max_attempts {
            return None;
        }
        let mut wait = self.backoff.delay(made.saturating_sub(1), random);
        if let Some(hint) = verdict.retry_after() {
            if hint > self.longest_hint {
                return None;
            }
            // Never earlier than asked for, and not all at the same moment.
            let spread = hint.mul_f64(0.1 * random * self.backoff.jitter.clamp(0.0, 1.0));
            wait = wait.max(hint.saturating_add(spread));
        }
        if Deadline::current().is_some_and(|deadline| deadline.remaining() <= wait) {
            return None;
        }
        // Last, so that only what happens is paid for.
        self.budget.withdraw().then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy::new(RetryBudget::new(2, 0.0))
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_hint_is_never_undercut_and_spread_a_little() {
        let policy = policy();
        let verdict = Verdict::failure().with_retry_after(Some(1_000 * MS));
        assert_eq!(policy.wait(verdict, 1, 0.0), Some(1_000 * MS));
        assert_eq!(policy.wait(verdict, 1, 0.5), Some(1_050 * MS));
        let long = verdict.with_retry_after(Some(2_001 * MS));
        assert_eq!(policy.wait(long, 1, 0.0), None);
    }

    #[test]
    fn a_hint_shorter_than_the_backoff_does_not_shorten_it() {
        let verdict = Verdict::failure().with_retry_after(Some(10 * MS));
        assert_eq!(policy().wait(verdict, 2, 0.0), Some(100 * MS));
    }

    #[test]
    fn what_is_not_done_is_not_paid_for() {
        let policy = policy();
        assert_eq!(policy.wait(Verdict::failure(), 3, 0.0), None);
        assert_eq!(policy.wait(Verdict::permanent_failure(), 1, 0.0), None);
        assert_eq!(policy.wait(Verdict::neutral(), 1, 0.0), None);
        assert_eq!(policy.budget.tokens(), 2);
        assert!(policy.wait(Verdict::throttled(None), 1, 0.0).is_some());
        assert!(policy.wait(Verdict::failure(), 2, 0.0).is_some());
        assert_eq!(policy.wait(Verdict::failure(), 1, 0.0), None, "broke");
    }
}
