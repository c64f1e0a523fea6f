//! The bulkhead: a bound on the calls under way at once, without a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the calls under way; full means refused, never queued.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    limit: u32,
    taken: AtomicU32,
}

/// One of the places; dropping gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    bulkhead: Arc<Bulkhead>,
}

impl Bulkhead {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            taken: AtomicU32::new(0),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        // Relaxed: the count alone decides, no memory is handed over with a place.
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.limit).then(|| taken + 1)
            })
            .ok()
            .map(|_| Place {
                bulkhead: Arc::clone(self),
            })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bulkhead.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_given_back_can_be_taken_again() {
        let bulkhead = Arc::new(Bulkhead::new(2));
        let first = bulkhead.enter().unwrap();
        let second = bulkhead.enter().unwrap();
        assert!(bulkhead.enter().is_none());
        drop(first);
        let third = bulkhead.enter();
        assert!(third.is_some() && bulkhead.enter().is_none());
        drop((second, third));
        assert_eq!(bulkhead.taken.load(Ordering::Relaxed), 0);
    }
}
