//! What is timed: the same five situations for every breaker.

use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use failsafe::CircuitBreaker as _;
use fusebox::{BreakerConfig, CircuitBreaker, SlowCall, TickerClock, Window};
use layered::Service as _;
use tower::util::BoxCloneSyncService;
use tower::{Service, service_fn};

use crate::timing::{Loop, contended, repeat};
use crate::{Failed, LONG, operation, peers};

/// One breaker's situations; those it has not are missing.
pub struct Case {
    /// The breaker, and what it is set to.
    pub name: &'static str,
    /// Successful calls through a closed circuit.
    pub closed: Loop,
    /// The same with one call in a hundred failing.
    pub mixed: Option<Loop>,
    /// Calls refused by an open circuit.
    pub open: Option<Loop>,
    /// Calls refused by a half-open circuit whose probes are under way.
    pub half_open: Option<Loop>,
    /// Successful calls from two threads on one breaker: wall nanoseconds.
    pub two_threads: Box<dyn Fn() -> Option<f64>>,
}

/// All cases, the bare call first.
pub fn all() -> Vec<Case> {
    let mut cases = vec![bare()];
    cases.extend(fusebox());
    cases.extend([
        recloser(),
        nobreak(),
        failsafe_consecutive(),
        failsafe_rate(),
        circuitbreaker_rs(),
        seatbelt(),
        tower_service(),
        tower_resilience(),
    ]);
    cases
}

/// A set-up of Fusebox: its name, its settings, and whether it is on a ticker clock.
pub type Setup = (&'static str, Arc<BreakerConfig>, bool);

/// Fusebox in the set-ups that are measured: trips at 50 failures and half of the calls.
pub fn fusebox_settings() -> [Setup; 5] {
    let base = BreakerConfig::new()
        .with_failure_threshold(50)
        .with_first_break(LONG)
        .with_recovery_timeout(LONG)
        .with_break_jitter(0.0)
        .with_half_open_lease(LONG);
    let ten_seconds = Window::Time {
        length: Duration::from_secs(10),
        buckets: 30,
    };
    let slow = SlowCall {
        longer_than: Duration::from_secs(1),
        rate: 0.5,
        minimum: 50,
    };
    let count = base.clone().with_window(Window::Count(100));
    let time = base.with_window(ten_seconds);
    let ended = |config: BreakerConfig| {
        config
            .with_slow_call(slow)
            .with_judge_calls_under_way(false)
    };
    [
        ("Fusebox, last 100 calls", count.clone(), false),
        (
            "Fusebox, last 100 calls, slow ones, ticker",
            ended(count),
            true,
        ),
        ("Fusebox, last 10 s", time.clone(), false),
        ("Fusebox, last 10 s, ticker", time.clone(), true),
        (
            "Fusebox, last 10 s, slow ones also under way, ticker",
            time.with_slow_call(slow),
            true,
        ),
    ]
    .map(|(name, config, ticks)| (name, Arc::new(config), ticks))
}

/// A breaker of ours.
///
/// # Panics
/// With settings Fusebox refuses; those of [`fusebox_settings`] it takes.
pub fn fusebox_breaker((_, config, ticks): &Setup) -> CircuitBreaker {
    static TICKER: OnceLock<TickerClock> = OnceLock::new();
    let builder = CircuitBreaker::builder("bench")
        .config(Arc::clone(config))
        .seed(1);
    let builder = if *ticks {
        let ticker = TICKER.get_or_init(|| {
            TickerClock::start(Duration::from_millis(1)).expect("a thread can be had")
        });
        builder.clock(ticker.clone())
    } else {
        builder
    };
    builder.build().expect("these settings are valid")
}

fn fusebox() -> Vec<Case> {
    fusebox_settings()
        .into_iter()
        .map(|setup| {
            let name = setup.0;
            let make = move || fusebox_breaker(&setup);
            let half_open = make();
            for _ in 0..50 {
                drop(half_open.call_sync(|| operation(true)));
            }
            assert!(half_open.end_break(), "the circuit is open");
            let probes: Vec<_> = std::iter::from_fn(|| half_open.try_acquire().ok()).collect();
            Case {
                half_open: Some(repeat(move || {
                    // The probes live as long as the loop.
                    black_box(probes.len());
                    drop(black_box(half_open.call_sync(|| operation(false))));
                })),
                ..case(
                    name,
                    make,
                    |breaker, fail| drop(black_box(breaker.call_sync(|| operation(fail)))),
                    true,
                )
            }
        })
        .collect()
}

/// The situations every breaker has that is shared by reference.
fn case<B: Sync + Send + 'static>(
    name: &'static str,
    make: impl Fn() -> B + 'static,
    call: impl Fn(&B, bool) + Copy + Sync + 'static,
    opens: bool,
) -> Case {
    let (closed, mixed, open, shared) = (make(), make(), make(), make());
    if opens {
        for _ in 0..400 {
            call(&open, true);
        }
    }
    let mut turn = 0_u32;
    Case {
        name,
        closed: repeat(move || call(&closed, false)),
        mixed: Some(repeat(move || {
            turn = if turn == 99 { 0 } else { turn + 1 };
            call(&mixed, turn == 99);
        })),
        open: opens.then(|| repeat(move || call(&open, false))),
        half_open: None,
        two_threads: Box::new(move || contended(|| (), |()| call(&shared, false))),
    }
}

fn bare() -> Case {
    Case {
        mixed: None,
        ..case(
            "the bare call",
            || (),
            |(), fail| {
                black_box(operation(fail)).ok();
            },
            false,
        )
    }
}

fn recloser() -> Case {
    case(
        "recloser, last 100 calls",
        || peers::recloser(100, 10, LONG),
        |breaker, fail| drop(black_box(breaker.call(|| operation(fail)))),
        true,
    )
}

fn nobreak() -> Case {
    case(
        "nobreak, consecutive",
        || peers::nobreak(50, 10, LONG),
        |breaker, fail| drop(black_box(breaker.call(|| operation(fail)))),
        true,
    )
}

fn failsafe_consecutive() -> Case {
    case(
        "failsafe, consecutive",
        || peers::failsafe_consecutive(50, LONG),
        |breaker, fail| drop(black_box(breaker.call(|| operation(fail)))),
        true,
    )
}

fn failsafe_rate() -> Case {
    case(
        "failsafe, moving average",
        || peers::failsafe_rate(100, Duration::from_secs(30), LONG),
        |breaker, fail| drop(black_box(breaker.call(|| operation(fail)))),
        false,
    )
}

fn circuitbreaker_rs() -> Case {
    case(
        "circuitbreaker-rs",
        || peers::circuitbreaker_rs::<Failed>(100, 10, LONG),
        |breaker, fail| drop(black_box(breaker.call(|| operation(fail)))),
        true,
    )
}

/// Needs a tokio runtime around it, for its clock.
fn seatbelt() -> Case {
    let clock = tick::Clock::new_tokio();
    case(
        "seatbelt, last 30 s",
        move || peers::seatbelt(&clock, 100, LONG),
        |service, fail| {
            black_box(ready(service.execute(fail)));
        },
        true,
    )
}

/// What a tower service costs without a breaker in it.
fn tower_service() -> Case {
    let service =
        || BoxCloneSyncService::new(service_fn(|fail: bool| async move { operation(fail) }));
    tower_case("(a boxed tower service, no breaker)", service, false)
}

fn tower_resilience() -> Case {
    let service = || {
        peers::tower_resilience(100, 10, LONG)
            .layer_fn(service_fn(|fail: bool| async move { operation(fail) }))
    };
    tower_case("tower-resilience, last 100 calls", service, true)
}

fn tower_case<S>(name: &'static str, make: impl Fn() -> S, opens: bool) -> Case
where
    S: Service<bool> + Clone + Send + Sync + 'static,
{
    let (mut closed, mut mixed, mut open, shared) = (make(), make(), make(), make());
    if opens {
        for _ in 0..400 {
            tower_call(&mut open, true);
        }
    }
    let mut turn = 0_u32;
    Case {
        name,
        closed: repeat(move || tower_call(&mut closed, false)),
        mixed: Some(repeat(move || {
            turn = if turn == 99 { 0 } else { turn + 1 };
            tower_call(&mut mixed, turn == 99);
        })),
        open: opens.then(|| repeat(move || tower_call(&mut open, false))),
        half_open: None,
        two_threads: Box::new(move || {
            contended(|| shared.clone(), |service| tower_call(service, false))
        }),
    }
}

/// One call of a service that is always ready.
///
/// # Panics
/// When it is not.
pub fn tower_call<S: Service<bool>>(service: &mut S, fail: bool) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        service.poll_ready(&mut context).is_ready(),
        "it is never busy"
    );
    drop(black_box(ready(service.call(fail))));
}

/// Polls without a pause: what is waited for here is a lock that another thread holds for less than
/// a microsecond.
pub fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::hint::spin_loop();
    }
}
