//! How often each record was handed over, whether a try may have reached Kafka, and which records were
//! refused and must go alone.

use std::collections::BTreeMap;

use super::retry::Retry;
use crate::broker::{Attempt, SendError};
use crate::record::{Parked, Position};

/// Tries of records that are not settled. A record's first try leaves no entry before it has failed.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: BTreeMap<Position, Failed>,
}

#[derive(Debug, Clone, Default)]
struct Failed {
    times: u32,
    may_be_there: bool,
    trial: Option<Trial>,
}

/// The history of a record that was refused: it is sent alone until it is delivered or condemned.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) first: SendError,
    /// Tries that were refused.
    pub(super) attempts: u32,
    pub(super) retry: Retry,
}

impl Tries {
    /// The try that is about to be made.
    pub(super) fn next(&self, parked: &Parked) -> Attempt {
        let failed = self.failed.get(&parked.position);
        let (times, may_be_there) = failed.map_or((0, false), |f| (f.times, f.may_be_there));
        let earlier = parked.attempts.saturating_add(times);
        Attempt {
            number: earlier.saturating_add(1),
            // Of the tries of other processes nobody knows how they ended.
            maybe_duplicate: may_be_there || parked.attempts > 0,
            admitted_at_ms: parked.admitted_at_ms,
        }
    }

    /// A try ended without a delivery.
    pub(super) fn failed(&mut self, position: Position, may_be_there: bool) {
        let failed = self.failed.entry(position).or_default();
        failed.times = failed.times.saturating_add(1);
        failed.may_be_there |= may_be_there;
    }

    /// The history of a record that must go alone.
    pub(super) fn trial(&self, position: Position) -> Option<&Trial> {
        self.failed.get(&position)?.trial.as_ref()
    }

    /// From now on the record goes alone, or as any other.
    pub(super) fn set_trial(&mut self, position: Position, trial: Option<Trial>) {
        self.failed.entry(position).or_default().trial = trial;
    }

    /// Nothing is held against any record: another process goes on.
    pub(super) fn acquit_all(&mut self) {
        for failed in self.failed.values_mut() {
            failed.trial = None;
        }
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
