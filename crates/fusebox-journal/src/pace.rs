//! How fast a journal fills or empties, from looks at its counters.

use std::collections::VecDeque;
use std::time::Duration;

/// Looks older than this are not counted any more.
const WINDOW: Duration = Duration::from_mins(1);

/// Between two looks that are kept lies at least this.
const STEP: Duration = Duration::from_secs(1);

/// What is there, and what has come and gone so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) added_records: u64,
    pub(crate) added_bytes: u64,
    pub(crate) settled_records: u64,
    pub(crate) max_records: u64,
    pub(crate) max_bytes: u64,
}

/// What the pace of late leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    pub(crate) time_to_full: Option<Duration>,
    pub(crate) time_to_empty: Option<Duration>,
}

/// Looks of the last minute: at most one a second is kept.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    looks: VecDeque<(Duration, u64, u64)>,
}

impl Pace {
    /// Takes a look at `now` into account and says what follows.
    pub(crate) fn look(&mut self, now: Duration, level: &Level) -> Outlook {
        while self.looks.len() > 1 && self.looks[1].0 + WINDOW <= now {
            self.looks.pop_front();
        }
        let outlook = self
            .looks
            .front()
            .and_then(|(then, added, settled)| {
                let passed = now.checked_sub(*then).filter(|t| !t.is_zero())?;
                let added = level.added_records.saturating_sub(*added);
                let settled = level.settled_records.saturating_sub(*settled);
                Some(outlook(level, passed, added, settled))
            })
            .unwrap_or_default();
        if self.looks.back().is_none_or(|(at, ..)| *at + STEP <= now) {
            self.looks
                .push_back((now, level.added_records, level.settled_records));
        }
        outlook
    }
}

fn outlook(level: &Level, passed: Duration, added: u64, settled: u64) -> Outlook {
    /// `amount` at a net rate of `change` records in `passed`.
    fn time(amount: f64, change: u64, passed: Duration) -> Option<Duration> {
        let seconds = amount * passed.as_secs_f64() / to_f64(change);
        Duration::try_from_secs_f64(seconds).ok()
    }
    let grows = added.saturating_sub(settled);
    let shrinks = settled.saturating_sub(added);
    let records_left = to_f64(level.max_records.saturating_sub(level.records));
    // Segments are freed as a whole, so bytes jump: the mean size of a record tells better.
    let mean = to_f64(level.added_bytes) / to_f64(level.added_records.max(1));
    let bytes_left = to_f64(level.max_bytes.saturating_sub(level.bytes)) / mean.max(1.0);
    Outlook {
        time_to_full: (grows > 0)
            .then(|| time(records_left.min(bytes_left), grows, passed))
            .flatten(),
        time_to_empty: match level.records {
            0 => Some(Duration::ZERO),
            records => (shrinks > 0)
                .then(|| time(to_f64(records), shrinks, passed))
                .flatten(),
        },
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an outlook need not be exact to the record"
)]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(added: u64, settled: u64) -> Level {
        Level {
            records: added - settled,
            bytes: (added - settled) * 1000,
            added_records: added,
            added_bytes: added * 1000,
            settled_records: settled,
            max_records: 1_000_000,
            max_bytes: 10_000_000,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_growing_journal_is_full_in_time() {
        let mut pace = Pace::default();
        assert_eq!(pace.look(SECOND, &level(1000, 0)).time_to_full, None);
        let outlook = pace.look(11 * SECOND, &level(2000, 0));
        // 100 a second; 8000 more fit into the bytes.
        assert_eq!(outlook.time_to_full, Some(80 * SECOND));
        assert_eq!(outlook.time_to_empty, None);
    }

    #[test]
    fn a_shrinking_journal_is_empty_in_time() {
        let mut pace = Pace::default();
        pace.look(SECOND, &level(5000, 0));
        let outlook = pace.look(2 * SECOND, &level(5100, 1100));
        assert_eq!(outlook.time_to_full, None);
        assert_eq!(outlook.time_to_empty, Some(4 * SECOND));
        let outlook = pace.look(3 * SECOND, &level(5100, 5100));
        assert_eq!(outlook.time_to_empty, Some(Duration::ZERO));
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let mut pace = Pace::default();
        for second in 0..200 {
            // Nothing comes for the last hundred seconds.
            let added = 10 * second.min(100);
            let now = SECOND * u32::try_from(second).unwrap();
            let outlook = pace.look(now, &level(added, 0));
            assert_eq!(
                outlook.time_to_full.is_some(),
                (1..160).contains(&second),
                "{second}"
            );
            assert!(pace.looks.len() <= 62);
        }
    }
}
