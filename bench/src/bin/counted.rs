//! Fixed loops through Fusebox, for counting instructions: `counted SCENARIO TIMES`, or `counted`
//! alone for the list of scenarios. `scripts/instruction-counts` runs it under callgrind.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use fusebox::{BreakerConfig, CircuitBreaker, VirtualClock};
use fusebox_bench::cases::fusebox_settings;
use fusebox_bench::{operation, wrappers};

const SCENARIOS: [&str; 11] = [
    "bare_call",
    "count_closed",
    "count_closed_permit",
    "count_one_percent_errors",
    "count_slow_closed",
    "time_closed",
    "time_slow_closed",
    "open_refused",
    "half_open_refused",
    "wrapper_off",
    "wrapper_closed",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            for scenario in SCENARIOS {
                println!("{scenario}");
            }
            ExitCode::SUCCESS
        }
        // Whatever is counted, the machine's own clock must work in here: rustix crashed under
        // valgrind once.
        [_, _] if !on_the_machines_clock() => ExitCode::FAILURE,
        [scenario, times] => match times.parse() {
            Ok(times) if run(scenario, times) => ExitCode::SUCCESS,
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: counted [SCENARIO TIMES]");
    ExitCode::FAILURE
}

/// On virtual time, which never moves: the clock of the machine has no place in the count.
fn breaker(config: Arc<BreakerConfig>) -> CircuitBreaker {
    CircuitBreaker::builder("counted")
        .config(config)
        .clock(VirtualClock::new())
        .seed(1)
        .build()
        .expect("the measured settings are valid")
}

fn on_the_machines_clock() -> bool {
    let breaker = CircuitBreaker::builder("as users build it").build();
    breaker.is_ok_and(|breaker| breaker.call_sync(|| operation(false)).is_ok())
}

fn run(scenario: &str, times: u32) -> bool {
    let [count, count_slow, time, _, slow] = fusebox_settings().map(|(_, config, _)| config);
    match scenario {
        "bare_call" => {
            for _ in 0..times {
                black_box(operation(false)).ok();
            }
        }
        "count_closed" => closed(&breaker(count), times, u32::MAX),
        "count_one_percent_errors" => closed(&breaker(count), times, 100),
        "count_slow_closed" => closed(&breaker(count_slow), times, u32::MAX),
        "time_closed" => closed(&breaker(time), times, u32::MAX),
        "time_slow_closed" => closed(&breaker(slow), times, u32::MAX),
        "count_closed_permit" => {
            let breaker = breaker(count);
            for _ in 0..times {
                if let Ok(permit) = black_box(breaker.try_acquire()) {
                    permit.success();
                }
            }
        }
        "open_refused" => {
            let breaker = breaker(count);
            closed(&breaker, 100, 1);
            closed(&breaker, times, u32::MAX);
        }
        "half_open_refused" => {
            let breaker = breaker(count);
            closed(&breaker, 100, 1);
            assert!(breaker.end_break(), "the circuit is open");
            let _probes: Vec<_> = std::iter::from_fn(|| breaker.try_acquire().ok()).collect();
            closed(&breaker, times, u32::MAX);
        }
        "wrapper_off" => wrapped(0, times),
        "wrapper_closed" => wrapped(3, times),
        _ => return false,
    }
    true
}

/// Calls, of which every so many fails.
fn closed(breaker: &CircuitBreaker, times: u32, failing: u32) {
    for turn in 1..=times {
        let fail = turn.is_multiple_of(failing);
        drop(black_box(breaker.call_sync(|| operation(fail))));
    }
}

/// Calls through a wrapper of `#[resilient]`: which of the ways that are timed.
fn wrapped(way: usize, times: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a timer can be had");
    let _inside = runtime.enter();
    let [mut methods, _] = wrappers::all();
    (methods.ways[way].closed)(u64::from(times));
}
