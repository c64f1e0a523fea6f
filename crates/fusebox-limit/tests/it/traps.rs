//! The traps of limits that adapt, each as a run of the model: 400 calls a second, 10 servers of
//! 16 ms (64 % busy), a time-out of one second, 5 seeds.

use std::time::Duration;

use fusebox_limit::AdaptiveConfig;

use crate::model::{Fault, Model, Second};

const SEEDS: u64 = 5;

fn model(seed: u64, fault: Fault) -> Model {
    Model {
        seed,
        calls_per_second: 400.0,
        servers: 10,
        service: Duration::from_millis(16),
        timeout: Duration::from_secs(1),
        fault,
        faulty: (10, 30),
        seconds: 50,
    }
}

fn config() -> AdaptiveConfig {
    AdaptiveConfig::new().with_bounds(1, 48)
}

fn run(seed: u64, fault: Fault) -> Vec<Second> {
    let (limit, clock) = Model::limit(config());
    model(seed, fault).run(&limit, &clock)
}

fn sum(seconds: &[Second]) -> Second {
    seconds.iter().fold(Second::default(), Second::add)
}

// A limit on the shortest round trip let 63 % of the calls through here, in perfect health.
#[test]
fn scattered_service_times_in_health_cost_nothing() {
    for seed in 0..SEEDS {
        let all = sum(&run(seed, Fault::None));
        assert!(all.arrived > 15_000);
        assert!(all.success_share() > 0.999, "seed {seed}: {all:?}");
    }
}

// A limit that shrank on error replies turned 84 % into 53 %.
#[test]
fn a_partial_failure_is_not_made_worse() {
    for seed in 0..SEEDS {
        let seconds = run(seed, Fault::Errors(0.3));
        let during = sum(&seconds[10..30]);
        assert!(during.error > 2_000, "the fault is there");
        assert_eq!(during.refused, 0, "seed {seed}: {during:?}");
        assert!(during.success_share() > 0.67, "seed {seed}: {during:?}");
    }
}

// A limit that could not grow back from 1 never recovered from any fault.
#[test]
fn it_shrinks_to_its_floor_in_a_hang_and_comes_back() {
    for seed in 0..SEEDS {
        let seconds = run(seed, Fault::Hangs);
        assert_eq!(seconds[29].limit, 1, "seed {seed}: down to the floor");
        // Calls of the hang's last second may still time out after it; then it is over.
        let after = sum(&seconds[33..]);
        assert!(after.success_share() > 0.99, "seed {seed}: {after:?}");
        assert!(seconds[49].limit > 10, "seed {seed}: {:?}", seconds[49]);
    }
}

#[test]
fn a_dependency_that_hangs_never_holds_more_than_the_greatest_limit() {
    for seed in 0..SEEDS {
        let all = sum(&run(seed, Fault::Hangs));
        assert!(all.most_in_use <= 48, "seed {seed}: {}", all.most_in_use);
    }
}

/// Ten times slower, the server can do 62 of 400 calls a second. Behind a limit it does them in
/// time; without one its queue grows beyond every time-out, and it works for callers that are gone.
#[test]
fn an_overloaded_server_keeps_doing_useful_work() {
    for seed in 0..SEEDS {
        let seconds = run(seed, Fault::Slow(10.0));
        let during = sum(&seconds[13..30]);
        let per_second = f64::from(during.success) / 17.0;
        assert!(per_second > 40.0, "seed {seed}: {per_second} of 62");
        let unbounded = model(seed, Fault::Slow(10.0));
        let (limit, clock) = Model::limit(
            AdaptiveConfig::new()
                .with_bounds(100_000, 100_000)
                .with_initial(100_000),
        );
        let without = sum(&unbounded.run(&limit, &clock)[13..30]);
        assert!(
            without.success * 10 < during.success,
            "seed {seed}: {} without, {} with",
            without.success,
            during.success
        );
        let after = sum(&seconds[33..]);
        assert!(after.success_share() > 0.99, "seed {seed}: {after:?}");
    }
}

/// Where nothing inside the limit reports a time-out, the bound on a call's time does.
#[test]
fn calls_cut_off_from_outside_are_seen_by_their_age() {
    use fusebox::VirtualClock;
    use fusebox_limit::Limit;
    use std::sync::Arc;

    let clock = VirtualClock::new();
    let config = config().with_overload_after(Duration::from_millis(500));
    let limit = Limit::adaptive(config, Arc::new(clock.clone())).unwrap();
    let quick = limit.try_enter().unwrap();
    clock.advance(Duration::from_millis(400));
    drop(quick);
    assert_eq!(
        limit.snapshot().limit,
        20,
        "a client that goes away early says nothing"
    );
    let long = limit.try_enter().unwrap();
    clock.advance(Duration::from_millis(501));
    drop(long);
    assert_eq!((limit.snapshot().limit, limit.snapshot().cuts), (14, 1));
}
