//! Threads against one breaker: limits hold at every edge, and nothing is lost or wedged.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fusebox::{Outcome, SlowCall, State, Window};

use crate::support::{SECOND, breaker, half_open, small, succeed};

const THREADS: u32 = 8;

/// Peers were seen to admit one more, or everybody, at the moment the break ends.
#[test]
fn never_more_probes_than_permitted_at_the_edge_to_half_open() {
    for permitted in [1, 3] {
        let (breaker, clock) = breaker(small().with_success_threshold(permitted));
        for _ in 0..200 {
            // Open, and the break is over by the time the threads start.
            half_open_edge(&breaker, &clock);
            let start = Barrier::new(THREADS as usize);
            let permits: Vec<_> = std::thread::scope(|scope| {
                let callers: Vec<_> = (0..THREADS)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            breaker.try_acquire().ok()
                        })
                    })
                    .collect();
                callers
                    .into_iter()
                    .filter_map(|caller| caller.join().expect("no panic"))
                    .collect()
            });
            assert_eq!(permits.len(), permitted as usize);
            for permit in permits {
                permit.success();
            }
            assert_eq!(breaker.state(), State::Closed);
        }
    }
}

fn half_open_edge(breaker: &fusebox::CircuitBreaker, clock: &fusebox::VirtualClock) {
    while breaker.state() == State::Closed {
        breaker.try_acquire().expect("closed").failure();
    }
    clock.advance(breaker.retry_after().expect("open"));
}

/// Random traffic of all kinds from many threads, time included.
#[test]
fn every_admitted_call_is_counted_once_and_it_always_recovers() {
    let (breaker, clock) = breaker(small());
    let admitted = AtomicU64::new(0);
    let refused = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (breaker, clock, admitted, refused) = (&breaker, &clock, &admitted, &refused);
            scope.spawn(move || {
                let mut dice = u64::from(seed) + 1;
                let mut kept = Vec::new();
                for turn in 0..5_000_u32 {
                    dice ^= dice << 13;
                    dice ^= dice >> 7;
                    dice ^= dice << 17;
                    if dice.is_multiple_of(16) {
                        clock.advance(Duration::from_millis(250));
                    }
                    match breaker.try_acquire() {
                        Ok(permit) => {
                            admitted.fetch_add(1, Ordering::Relaxed);
                            kept.push(permit);
                        }
                        Err(_) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    let sick = (turn / 500) % 2 == 1;
                    // Settle at random, sometimes long after, so that many results are late.
                    if (dice >> 8) % 10 < 7
                        && let Some(permit) = kept.pop()
                    {
                        match (dice >> 16) % 10 {
                            0 => drop(permit),
                            1 => permit.neutral(),
                            n => permit.record(if sick || n == 2 {
                                Outcome::Failure
                            } else {
                                Outcome::Success
                            }),
                        }
                    }
                }
            });
        }
    });
    let seen = breaker.snapshot();
    let counted = seen.counts.success + seen.counts.failure + seen.counts.neutral;
    assert_eq!(
        (counted, seen.in_flight),
        (admitted.load(Ordering::Relaxed), 0)
    );
    assert_eq!(seen.counts.blocked, refused.load(Ordering::Relaxed));
    assert!(seen.counts.late > 0 && seen.counts.blocked > 0 && seen.transitions.total() > 10);

    let spent: Duration = State::ALL
        .into_iter()
        .map(|s| seen.time_in_state.get(s))
        .sum();
    clock.advance(Duration::ZERO);
    assert_eq!(
        spent,
        fusebox::Clock::now(&clock),
        "every moment belongs to one state"
    );

    clock.advance(5 * SECOND);
    if breaker.state() != State::Closed {
        succeed(&breaker, 2);
    }
    assert_eq!(breaker.state(), State::Closed);
    half_open(&breaker, &clock);
}

/// Threads beyond those with a lane of their own share one: nothing that they count is lost.
#[test]
fn more_threads_than_lanes_lose_no_count() {
    const MANY: u64 = 40;
    const CALLS: u64 = 5_000;
    let seconds = Window::Time {
        length: Duration::from_secs(10),
        buckets: 10,
    };
    let under_way = SlowCall {
        longer_than: SECOND,
        rate: 0.5,
        minimum: 1,
    };
    for (window, slow) in [
        (Window::Count(10), None),
        (seconds, None),
        (seconds, Some(under_way)),
    ] {
        let config = small().with_window(window).with_slow_call(slow);
        let (breaker, clock) = breaker(config.with_failure_rate(0.9));
        let start = Barrier::new(40);
        std::thread::scope(|scope| {
            for _ in 0..MANY {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..CALLS {
                        breaker.enter().expect("closed").success();
                    }
                });
            }
        });
        let seen = breaker.snapshot();
        assert_eq!(seen.counts.success, MANY * CALLS, "{window:?}");
        assert_eq!((seen.in_flight, seen.counts.late), (0, 0), "{window:?}");
        clock.advance(2 * SECOND);
        assert_eq!(breaker.state(), State::Closed, "nobody is still under way");
        breaker.force_open("to be refused");
        std::thread::scope(|scope| {
            for _ in 0..MANY {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..CALLS {
                        breaker.enter().expect_err("open");
                    }
                });
            }
        });
        let blocked = breaker.snapshot().counts.blocked;
        assert_eq!(blocked, MANY * CALLS, "{window:?}");
    }
}
