//! Striped counters: each of the first few threads writes a lane of its own, all others share one.
//!
//! A lane that belongs to one thread is written with a plain load and store: no locked instruction,
//! no cache line that travels. Ownership is a place of the thread, process-wide, taken at its first
//! use of any breaker and given back at its end. The shared lane is written with read-modify-write
//! operations. Sums are exact once writers have come to rest; while they write, a sum lies between
//! the counts before and after.
//!
//! Most breakers are used by one thread, or hardly at all, so only one lane lies in the breaker
//! itself: that of the first thread that comes. The others are made when a second thread does.

use std::sync::OnceLock;

use crate::sync::{AtomicU64, AtomicUsize, Ordering, update};

/// Places there are, the shared one included.
#[cfg(not(fusebox_loom))]
const PLACES: usize = 64;

/// The place of the shared lane.
const SHARED: usize = 0;

/// What is counted of the calls of one thread.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Over the breaker's life.
    pub(crate) admitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) successes: AtomicU64,
    /// In the present period, for a window of time (`crate::window::time` says how).
    pub(super) calls: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) slow: AtomicU64,
}

impl Lane {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            admitted: zero(),
            refused: zero(),
            successes: zero(),
            calls: zero(),
            failures: zero(),
            slow: zero(),
        }
    }
}

/// Stripes there are beside the first.
pub(crate) const OTHER_STRIPES: usize = if cfg!(fusebox_loom) { 1 } else { 8 };

/// See [`Lanes::stripe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stripe(usize);

impl Stripe {
    #[cfg(test)]
    pub(crate) const fn new(number: usize) -> Self {
        assert!(number <= OTHER_STRIPES);
        Self(number)
    }

    /// That of the threads of a place but the first lane's.
    #[inline]
    fn of(place: usize) -> Self {
        Self(1 + place % OTHER_STRIPES)
    }

    /// From zero, which is the first, to [`OTHER_STRIPES`].
    #[inline]
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

/// A cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Apart(Lane);

/// Whose lane the one in the breaker is, and the others.
#[derive(Debug)]
pub(crate) struct Others {
    /// The place of the thread that the breaker's own lane belongs to; [`SHARED`] is nobody's yet.
    home: AtomicUsize,
    /// By place; there once a second thread has come.
    lanes: OnceLock<Box<[Apart]>>,
}

impl Others {
    pub(crate) fn new() -> Self {
        let others = Self {
            home: AtomicUsize::new(SHARED),
            lanes: OnceLock::new(),
        };
        if cfg!(fusebox_loom) {
            // Loom does not see that the lock orders making them before using them.
            others.lanes();
        }
        others
    }

    fn lanes(&self) -> &[Apart] {
        self.lanes
            .get_or_init(|| (0..=owned_lanes()).map(|_| Apart(Lane::new())).collect())
    }
}

/// All lanes of a breaker. The first lies apart from the rest, so that the breaker can choose what
/// shares a cache line with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lanes<'a> {
    pub(crate) first: &'a Lane,
    pub(crate) others: &'a Others,
}

impl<'a> Lanes<'a> {
    /// The present thread's own lane; `None` when it shares one, or it has not been here before.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn own(self) -> Option<&'a Lane> {
        let place = own_place();
        if place == self.others.home.load(Ordering::Relaxed) {
            return Some(self.first);
        }
        let lane = self.others.lanes.get()?.get(place);
        lane.map(|lane| &lane.0)
    }

    /// The lane that the present thread writes.
    #[inline]
    pub(crate) fn here(self) -> Here<'a> {
        match self.own() {
            Some(lane) => Here {
                lane,
                is_shared: false,
            },
            None => self.seldom(),
        }
    }

    #[cold]
    #[inline(never)]
    fn seldom(self) -> Here<'a> {
        let mut place = own_place();
        if place == UNKNOWN {
            place = take_place();
        }
        let home = &self.others.home;
        let is_first = place != NONE
            && home
                .compare_exchange(SHARED, place, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|owner| owner == place, |_| true);
        if is_first {
            return Here {
                lane: self.first,
                is_shared: false,
            };
        }
        let lanes = self.others.lanes();
        // There always is a shared one.
        let (lane, is_shared) = match lanes.get(place) {
            Some(lane) => (lane, false),
            None => (&lanes[SHARED], true),
        };
        Here {
            lane: &lane.0,
            is_shared,
        }
    }

    /// The stripe that the present thread uses, of what is striped more coarsely and may be written
    /// by any thread: the first for the thread of the first lane.
    #[inline]
    pub(crate) fn stripe(self) -> Stripe {
        let place = own_place();
        if place == self.others.home.load(Ordering::Relaxed) {
            Stripe(0)
        } else {
            Stripe::of(place)
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a Lane> {
        let others = self.others.lanes.get().into_iter().flatten();
        std::iter::once(self.first).chain(others.map(|lane| &lane.0))
    }

    /// The sum of one count of all lanes, wrapping.
    pub(crate) fn sum(self, count: impl Fn(&Lane) -> u64) -> u64 {
        self.iter().map(count).fold(0, u64::wrapping_add)
    }
}

/// The lane that the present thread writes. Only the thread it was made for may use it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) lane: &'a Lane,
    is_shared: bool,
}

impl Here<'_> {
    /// Adds one to a cell of the lane, wrapping.
    #[inline]
    pub(crate) fn add(self, cell: &AtomicU64) {
        if self.is_shared {
            cell.fetch_add(1, Ordering::Relaxed);
        } else {
            add_own(cell);
        }
    }

    /// Replaces the value by what `step` makes of it; false when that is nothing.
    pub(crate) fn change(self, cell: &AtomicU64, mut step: impl FnMut(u64) -> Option<u64>) -> bool {
        if self.is_shared {
            return update(cell, step).is_some();
        }
        let next = step(cell.load(Ordering::Relaxed));
        if let Some(next) = next {
            cell.store(next, Ordering::Release);
        }
        next.is_some()
    }
}

/// Adds one to a cell of the present thread's own lane, wrapping.
#[expect(
    clippy::inline_always,
    reason = "a function's prologue is a tenth of the cost of a whole call"
)]
#[inline(always)]
pub(crate) fn add_own(cell: &AtomicU64) {
    let count = cell.load(Ordering::Relaxed);
    cell.store(count.wrapping_add(1), Ordering::Relaxed);
}

/// Lanes of a breaker on this machine, beside the shared one: enough that its threads rarely share
/// it, also where a runtime has as many threads as cores and others come and go.
fn owned_lanes() -> usize {
    #[cfg(not(fusebox_loom))]
    {
        static LANES: OnceLock<usize> = OnceLock::new();
        *LANES
            .get_or_init(|| lanes_for(std::thread::available_parallelism().map_or(1, usize::from)))
    }
    #[cfg(fusebox_loom)]
    0
}

#[cfg(not(fusebox_loom))]
fn lanes_for(cores: usize) -> usize {
    (2 * cores + 1).min(16)
}

/// Lanes for a test, which says itself who writes which.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct TestLanes {
    first: Lane,
    others: Others,
}

#[cfg(test)]
impl TestLanes {
    /// With a shared one and as many owned ones, beside the first.
    pub(crate) fn new(owned: usize) -> Self {
        let others = Others {
            home: AtomicUsize::new(SHARED),
            lanes: OnceLock::new(),
        };
        let made = others
            .lanes
            .set((0..=owned).map(|_| Apart(Lane::new())).collect());
        made.expect("not made before");
        Self {
            first: Lane::new(),
            others,
        }
    }

    pub(crate) fn all(&self) -> Lanes<'_> {
        Lanes {
            first: &self.first,
            others: &self.others,
        }
    }

    /// The shared lane is number 0.
    pub(crate) fn at(&self, place: usize) -> Here<'_> {
        let lanes = self.others.lanes.get().expect("made in `new`");
        Here {
            lane: &lanes[place].0,
            is_shared: place == SHARED,
        }
    }
}

/// The place of a thread that has not asked yet, and of one that has none.
const UNKNOWN: usize = usize::MAX;
const NONE: usize = usize::MAX - 1;
const _: () = assert!(NONE != UNKNOWN, "who has none does not ask again");

#[cfg(fusebox_loom)]
fn own_place() -> usize {
    UNKNOWN
}

#[cfg(fusebox_loom)]
fn take_place() -> usize {
    NONE
}

#[cfg(not(fusebox_loom))]
use places::{own_place, take_place};

/// Small places for threads, lowest first, used again when a thread has ended.
#[cfg(not(fusebox_loom))]
mod places {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{NONE, PLACES, UNKNOWN};

    /// One bit for each place in use; place 0 is that of the shared lane.
    static TAKEN: AtomicU64 = AtomicU64::new(1);

    thread_local! {
        static PLACE: Cell<usize> = const { Cell::new(UNKNOWN) };
        static RETURN: Return = const { Return };
    }

    /// Gives the thread's place back when the thread ends.
    struct Return;

    impl Drop for Return {
        fn drop(&mut self) {
            // What runs on this thread after here shares a lane.
            let place = PLACE.replace(NONE);
            if place < PLACES {
                // Release: the next owner sees what this one has written into its lanes.
                TAKEN.fetch_and(!(1 << place), Ordering::Release);
            }
        }
    }

    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(super) fn own_place() -> usize {
        PLACE.get()
    }

    /// The lowest place that is free taken as well.
    fn with_lowest(taken: u64) -> Option<u64> {
        (taken != u64::MAX).then(|| taken | (taken + 1))
    }

    #[cold]
    pub(super) fn take_place() -> usize {
        let place = TAKEN
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, with_lowest)
            .map_or(NONE, |before| before.trailing_ones() as usize);
        PLACE.set(place);
        if RETURN.try_with(|_| ()).is_err() {
            // The thread is ending already, and nothing would give the place back.
            drop(Return);
        }
        PLACE.get()
    }

    #[cfg(test)]
    mod tests {
        use std::collections::BTreeSet;
        use std::sync::{Barrier, Mutex};

        use super::*;

        /// Threads end in any order, so that free places lie between those in use.
        #[test]
        fn the_lowest_free_place_is_taken_and_no_other() {
            for (taken, expected) in [
                (0b0001, 0b0011),
                (0b0101, 0b0111),
                (0b0111, 0b1111),
                (u64::MAX >> 1, u64::MAX),
                (!0b1000, u64::MAX),
            ] {
                assert_eq!(with_lowest(taken), Some(expected), "{taken:b}");
            }
            assert_eq!(with_lowest(u64::MAX), None);
        }

        #[test]
        fn threads_alive_at_once_have_different_places_and_they_are_used_again() {
            let seen = Mutex::new(Vec::new());
            for _ in 0..40 {
                let together = Barrier::new(8);
                std::thread::scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(|| {
                            let place = take_place();
                            assert_eq!(own_place(), place);
                            assert_ne!(place, 0, "the shared lane's");
                            together.wait();
                            seen.lock().expect("no panic").push(place);
                        });
                    }
                });
                let mut round = seen.lock().expect("no panic");
                let owned: Vec<usize> = round.drain(..).filter(|n| *n < PLACES).collect();
                let different: BTreeSet<&usize> = owned.iter().collect();
                assert_eq!(different.len(), owned.len());
                // 40 rounds of 8 would have used up 63 places five times over.
                assert!(!owned.is_empty(), "places come back");
            }
        }
    }
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use std::ptr::eq;
    use std::thread;

    use super::*;

    /// The first thread gets the lane in the breaker, so that no other is made for it alone; a second
    /// one gets another. Both find theirs again without a search.
    #[test]
    fn a_thread_has_a_lane_once_it_has_been_here() {
        let first = Lane::new();
        let others = Others::new();
        let lanes = Lanes {
            first: &first,
            others: &others,
        };
        assert!(lanes.own().is_none(), "nobody has been here");
        let here = lanes.here();
        assert!(eq(here.lane, lanes.first) && !here.is_shared);
        assert!(lanes.own().is_some_and(|own| eq(own, lanes.first)));
        assert!(others.lanes.get().is_none(), "one lane does for one thread");
        assert_eq!(lanes.stripe().number(), 0);
        let second = || {
            assert!(lanes.own().is_none(), "another thread's");
            let here = lanes.here();
            assert!(!eq(here.lane, lanes.first));
            let again = lanes.own();
            assert_eq!(again.is_none(), here.is_shared, "where many threads are");
            assert!(again.is_none_or(|own| eq(own, here.lane)));
            assert!((1..=OTHER_STRIPES).contains(&lanes.stripe().number()));
        };
        thread::scope(|scope| scope.spawn(second).join()).expect("no panic");
        assert!(eq(lanes.here().lane, lanes.first), "still the first one's");
    }

    #[test]
    fn neighbours_have_different_stripes_and_all_are_used() {
        let stripes = [0, 1, 2, 3, 4, 5, 6, 7, 8, NONE].map(|place| Stripe::of(place).number());
        assert_eq!(stripes, [1, 2, 3, 4, 5, 6, 7, 8, 1, 7]);
    }

    /// The design page says how many: twice the cores and one, at most 16.
    #[test]
    fn lanes_are_enough_for_the_threads_of_a_machine() {
        let lanes = [1, 2, 7, 8, 64].map(lanes_for);
        assert_eq!(lanes, [3, 5, 15, 16, 16]);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(owned_lanes(), lanes_for(cores));
    }
}
