//! A thread that tells the time, so that reading it is one load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Clock, MonotonicClock};

/// The time as a thread last wrote it down; clones share the thread.
///
/// The thread does nothing but sleep for the period and look at a [`MonotonicClock`], and ends when
/// the last handle is gone. On a machine with nothing else to do the time is as old as the period;
/// where the thread has to wait for a processor it is older, for as long as it waits.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, TickerClock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ticker = TickerClock::start(Duration::from_millis(1))?;
/// let breaker = CircuitBreaker::builder("content_client").clock(ticker.clone()).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TickerClock {
    nanos: Arc<AtomicU64>,
}

impl TickerClock {
    /// Starts a thread that looks at the clock every `period`, at the most often every 100 µs.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(period: Duration) -> std::io::Result<Self> {
        let nanos = Arc::new(AtomicU64::new(0));
        let shared = Arc::downgrade(&nanos);
        let period = period.max(Duration::from_micros(100));
        std::thread::Builder::new()
            .name("fusebox-ticker".into())
            .spawn(move || tick(&shared, period))?;
        Ok(Self { nanos })
    }

    /// Where the thread writes the time, which it does as long as somebody has this.
    pub(super) fn into_nanos(self) -> Arc<AtomicU64> {
        self.nanos
    }
}

impl Clock for TickerClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    #[inline]
    fn nanos(&self) -> u64 {
        // Nothing else is published by it.
        self.nanos.load(Ordering::Relaxed)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread that has nothing else to do"
)]
fn tick(shared: &Weak<AtomicU64>, period: Duration) {
    let clock = MonotonicClock::new();
    while let Some(nanos) = shared.upgrade() {
        nanos.store(clock.nanos(), Ordering::Relaxed);
        drop(nanos);
        std::thread::sleep(period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ticks_while_somebody_has_it_and_then_ends() {
        let ticker = TickerClock::start(Duration::from_millis(1)).expect("a thread");
        let clock = MonotonicClock::new();
        let mut last = ticker.now();
        let mut ticks = 0;
        while ticks < 5 {
            let now = ticker.clone().now();
            assert!(now >= last);
            ticks += u32::from(now > last);
            last = now;
            assert!(clock.now() < Duration::from_secs(20), "it stands still");
            std::thread::yield_now();
        }
        let shared = Arc::downgrade(&ticker.nanos);
        drop(ticker);
        while shared.strong_count() > 0 {
            assert!(clock.now() < Duration::from_secs(40), "it does not end");
            std::thread::yield_now();
        }
    }
}
