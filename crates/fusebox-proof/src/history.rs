//! Judges what became of events: what was called safe, against what the topics hold.
//!
//! Of every event a publisher knows one of three things: it is *safe*, it was refused, or the answer
//! never came (the process died first). Loss is a safe event that is nowhere. One whose answer never
//! came may be there or not; that is neither loss nor a fault.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// Names an event: its lane, and its number in it, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName {
    /// The lane.
    pub lane: u32,
    /// In the order of publishing.
    pub number: u32,
}

impl EventName {
    /// The number of the event's id, from which the event can be told again.
    pub fn id(self) -> u128 {
        u128::from(self.lane) << 64 | u128::from(self.number) | 1 << 127
    }

    /// The event of an id.
    pub fn of(id: u128) -> Option<Self> {
        let number = u32::try_from(id & u128::from(u64::MAX)).ok()?;
        let lane = u32::try_from((id & !(1 << 127)) >> 64).ok()?;
        (id >> 127 == 1).then_some(Self { lane, number })
    }
}

/// One record of a topic, in the order of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Which event it is.
    pub event: EventName,
    /// Whether its sender said that it may be a repetition.
    pub marked: bool,
}

/// What publishers know.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    safe: HashSet<EventName>,
    refused: HashMap<EventName, usize>,
    asked: HashMap<u32, u32>,
    closed: bool,
}

impl Ledger {
    /// The event is about to be published.
    pub fn ask(&mut self, event: EventName) {
        let next = self.asked.entry(event.lane).or_default();
        *next = (*next).max(event.number + 1);
    }

    /// The publisher was told that the event is safe.
    pub fn safe(&mut self, event: EventName) {
        self.ask(event);
        self.safe.insert(event);
    }

    /// The publisher was told that the event is not kept, which may be, and publishes it again with the same
    /// id: what then is there twice is its own repetition, which no sender can mark.
    pub fn refused(&mut self, event: EventName) {
        *self.refused.entry(event).or_default() += 1;
    }

    /// The number of the lane's next event.
    pub fn next(&self, lane: u32) -> u32 {
        self.asked.get(&lane).copied().unwrap_or(0)
    }

    /// Says that nothing more is to be published.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether nothing more is to be published.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many events are known to be safe.
    pub fn len(&self) -> usize {
        self.safe.len()
    }

    /// Whether no event is known to be safe.
    pub fn is_empty(&self) -> bool {
        self.safe.is_empty()
    }

    /// Compares with what the topics hold: partitions in any order, each in its own. `dead` are events
    /// among the dead letters.
    pub fn judge<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a Vec<Found>>,
        dead: &HashSet<EventName>,
    ) -> Verdict {
        let mut verdict = Verdict {
            safe: self.safe.len(),
            ..Verdict::default()
        };
        let mut seen = HashSet::new();
        let mut unmarked: HashMap<_, usize> = HashMap::new();
        // The highest first occurrence of each lane; a lane lives in one partition.
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for found in partitions.into_iter().flatten() {
            let EventName { lane, number } = found.event;
            // The first in time is the one without a mark, but it may come to lie behind a repetition.
            if !found.marked {
                let times = unmarked.entry(found.event).or_default();
                *times += 1;
                let published = 1 + self.refused.get(&found.event).copied().unwrap_or(0);
                verdict.unmarked += usize::from(*times > published);
            }
            if number >= self.next(lane) {
                verdict.unknown.push(found.event);
            } else if !seen.insert(found.event) {
                verdict.duplicates += 1;
            } else {
                match last.get(&lane) {
                    Some(before) if *before > number => verdict.reordered.push(found.event),
                    _ => drop(last.insert(lane, number)),
                }
            }
        }
        verdict.arrived = seen.len();
        let missing = self.safe.difference(&seen);
        verdict.lost = missing.filter(|e| !dead.contains(e)).copied().collect();
        verdict.lost.sort();
        verdict
    }
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Events known to be safe.
    pub safe: usize,
    /// Different events in the topics.
    pub arrived: usize,
    /// Safe events that are nowhere.
    pub lost: Vec<EventName>,
    /// Events whose first occurrence comes after that of a later one of their lane.
    pub reordered: Vec<EventName>,
    /// Occurrences beyond the first.
    pub duplicates: usize,
    /// Of those, such that nobody can tell: without a mark, beyond one occurrence of an event for each time it
    /// was published.
    pub unmarked: usize,
    /// Events that nobody has published.
    pub unknown: Vec<EventName>,
}

impl Verdict {
    /// Fails when something was lost, reordered or made up.
    ///
    /// # Panics
    /// Then.
    pub fn assert_complete_and_in_order(&self) {
        let few = |events: &[EventName]| format!("{:?}", &events[..events.len().min(10)]);
        assert!(self.lost.is_empty(), "{self}, lost: {}", few(&self.lost));
        assert!(
            self.reordered.is_empty(),
            "{self}, reordered: {}",
            few(&self.reordered)
        );
        assert!(self.unknown.is_empty(), "{self}: {}", few(&self.unknown));
    }

    /// Fails when something was lost, reordered, made up, or is there twice.
    ///
    /// # Panics
    /// Then.
    pub fn assert_exact(&self) {
        self.assert_complete_and_in_order();
        assert_eq!(self.duplicates, 0, "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} safe, {} arrived, {} lost, {} reordered, {} duplicates ({} unmarked), {} unknown",
            self.safe,
            self.arrived,
            self.lost.len(),
            self.reordered.len(),
            self.duplicates,
            self.unmarked,
            self.unknown.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(lane: u32, number: u32) -> EventName {
        EventName { lane, number }
    }

    fn found(lane: u32, numbers: &[u32]) -> Vec<Found> {
        let found = |number: &u32| Found {
            event: event(lane, *number),
            marked: false,
        };
        numbers.iter().map(found).collect()
    }

    fn ledger(lane: u32, safe: &[u32], asked: u32) -> Ledger {
        let mut ledger = Ledger::default();
        for number in 0..asked {
            ledger.ask(event(lane, number));
        }
        for number in safe {
            ledger.safe(event(lane, *number));
        }
        ledger
    }

    #[test]
    fn an_event_is_told_from_its_id() {
        for name in [event(0, 0), event(7, 9), event(u32::MAX, u32::MAX)] {
            assert_eq!(EventName::of(name.id()), Some(name));
        }
        assert_eq!(EventName::of(7), None);
        assert_eq!(EventName::of(u128::MAX), None);
    }

    #[test]
    fn what_is_safe_must_be_there_and_what_was_asked_may_be() {
        let ledger = ledger(1, &[0, 2], 4);
        let none = HashSet::new();
        ledger.judge([&found(1, &[0, 2])], &none).assert_exact();
        ledger
            .judge([&found(1, &[0, 1, 2, 3])], &none)
            .assert_exact();
        let verdict = ledger.judge([&found(1, &[0, 1, 3])], &none);
        assert_eq!(verdict.lost, [event(1, 2)]);
        let dead = HashSet::from([event(1, 2)]);
        ledger.judge([&found(1, &[0, 1, 3])], &dead).assert_exact();
        let verdict = ledger.judge([&found(1, &[0, 2, 4])], &none);
        assert_eq!(verdict.unknown, [event(1, 4)]);
    }

    #[test]
    fn order_is_that_of_first_occurrences_in_each_lane() {
        let ledger = ledger(1, &[0, 1, 2], 3);
        let none = HashSet::new();
        let verdict = ledger.judge([&found(1, &[0, 1, 0, 1, 2])], &none);
        verdict.assert_complete_and_in_order();
        assert_eq!((verdict.duplicates, verdict.unmarked), (2, 2));
        let verdict = ledger.judge([&found(1, &[0, 2, 1])], &none);
        assert_eq!(verdict.reordered, [event(1, 1)]);
    }

    #[test]
    fn who_publishes_again_after_a_refusal_repeats_it_himself() {
        let mut ledger = ledger(1, &[0], 1);
        let none = HashSet::new();
        ledger.refused(event(1, 0));
        let unmarked = |numbers| ledger.judge([&found(1, numbers)], &none).unmarked;
        assert_eq!((unmarked(&[0, 0]), unmarked(&[0, 0, 0])), (0, 1));
    }

    #[test]
    #[should_panic(expected = "1 duplicates")]
    fn exact_means_once() {
        ledger(1, &[0], 1)
            .judge([&found(1, &[0, 0])], &HashSet::new())
            .assert_exact();
    }
}
