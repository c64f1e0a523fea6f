//! The calls of the last stretch of time, without a lock: striped running counts, and what they were
//! when each bucket began.
//!
//! Time is cut into buckets of equal length, counted from the breaker's beginning. The window is the
//! bucket of the present moment and the `buckets - 1` before it, so it reaches back by its length
//! less at most one bucket.
//!
//! A success adds one to a count in the thread's own lane and is done. The first call of a bucket
//! also writes a *milestone*: the sums as the bucket began. What the window holds is the present sums
//! less those of the oldest milestone inside it. Counts start from zero in each generation (they
//! carry its tag), so a new period sweeps nothing, and a result of an old one has nowhere to go.
//!
//! ```text
//! count       tag:32 | calls:32        of a lane; wraps within its field, differences stay right
//! present     tag:24 | bucket:40       the newest bucket with a milestone
//! ```
//!
//! While threads write, a call that ends as its bucket does may be counted to the next one. At rest
//! the totals are exact (`agrees_with_a_queue_of_dated_calls`).

use super::lanes::{Here, Lane, Lanes};
use super::{Mark, Totals};
use crate::engine::word::{newer, tag};
use crate::sync::{AtomicU64, Ordering, fence, update};

const COUNT_TAG: u32 = 32;
const COUNT: u64 = (1 << 32) - 1;

const PRESENT_TAG: u32 = 24;
const BUCKET_BITS: u32 = 40;
/// The last bucket there is, 34 years of milliseconds away; time stands still in it.
const LAST_BUCKET: u64 = (1 << BUCKET_BITS) - 3;

/// Of milestones: nothing yet, and being written. No bucket has these names.
const EMPTY: u64 = u64::MAX;
const WRITING: u64 = u64::MAX - 1;

#[derive(Debug)]
pub(crate) struct TimeWindow {
    /// When the present bucket ends, in nanoseconds.
    edge: AtomicU64,
    present: AtomicU64,
    bucket_nanos: u64,
    buckets: u64,
    /// One more than buckets: the oldest is still there while the newest is written.
    milestones: Box<[Milestone]>,
}

#[derive(Debug)]
struct Milestone {
    /// Of which bucket and generation, as in `present`.
    name: AtomicU64,
    calls: AtomicU64,
    /// Failures in the upper half, slow calls in the lower.
    others: AtomicU64,
}

/// Sums over the lanes, each within 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    calls: u64,
    failures: u64,
    slow: u64,
}

impl TimeWindow {
    pub(crate) fn new(length: u64, buckets: u32) -> Self {
        let buckets = u64::from(buckets.max(1));
        let zero = || AtomicU64::new(0);
        Self {
            edge: zero(),
            present: AtomicU64::new(present(u64::MAX, 0)),
            bucket_nanos: bucket_nanos(length, buckets),
            buckets,
            milestones: (0..=buckets)
                .map(|_| Milestone {
                    name: AtomicU64::new(EMPTY),
                    calls: zero(),
                    others: zero(),
                })
                .collect(),
        }
    }

    pub(crate) fn has_shape(&self, length: u64, buckets: u32) -> bool {
        let buckets = u64::from(buckets.max(1));
        (self.bucket_nanos, self.buckets) == (bucket_nanos(length, buckets), buckets)
    }

    /// Takes one call of `generation` in, and answers the totals; `None` when a later generation
    /// has begun on this lane.
    pub(crate) fn record(
        &self,
        here: Here<'_>,
        lanes: Lanes<'_>,
        generation: u64,
        mark: Mark,
        now: u64,
    ) -> Option<Totals> {
        self.turn(lanes, generation, now);
        let counted = |cell| here.change(cell, |seen| one_more(seen, generation));
        // Calls first, and read last, so that no sum holds more failures than calls.
        if !counted(&here.lane.calls) {
            return None;
        }
        if mark.failed {
            counted(&here.lane.failures);
        }
        if mark.slow {
            counted(&here.lane.slow);
        }
        // Of two threads that both worsen the rate, one must see both: our counts go out before
        // we read theirs. It pairs with itself on the other thread.
        fence(Ordering::SeqCst);
        Some(self.totals(lanes, generation, now))
    }

    /// [`TimeWindow::record`] of a quick success, which needs no totals: it worsens nothing. False
    /// when a later generation has begun.
    pub(crate) fn succeed(
        &self,
        here: Here<'_>,
        lanes: Lanes<'_>,
        generation: u64,
        now: u64,
    ) -> bool {
        let cell = &here.lane.calls;
        let mut begun = true;
        // A lane without this generation's tag may be the first of all to hear of it.
        let fits = cell.load(Ordering::Relaxed) >> COUNT_TAG == tag::<COUNT_TAG>(generation);
        if !fits || now >= self.edge() {
            begun = self.turn(lanes, generation, now);
        }
        begun && here.change(cell, |seen| one_more(seen, generation))
    }

    /// [`TimeWindow::succeed`] on the thread's own lane, before [`TimeWindow::edge`]. False when it
    /// is not so simple; then nothing has been done.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn succeed_quickly(own: &Lane, generation: u64) -> bool {
        // Of another generation, or about to wrap into its tag: one comparison for both.
        let next = own.calls.load(Ordering::Relaxed).wrapping_add(1);
        let fits = next >> COUNT_TAG == tag::<COUNT_TAG>(generation);
        if fits {
            own.calls.store(next, Ordering::Release);
        }
        fits
    }

    /// When the present bucket ends. What is counted before then belongs to it.
    #[expect(
        clippy::inline_always,
        reason = "a function's prologue is a tenth of the cost of a whole call"
    )]
    #[inline(always)]
    pub(crate) fn edge(&self) -> u64 {
        self.edge.load(Ordering::Acquire)
    }

    /// What the window holds of `generation` at `now`.
    pub(crate) fn totals(&self, lanes: Lanes<'_>, generation: u64, now: u64) -> Totals {
        let newest = self.present.load(Ordering::Acquire);
        let mut bucket = self.bucket(now);
        if newest >> BUCKET_BITS == tag::<PRESENT_TAG>(generation) {
            // A clock that steps back finds time standing still.
            bucket = bucket.max(newest & ((1 << BUCKET_BITS) - 1));
        }
        let oldest = (bucket + 1).saturating_sub(self.buckets);
        let since = (oldest..=bucket).find_map(|bucket| self.milestone(generation, bucket));
        // Without a milestone nothing has been recorded since the oldest bucket began.
        let Some(since) = since else {
            return Totals::default();
        };
        let sums = sums(lanes, generation);
        let less = |now: u64, then: u64| now.wrapping_sub(then) & COUNT;
        let calls = less(sums.calls, since.calls);
        Totals {
            calls,
            failures: less(sums.failures, since.failures).min(calls),
            slow: less(sums.slow, since.slow).min(calls),
        }
    }

    /// Makes `now`'s bucket the present one; false when a later generation has begun.
    #[cold]
    fn turn(&self, lanes: Lanes<'_>, generation: u64, now: u64) -> bool {
        let bucket = self.bucket(now);
        let name = present(generation, bucket);
        // Before the exchange: what is counted meanwhile then belongs to the new bucket. And in a
        // generation that begins here nobody has counted yet, since whoever counts has turned first.
        let sums = sums(lanes, generation);
        let own = tag::<PRESENT_TAG>(generation);
        let moved = update(&self.present, |seen| {
            let theirs = seen >> BUCKET_BITS;
            let later = if theirs == own {
                name > seen
            } else {
                newer::<PRESENT_TAG>(own, theirs)
            };
            later.then_some(name)
        });
        if moved.is_none() {
            let present = self.present.load(Ordering::Relaxed) >> BUCKET_BITS;
            return !newer::<PRESENT_TAG>(present, own);
        }
        self.milestones[self.place(bucket)].write(name, sums);
        let end = (bucket + 1).saturating_mul(self.bucket_nanos);
        self.edge.fetch_max(end, Ordering::AcqRel);
        true
    }

    fn bucket(&self, now: u64) -> u64 {
        (now / self.bucket_nanos).min(LAST_BUCKET)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "below the number of milestones"
    )]
    fn place(&self, bucket: u64) -> usize {
        (bucket % self.milestones.len() as u64) as usize
    }

    fn milestone(&self, generation: u64, bucket: u64) -> Option<Sums> {
        self.milestones[self.place(bucket)].read(present(generation, bucket))
    }
}

fn bucket_nanos(length: u64, buckets: u64) -> u64 {
    (length / buckets).max(1)
}

/// What the lanes hold of `generation`.
fn sums(lanes: Lanes<'_>, generation: u64) -> Sums {
    let own = tag::<COUNT_TAG>(generation);
    let mut sums = Sums::default();
    for lane in lanes.iter() {
        let of = |cell: &AtomicU64| {
            let count = cell.load(Ordering::Acquire);
            if count >> COUNT_TAG == own {
                count & COUNT
            } else {
                0
            }
        };
        sums.failures += of(&lane.failures);
        sums.slow += of(&lane.slow);
        sums.calls += of(&lane.calls);
    }
    Sums {
        calls: sums.calls & COUNT,
        failures: sums.failures & COUNT,
        slow: sums.slow & COUNT,
    }
}

impl Milestone {
    /// Writes it, unless a later one is here or another writer has stalled in the middle: then this
    /// bucket goes without, and its calls leave the window with the next one's.
    fn write(&self, name: u64, sums: Sums) {
        let seen = self.name.load(Ordering::Relaxed);
        let theirs = seen >> BUCKET_BITS;
        let own = name >> BUCKET_BITS;
        let later = seen != EMPTY
            && if theirs == own {
                seen >= name
            } else {
                newer::<PRESENT_TAG>(theirs, own)
            };
        if seen == WRITING
            || later
            || self
                .name
                .compare_exchange(seen, WRITING, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        // Readers of what follows see that it is being written.
        fence(Ordering::Release);
        self.calls.store(sums.calls, Ordering::Relaxed);
        let others = sums.failures << 32 | sums.slow;
        self.others.store(others, Ordering::Relaxed);
        self.name.store(name, Ordering::Release);
    }

    fn read(&self, name: u64) -> Option<Sums> {
        if self.name.load(Ordering::Acquire) != name {
            return None;
        }
        let calls = self.calls.load(Ordering::Relaxed);
        let others = self.others.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (self.name.load(Ordering::Relaxed) == name).then_some(Sums {
            calls,
            failures: others >> 32,
            slow: others & COUNT,
        })
    }
}

fn present(generation: u64, bucket: u64) -> u64 {
    tag::<PRESENT_TAG>(generation) << BUCKET_BITS | bucket
}

/// One call more of `generation`; `None` when the count is a later one's.
#[inline]
fn one_more(seen: u64, generation: u64) -> Option<u64> {
    let own = tag::<COUNT_TAG>(generation);
    let theirs = seen >> COUNT_TAG;
    if theirs == own {
        Some(theirs << COUNT_TAG | (seen + 1) & COUNT)
    } else if newer::<COUNT_TAG>(theirs, own) {
        None
    } else {
        Some(own << COUNT_TAG | 1)
    }
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::super::lanes::TestLanes;
    use super::*;

    const MS: u64 = 1_000_000;

    proptest! {
        /// The oracle keeps every call with the number of its bucket and counts anew each time.
        #[test]
        fn agrees_with_a_queue_of_dated_calls(
            buckets in 1_u32..12,
            bucket_ms in 1_u64..50,
            late in any::<bool>(),
            wrapped in any::<bool>(),
            steps in prop::collection::vec((0_u64..120, any::<bool>(), any::<bool>(), 0_u8..100), 0..300),
        ) {
            let bucket = bucket_ms * MS;
            let lanes = TestLanes::new(2);
            let window = TimeWindow::new(bucket * u64::from(buckets), buckets);
            let mut generation = 0;
            if late {
                // To where the tags of counts come round.
                while generation < (1 << COUNT_TAG) - 5 {
                    generation = (generation + (1 << 22)).min((1 << COUNT_TAG) - 5);
                    let all = Mark { failed: true, slow: true };
                    window.record(lanes.at(0), lanes.all(), generation, all, 0);
                    window.record(lanes.all().here(), lanes.all(), generation, all, 0);
                }
                generation += 1;
            }
            if wrapped {
                // Counts that are about to go round their field.
                window.record(lanes.at(0), lanes.all(), generation, Mark::default(), 0);
                let near = tag::<COUNT_TAG>(generation) << COUNT_TAG | (COUNT - 20);
                for lane in lanes.all().iter() {
                    lane.calls.store(near, Ordering::Relaxed);
                    lane.failures.store(near, Ordering::Relaxed);
                }
                let sums = sums(lanes.all(), generation);
                let others = sums.failures << 32;
                window.milestones[0].calls.store(sums.calls, Ordering::Relaxed);
                window.milestones[0].others.store(others, Ordering::Relaxed);
            }
            let mut oracle: VecDeque<(u64, Mark)> = VecDeque::new();
            let mut now = 0;
            for (step, failed, slow, dice) in steps {
                now += step * MS / 3;
                let number = now / bucket;
                match dice {
                    0 => { generation += 1; oracle.clear(); }
                    1..40 => {}
                    _ => {
                        let mark = Mark { failed, slow };
                        let lane = if dice % 2 == 0 { lanes.at(0) } else { lanes.all().here() };
                        if mark == Mark::default() {
                            window.succeed(lane, lanes.all(), generation, now);
                        } else {
                            window.record(lane, lanes.all(), generation, mark, now);
                        }
                        oracle.push_back((number, mark));
                    }
                }
                oracle.retain(|(then, _)| then + u64::from(buckets) > number);
                let mut expected = Totals::default();
                for (_, mark) in &oracle {
                    expected.add(*mark);
                }
                prop_assert_eq!(window.totals(lanes.all(), generation, now), expected);
            }
        }
    }

    #[test]
    fn a_long_silence_empties_the_window_at_once() {
        let lanes = TestLanes::new(2);
        let window = TimeWindow::new(10_000 * MS, 10);
        let failed = Mark {
            failed: true,
            slow: false,
        };
        window.record(lanes.at(0), lanes.all(), 0, failed, 3_000 * MS);
        assert_eq!(window.totals(lanes.all(), 0, 12_999 * MS).failures, 1);
        assert_eq!(
            window.totals(lanes.all(), 0, 13_000 * MS),
            Totals::default()
        );
        assert_eq!(window.totals(lanes.all(), 0, u64::MAX), Totals::default());
    }

    /// Up to 34 years with the shortest buckets, and after that it holds what is still to come.
    #[test]
    fn buckets_last_as_long_as_they_are_said_to() {
        const YEAR: u64 = 365 * 24 * 3_600 * 1_000 * MS;
        let lanes = TestLanes::new(2);
        let window = TimeWindow::new(4 * MS, 4);
        window.succeed(lanes.at(0), lanes.all(), 0, 34 * YEAR);
        let calls = |now| window.totals(lanes.all(), 0, now).calls;
        assert_eq!(calls(34 * YEAR + 3 * MS), 1);
        assert_eq!(calls(34 * YEAR + 4 * MS), 0);
        for n in 1..=3 {
            assert!(window.succeed(lanes.at(0), lanes.all(), 0, u64::MAX));
            assert_eq!(calls(u64::MAX), n);
        }
    }

    /// What lets a success be counted without a look at the buckets.
    #[test]
    fn before_the_edge_a_success_only_adds_one() {
        const GENERATION: u64 = 5;
        let lanes = TestLanes::new(2);
        let (here, all) = (lanes.at(1), lanes.all());
        let window = TimeWindow::new(4 * MS, 4);
        let quickly = |generation| TimeWindow::succeed_quickly(here.lane, generation);
        assert!(!quickly(GENERATION), "nobody has begun it");
        for bucket in [0, 1, 7] {
            window.succeed(here, all, GENERATION, bucket * MS);
            assert_eq!(window.edge(), (bucket + 1) * MS);
            assert!(quickly(GENERATION));
        }
        assert!(!quickly(GENERATION - 1) && !quickly(GENERATION + 1));
        assert_eq!(window.totals(all, GENERATION, 7 * MS).calls, 2);
        let full = GENERATION << COUNT_TAG | COUNT;
        here.lane.calls.store(full, Ordering::Relaxed);
        assert!(!quickly(GENERATION), "one more would change the tag");
        assert_eq!(here.lane.calls.load(Ordering::Relaxed), full);
    }

    #[test]
    fn a_milestone_is_written_once_and_never_by_who_comes_late() {
        let milestone = Milestone {
            name: AtomicU64::new(EMPTY),
            calls: AtomicU64::new(0),
            others: AtomicU64::new(0),
        };
        let sums = |n: u64| Sums {
            calls: n + 2,
            failures: n + 1,
            slow: n,
        };
        let last = (1 << PRESENT_TAG) - 1;
        // Ever later, up to where the tags come round.
        let names = [
            (0, 3),
            (0, 8),
            (7, 1),
            (1 << 22, 0),
            (1 << 23, 0),
            (last, 2),
            (last + 1, 0),
        ];
        for (n, (generation, bucket)) in (0..).zip(names) {
            let name = present(generation, bucket);
            milestone.write(name, sums(n));
            assert_eq!(
                milestone.read(name),
                Some(sums(n)),
                "{generation}, {bucket}"
            );
            // Again, and by threads of earlier buckets and generations.
            milestone.write(name, sums(99));
            if bucket > 0 {
                milestone.write(present(generation, bucket - 1), sums(99));
            }
            milestone.write(present(generation.wrapping_sub(1), bucket + 1), sums(99));
            assert_eq!(
                milestone.read(name),
                Some(sums(n)),
                "{generation}, {bucket}"
            );
        }
        milestone.name.store(WRITING, Ordering::Relaxed);
        milestone.write(present(last + 2, 0), sums(99));
        assert_eq!(
            milestone.name.load(Ordering::Relaxed),
            WRITING,
            "another is at it"
        );
    }

    #[test]
    fn a_clock_that_steps_back_finds_time_standing_still() {
        let lanes = TestLanes::new(2);
        let window = TimeWindow::new(4 * MS, 4);
        for now in [9 * MS, 2 * MS, 0] {
            window.succeed(lanes.at(0), lanes.all(), 0, now);
        }
        assert_eq!(window.totals(lanes.all(), 0, 0).calls, 3);
        assert_eq!(window.totals(lanes.all(), 0, 12 * MS).calls, 3);
        assert_eq!(window.totals(lanes.all(), 0, 13 * MS).calls, 0);
    }

    #[test]
    fn a_writer_of_an_earlier_generation_changes_nothing() {
        let lanes = TestLanes::new(2);
        let window = TimeWindow::new(10 * MS, 10);
        let failed = Mark {
            failed: true,
            slow: true,
        };
        for lane in [lanes.at(0), lanes.all().here()] {
            window.succeed(lane, lanes.all(), 8, MS);
            let before = window.totals(lanes.all(), 8, MS);
            assert_eq!(window.record(lane, lanes.all(), 7, failed, 2 * MS), None);
            assert_eq!(window.totals(lanes.all(), 8, 2 * MS), before);
            assert_eq!(window.totals(lanes.all(), 7, 2 * MS), Totals::default());
        }
    }

    /// Threads on lanes of their own and on the shared one, over the edges of many buckets.
    #[test]
    fn at_rest_every_call_is_in_the_totals() {
        const TURNS: u64 = 20_000;
        let lanes = TestLanes::new(2);
        let window = TimeWindow::new(1_000_000 * MS, 100);
        std::thread::scope(|scope| {
            for seed in 0..6_u64 {
                let (window, lanes) = (&window, &lanes);
                scope.spawn(move || {
                    let lane = if seed < 2 {
                        lanes.at(0)
                    } else {
                        lanes.all().here()
                    };
                    for turn in 0..TURNS {
                        let now = turn * 30 * MS;
                        if turn % 10 == seed {
                            window.record(
                                lane,
                                lanes.all(),
                                3,
                                Mark {
                                    failed: true,
                                    slow: false,
                                },
                                now,
                            );
                        } else {
                            window.succeed(lane, lanes.all(), 3, now);
                        }
                    }
                });
            }
        });
        let totals = window.totals(lanes.all(), 3, TURNS * 30 * MS);
        assert_eq!((totals.calls, totals.failures), (6 * TURNS, 6 * TURNS / 10));
    }
}

#[cfg(all(test, fusebox_loom))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::super::lanes::TestLanes;
    use super::*;

    const BAD: Mark = Mark {
        failed: true,
        slow: false,
    };
    const BUCKET: u64 = 1_000_000;

    fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    /// A window with a shared lane and two of threads: numbers 0, 1 and 2.
    struct Laned {
        window: TimeWindow,
        lanes: TestLanes,
    }

    impl Laned {
        fn new(buckets: u32) -> Arc<Self> {
            let length = BUCKET * u64::from(buckets);
            Arc::new(Self {
                window: TimeWindow::new(length, buckets),
                lanes: TestLanes::new(2),
            })
        }

        fn succeed(&self, lane: usize, generation: u64, now: u64) -> bool {
            let (here, all) = (self.lanes.at(lane), self.lanes.all());
            self.window.succeed(here, all, generation, now)
        }

        fn fail(&self, lane: usize, generation: u64, now: u64) -> Option<Totals> {
            let (here, all) = (self.lanes.at(lane), self.lanes.all());
            self.window.record(here, all, generation, BAD, now)
        }

        fn totals(&self, generation: u64, now: u64) -> Totals {
            self.window.totals(self.lanes.all(), generation, now)
        }
    }

    /// Over the edge of a bucket, on one lane for both and on two of their own.
    #[test]
    fn at_rest_every_call_is_in_the_totals() {
        for lanes in [[0, 0], [1, 2]] {
            explore(2, move || {
                let window = Laned::new(4);
                let other = Arc::clone(&window);
                let [ours, theirs] = lanes;
                let thread = thread::spawn(move || {
                    other.succeed(theirs, 1, 0);
                    other.fail(theirs, 1, BUCKET);
                });
                window.fail(ours, 1, BUCKET);
                thread.join().expect("no panic");
                let totals = window.totals(1, BUCKET);
                assert_eq!((totals.calls, totals.failures), (3, 2));
            });
        }
    }

    /// Of two that fail at once on lanes of their own, one sees both: without the fence each could
    /// read the other's lane before its own count had left the store buffer.
    #[test]
    fn a_worsening_is_told_to_somebody() {
        explore(3, || {
            let window = Laned::new(1);
            let other = Arc::clone(&window);
            // Both lanes and the bucket have begun.
            window.succeed(1, 1, 0);
            window.succeed(2, 1, 0);
            let told = |window: &Laned, lane| window.fail(lane, 1, 0).expect("in time").failures;
            let thread = thread::spawn(move || told(&other, 1));
            let ours = told(&window, 2);
            assert_eq!(ours.max(thread.join().expect("no panic")), 2);
        });
    }

    #[test]
    fn a_late_writer_spoils_nothing() {
        for lanes in [[0, 0], [1, 2]] {
            explore(2, move || {
                let window = Laned::new(2);
                let other = Arc::clone(&window);
                let [ours, theirs] = lanes;
                let thread = thread::spawn(move || {
                    other.fail(theirs, 1, 0);
                });
                window.succeed(ours, 2, BUCKET);
                thread.join().expect("no panic");
                let totals = window.totals(2, BUCKET);
                assert_eq!((totals.calls, totals.failures), (1, 0));
            });
        }
    }

    /// The first two calls of a generation come at once: both are in its window.
    #[test]
    fn a_generation_begins_with_nothing_and_loses_nothing() {
        explore(3, || {
            let window = Laned::new(2);
            window.succeed(0, 1, 0);
            let other = Arc::clone(&window);
            let thread = thread::spawn(move || other.succeed(0, 2, BUCKET));
            window.succeed(0, 2, BUCKET);
            thread.join().expect("no panic");
            assert_eq!(window.totals(2, BUCKET).calls, 2);
        });
    }

    /// A milestone is read whole or not at all, and the later of two writers' stays.
    #[test]
    fn milestones_are_whole() {
        explore(3, || {
            let milestone = Arc::new(Milestone {
                name: AtomicU64::new(EMPTY),
                calls: AtomicU64::new(0),
                others: AtomicU64::new(0),
            });
            let whole = |n: u64| Sums {
                calls: n,
                failures: n,
                slow: n,
            };
            milestone.write(present(1, 3), whole(3));
            let other = Arc::clone(&milestone);
            let thread = thread::spawn(move || other.write(present(1, 8), whole(8)));
            for bucket in [3, 8] {
                if let Some(sums) = milestone.read(present(1, bucket)) {
                    assert_eq!(sums, whole(bucket));
                }
            }
            thread.join().expect("no panic");
            milestone.write(present(1, 3), whole(3));
            assert_eq!(milestone.read(present(1, 8)), Some(whole(8)));
        });
    }
}
