//! One order over two places: positions of events in memory and of records in the journal.
//!
//! A record of the journal has its place plus a shift, and the shift changes when a direct phase ends:
//! then everything the journal gets lies behind all that was held in memory. What moved from memory to
//! the journal keeps its old position for as long as this process lives.

use std::collections::HashSet;

use crate::record::Position;

#[derive(Debug)]
pub(super) struct Places {
    /// Position of the next event in memory.
    next: i64,
    /// From which place on which shift counts, ascending; never empty.
    stretches: Vec<Stretch>,
    /// The journal's next place when the direct phase began.
    direct_from: u64,
    /// Places of records that memory holds too, under another position.
    spilled: HashSet<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: u64,
    shift: i64,
}

impl Stretch {
    fn position(self, place: u64) -> Position {
        Position(signed(place).saturating_add(self.shift))
    }
}

fn signed(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            stretches: vec![Stretch { from: 0, shift: 0 }],
            direct_from: 0,
            spilled: HashSet::new(),
        }
    }

    pub(super) fn next_in_memory(&mut self) -> Position {
        let position = Position(self.next);
        self.next += 1;
        position
    }

    /// No append is under way, and the journal's next place is `next`: events are held in memory from
    /// now on, behind all that the journal has.
    pub(super) fn begin_direct(&mut self, next: u64) {
        self.next = self.next.max(self.of(next).0);
        self.direct_from = next;
    }

    /// From now on events go into the journal again.
    pub(super) fn end_direct(&mut self) {
        let stretch = Stretch {
            from: self.direct_from,
            shift: self.next - signed(self.direct_from),
        };
        if self
            .stretches
            .last()
            .is_some_and(|last| last.from == stretch.from)
        {
            self.stretches.pop();
        }
        self.stretches.push(stretch);
    }

    /// Where the direct phase began.
    pub(super) fn direct_from(&self) -> u64 {
        self.direct_from
    }

    /// The journal is empty: what once counted for its records can be forgotten.
    pub(super) fn forget_old(&mut self) {
        let old = self.stretches.len().saturating_sub(1);
        self.stretches.drain(..old);
    }

    /// An event in memory is in the journal too, at this place, until it is settled.
    pub(super) fn note_spilled(&mut self, place: fusebox_journal::Position) {
        self.spilled.insert(place.0);
    }

    pub(super) fn forget_spilled(&mut self, place: fusebox_journal::Position) {
        self.spilled.remove(&place.0);
    }

    pub(super) fn is_in_memory(&self, place: u64) -> bool {
        self.spilled.contains(&place)
    }

    /// The position of a record of the journal.
    pub(super) fn of(&self, place: u64) -> Position {
        let stretch = self.stretches.iter().rfind(|stretch| stretch.from <= place);
        // Before the first stretch there is nothing any more.
        stretch.map_or(Position::START, |stretch| stretch.position(place))
    }

    /// The last place at or before `position`: what lies behind it in the journal comes later.
    pub(super) fn in_journal(&self, position: Position) -> u64 {
        let before = |stretch: &Stretch| stretch.position(stretch.from) <= position;
        let Some(index) = self.stretches.iter().rposition(before) else {
            return self
                .stretches
                .first()
                .map_or(0, |first| first.from.saturating_sub(1));
        };
        let place = position.0.saturating_sub(self.stretches[index].shift);
        let place = u64::try_from(place).unwrap_or(0);
        match self.stretches.get(index + 1) {
            Some(next) => place.min(next.from.saturating_sub(1)),
            None => place,
        }
    }

    /// The place of a position that memory does not hold.
    pub(super) fn journal_place(&self, position: Position) -> fusebox_journal::Position {
        fusebox_journal::Position(self.in_journal(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_events_have_higher_positions_over_all_changes() {
        let mut places = Places::new();
        let mut order = vec![places.of(8), places.of(9)];
        for round in 0..3 {
            let next = 10 + round * 5;
            places.begin_direct(next);
            assert_eq!(places.direct_from(), next);
            order.push(places.next_in_memory());
            order.push(places.next_in_memory());
            places.end_direct();
            // The two spill, three more are published.
            places.note_spilled(fusebox_journal::Position(next));
            places.note_spilled(fusebox_journal::Position(next + 1));
            for place in next + 2..next + 5 {
                order.push(places.of(place));
            }
            assert!(places.is_in_memory(next) && !places.is_in_memory(next + 2));
        }
        let sorted = order.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(sorted, "{order:?}");
        // All of them are found again, whichever round they are of.
        for place in [8, 9, 12, 13, 14, 17, 18, 19, 22, 23, 24] {
            let position = places.of(place);
            assert_eq!(places.journal_place(position).0, place);
            assert_eq!(places.in_journal(position), place);
        }
        assert_eq!(places.in_journal(Position::START), 0);
        let last = places.of(24);
        places.forget_old();
        assert_eq!(places.of(24), last);
        assert_eq!(places.in_journal(Position::START), 19);
    }
}
