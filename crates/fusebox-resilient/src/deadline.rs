//! The deadline: one moment by which a piece of work must be done, however many calls it makes.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::ambient::{Ambient, Scope};

/// About thirty years: later than this is never.
const FAR: Duration = Duration::from_hours(24 * 365 * 30);

thread_local! {
    static CURRENT: Cell<Option<Deadline>> = const { Cell::new(None) };
}

/// A moment by which work must be done.
///
/// Unlike a timeout it does not start anew with every call: what one call uses up is missing to
/// the next. Every protected call heeds the deadline in force around it, see
/// [`Deadline::scope`].
///
/// ```
/// use std::time::Duration;
/// use fusebox_resilient::Deadline;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let outer = Deadline::after(Duration::from_secs(2));
/// outer
///     .scope(async {
///         // A deadline inside can only be earlier, never later.
///         let inner = Deadline::after(Duration::from_secs(60));
///         inner.scope(async { assert_eq!(Deadline::current(), Some(outer)) }).await;
///     })
///     .await;
/// assert_eq!(Deadline::current(), None);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `time` from now.
    pub fn after(time: Duration) -> Self {
        Self::from_start(Instant::now(), time)
    }

    /// That moment.
    pub fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// The deadline in force around the running work, if there is one.
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// The moment as an instant of the runtime's clock.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// Time left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// True from the moment on.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Runs `work` under this deadline: every protected call in it ends in time.
    ///
    /// Inside another scope the earlier of the two holds. Tasks spawned by the work are not part
    /// of it. The work itself is not cut off; only protected calls are.
    ///
    /// # Cancel safety
    /// As cancel safe as `work`.
    pub fn scope<F: Future>(self, work: F) -> Scope<Self, F> {
        Scope::new(self, work)
    }

    pub(crate) fn from_start(start: Instant, time: Duration) -> Self {
        Self(start.checked_add(time.min(FAR)).unwrap_or(start))
    }

    pub(crate) fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min()
    }
}

impl Ambient for Deadline {
    type Before = Option<Deadline>;

    fn enter(&self) -> Option<Deadline> {
        let before = CURRENT.get();
        CURRENT.set(Self::earlier(before, Some(*self)));
        before
    }

    fn leave(before: Option<Deadline>) {
        CURRENT.set(before);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counts_down_to_zero() {
        let deadline = Deadline::after(Duration::from_secs(2));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(deadline.remaining(), Duration::from_millis(1_500));
        assert!(!deadline.has_passed());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(deadline.has_passed());
        let years = Duration::from_hours(24 * 365);
        for far in [years * 29, Duration::MAX] {
            assert!(Deadline::after(far).remaining() >= years * 29);
        }
    }

    #[test]
    fn holds_only_while_its_work_is_polled() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let deadline = Deadline::after(Duration::from_secs(1));
        let mut first = true;
        let mut work = pin!(deadline.scope(poll_fn(|_| {
            assert_eq!(Deadline::current(), Some(deadline));
            if std::mem::take(&mut first) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(work.as_mut().poll(&mut cx).is_pending());
        assert_eq!(
            Deadline::current(),
            None,
            "between polls the thread is free of it"
        );
        assert!(work.as_mut().poll(&mut cx).is_ready());
        assert_eq!(Deadline::current(), None);
    }
}
