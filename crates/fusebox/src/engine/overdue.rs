//! Calls under way that have already taken too long: evidence of a hung dependency before any
//! result arrives.
//!
//! Calls are counted by when they began, in steps of an eighth to a quarter of the limit, in a ring
//! of cells that reaches back more than twice the limit. A cell also knows the latest beginning it
//! counts: when that one is overdue, all of the cell are. So a call is found overdue at the latest a
//! quarter of the limit after it is, and never before; alone in its cell, exactly then. What is
//! still counted in a cell when its time comes round again moves to the *veterans*.
//!
//! ```text
//! cell        tag:16 | scale:6 | step:18 | calls:24
//! veterans    tag:32 | calls:32 (a difference; may be negative for a moment)
//! name        tag:16 | scale:6 | step:18 | stripe + 1:24
//! ```
//!
//! The name of the cell travels with the call. When the call ends and its cell still has that name,
//! it is taken out there; else it has become a veteran. The exchange of the cell's word decides
//! which, so no call is taken out twice or forgotten.
//!
//! Rings are striped: a thread counts the calls that it begins in one of several, and a call is taken
//! out of the one it was counted in, on whatever thread it ends. Most breakers are used by one
//! thread, so only the first ring is there from the start.

use std::sync::OnceLock;

use crate::engine::word::{newer, tag};
use crate::sync::{AtomicU64, Ordering, update};
use crate::window::{OTHER_STRIPES, Stripe};

const CELLS: usize = 16;

const CALLS_BITS: u32 = 24;
const CALLS: u64 = (1 << CALLS_BITS) - 1;
const STEP_BITS: u32 = 18;
const STEP: u64 = (1 << STEP_BITS) - 1;
const SCALE_BITS: u32 = 6;
const SCALE_AT: u32 = CALLS_BITS + STEP_BITS;
const TAG_AT: u32 = SCALE_AT + SCALE_BITS;
const CELL_TAG: u32 = 64 - TAG_AT;

const VETERANS: u32 = 32;

/// Where a call under way is counted: its cell's name, and whose the cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellName(u64);

impl CellName {
    /// In none. The number of a stripe is counted from one, so a name is never zero.
    pub(crate) const NONE: CellName = CellName(0);

    fn new(name: u64, stripe: Stripe) -> Self {
        Self(name | (stripe.number() as u64 + 1))
    }

    #[inline]
    pub(crate) fn is_some(self) -> bool {
        self != Self::NONE
    }

    fn stripe(self) -> usize {
        (self.0 & CALLS) as usize - 1
    }

    fn name(self) -> u64 {
        self.0 & !CALLS
    }
}

#[derive(Debug)]
pub(crate) struct Overdue {
    /// When somebody must look again. Never further away than the limit, so that a call admitted
    /// while somebody looks is not overdue before the next look.
    next_look: AtomicU64,
    first: Ring,
    /// There once a second thread has come.
    others: OnceLock<Box<[Ring; OTHER_STRIPES]>>,
}

/// The calls under way that the threads of one stripe began.
#[derive(Debug)]
#[repr(align(64))]
struct Ring {
    cells: [Cell; CELLS],
    veterans: AtomicU64,
    /// The latest beginning among those that became veterans.
    veterans_began: AtomicU64,
}

#[derive(Debug)]
struct Cell {
    word: AtomicU64,
    /// The latest beginning counted here; it only grows.
    began: AtomicU64,
}

impl Overdue {
    pub(crate) fn new() -> Self {
        let overdue = Self {
            next_look: AtomicU64::new(0),
            first: Ring::new(),
            others: OnceLock::new(),
        };
        if cfg!(fusebox_loom) {
            // Loom does not see that the lock orders making them before using them.
            overdue.others();
        }
        overdue
    }

    #[cold]
    fn others(&self) -> &[Ring; OTHER_STRIPES] {
        self.others
            .get_or_init(|| Box::new(std::array::from_fn(|_| Ring::new())))
    }

    /// The ring of this number; stripes are numbered from the first one on.
    #[inline]
    fn ring(&self, stripe: usize) -> &Ring {
        let Some(other) = stripe.checked_sub(1) else {
            return &self.first;
        };
        match self.others.get() {
            Some(others) => &others[other],
            None => &self.others()[other],
        }
    }

    /// Counts a call of `generation` that begins now; in no cell when a later one has begun.
    #[inline]
    pub(crate) fn begin(&self, stripe: Stripe, generation: u64, now: u64, limit: u64) -> CellName {
        let scale = scale(limit);
        let name = name(generation, scale, now >> scale);
        let ring = self.ring(stripe.number());
        if ring.begin(name, generation, now) {
            CellName::new(name, stripe)
        } else {
            CellName::NONE
        }
    }

    /// Takes a call that has ended out, if its generation is the present one.
    #[inline]
    pub(crate) fn end(&self, generation: u64, cell: CellName) {
        self.ring(cell.stripe()).end(generation, cell.name());
    }

    /// True when it is time for [`Overdue::look`].
    #[inline]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.next_look.load(Ordering::Acquire)
    }

    /// The calls of `generation` that are overdue, if some have become so since the last look; for
    /// one thread of those that come at the same time.
    pub(crate) fn look(&self, generation: u64, now: u64, limit: u64) -> Option<u64> {
        let due = self.next_look.load(Ordering::Acquire);
        if now < due {
            return None;
        }
        let mut next = now.saturating_add(limit);
        let mut new = false;
        for (calls, end) in self.groups(generation, limit) {
            if calls > 0 && end > now {
                next = next.min(end);
            }
            // What was overdue at the last look lies before the time it set for this one.
            new |= calls > 0 && end <= now && end >= due;
        }
        let ours = self
            .next_look
            .compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire);
        (ours.is_ok() && new).then(|| self.count(generation, now, limit))
    }

    /// The calls of `generation` that are overdue at `now`.
    pub(crate) fn count(&self, generation: u64, now: u64, limit: u64) -> u64 {
        let overdue = self
            .groups(generation, limit)
            .filter(|(_, end)| *end <= now);
        // A veteran that has left before it was counted in is negative for a moment.
        overdue
            .map(|(calls, _)| calls)
            .sum::<i64>()
            .max(0)
            .unsigned_abs()
    }

    /// The limit has changed: the next look decides anew about everybody.
    pub(crate) fn reconsider(&self) {
        self.next_look.store(0, Ordering::Release);
    }

    /// Calls that become overdue together, and when.
    fn groups(&self, generation: u64, limit: u64) -> impl Iterator<Item = (i64, u64)> {
        let others = self.others.get().into_iter().flat_map(|rings| rings.iter());
        let groups = std::iter::once(&self.first)
            .chain(others)
            .flat_map(move |ring| ring.groups(generation));
        groups.map(move |(calls, began)| (calls, began.saturating_add(limit)))
    }
}

impl Ring {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            cells: std::array::from_fn(|_| Cell {
                word: zero(),
                began: zero(),
            }),
            veterans: zero(),
            veterans_began: zero(),
        }
    }

    /// Counts a call in the cell of this name; false when a later generation has begun, or the cell
    /// is full.
    #[inline]
    fn begin(&self, name: u64, generation: u64, now: u64) -> bool {
        let cell = &self.cells[place(name)];
        let began = cell.began.load(Ordering::Acquire);
        // Before the count, so that nobody sees the call with too early a beginning.
        if began < now {
            cell.began.fetch_max(now, Ordering::AcqRel);
        }
        let own = tag::<CELL_TAG>(generation);
        let counted = update(&cell.word, |seen| {
            if seen & !CALLS == name {
                // Sixteen million calls in one cell: it counts no more rather than overflow.
                (seen & CALLS < CALLS).then(|| seen + 1)
            } else if newer::<CELL_TAG>(seen >> TAG_AT, own) {
                None
            } else {
                Some(name | 1)
            }
        });
        let Some((seen, _)) = counted else {
            return false;
        };
        if seen & !CALLS != name && seen >> TAG_AT == own && seen & CALLS > 0 {
            self.retire(generation, seen, began, now);
        }
        true
    }

    #[inline]
    fn end(&self, generation: u64, name: u64) {
        let here = update(&self.cells[place(name)].word, |seen| {
            (seen & !CALLS == name && seen & CALLS > 0).then(|| seen - 1)
        });
        if here.is_none() {
            self.add_veterans(generation, u64::MAX);
        }
    }

    /// Calls that become overdue together, and the latest beginning among them.
    fn groups(&self, generation: u64) -> impl Iterator<Item = (i64, u64)> {
        let own = tag::<CELL_TAG>(generation);
        let cells = self.cells.iter().map(move |cell| {
            let word = cell.word.load(Ordering::Acquire);
            let calls = if word >> TAG_AT == own {
                word & CALLS
            } else {
                0
            };
            (calls.cast_signed(), cell.began.load(Ordering::Acquire))
        });
        let veterans = self.veterans.load(Ordering::Acquire);
        let left = if veterans >> VETERANS == tag::<VETERANS>(generation) {
            i64::from(low(veterans).cast_signed())
        } else {
            0
        };
        cells.chain([(left, self.veterans_began.load(Ordering::Acquire))])
    }

    /// The cell's time has come round while calls are still counted in it, by the name in `seen`.
    #[cold]
    fn retire(&self, generation: u64, seen: u64, began: u64, now: u64) {
        // `began` may already be of the new lap; the end of the old step is a bound as well.
        let scale = seen >> SCALE_AT & ((1 << SCALE_BITS) - 1);
        let step = seen >> CALLS_BITS & STEP;
        let laps_ago = (now >> scale).wrapping_sub(step) & STEP;
        let step_end = (now >> scale)
            .saturating_sub(laps_ago)
            .saturating_add(1)
            .saturating_mul(1 << scale);
        let began = began.min(step_end);
        self.veterans_began.fetch_max(began, Ordering::AcqRel);
        self.add_veterans(generation, seen & CALLS);
    }

    fn add_veterans(&self, generation: u64, difference: u64) {
        let own = tag::<VETERANS>(generation);
        let _: Option<(u64, u64)> = update(&self.veterans, |seen| {
            let theirs = seen >> VETERANS;
            if newer::<VETERANS>(theirs, own) {
                return None;
            }
            let calls = if theirs == own { low(seen) } else { 0 };
            Some(own << VETERANS | u64::from(calls.wrapping_add(low(difference))))
        });
    }
}

/// The length of a step is two to the power of this: an eighth to a quarter of the limit.
fn scale(limit: u64) -> u32 {
    (limit / 4).max(1).ilog2()
}

fn name(generation: u64, scale: u32, step: u64) -> u64 {
    tag::<CELL_TAG>(generation) << TAG_AT
        | u64::from(scale) << SCALE_AT
        | (step & STEP) << CALLS_BITS
}

fn place(name: u64) -> usize {
    (name >> CALLS_BITS) as usize % CELLS
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is what is wanted"
)]
const fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a list of all calls under way: never more than are overdue, and all of those that
        /// have been for a quarter of the limit.
        #[test]
        fn between_the_list_and_the_list_of_a_quarter_later(
            limit in 4_u64..5_000,
            steps in prop::collection::vec((0_u8..10, 0_u64..400, any::<prop::sample::Index>()), 1..400),
        ) {
            let overdue = Overdue::new();
            let mut under_way: Vec<(u64, CellName)> = Vec::new();
            let mut now = 0;
            for (what, by, which) in steps {
                match what {
                    0..=4 => under_way.push((now, overdue.begin(Stripe::new(which.index(3)), 3, now, limit))),
                    5..=6 if !under_way.is_empty() => {
                        let (_, name) = under_way.remove(which.index(under_way.len()));
                        overdue.end(3, name);
                    }
                    7 => now += by * limit / 50,
                    _ => now += by * limit / 2_000,
                }
                let longer = |than: u64| under_way.iter().filter(|(began, _)| now - began >= than).count() as u64;
                let counted = overdue.count(3, now, limit);
                prop_assert!(counted <= longer(limit), "{} of {}", counted, longer(limit));
                prop_assert!(counted >= longer(limit + limit.div_ceil(4) + 1), "{}", counted);
                prop_assert_eq!(overdue.count(4, now, limit), 0, "of another generation");
            }
            for (_, name) in under_way.drain(..) {
                overdue.end(3, name);
            }
            prop_assert_eq!(overdue.count(3, u64::MAX, limit), 0, "nobody is left behind");
        }
    }

    const ONE: Stripe = Stripe::new(0);

    #[test]
    fn calls_that_began_together_are_overdue_together_and_told_once() {
        let overdue = Overdue::new();
        assert_eq!(overdue.look(0, 0, 1_000), None);
        for _ in 0..5 {
            overdue.begin(ONE, 0, 7, 1_000);
        }
        assert!(!overdue.is_due(999) && overdue.is_due(1_000));
        assert_eq!(overdue.look(0, 1_000, 1_000), None);
        assert_eq!(overdue.look(0, 1_006, 1_000), None);
        assert_eq!(overdue.look(0, 1_007, 1_000), Some(5));
        assert_eq!(overdue.look(0, 3_000, 1_000), None, "nothing new");
        overdue.reconsider();
        assert_eq!(overdue.look(0, 4_000, 5_000), None);
        assert_eq!(overdue.look(0, 5_007, 5_000), Some(5));
    }

    #[test]
    fn calls_of_all_stripes_are_overdue_together_and_end_where_they_began() {
        let overdue = Overdue::new();
        let names: Vec<CellName> = (0..=OTHER_STRIPES)
            .map(|number| overdue.begin(Stripe::new(number), 0, 8, 1_000))
            .collect();
        let mut left = names.len() as u64;
        assert_eq!(overdue.count(0, 1_007, 1_000), 0);
        for name in names {
            assert_eq!(overdue.count(0, 1_008, 1_000), left);
            overdue.end(0, name);
            left -= 1;
        }
        assert_eq!(overdue.count(0, 1_008, 1_000), 0);
    }

    /// The same name comes back to a cell while calls of it are veterans: all are taken out in the end.
    #[test]
    fn a_limit_that_changes_and_changes_back_leaves_nobody_behind() {
        let overdue = Overdue::new();
        let names = [1_000, 90_000, 1_000].map(|limit| overdue.begin(ONE, 0, 0, limit));
        assert_eq!(names[0], names[2]);
        for (left, name) in [(2, names[0]), (1, names[2]), (0, names[1])] {
            overdue.end(0, name);
            assert_eq!(overdue.count(0, u64::MAX, 1_000), left);
        }
    }

    /// A thread of the new lap may have dated the cell already: then all that is known of the old calls
    /// is the end of their step.
    #[test]
    fn a_veteran_began_before_the_end_of_its_step() {
        let scale = scale(1_000);
        let length = 1 << scale;
        let lap = CELLS as u64;
        for (step, laps) in [(0, 1), (5, 1), (5, 3), (STEP, 1)] {
            let seen = name(7, scale, step) | 2;
            let now = (step + laps * lap) * length + 17;
            for (began, expected) in [
                (now, (step + 1) * length),
                (step * length + 3, step * length + 3),
            ] {
                let ring = Ring::new();
                ring.retire(7, seen, began, now);
                let (calls, since) = ring.groups(7).last().expect("veterans");
                assert_eq!((calls, since), (2, expected), "{step}, {laps} laps ago");
            }
        }
    }

    #[test]
    fn a_full_cell_counts_no_more() {
        let overdue = Overdue::new();
        let name = overdue.begin(ONE, 0, 0, 1_000);
        let cell = &overdue.first.cells[place(name.name())].word;
        cell.store(name.name() | (CALLS - 1), Ordering::Relaxed);
        assert_eq!(overdue.begin(ONE, 0, 0, 1_000), name);
        assert_eq!(overdue.begin(ONE, 0, 0, 1_000), CellName::NONE);
        assert_eq!(overdue.count(0, 1_000, 1_000), CALLS);
    }

    #[test]
    fn a_new_generation_starts_with_nobody_and_the_old_ones_disturb_it_not() {
        let overdue = Overdue::new();
        let old = overdue.begin(ONE, 1, 5, 100);
        let new = overdue.begin(ONE, 2, 5, 100);
        assert_eq!(
            overdue.begin(ONE, 1, 5, 100),
            CellName::NONE,
            "too late to be counted"
        );
        assert_eq!(overdue.count(2, 200, 100), 1);
        overdue.end(1, old);
        assert_eq!(overdue.count(2, 200, 100), 1);
        overdue.end(2, new);
        assert_eq!(overdue.count(2, 200, 100), 0);
    }
}

#[cfg(all(test, fusebox_loom))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn explore(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    const ONE: Stripe = Stripe::new(0);

    /// A call ends while its cell's time comes round: it is taken out of where it is, once.
    #[test]
    fn nobody_is_taken_out_twice_or_left_behind() {
        explore(|| {
            let overdue = Arc::new(Overdue::new());
            let lap = CELLS as u64;
            let old = [0, 0].map(|_| overdue.begin(ONE, 1, 0, 4));
            let other = Arc::clone(&overdue);
            let thread = thread::spawn(move || other.end(1, old[0]));
            let new = overdue.begin(ONE, 1, lap, 4);
            thread.join().expect("no panic");
            assert_eq!(overdue.count(1, lap, 4), 1, "the other old one");
            overdue.end(1, old[1]);
            assert_eq!(overdue.count(1, lap + 4, 4), 1, "the new one");
            overdue.end(1, new);
            assert_eq!(overdue.count(1, u64::MAX, 4), 0);
        });
    }

    /// Two that look at once: one of them is told, and a call admitted meanwhile is not forgotten.
    #[test]
    fn the_new_ones_are_told_once() {
        explore(|| {
            let overdue = Arc::new(Overdue::new());
            overdue.begin(ONE, 1, 0, 8);
            assert_eq!(overdue.look(1, 0, 8), None);
            let other = Arc::clone(&overdue);
            let thread = thread::spawn(move || {
                let told = other.look(1, 8, 8);
                other.begin(ONE, 1, 8, 8);
                told
            });
            let ours = overdue.look(1, 8, 8);
            let theirs = thread.join().expect("no panic");
            assert!(ours.is_some() != theirs.is_some(), "{ours:?} {theirs:?}");
            assert!(overdue.is_due(16));
            assert_eq!(overdue.look(1, 16, 8), Some(2));
        });
    }
}
