//! Places and those who wait for one, first come first served.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

/// Places in use and the queue before them. Lives under the limit's lock.
///
/// A place that becomes free while somebody waits is never free: it is *granted* to the first in
/// the queue at once, and counts as in use until that one takes it or goes away. So nobody who
/// comes later can slip in, and no wake-up can be lost.
#[derive(Debug)]
pub(crate) struct Queue {
    limit: u32,
    max_waiting: usize,
    in_use: u32,
    next: u64,
    waiting: BTreeMap<u64, Option<Waker>>,
    granted: BTreeSet<u64>,
}

/// What came of asking for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A place is the caller's.
    Inside,
    /// The caller waits under this number.
    Waits(u64),
    /// No place, and no room to wait.
    Full,
}

/// Those to wake once the lock is gone.
pub(crate) type Wakers = Vec<Waker>;

impl Queue {
    pub(crate) fn new(limit: u32, max_waiting: usize) -> Self {
        Self {
            limit,
            max_waiting,
            in_use: 0,
            next: 0,
            waiting: BTreeMap::new(),
            granted: BTreeSet::new(),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn ask(&mut self, may_wait: bool) -> Asked {
        if self.in_use < self.limit {
            debug_assert!(self.waiting.is_empty(), "free places are granted at once");
            self.in_use += 1;
            Asked::Inside
        } else if may_wait && self.waiting.len() < self.max_waiting {
            let number = self.next;
            self.next += 1;
            self.waiting.insert(number, None);
            Asked::Waits(number)
        } else {
            Asked::Full
        }
    }

    /// True when the place of `number` has come; otherwise `waker` is woken when it does.
    pub(crate) fn poll(&mut self, number: u64, waker: &Waker) -> bool {
        if self.granted.remove(&number) {
            return true;
        }
        if let Some(slot) = self.waiting.get_mut(&number)
            && !slot.as_ref().is_some_and(|old| old.will_wake(waker))
        {
            *slot = Some(waker.clone());
        }
        false
    }

    /// A place is given back.
    #[must_use = "who was granted a place must be woken"]
    pub(crate) fn leave(&mut self) -> Wakers {
        self.in_use -= 1;
        self.grant()
    }

    /// Someone waits no longer.
    #[must_use = "who was granted a place must be woken"]
    pub(crate) fn give_up(&mut self, number: u64) -> Wakers {
        if self.granted.remove(&number) {
            return self.leave();
        }
        self.waiting.remove(&number);
        Wakers::new()
    }

    /// A lower limit takes no place away: it waits until they are given back.
    #[must_use = "who was granted a place must be woken"]
    pub(crate) fn set_limit(&mut self, limit: u32) -> Wakers {
        self.limit = limit;
        self.grant()
    }

    fn grant(&mut self) -> Wakers {
        let mut wakers = Wakers::new();
        while self.in_use < self.limit
            && let Some((number, waker)) = self.waiting.pop_first()
        {
            self.in_use += 1;
            self.granted.insert(number);
            wakers.extend(waker);
        }
        wakers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::VecDeque;

    use super::*;

    proptest! {
        /// Against a plain list: nobody overtakes, no place is lost, none is given twice.
        #[test]
        fn behaves_like_a_list(
            limit in 1_u32..5,
            room in 0_usize..4,
            moves in prop::collection::vec((0_u8..5, 0_usize..8), 0..300),
        ) {
            let mut queue = Queue::new(limit, room);
            let mut limit = limit;
            let mut inside = 0_u32;
            let mut line: VecDeque<u64> = VecDeque::new();
            for (what, which) in moves {
                let wakers = match what {
                    0 | 1 => {
                        let granted = u32::try_from(queue.granted.len()).unwrap();
                        let free = inside + granted < limit;
                        prop_assert!(!free || line.len() == queue.granted.len());
                        match queue.ask(what == 0) {
                            Asked::Inside => { prop_assert!(free); inside += 1; }
                            Asked::Waits(n) => {
                                prop_assert!(!free && what == 0 && queue.waiting() <= room);
                                line.push_back(n);
                            }
                            Asked::Full => prop_assert!(!free),
                        }
                        Wakers::new()
                    }
                    2 if inside > 0 => { inside -= 1; queue.leave() }
                    3 if !line.is_empty() => {
                        let gone = line.remove(which % line.len()).unwrap();
                        queue.give_up(gone)
                    }
                    4 => { limit = u32::try_from(which).unwrap() + 1; queue.set_limit(limit) }
                    _ => Wakers::new(),
                };
                prop_assert!(wakers.is_empty(), "nobody has left a waker");
                // Whoever has been granted a place is a prefix of the line.
                let mut came = 0;
                for number in &line {
                    let granted = queue.granted.contains(number);
                    prop_assert!(!granted || came == line.iter().position(|n| n == number).unwrap());
                    came += usize::from(granted);
                }
                while let Some(first) = line.front()
                    && which.is_multiple_of(2)
                    && queue.poll(*first, Waker::noop())
                {
                    line.pop_front();
                    inside += 1;
                }
                for number in &line {
                    queue.waiting.entry(*number).and_modify(|waker| *waker = None);
                }
                let granted = u32::try_from(queue.granted.len()).unwrap();
                prop_assert_eq!(queue.in_use(), inside + granted);
                prop_assert_eq!(queue.waiting() + queue.granted.len(), line.len());
                prop_assert!(queue.waiting() == 0 || queue.in_use() >= limit, "a place lies idle");
            }
        }
    }
}
