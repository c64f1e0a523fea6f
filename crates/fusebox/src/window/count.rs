//! The exact last N calls, without a lock: a ring of marks, and their sum.
//!
//! A ticket from `head` names the slot a call overwrites. When the slot already holds the same mark
//! nothing changes. Otherwise the slot is exchanged, and the *difference* between the new mark and the old one is added to the sum. The
//! differences telescope: whatever the order in which threads get through, at rest the sum is that
//! of the ring (`at_rest_the_sum_is_that_of_the_ring`, and loom's model of the same).
//!
//! ```text
//! slot      tag:14 | slow:1 | failed:1
//! counts    tag:30 | calls:17 | failures:17      each field plus BIAS
//! slow      tag:30 | slow calls:34               plus BIAS
//! ```
//!
//! While the window is full of quick successes, another one takes out such a success and brings one
//! in: it changes nothing, wherever the ring stands, and so takes no ticket. A healthy circuit only
//! reads its sums.
//!
//! Between a thread's two steps another's difference may arrive first, so a field can fall below
//! what is true for a moment. `BIAS` keeps it above zero, so that nothing is borrowed from its
//! neighbour, while fewer than `BIAS` threads are in between at once.
//!
//! Marks and sums of another generation count as absent. 14 bits of tag are few, so every
//! [`REFRESH`] generations whoever began that generation dates old slots up
//! ([`CountWindow::refresh`]).

use super::{Mark, Totals};
use crate::engine::word::{newer, tag};
use crate::sync::{AtomicU16, AtomicU64, Ordering, update};

const SLOT_TAG: u32 = 14;
const FAILED: u16 = 1;
const SLOW: u16 = 2;

const SUM_TAG: u32 = 30;
const FIELD: u32 = 17;
const CALLS: u64 = 1 << FIELD;
const FAILURES: u64 = 1;
const BIAS: u64 = 1024;
const SUM_AT: u32 = 2 * FIELD;

/// The longest window: a full field plus twice the bias fits.
pub(crate) const MOST_CALLS: u32 = 100_000;
const _: () = assert!(MOST_CALLS as u64 + 2 * BIAS < 1 << FIELD);

/// Generations from one refresh of old slots to the next: well below half the range of their tags.
pub(crate) const REFRESH: u64 = 1 << 12;

#[derive(Debug)]
pub(crate) struct CountWindow {
    /// Tickets drawn. A `u64`, so that the ring never loses its place.
    head: AtomicU64,
    counts: AtomicU64,
    slow: AtomicU64,
    /// The fields of `counts` when all is well.
    full: u64,
    ring: Box<[AtomicU16]>,
    /// 2^64 / N rounded down. Multiplying by the next number divides a ticket below it exactly.
    exact_below: u64,
}

impl CountWindow {
    pub(crate) fn new(calls: u32) -> Self {
        debug_assert!((1..=MOST_CALLS).contains(&calls), "validated");
        let n = u64::from(calls);
        // No generation comes before the first, so this tag is nobody's until slots are refreshed.
        let absent = slot(u64::MAX, Mark::default());
        Self {
            head: AtomicU64::new(0),
            counts: AtomicU64::new(fresh_counts(0)),
            slow: AtomicU64::new(fresh_slow(0)),
            full: (BIAS + n) * CALLS + BIAS * FAILURES,
            ring: (0..calls).map(|_| AtomicU16::new(absent)).collect(),
            // For N = 1 the next number does not fit.
            exact_below: if n == 1 { 0 } else { u64::MAX / n },
        }
    }

    pub(crate) fn has_shape(&self, calls: u32) -> bool {
        self.ring.len() as u64 == u64::from(calls)
    }

    /// Takes one call of `generation` in, and answers the totals; `None` when a later generation
    /// has begun.
    #[inline]
    pub(crate) fn record(&self, generation: u64, mark: Mark) -> Option<Totals> {
        let new = slot(generation, mark);
        let place = self.next_place();
        let old = self.ring[place].load(Ordering::Relaxed);
        if old == new {
            return Some(self.totals(generation));
        }
        self.exchange(place, generation, new, old)
    }

    /// [`CountWindow::record`] of a quick success, which needs no totals: it worsens nothing. False
    /// when a later generation has begun.
    #[inline]
    pub(crate) fn succeed(&self, generation: u64) -> bool {
        self.is_all_well(generation) || self.succeed_by_ticket(generation)
    }

    /// [`CountWindow::succeed`] while something is not well.
    #[inline(never)]
    pub(crate) fn succeed_by_ticket(&self, generation: u64) -> bool {
        let new = slot(generation, Mark::default());
        let place = self.next_place();
        let old = self.ring[place].load(Ordering::Relaxed);
        old == new || self.exchange(place, generation, new, old).is_some()
    }

    /// Is the window full, of nothing but quick successes of `generation`? Then one more changes
    /// nothing. Whoever comes while another enters a failure came before it.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn is_all_well(&self, generation: u64) -> bool {
        let of = tag::<SUM_TAG>(generation) << SUM_AT;
        self.counts.load(Ordering::Relaxed) == of | self.full
            && self.slow.load(Ordering::Relaxed) == of | BIAS
    }

    #[cold]
    #[inline(never)]
    fn exchange(&self, place: usize, generation: u64, new: u16, mut old: u16) -> Option<Totals> {
        let own = tag::<SLOT_TAG>(generation);
        let replaced = loop {
            let theirs = u64::from(old >> 2);
            if newer::<SLOT_TAG>(theirs, own) {
                return None;
            }
            // Relaxed will do: differences commute, and nothing else is published by a slot.
            match self.ring[place].compare_exchange_weak(
                old,
                new,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break (theirs == own).then_some(old),
                Err(now) => old = now,
            }
        };
        let counted = |slot: u16| CALLS + FAILURES * u64::from(slot & FAILED);
        let slowness = |slot: u16| u64::from(slot & SLOW != 0);
        let counts = counted(new).wrapping_sub(replaced.map_or(0, counted));
        let slow = slowness(new).wrapping_sub(replaced.map_or(0, slowness));
        // A sum that is still an older generation's is dated up, or it would never say that all is
        // well.
        if slow != 0 || self.slow.load(Ordering::Relaxed) >> SUM_AT != tag::<SUM_TAG>(generation) {
            add::<SUM_AT>(&self.slow, generation, fresh_slow, slow)?;
        }
        let counts = if counts == 0 {
            self.counts.load(Ordering::Relaxed)
        } else {
            add::<SUM_AT>(&self.counts, generation, fresh_counts, counts)?
        };
        Some(unpack(
            generation,
            counts,
            self.slow.load(Ordering::Relaxed),
        ))
    }

    /// What the window holds of `generation`.
    pub(crate) fn totals(&self, generation: u64) -> Totals {
        let slow = self.slow.load(Ordering::Relaxed);
        unpack(generation, self.counts.load(Ordering::Relaxed), slow)
    }

    /// Dates every slot of an old generation as of the last one, so that its few bits of tag never
    /// come round to look like a later generation's. For the one who began `generation`, a multiple
    /// of [`REFRESH`].
    pub(crate) fn refresh(&self, generation: u64) {
        let own = tag::<SLOT_TAG>(generation);
        let absent = slot(generation.wrapping_sub(1), Mark::default());
        for cell in &self.ring {
            let seen = cell.load(Ordering::Relaxed);
            if newer::<SLOT_TAG>(own, u64::from(seen >> 2)) {
                // Lost to a writer of a later generation, it needs no more dating.
                cell.compare_exchange(seen, absent, Ordering::Relaxed, Ordering::Relaxed)
                    .ok();
            }
        }
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper half of a product, and a place in the ring"
    )]
    fn next_place(&self) -> usize {
        let ticket = self.head.fetch_add(1, Ordering::Relaxed);
        let n = self.ring.len() as u64;
        let laps = if ticket < self.exact_below {
            ((u128::from(ticket) * u128::from(self.exact_below + 1)) >> 64) as u64
        } else {
            ticket / n
        };
        (ticket - laps * n) as usize
    }

    /// What the ring itself says; only meaningful while nobody writes.
    #[cfg(test)]
    pub(crate) fn ring_totals(&self, generation: u64) -> Totals {
        let mut totals = Totals::default();
        for cell in &self.ring {
            let slot = cell.load(Ordering::Relaxed);
            if u64::from(slot >> 2) == tag::<SLOT_TAG>(generation) {
                totals.add(Mark {
                    failed: slot & FAILED != 0,
                    slow: slot & SLOW != 0,
                });
            }
        }
        totals
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a tag of 14 bits")]
fn slot(generation: u64, mark: Mark) -> u16 {
    (tag::<SLOT_TAG>(generation) as u16) << 2 | u16::from(mark.slow) << 1 | u16::from(mark.failed)
}

fn fresh_counts(generation: u64) -> u64 {
    (tag::<SUM_TAG>(generation) << SUM_AT) + BIAS * (CALLS + FAILURES)
}

fn fresh_slow(generation: u64) -> u64 {
    (tag::<SUM_TAG>(generation) << SUM_AT) + BIAS
}

/// Adds a difference to a sum of `generation`, which begins fresh when it is an older one's.
fn add<const AT: u32>(
    sum: &AtomicU64,
    generation: u64,
    fresh: fn(u64) -> u64,
    difference: u64,
) -> Option<u64> {
    let own = tag::<SUM_TAG>(generation);
    let (_, sum) = update(sum, |seen| {
        let theirs = seen >> AT;
        if newer::<SUM_TAG>(theirs, own) {
            return None;
        }
        let base = if theirs == own {
            seen
        } else {
            fresh(generation)
        };
        Some(base.wrapping_add(difference))
    })?;
    Some(sum)
}

fn unpack(generation: u64, counts: u64, slow: u64) -> Totals {
    let own = tag::<SUM_TAG>(generation);
    let mask = (1 << FIELD) - 1;
    let of = |word: u64, value: u64| {
        if word >> SUM_AT == own {
            value.saturating_sub(BIAS)
        } else {
            0
        }
    };
    Totals {
        calls: of(counts, counts >> FIELD & mask),
        failures: of(counts, counts & mask),
        slow: of(slow, slow & ((1 << SUM_AT) - 1)),
    }
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn sum(marks: &VecDeque<Mark>) -> Totals {
        let mut totals = Totals::default();
        for mark in marks {
            totals.add(*mark);
        }
        totals
    }

    proptest! {
        /// The oracle keeps every call in a queue and counts anew each time.
        #[test]
        fn agrees_with_a_queue_of_the_last_calls(
            calls in 1_u32..40,
            late in any::<bool>(),
            marks in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u8..100), 0..400),
        ) {
            let window = CountWindow::new(calls);
            let mut generation = 0_u64;
            if late {
                // To where the tags of slots come round.
                while generation < (1 << SLOT_TAG) - 5 {
                    generation = (generation + REFRESH).min((1 << SLOT_TAG) - 5);
                    window.refresh(generation);
                }
            }
            let mut oracle: VecDeque<Mark> = VecDeque::new();
            for (failed, slow, dice) in marks {
                if dice == 0 {
                    generation += 1;
                    oracle.clear();
                } else {
                    let mark = Mark { failed, slow };
                    if dice % 2 == 0 && mark == Mark::default() {
                        window.succeed(generation);
                    } else {
                        let told = window.record(generation, mark);
                        prop_assert_eq!(told, Some(window.totals(generation)));
                    }
                    oracle.push_back(mark);
                    if oracle.len() > calls as usize {
                        oracle.pop_front();
                    }
                }
                let expected = sum(&oracle);
                prop_assert_eq!(window.totals(generation), expected);
                prop_assert_eq!(window.ring_totals(generation), expected);
                let well = expected.calls == u64::from(calls) && expected.failures + expected.slow == 0;
                prop_assert_eq!(window.is_all_well(generation), well);
            }
        }

        /// Multiplying by the reciprocal is division, for tickets up to the bound and beyond it.
        #[test]
        fn tickets_go_round_the_ring(n in 1_u32..=MOST_CALLS, near in 0_u64..1_000, ticket in any::<u64>()) {
            let window = CountWindow::new(n);
            let n = u64::from(n);
            let edge = window.exact_below;
            let tickets = [ticket, ticket % (edge + 1), near, edge.saturating_sub(near), edge.saturating_add(near)];
            for ticket in tickets {
                window.head.store(ticket, Ordering::Relaxed);
                prop_assert_eq!(window.next_place() as u64, ticket % n, "{} of {}", ticket, n);
            }
        }
    }

    #[test]
    fn a_writer_of_an_earlier_generation_changes_nothing() {
        let window = CountWindow::new(3);
        let failed = Mark {
            failed: true,
            slow: true,
        };
        for _ in 0..3 {
            window.record(8, Mark::default());
        }
        let before = window.totals(8);
        assert_eq!(window.record(7, failed), None);
        assert_eq!((window.totals(8), window.ring_totals(8)), (before, before));
    }

    /// Without the refresh a slot of 2^14 generations ago would pass for a present one.
    #[test]
    fn old_slots_never_look_present() {
        let window = CountWindow::new(4);
        let failed = Mark {
            failed: true,
            slow: false,
        };
        for _ in 0..4 {
            window.record(5, failed);
        }
        for generation in 6..=5 + (3 << SLOT_TAG) {
            if generation % REFRESH == 0 {
                window.refresh(generation);
            }
            assert_eq!(
                window.ring_totals(generation),
                Totals::default(),
                "{generation}"
            );
        }
        let generation = 5 + (3 << SLOT_TAG);
        window.record(generation, failed);
        assert_eq!(window.totals(generation).failures, 1);
    }

    /// Results of a generation may come before old slots have been dated up for it.
    #[test]
    fn a_refresh_leaves_the_present_generation_alone() {
        let window = CountWindow::new(4);
        let failed = Mark {
            failed: true,
            slow: false,
        };
        window.record(REFRESH, failed);
        window.refresh(REFRESH);
        assert_eq!(window.ring_totals(REFRESH), window.totals(REFRESH));
        assert_eq!(window.totals(REFRESH).failures, 1);
    }

    /// A full ring of the longest kind stays inside its fields.
    #[test]
    fn the_longest_window_fits() {
        let window = CountWindow::new(MOST_CALLS);
        let bad = Mark {
            failed: true,
            slow: true,
        };
        for _ in 0..MOST_CALLS + 5 {
            window.record(1, bad);
        }
        let all = u64::from(MOST_CALLS);
        assert_eq!(
            window.totals(1),
            Totals {
                calls: all,
                failures: all,
                slow: all
            }
        );
    }

    /// Threads of two generations at once: at rest the sum is that of the ring.
    #[test]
    fn at_rest_the_sum_is_that_of_the_ring() {
        for round in 0..20 {
            let window = CountWindow::new(1 + round % 7);
            std::thread::scope(|scope| {
                for seed in 1..=4_u64 {
                    let window = &window;
                    scope.spawn(move || {
                        let mut dice = seed;
                        for turn in 0..3_000_u64 {
                            dice ^= dice << 13;
                            dice ^= dice >> 7;
                            dice ^= dice << 17;
                            let generation = turn / 700 + dice % 2;
                            let mark = Mark {
                                failed: dice & 4 != 0,
                                slow: dice & 8 != 0,
                            };
                            window.record(generation, mark);
                        }
                    });
                }
            });
            for generation in 0..=5 {
                let ring = window.ring_totals(generation);
                // Only the newest generation's sum is kept.
                if window.totals(generation).calls > 0 {
                    assert_eq!(window.totals(generation), ring);
                }
            }
            assert!(window.totals(5).calls > 0);
        }
    }
}

#[cfg(all(test, fusebox_loom))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    const OK: Mark = Mark {
        failed: false,
        slow: false,
    };
    const BAD: Mark = Mark {
        failed: true,
        slow: true,
    };

    fn explore(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    #[test]
    fn at_rest_the_sum_is_that_of_the_ring() {
        explore(|| {
            let window = Arc::new(CountWindow::new(2));
            let other = Arc::clone(&window);
            let thread = thread::spawn(move || {
                other.record(1, BAD);
                other.succeed(1);
            });
            window.record(1, BAD);
            thread.join().expect("no panic");
            assert_eq!(window.totals(1), window.ring_totals(1));
            assert_eq!(window.totals(1).calls, 2);
        });
    }

    #[test]
    fn a_late_writer_spoils_nothing() {
        explore(|| {
            let window = Arc::new(CountWindow::new(1));
            let other = Arc::clone(&window);
            let thread = thread::spawn(move || {
                other.record(1, BAD);
            });
            window.succeed(2);
            thread.join().expect("no panic");
            let now = window.totals(2);
            assert_eq!((now.calls, now.failures, now.slow), (1, 0, 0));
            assert_eq!(now, window.ring_totals(2));
        });
    }

    /// Without the bias a field below zero borrows from its neighbour, or from the tag.
    #[test]
    fn totals_are_sane_while_writers_overlap() {
        explore(|| {
            let window = Arc::new(CountWindow::new(1));
            window.succeed(1);
            let sane = |totals: Option<Totals>| {
                let totals = totals.expect("nobody has begun another generation");
                assert!(
                    totals.calls == 1 && totals.failures <= 1 && totals.slow <= 1,
                    "{totals:?}"
                );
            };
            let other = Arc::clone(&window);
            let thread = thread::spawn(move || sane(other.record(1, BAD)));
            sane(window.record(1, OK));
            thread.join().expect("no panic");
            assert_eq!(window.totals(1), window.ring_totals(1));
        });
    }

    /// All is well until a failure has been entered, and never for those who come after it.
    #[test]
    fn a_failure_is_not_overlooked() {
        explore(|| {
            let window = Arc::new(CountWindow::new(2));
            window.succeed(1);
            window.succeed(1);
            assert!(window.is_all_well(1) && !window.is_all_well(2));
            let entered = Arc::new(AtomicU64::new(0));
            let (other, told) = (Arc::clone(&window), Arc::clone(&entered));
            let thread = thread::spawn(move || {
                other.record(1, BAD);
                told.store(1, Ordering::Release);
            });
            let after = entered.load(Ordering::Acquire) == 1;
            assert!(!(after && window.is_all_well(1)));
            window.succeed(1);
            thread.join().expect("no panic");
            let totals = window.totals(1);
            assert_eq!((totals.calls, totals.failures, totals.slow), (2, 1, 1));
            assert_eq!(totals, window.ring_totals(1));
            window.succeed(1);
            window.succeed(1);
            assert!(window.is_all_well(1), "it has left the window");
        });
    }

    /// Of two that fail at once, one is told both failures.
    #[test]
    fn a_worsening_is_told_to_somebody() {
        explore(|| {
            let window = Arc::new(CountWindow::new(2));
            let other = Arc::clone(&window);
            let told = |window: &CountWindow| window.record(1, BAD).expect("in time").failures;
            let thread = thread::spawn(move || told(&other));
            let ours = told(&window);
            assert_eq!(ours.max(thread.join().expect("no panic")), 2);
        });
    }

    /// Dating old slots up while a later generation writes: nothing new is lost.
    #[test]
    fn a_refresh_takes_nothing_away() {
        explore(|| {
            let window = Arc::new(CountWindow::new(1));
            window.record(REFRESH - 1, BAD);
            let other = Arc::clone(&window);
            let thread = thread::spawn(move || other.refresh(REFRESH));
            window.record(REFRESH, BAD);
            thread.join().expect("no panic");
            assert_eq!(window.totals(REFRESH).failures, 1);
            assert_eq!(window.totals(REFRESH), window.ring_totals(REFRESH));
        });
    }
}
