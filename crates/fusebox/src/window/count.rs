//! The exact last N calls: a ring of marks and their running sum.

use super::{Mark, Totals};

#[derive(Debug)]
pub(crate) struct CountWindow {
    ring: Box<[Mark]>,
    /// Where the next mark goes.
    next: usize,
    /// Marks held; below the ring's length only until it is full for the first time.
    held: usize,
    /// Always the sum over the held marks.
    sum: Totals,
}

impl CountWindow {
    pub(crate) fn new(calls: u32) -> Self {
        Self {
            ring: vec![Mark::default(); calls as usize].into_boxed_slice(),
            next: 0,
            held: 0,
            sum: Totals::default(),
        }
    }

    pub(crate) fn record(&mut self, mark: Mark) {
        let old = std::mem::replace(&mut self.ring[self.next], mark);
        if self.held == self.ring.len() {
            self.sum.remove(old.into());
        } else {
            self.held += 1;
        }
        self.sum.add(mark);
        self.next = (self.next + 1) % self.ring.len();
    }

    pub(crate) fn totals(&self) -> Totals {
        self.sum
    }

    pub(crate) fn clear(&mut self) {
        self.next = 0;
        self.held = 0;
        self.sum = Totals::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle keeps every call in a queue and counts anew each time.
        #[test]
        fn agrees_with_a_queue_of_the_last_calls(
            calls in 1_u32..40,
            marks in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u8..100), 0..400),
        ) {
            let mut window = CountWindow::new(calls);
            let mut oracle: VecDeque<Mark> = VecDeque::new();
            for (failed, slow, dice) in marks {
                if dice == 0 {
                    window.clear();
                    oracle.clear();
                } else {
                    let mark = Mark { failed, slow };
                    window.record(mark);
                    oracle.push_back(mark);
                    if oracle.len() > calls as usize {
                        oracle.pop_front();
                    }
                }
                let expected = Totals {
                    calls: oracle.len() as u64,
                    failures: oracle.iter().filter(|mark| mark.failed).count() as u64,
                    slow: oracle.iter().filter(|mark| mark.slow).count() as u64,
                };
                prop_assert_eq!(window.totals(), expected);
            }
        }
    }
}
