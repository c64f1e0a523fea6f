//! What a publisher tells about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fusebox_journal::Histogram;

use crate::bus::PublishError;

/// What a publisher has done.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct PublisherStats {
    /// Events that were made safe.
    pub accepted: u64,
    /// Events refused because as many waited as may.
    pub refused_full: u64,
    /// Events refused because the disk had no room.
    pub refused_no_space: u64,
    /// Events refused because they are too large, malformed, or dead.
    pub refused_invalid: u64,
    /// Events refused because journal or Kafka failed.
    pub refused_failed: u64,
    /// Callers that wait for room now.
    pub waiting_for_room: u64,
    /// Direct: events that were written to the journal because Kafka failed.
    pub spilled: u64,
    /// Times from the call to *safe*.
    pub latency: Histogram,
}

/// The counters behind it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    full: AtomicU64,
    no_space: AtomicU64,
    invalid: AtomicU64,
    failed: AtomicU64,
    buckets: [AtomicU64; 20],
    nanos: AtomicU64,
    longest: AtomicU64,
}

impl Counters {
    pub(super) fn count<T>(&self, result: &Result<T, PublishError>, took: Duration) {
        let counter = match result {
            Ok(_) => {
                self.observe(took);
                &self.accepted
            }
            Err(PublishError::Full) => &self.full,
            Err(PublishError::NoSpace) => &self.no_space,
            Err(PublishError::Backlog(_) | PublishError::Kafka(_)) => &self.failed,
            Err(
                PublishError::TooLarge { .. } | PublishError::Invalid(_) | PublishError::Dead(_),
            ) => &self.invalid,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn observe(&self, took: Duration) {
        let within = |i: &usize| Histogram::bound(*i).is_some_and(|bound| took < bound);
        let index = (0..19).find(within).unwrap_or(19);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[index].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(super) fn stats(&self, waiting: usize) -> PublisherStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut latency = Histogram::default();
        for (to, from) in latency.buckets.iter_mut().zip(&self.buckets) {
            *to = get(from);
        }
        latency.count = latency.buckets.iter().sum();
        latency.sum = Duration::from_nanos(get(&self.nanos));
        latency.max = Duration::from_nanos(get(&self.longest));
        PublisherStats {
            accepted: get(&self.accepted),
            refused_full: get(&self.full),
            refused_no_space: get(&self.no_space),
            refused_invalid: get(&self.invalid),
            refused_failed: get(&self.failed),
            waiting_for_room: waiting as u64,
            spilled: 0,
            latency,
        }
    }
}
