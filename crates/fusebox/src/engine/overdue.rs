//! Calls under way that have already taken too long: evidence of a hung dependency before any
//! result arrives.

use std::collections::BTreeMap;
use std::time::Duration;

/// The calls under way of the present generation, while slow calls are judged.
///
/// Bounded by the callers: one entry for each call under way.
#[derive(Debug, Default)]
pub(crate) struct Overdue {
    /// Serial and start of calls not yet overdue. Serials and starts grow together.
    pending: BTreeMap<u64, Duration>,
    late: BTreeMap<u64, Duration>,
}

impl Overdue {
    pub(crate) fn begin(&mut self, serial: u64, at: Duration) {
        self.pending.insert(serial, at);
    }

    /// Takes a finished call out, if it is here at all.
    pub(crate) fn end(&mut self, serial: u64) {
        if self.pending.remove(&serial).is_none() {
            self.late.remove(&serial);
        }
    }

    /// Finds the calls that became overdue by `now`; true when there are new ones.
    pub(crate) fn advance(&mut self, longest: Duration, now: Duration) -> bool {
        let before = self.late.len();
        while let Some(first) = self.pending.first_entry() {
            if now.saturating_sub(*first.get()) < longest {
                break;
            }
            let (serial, start) = first.remove_entry();
            self.late.insert(serial, start);
        }
        self.late.len() > before
    }

    /// Number of calls under way that are overdue, as of the last [`Overdue::advance`].
    pub(crate) fn count(&self) -> u64 {
        self.late.len() as u64
    }

    /// Forgets who is overdue, because the limit changes; the next [`Overdue::advance`] decides.
    pub(crate) fn reconsider(&mut self) {
        self.pending.append(&mut self.late);
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.late.clear();
    }
}
