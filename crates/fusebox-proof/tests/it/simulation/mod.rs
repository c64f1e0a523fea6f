//! Many lives of a publisher in simulated time, each seed another fate.
//!
//! Real are the drainer, its circuit and the journal; simulated are the disk, the cluster, the producer
//! and the clock. A life ends when its seed says so, at whatever await everybody is then, or in the
//! middle of an operation of the disk; of what was not synced the disk keeps all, nothing, or some
//! sectors. `SEEDS` is the number of seeds, `SEED` runs one of them, which is how a failure is replayed.
//!
//! | room | subject |
//! |---|---|
//! | `chance` | numbers from a seed |
//! | `cluster` | Kafka and the producer in front of it |
//! | `disk` | the journal as backlog, and flaws of disk and backlog |
//! | `fate` | what happens in one seed |

mod chance;
mod cluster;
mod disk;
mod fate;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::disk::Flaw;
use self::fate::{Outcome, live};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

#[test]
fn no_fate_loses_reorders_or_stops_anything() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(150),
    };
    let mut sum = Outcome::default();
    for seed in seeds.clone() {
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let outcome = live(seed, None);
            assert!(outcome.drained, "not drained in time: {outcome}");
            outcome.verdict.assert_complete_and_in_order();
            assert_eq!(outcome.verdict.unmarked, 0, "repetitions nobody can tell");
            let cause = outcome.crashes + outcome.fatal + outcome.turned_away + outcome.failed;
            assert!(cause > 0 || outcome.verdict.duplicates == 0, "doubled");
            outcome
        }));
        match lived {
            Ok(outcome) => sum.add(&outcome),
            Err(panic) => {
                println!("replay with SEED={seed} cargo test -p fusebox-proof simulation");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{} seeds: {sum}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= 100 {
        // Lest the proof is one of nothing.
        sum.assert_eventful();
    }
}

#[test]
fn a_seed_is_a_fate() {
    for seed in 0..5 {
        assert_eq!(
            live(seed, None).verdict,
            live(seed, None).verdict,
            "seed {seed}"
        );
    }
}

/// Some seed finds the flaw.
fn found(flaw: Flaw) {
    const SEEDS: u64 = 10;
    let mut found = 0;
    for seed in 0..SEEDS {
        // An unreadable journal, a panic of the publisher, a loss: all are ways to notice.
        let lived = catch_unwind(|| live(seed, Some(flaw)));
        found += usize::from(lived.is_err() || !lived.unwrap().verdict.lost.is_empty());
    }
    println!("{flaw:?} is found by {found} of {SEEDS} seeds");
    assert!(found > 0);
}

#[test]
fn a_disk_that_does_not_sync_is_found() {
    found(Flaw::NoSync);
}

#[test]
fn a_disk_that_does_not_sync_directories_is_found() {
    found(Flaw::NoDirectorySync);
}

#[test]
fn settling_before_the_acknowledgement_is_found() {
    found(Flaw::SettledEarly);
}
