//! Striped counters: each of the first few threads writes a lane of its own, all others share one.
//!
//! A lane that belongs to one thread is written with a plain load and store: no locked instruction,
//! no cache line that travels. Ownership is a number of the thread, process-wide, taken at its first
//! use of any breaker and given back at its end. The shared lane is written with read-modify-write
//! operations. Sums are exact once writers have come to rest; while they write, a sum lies between
//! the counts before and after.

use crate::sync::{AtomicU64, Ordering, update};

/// Threads that can have a number at the same time.
#[cfg(not(fusebox_loom))]
const NUMBERS: usize = 64;

/// Which lane a thread writes. Only the thread it was made for may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    /// 0 is the shared one.
    index: usize,
}

impl Lane {
    pub(crate) const SHARED: Lane = Lane { index: 0 };

    /// The lane of the present thread among as many as are owned beside the shared one.
    #[inline]
    pub(crate) fn among(owned: usize) -> Self {
        let number = thread_number();
        // The shared lane comes first, so number 0 owns lane 1.
        if number < owned {
            Self { index: number + 1 }
        } else {
            Self::seldom(owned, number)
        }
    }

    #[cold]
    fn seldom(owned: usize, number: usize) -> Self {
        let number = if number == UNKNOWN {
            take_number()
        } else {
            number
        };
        if number < owned {
            Self { index: number + 1 }
        } else {
            Self::SHARED
        }
    }

    /// A lane whose owner the test looks after.
    #[cfg(all(test, fusebox_loom))]
    pub(crate) const fn owned(index: usize) -> Self {
        Self { index }
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.index
    }

    /// Adds one, wrapping.
    #[inline]
    pub(crate) fn add(self, cell: &AtomicU64) {
        if self == Self::SHARED {
            cell.fetch_add(1, Ordering::Relaxed);
        } else {
            let count = cell.load(Ordering::Relaxed);
            cell.store(count.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Replaces the value by what `step` makes of it; false when that is nothing.
    #[inline]
    pub(crate) fn change(self, cell: &AtomicU64, mut step: impl FnMut(u64) -> Option<u64>) -> bool {
        if self == Self::SHARED {
            return update(cell, step).is_some();
        }
        let next = step(cell.load(Ordering::Relaxed));
        if let Some(next) = next {
            cell.store(next, Ordering::Release);
        }
        next.is_some()
    }
}

/// Lanes of a breaker on this machine: enough that its threads rarely share one.
pub(crate) fn owned_lanes() -> usize {
    #[cfg(not(fusebox_loom))]
    {
        use std::sync::OnceLock;
        static LANES: OnceLock<usize> = OnceLock::new();
        *LANES.get_or_init(|| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (cores + 1).min(8)
        })
    }
    #[cfg(fusebox_loom)]
    0
}

/// The number of a thread that has not asked yet.
const UNKNOWN: usize = usize::MAX;

#[cfg(fusebox_loom)]
fn thread_number() -> usize {
    UNKNOWN
}

#[cfg(fusebox_loom)]
fn take_number() -> usize {
    UNKNOWN
}

#[cfg(not(fusebox_loom))]
use numbers::{take_number, thread_number};

/// Small numbers for threads, lowest first, used again when a thread has ended.
#[cfg(not(fusebox_loom))]
mod numbers {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{NUMBERS, UNKNOWN};

    const NONE: usize = usize::MAX - 1;

    /// One bit for each number in use.
    static TAKEN: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(UNKNOWN) };
        static RETURN: Return = const { Return };
    }

    /// Gives the thread's number back when the thread ends.
    struct Return;

    impl Drop for Return {
        fn drop(&mut self) {
            // What runs on this thread after here shares a lane.
            let number = NUMBER.replace(NONE);
            if number < NUMBERS {
                // Release: the next owner sees what this one has written into its lanes.
                TAKEN.fetch_and(!(1 << number), Ordering::Release);
            }
        }
    }

    #[inline]
    pub(super) fn thread_number() -> usize {
        NUMBER.get()
    }

    #[cold]
    pub(super) fn take_number() -> usize {
        let claim = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        let number = TAKEN
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, claim)
            .map_or(NONE, |before| before.trailing_ones() as usize);
        NUMBER.set(number);
        if RETURN.try_with(|_| ()).is_err() {
            // The thread is ending already, and nothing would give the number back.
            drop(Return);
        }
        NUMBER.get()
    }

    #[cfg(test)]
    mod tests {
        use std::collections::BTreeSet;
        use std::sync::{Barrier, Mutex};

        use super::*;

        #[test]
        fn threads_alive_at_once_have_different_numbers_and_they_are_used_again() {
            let seen = Mutex::new(Vec::new());
            for _ in 0..40 {
                let together = Barrier::new(8);
                std::thread::scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(|| {
                            let number = take_number();
                            assert_eq!(thread_number(), number);
                            together.wait();
                            seen.lock().expect("no panic").push(number);
                        });
                    }
                });
                let mut round = seen.lock().expect("no panic");
                let owned: Vec<usize> = round.drain(..).filter(|n| *n < NUMBERS).collect();
                let different: BTreeSet<&usize> = owned.iter().collect();
                assert_eq!(different.len(), owned.len());
                // 40 rounds of 8 would have used up 64 numbers five times over.
                assert!(!owned.is_empty(), "numbers come back");
            }
        }
    }
}
