//! The circuits by name in bounded room, and which of them has been idle the longest.
//!
//! Recency is that of a clock with a hand: each use sets a mark, and the hand takes the first slot
//! without one, clearing marks on its way. A use costs one relaxed load once the mark is set; a
//! full round of the hand costs what an exact list would cost in every call. Nothing here asks a
//! circuit for its state, because that may run observers, which may come back to the registry.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::breaker::CircuitBreaker;
use crate::config::BreakerConfig;

/// Set by a use, cleared by the passing hand.
const SINCE_HAND: u8 = 1;
/// Set by a use, cleared by every look for idle circuits.
const SINCE_LOOK: u8 = 2;
const USED: u8 = SINCE_HAND | SINCE_LOOK;

/// One circuit and what the registry knows of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) breaker: CircuitBreaker,
    /// The settings it was made with; `None` for the template.
    pub(super) base: Option<Arc<BreakerConfig>>,
    /// Made by key: it may be removed to make room, or when it is idle.
    pub(super) keyed: bool,
    marks: AtomicU8,
    /// Tells it from an earlier circuit of the same name.
    serial: u64,
}

/// A circuit that may be removed if its state allows it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) breaker: CircuitBreaker,
    serial: u64,
}

impl Slot {
    fn candidate(&self) -> Candidate {
        Candidate {
            breaker: self.breaker.clone(),
            serial: self.serial,
        }
    }

    fn touch(&self) {
        // No write when both are set already: threads that use one circuit share the line.
        if self.marks.load(Ordering::Relaxed) != USED {
            self.marks.store(USED, Ordering::Relaxed);
        }
    }

    /// Clears a mark and answers whether it was set.
    fn clear(&mut self, mark: u8) -> bool {
        let marks = self.marks.get_mut();
        let was_set = *marks & mark != 0;
        *marks &= !mark;
        was_set
    }
}

/// Circuits by name.
#[derive(Debug, Default)]
pub(super) struct Table {
    index: HashMap<Arc<str>, usize>,
    /// A removed circuit leaves its place to the next new one: the hand has just been there.
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    last_serial: u64,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&CircuitBreaker> {
        let slot = self.slots[*self.index.get(name)?].as_ref()?;
        slot.touch();
        Some(&slot.breaker)
    }

    pub(super) fn slot_mut(&mut self, name: &str) -> Option<&mut Slot> {
        self.slots[*self.index.get(name)?].as_mut()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// Adds a circuit whose name is free.
    pub(super) fn insert(
        &mut self,
        breaker: CircuitBreaker,
        base: Option<Arc<BreakerConfig>>,
        keyed: bool,
    ) {
        self.last_serial += 1;
        let name = breaker.name().into();
        let slot = Some(Slot {
            breaker,
            base,
            keyed,
            // Without the hand's mark: a key that comes once goes before one that comes again.
            marks: AtomicU8::new(SINCE_LOOK),
            serial: self.last_serial,
        });
        let at = if let Some(at) = self.free.pop() {
            self.slots[at] = slot;
            at
        } else {
            self.slots.push(slot);
            self.slots.len() - 1
        };
        self.index.insert(name, at);
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<CircuitBreaker> {
        let at = self.index.remove(name)?;
        self.free.push(at);
        Some(self.slots[at].take()?.breaker)
    }

    /// Moves the hand to the next keyed circuit that nobody has used since it last came by, and
    /// takes what it passes from `steps`. `None` when they are used up.
    pub(super) fn next_unused(&mut self, steps: &mut usize) -> Option<Candidate> {
        while *steps > 0 && !self.slots.is_empty() {
            *steps -= 1;
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if let Some(slot) = self.slots[at].as_mut().filter(|slot| slot.keyed)
                && !slot.clear(SINCE_HAND)
            {
                return Some(slot.candidate());
            }
        }
        None
    }

    /// The keyed circuits that nobody has used since the last call of this.
    pub(super) fn take_idle(&mut self) -> Vec<Candidate> {
        let keyed = self.slots.iter_mut().flatten();
        keyed
            .filter(|slot| slot.keyed)
            .filter_map(|slot| (!slot.clear(SINCE_LOOK)).then(|| slot.candidate()))
            .collect()
    }

    /// Removes the candidate unless it was used or replaced meanwhile.
    pub(super) fn remove_unused(&mut self, candidate: &Candidate) -> bool {
        let name = candidate.breaker.name();
        let unused = self
            .slot_mut(name)
            .is_some_and(|slot| slot.serial == candidate.serial && *slot.marks.get_mut() != USED);
        unused && self.remove(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &mut Table, name: &str) {
        let breaker = CircuitBreaker::builder(name).build().expect("a name");
        table.insert(breaker, None, true);
    }

    fn candidate(table: &mut Table) -> Candidate {
        table.next_unused(&mut 10).expect("an unused one")
    }

    #[test]
    fn one_that_was_used_after_it_was_found_stays() {
        let mut table = Table::default();
        put(&mut table, "a");
        let found = candidate(&mut table);
        table.get("a").expect("there");
        assert!(!table.remove_unused(&found));
        assert_eq!(table.len(), 1);
        // Found idle by a look, and used after it.
        assert!(table.take_idle().is_empty());
        let found = table.take_idle().pop().expect("idle since the look before");
        table.get("a").expect("there");
        assert!(!table.remove_unused(&found));
    }

    #[test]
    fn a_new_circuit_of_the_same_name_is_another() {
        let mut table = Table::default();
        put(&mut table, "a");
        let found = candidate(&mut table);
        table.remove("a").expect("there");
        assert!(!table.remove_unused(&found), "it has gone");
        put(&mut table, "a");
        assert!(!table.remove_unused(&found), "the new one stays");
        let found = candidate(&mut table);
        assert!(table.remove_unused(&found));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn places_are_used_again() {
        let mut table = Table::default();
        put(&mut table, "stays");
        for n in 0..100 {
            put(&mut table, &n.to_string());
            table.remove(&n.to_string()).expect("there");
        }
        assert_eq!(table.slots.len(), 2);
        assert_eq!(table.slots().count(), 1);
    }
}
