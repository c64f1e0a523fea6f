//! What to time of the ways in that are more than a breaker: the wrapper of `#[resilient]`, and layers
//! of tower.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use fusebox::{BreakerConfig, CircuitBreaker, MonotonicClock, Registry, TickerClock};
use fusebox_limit::{Limit, Throttle, ThrottleConfig};
use fusebox_resilient::{Rejected, Resilience, RetryBudget, Settings, resilient};
use fusebox_tower::{
    Always, AttemptTimeoutLayer, BreakerLayer, ByError, CallLayer, DeadlineLayer, Error,
    LimitLayer, RetryLayer, RetryPolicy, ThrottleLayer,
};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::cases::{fusebox_breaker, fusebox_settings, ready, tower_call};
use crate::timing::{Loop, repeat};
use crate::{Failed, LONG, operation, peers};

/// One way in; what it has not is missing.
pub struct Way {
    /// The way, and what it is set to.
    pub name: &'static str,
    /// Successful calls.
    pub closed: Loop,
    /// Calls refused by an open circuit.
    pub open: Option<Loop>,
}

/// Ways that are compared with the first of them.
pub struct Group {
    /// What the first row of the table is called in its last column.
    pub base: &'static str,
    /// The ways; the first is what the others are measured against.
    pub ways: Vec<Way>,
}

/// All groups. Needs a tokio runtime around it, for its timers.
pub fn all() -> [Group; 2] {
    [
        Group {
            base: "the wrapper switched off",
            ways: methods(),
        },
        Group {
            base: "the service alone",
            ways: layers(),
        },
    ]
}

/// The error of a protected method.
#[derive(Debug)]
pub enum ClientError {
    /// The operation's own.
    Failed(Failed),
    /// A refusal of ours.
    Rejected(Rejected),
}

impl From<Rejected> for ClientError {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

/// A client behind a trait.
#[resilient]
pub trait Client {
    /// Tried once.
    async fn once(&self, fail: bool) -> Result<u64, ClientError>;
    /// Tried again when it fails.
    #[resilient(idempotent)]
    async fn again(&self, fail: bool) -> Result<u64, ClientError>;
}

/// Answers at once.
#[derive(Debug, Clone, Copy)]
pub struct Direct;

impl Client for Direct {
    async fn once(&self, fail: bool) -> Result<u64, ClientError> {
        operation(fail).map_err(ClientError::Failed)
    }

    async fn again(&self, fail: bool) -> Result<u64, ClientError> {
        operation(fail).map_err(ClientError::Failed)
    }
}

fn count_window() -> BreakerConfig {
    let [(_, config, _), ..] = fusebox_settings();
    BreakerConfig::clone(&config)
}

fn time_window() -> BreakerConfig {
    let [_, _, (_, config, _), ..] = fusebox_settings();
    BreakerConfig::clone(&config)
}

fn wrapped(registry: &Registry, config: BreakerConfig, timeouts: bool) -> impl Client + use<> {
    let off = Settings::new()
        .with_attempt_timeout(Duration::MAX)
        .with_total_timeout(Duration::MAX);
    let settings = if timeouts { Settings::new() } else { off };
    let resilience = Resilience::builder(registry)
        .settings(settings)
        .breaker(config)
        .build()
        .expect("these settings are valid");
    Direct
        .resilient(&resilience)
        .expect("the registry has room")
}

fn opened(registry: &Registry) -> impl Client + use<> {
    let client = wrapped(registry, count_window(), false);
    for _ in 0..400 {
        drop(ready(client.once(true)));
    }
    client
}

fn once(client: impl Client + 'static) -> Loop {
    repeat(move || drop(black_box(ready(client.once(false)))))
}

fn methods() -> Vec<Way> {
    let ticker = TickerClock::start(Duration::from_millis(1)).expect("a thread can be had");
    let new = || Registry::new("bench");
    let ticking = || Registry::with_clock("bench", ticker.clone());
    let way = |name, closed, open: Option<Loop>| Way { name, closed, open };
    let breaker = fusebox_breaker(&fusebox_settings()[0]);
    let again = wrapped(&ticking(), time_window(), true);
    vec![
        way(
            "`#[resilient]`, switched off",
            once(wrapped(&Registry::disabled("bench"), count_window(), true)),
            None,
        ),
        way("the bare client", once(Direct), None),
        way(
            "`CircuitBreaker::call`, over 100 calls",
            repeat(move || drop(black_box(ready(breaker.call(async || operation(false)))))),
            None,
        ),
        way(
            "`#[resilient]`, a circuit over 100 calls",
            once(wrapped(&new(), count_window(), false)),
            Some(once(opened(&new()))),
        ),
        way(
            "`#[resilient]`, a circuit over 10 s, ticker",
            once(wrapped(&ticking(), time_window(), false)),
            Some(once(opened(&ticking()))),
        ),
        way(
            "the same with its standard timeouts",
            once(wrapped(&ticking(), time_window(), true)),
            None,
        ),
        way(
            "the same for an idempotent method",
            repeat(move || drop(black_box(ready(again.again(false))))),
            None,
        ),
    ]
}

fn layers() -> Vec<Way> {
    let breaker = || {
        CircuitBreaker::builder("bench")
            .config(count_window())
            .seed(1)
            .build()
            .expect("these settings are valid")
    };
    let bare = || service_fn(|fail: bool| async move { operation(fail) });
    let typed = || ServiceBuilder::new().map_err(Error::Inner).service(bare());
    let tried_once = |breaker: CircuitBreaker| BreakerLayer::new(breaker, ByError).layer(typed());
    let named = |breaker: CircuitBreaker| {
        CallLayer::new(breaker.clone(), "bench.call", ByError).layer(tried_once(breaker))
    };
    let stack = |breaker: CircuitBreaker| {
        let clock = Arc::new(MonotonicClock::new());
        let throttle = Throttle::new(ThrottleConfig::new(), clock).expect("its defaults are valid");
        let limit = Limit::bulkhead(10, 0).expect("ten places are a limit");
        ServiceBuilder::new()
            .layer(CallLayer::new(breaker.clone(), "bench.call", ByError))
            .layer(DeadlineLayer::new(LONG))
            .layer(RetryLayer::new(
                RetryPolicy::new(RetryBudget::default()),
                ByError,
                Always,
            ))
            .layer(ThrottleLayer::new(throttle))
            .layer(BreakerLayer::new(breaker, ByError))
            .layer(LimitLayer::new(limit))
            .layer(AttemptTimeoutLayer::new(LONG))
            .service(typed())
    };
    let peer = || peers::tower_resilience(100, 10, LONG).layer_fn(bare());
    vec![
        layer("the service alone", bare, false),
        layer(
            "fusebox-tower, breaker over 100 calls",
            || tried_once(breaker()),
            true,
        ),
        layer(
            "the same with a name for the call",
            || named(breaker()),
            true,
        ),
        layer(
            "name, deadline, retry, throttle, breaker, bulkhead, attempt timeout",
            || stack(breaker()),
            false,
        ),
        layer("tower-resilience 0.14, breaker over 100 calls", peer, true),
    ]
}

fn layer<S>(name: &'static str, make: impl Fn() -> S, opens: bool) -> Way
where
    S: Service<bool> + 'static,
{
    let (mut closed, mut open) = (make(), make());
    if opens {
        for _ in 0..400 {
            tower_call(&mut open, true);
        }
    }
    Way {
        name,
        closed: repeat(move || tower_call(&mut closed, false)),
        open: opens.then(|| repeat(move || tower_call(&mut open, false))),
    }
}
