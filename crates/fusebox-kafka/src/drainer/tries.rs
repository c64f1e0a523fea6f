//! How often each record of the window was handed over, and whether a try may have reached Kafka.

use std::collections::BTreeMap;

use crate::broker::Attempt;
use crate::record::{Parked, Position};

/// Tries of records that are not settled. A record's first try leaves no entry before it has failed.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: BTreeMap<Position, Failed>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Failed {
    times: u32,
    may_be_there: bool,
}

impl Tries {
    /// The try that is about to be made.
    pub(super) fn next(&self, parked: &Parked) -> Attempt {
        let failed = self.failed.get(&parked.position).copied();
        let failed = failed.unwrap_or_default();
        let earlier = parked.attempts.saturating_add(failed.times);
        Attempt {
            number: earlier.saturating_add(1),
            // Of the tries of other processes nobody knows how they ended.
            maybe_duplicate: failed.may_be_there || parked.attempts > 0,
            admitted_at_ms: parked.admitted_at_ms,
        }
    }

    /// A try ended without a delivery.
    pub(super) fn failed(&mut self, position: Position, may_be_there: bool) {
        let failed = self.failed.entry(position).or_default();
        failed.times = failed.times.saturating_add(1);
        failed.may_be_there |= may_be_there;
    }

    /// The record has left the backlog.
    pub(super) fn forget(&mut self, position: Position) {
        if !self.failed.is_empty() {
            self.failed.remove(&position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn tries_are_counted_and_a_doubt_stays() {
        let mut tries = Tries::default();
        let mut parked = Parked {
            position: Position(7),
            record: Record {
                event_id: uuid::Uuid::nil(),
                topic: "t".into(),
                key: None,
                payload: bytes::Bytes::new(),
                headers: Vec::new(),
            },
            admitted_at_ms: 5,
            attempts: 0,
        };
        let numbers = |attempt: Attempt| (attempt.number, attempt.maybe_duplicate);
        assert_eq!(numbers(tries.next(&parked)), (1, false));
        tries.failed(Position(7), false);
        assert_eq!(numbers(tries.next(&parked)), (2, false));
        tries.failed(Position(7), true);
        tries.failed(Position(7), false);
        assert_eq!(numbers(tries.next(&parked)), (4, true));
        tries.forget(Position(7));
        assert_eq!(numbers(tries.next(&parked)), (1, false));
        parked.attempts = 1;
        assert_eq!(numbers(tries.next(&parked)), (2, true));
        assert_eq!(tries.next(&parked).admitted_at_ms, 5);
    }
}
