//! Timing that a busy machine does not spoil.
//!
//! One thread: CPU time of the thread, which being descheduled does not touch, over many short
//! batches; a run's figure is its median batch. Two threads: wall time, pinned, from a spin barrier,
//! and only the rounds count in which both really ran side by side.

use std::sync::Mutex;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

const BATCHES: usize = 120;
/// Length of a batch: long against the clock's resolution, short against a time slice.
const BATCH: Duration = Duration::from_micros(400);

/// Does something so many times.
pub type Loop = Box<dyn FnMut(u64)>;

/// A loop around one call, compiled as one.
pub fn repeat(mut call: impl FnMut() + 'static) -> Loop {
    Box::new(move |times| {
        for _ in 0..times {
            call();
        }
    })
}

/// Nanoseconds of CPU time for one turn of the loop: the median of many batches.
pub fn cpu_time(run: &mut Loop) -> f64 {
    run(2_000);
    let start = thread_time();
    run(2_000);
    let once = since(start).max(Duration::from_nanos(400)) / 2_000;
    let times = BATCH.div_duration_f64(once);
    let times = bounded(times, 100.0, 2_000_000.0);
    let batches = (0..BATCHES)
        .map(|_| {
            let start = thread_time();
            run(times);
            per_turn(since(start), times)
        })
        .collect();
    median(batches)
}

/// Wall nanoseconds for one turn when two threads, each with its own `prepare`d state, do it at the
/// same time; `None` when they hardly ever did.
///
/// # Panics
/// When `prepare` or `call` panics.
pub fn contended<S>(prepare: impl Fn() -> S + Sync, call: impl Fn(&mut S) + Sync) -> Option<f64> {
    let (gate, times, stop) = (
        AtomicUsize::new(0),
        AtomicU64::new(2_000),
        AtomicBool::new(false),
    );
    let rounds = [Mutex::new(Vec::new()), Mutex::new(Vec::new())];
    let origin = Instant::now();
    thread::scope(|scope| {
        let threads = [0, 1].map(|id| {
            let (gate, times, stop, rounds) = (&gate, &times, &stop, &rounds);
            let (prepare, call) = (&prepare, &call);
            scope.spawn(move || {
                pin(id);
                let mut state = prepare();
                for round in 0.. {
                    meet(gate, 2 * (2 * round + 1));
                    if stop.load(Relaxed) {
                        break;
                    }
                    let turns = times.load(Relaxed);
                    let start = origin.elapsed();
                    for _ in 0..turns {
                        call(&mut state);
                    }
                    let end = origin.elapsed();
                    if round >= 3 {
                        lock(&rounds[id]).push(Round { start, end, turns });
                    }
                    meet(gate, 2 * (2 * round + 2));
                    if id == 0 {
                        if round == 2 {
                            let once = per_turn(end.saturating_sub(start), turns).max(0.5);
                            times.store(bounded(150_000.0 / once, 200.0, 300_000.0), Relaxed);
                        }
                        if round % 50 == 0 {
                            let enough =
                                overlapping(&lock(&rounds[0]), &lock(&rounds[1])).len() >= 150;
                            stop.store(
                                enough || origin.elapsed() > Duration::from_secs(4),
                                Relaxed,
                            );
                        }
                    }
                }
            })
        });
        for thread in threads {
            // The scope itself does not wait for what a thread still does at its end, such as giving
            // its lane back.
            thread.join().expect("no panic");
        }
    });
    let side_by_side = overlapping(&lock(&rounds[0]), &lock(&rounds[1]));
    (side_by_side.len() >= 10).then(|| median(side_by_side))
}

#[derive(Clone, Copy)]
struct Round {
    start: Duration,
    end: Duration,
    turns: u64,
}

/// The figures of rounds in which the threads overlapped for at least 85 % of both.
fn overlapping(ours: &[Round], theirs: &[Round]) -> Vec<f64> {
    ours.iter()
        .zip(theirs)
        .filter_map(|(a, b)| {
            let both = a.end.min(b.end).saturating_sub(a.start.max(b.start));
            let longer = (a.end.saturating_sub(a.start)).max(b.end.saturating_sub(b.start));
            (both.as_secs_f64() >= 0.85 * longer.as_secs_f64()).then(|| per_turn(longer, a.turns))
        })
        .collect()
}

/// Waits until both threads have come here.
fn meet(gate: &AtomicUsize, all: usize) {
    gate.fetch_add(1, AcqRel);
    while gate.load(Acquire) < all {
        std::hint::spin_loop();
    }
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if sched_setaffinity(None, &set).is_err() {
        eprintln!("could not pin a thread to core {core}; fewer rounds will overlap");
    }
}

fn since(start: Duration) -> Duration {
    thread_time().saturating_sub(start)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is not negative");
    let nanos = u32::try_from(time.tv_nsec).expect("less than a second of nanoseconds");
    Duration::new(seconds, nanos)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "turns are far below two to the 52nd"
)]
fn per_turn(time: Duration, turns: u64) -> f64 {
    time.as_secs_f64() * 1e9 / turns as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a positive range"
)]
fn bounded(turns: f64, least: f64, most: f64) -> u64 {
    turns.clamp(least, most) as u64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
