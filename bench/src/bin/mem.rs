//! Prints the table of memory: bytes of a breaker, and allocations of a call.

use std::mem::size_of;

use failsafe::CircuitBreaker as _;
use fusebox_bench::cases::{fusebox_breaker, fusebox_settings, ready, tower_call};
use fusebox_bench::counting::{Counting, counts};
use fusebox_bench::{Failed, LONG, operation, peers};
use layered::Service as _;
use tower::service_fn;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BREAKERS: usize = 1_000;
const CALLS: u32 = 10_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a thread and a timer can be had");
    let _inside = runtime.enter();
    println!("| | bytes, new | bytes after 200 calls | allocations per call, closed | open |");
    println!("|---|---|---|---|---|");
    for setup in fusebox_settings() {
        let [closed, open] = row(
            setup.0,
            || fusebox_breaker(&setup),
            |breaker, fail| drop(breaker.call_sync(|| operation(fail))),
            true,
        );
        // The gate: no call of ours allocates.
        assert_eq!([&*closed, &*open], ["0", "0"], "{}", setup.0);
    }
    row(
        "recloser, last 100 calls",
        || peers::recloser(100, 10, LONG),
        |breaker, fail| drop(breaker.call(|| operation(fail))),
        true,
    );
    row(
        "nobreak, consecutive",
        || peers::nobreak(50, 10, LONG),
        |breaker, fail| drop(breaker.call(|| operation(fail))),
        true,
    );
    row(
        "failsafe, consecutive",
        || peers::failsafe_consecutive(50, LONG),
        |breaker, fail| drop(breaker.call(|| operation(fail))),
        true,
    );
    row(
        "failsafe, moving average",
        || peers::failsafe_rate(100, std::time::Duration::from_secs(30), LONG),
        |breaker, fail| drop(breaker.call(|| operation(fail))),
        false,
    );
    row(
        "circuitbreaker-rs",
        || peers::circuitbreaker_rs::<Failed>(100, 10, LONG),
        |breaker, fail| drop(breaker.call(|| operation(fail))),
        true,
    );
    row(
        "tower-resilience, last 100 calls",
        || {
            peers::tower_resilience(100, 10, LONG)
                .layer_fn(service_fn(|fail: bool| async move { operation(fail) }))
        },
        tower_call,
        true,
    );
    // Last, because its clock gives memory back on another thread.
    let clock = tick::Clock::new_tokio();
    row(
        "seatbelt, last 30 s",
        || peers::seatbelt(&clock, 100, LONG),
        |service, fail| {
            ready(service.execute(fail));
        },
        true,
    );
}

fn row<T>(
    name: &str,
    make: impl Fn() -> T,
    call: impl Fn(&mut T, bool),
    opens: bool,
) -> [String; 2] {
    let mut breakers = Vec::with_capacity(BREAKERS);
    let before = counts().live;
    breakers.extend((0..BREAKERS).map(|_| make()));
    // The handle itself lies in the vector, which was there before.
    let handles = (BREAKERS * size_of::<T>()) as u64;
    let new = counts().live - before + handles;
    for breaker in &mut breakers {
        for _ in 0..200 {
            call(breaker, false);
        }
    }
    let used = counts().live - before + handles;
    let closed = allocations(|| call(&mut breakers[0], false));
    let open = if opens {
        for _ in 0..400 {
            call(&mut breakers[1], true);
        }
        allocations(|| call(&mut breakers[1], false))
    } else {
        "–".into()
    };
    println!(
        "| {name} | {} | {} | {closed} | {open} |",
        new / BREAKERS as u64,
        used / BREAKERS as u64,
    );
    [closed, open]
}

fn allocations(mut call: impl FnMut()) -> String {
    let before = counts();
    for _ in 0..CALLS {
        call();
    }
    let after = counts();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    let per_call = |now: u64, then: u64| (now - then) as f64 / f64::from(CALLS);
    match after.count - before.count {
        0 => "0".into(),
        _ => format!(
            "{:.2} ({:.0} B)",
            per_call(after.count, before.count),
            per_call(after.allocated, before.allocated)
        ),
    }
}
