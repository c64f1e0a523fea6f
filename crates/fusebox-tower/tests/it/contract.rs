//! The contract every layer keeps, asked of each of them and of the whole stack.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fusebox::Registry;
use fusebox_limit::{AdaptiveConfig, Limit, Sample, Throttle, ThrottleConfig};
use fusebox_resilient::RetryBudget;
use fusebox_tower::limit::load_fn;
use fusebox_tower::{
    Always, AttemptTimeoutLayer, BreakerLayer, ByError, CallFailed, CallLayer, DeadlineLayer,
    Error, HedgeLayer, Keyed, LimitLayer, RetryLayer, RetryPolicy, ThrottleLayer, TokioClock,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::probe::{Answer, ByHand, DOWN, Probe, Ready, TestError, Trouble, breaker, config};

/// A layer, and how many permits and places it has given out.
struct Case<L> {
    layer: L,
    held: Box<dyn Fn() -> u64>,
}

fn case<L>(layer: L, held: impl Fn() -> u64 + 'static) -> Case<L> {
    Case {
        layer,
        held: Box::new(held),
    }
}

const LONG: Duration = Duration::from_hours(1);

trait Tested: Layer<Probe, Service = Self::Made> {
    type Made: Service<u32, Response = u32, Error = TestError> + Clone;
}

impl<L, S> Tested for L
where
    L: Layer<Probe, Service = S>,
    S: Service<u32, Response = u32, Error = TestError> + Clone,
{
    type Made = S;
}

fn of_limit(limit: &Limit) -> impl Fn() -> u64 + use<> {
    let limit = limit.clone();
    move || {
        let now = limit.snapshot();
        u64::from(now.in_use) + now.waiting as u64
    }
}

fn one_circuit() -> Case<impl Tested> {
    let breaker = breaker();
    let layer = BreakerLayer::new(breaker.clone(), ByError);
    case(layer, move || breaker.snapshot().in_flight)
}

fn keyed_circuits() -> Case<impl Tested> {
    let registry = Registry::with_clock("contract", Arc::new(TokioClock::new()));
    let keyed = Keyed::new(&registry, "keyed", config(), |request: &u32| {
        request.to_string().into()
    });
    let layer = BreakerLayer::new(keyed.unwrap(), ByError);
    case(layer, move || {
        registry.snapshots().iter().map(|s| s.in_flight).sum()
    })
}

fn bulkhead() -> Case<impl Tested> {
    let limit = Limit::bulkhead(10, 0).unwrap();
    case(LimitLayer::new(limit.clone()), of_limit(&limit))
}

fn adaptive() -> Case<impl Tested> {
    let clock = Arc::new(TokioClock::new());
    let limit = Limit::adaptive(AdaptiveConfig::new(), clock).unwrap();
    case(LimitLayer::new(limit.clone()), of_limit(&limit))
}

fn throttle() -> Case<impl Tested> {
    // The widest window: what the checks let pass by stays counted.
    let config = ThrottleConfig::new().with_window(LONG);
    let throttle = Throttle::new(config.with_most_refused(0.0), Arc::new(TokioClock::new()));
    let throttle = throttle.unwrap();
    let layer = ThrottleLayer::learning_by(
        throttle.clone(),
        load_fn(|result: Result<&u32, &TestError>| match result {
            Ok(_) => Sample::Success,
            Err(_) => Sample::Ignored,
        }),
    );
    // Accepted calls are counted for good; what is counted beyond them is held.
    case(layer, move || {
        let now = throttle.snapshot();
        now.requests - now.accepts
    })
}

fn call() -> Case<impl Tested> {
    let breaker = breaker();
    let layer = ServiceBuilder::new()
        .map_err(CallFailed::into_inner)
        .layer(CallLayer::new(breaker.clone(), "probe.call", ByError))
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .into_inner();
    case(layer, move || breaker.snapshot().in_flight)
}

fn attempt_timeout() -> Case<impl Tested> {
    case(AttemptTimeoutLayer::new(LONG), || 0)
}

fn deadline() -> Case<impl Tested> {
    case(DeadlineLayer::new(LONG), || 0)
}

fn retry() -> Case<impl Tested> {
    let policy = RetryPolicy::new(RetryBudget::new(100, 1.0));
    case(RetryLayer::new(policy, ByError, Always), || 0)
}

fn hedge() -> Case<impl Tested> {
    let budget = RetryBudget::new(100, 1.0);
    let layer = HedgeLayer::new(Duration::from_millis(1), budget, ByError, Always);
    case(layer, || 0)
}

fn everything() -> Case<impl Tested> {
    let breaker = breaker();
    let limit = Limit::bulkhead(10, 2).unwrap();
    let budget = RetryBudget::new(100, 1.0);
    let throttle = Throttle::new(ThrottleConfig::new(), Arc::new(TokioClock::new())).unwrap();
    let layer = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG))
        .layer(HedgeLayer::new(
            Duration::from_millis(1),
            budget.clone(),
            ByError,
            Always,
        ))
        .layer(RetryLayer::new(RetryPolicy::new(budget), ByError, Always))
        .layer(ThrottleLayer::new(throttle))
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .layer(LimitLayer::new(limit.clone()))
        .layer(AttemptTimeoutLayer::new(LONG))
        .into_inner();
    let of_limit = of_limit(&limit);
    case(layer, move || breaker.snapshot().in_flight + of_limit())
}

async fn readiness_is_the_inner_services(case: Case<impl Tested>) {
    let probe = Probe::new();
    let mut service = case.layer.layer(probe.clone());
    probe.readiness([Ready::Pending, Ready::Yes]);
    {
        let mut ready = ByHand::new(poll_fn(|cx| service.poll_ready(cx)));
        assert!(ready.poll().is_pending());
        assert_eq!(ready.rung(), 0);
        probe.wake();
        assert_eq!(ready.rung(), 1, "whoever waits is woken");
        assert_eq!(ready.poll(), Poll::Ready(Ok(())));
    }
    assert_eq!(service.call(7).await, Ok(7));
    probe.readiness([Ready::Error]);
    let error = poll_fn(|cx| service.poll_ready(cx)).await;
    assert_eq!(error, Err(Error::Inner(Trouble::Unready)), "unchanged");
    assert_eq!((case.held)(), 0);
}

async fn readiness_takes_nothing(case: Case<impl Tested>) {
    let mut service = case.layer.layer(Probe::new());
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    assert_eq!((case.held)(), 0);
    assert_eq!(service.call(1).await, Ok(1));
}

/// The probe panics when it is called unready. Repeated and second copies are calls too.
async fn only_the_ready_are_called(case: Case<impl Tested>) {
    let probe = Probe::new();
    let service = case.layer.layer(probe.clone());
    for turn in 0..50 {
        probe.readiness([Ready::Again, Ready::Yes, Ready::Again]);
        match turn % 4 {
            0 => probe.answer(DOWN),
            1 => probe.answer(Answer::After(Duration::from_secs(1), Ok(turn))),
            2 => probe.answer(Answer::Polls(3)),
            _ => {}
        }
        let mut clone = service.clone();
        let answer = clone.ready().await.unwrap().call(turn).await;
        assert!(matches!(answer, Ok(n) if n == turn) || turn % 4 == 0);
    }
    assert!(probe.calls() >= 50);
    assert_eq!(((case.held)(), probe.in_flight()), (0, 0));
}

async fn a_clone_takes_no_readiness_away(case: Case<impl Tested>) {
    let probe = Probe::new();
    let mut service = case.layer.layer(probe.clone());
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let mut clone = service.clone();
    assert_eq!(service.call(1).await, Ok(1), "it was ready and still is");
    assert_eq!(clone.ready().await.unwrap().call(2).await, Ok(2));
    drop((service, clone));
    assert_eq!((case.held)(), 0);
}

async fn cancelled_at_any_point_it_leaves_nothing(case: Case<impl Tested>) {
    for polls in 0..8 {
        for answer in [Answer::Polls(5), Answer::Never, DOWN] {
            let probe = Probe::answering([answer, answer, answer]);
            let mut service = case.layer.layer(probe.clone());
            poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
            // What is sent again has to wait for its readiness, too.
            probe.readiness([Ready::Again, Ready::Pending]);
            let mut call = ByHand::new(service.call(polls));
            for _ in 0..polls {
                if call.poll().is_ready() {
                    break;
                }
                tokio::time::advance(Duration::from_millis(20)).await;
            }
            drop(call);
            assert_eq!(
                ((case.held)(), probe.in_flight()),
                (0, 0),
                "{polls} {answer:?}"
            );
        }
    }
}

async fn a_panic_leaves_nothing(case: Case<impl Tested>) {
    let probe = Probe::answering([Answer::PanicInCall, Answer::PanicInPoll]);
    let mut service = case.layer.layer(probe.clone());
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| service.call(1))).is_err());
    assert_eq!((case.held)(), 0);

    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let mut call = ByHand::new(service.call(1));
    assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
    assert_eq!((case.held)(), 0, "though nobody has dropped the future");
    drop(call);
    assert_eq!(service.ready().await.unwrap().call(3).await, Ok(3));
}

async fn errors_pass_unchanged(case: Case<impl Tested>) {
    let probe = Probe::answering([Answer::Now(Err(Trouble::Mine(42)))]);
    let error = Error::Inner(Trouble::Mine(42));
    let mut service = case.layer.layer(probe.clone());
    assert_eq!(service.ready().await.unwrap().call(1).await, Err(error));
    assert_eq!(probe.calls(), 1, "the caller's fault is not repeated");
}

macro_rules! contract {
    ($($layer:ident: [$($check:ident),* $(,)?]);* $(;)?) => {$(
        mod $layer {
            $(
                #[tokio::test(start_paused = true)]
                async fn $check() {
                    super::$check(super::$layer()).await;
                }
            )*
        }
    )*};
}

macro_rules! contracts {
    ($($layer:ident),* $(,)?) => {
        contract! {
            $($layer: [
                readiness_is_the_inner_services,
                readiness_takes_nothing,
                only_the_ready_are_called,
                a_clone_takes_no_readiness_away,
                cancelled_at_any_point_it_leaves_nothing,
                a_panic_leaves_nothing,
                errors_pass_unchanged,
            ]);*
        }
    };
}

contracts!(
    one_circuit,
    keyed_circuits,
    bulkhead,
    adaptive,
    throttle,
    call,
    attempt_timeout,
    deadline,
    retry,
    hedge,
    everything,
);

/// A layer as they are often written: it calls a clone of what it polled ready.
#[derive(Clone)]
struct Careless<S>(S);

impl<S> Service<u32> for Careless<S>
where
    S: Service<u32> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> S::Future {
        self.0.clone().call(request)
    }
}

#[tokio::test]
#[should_panic(expected = "called without having been polled ready")]
async fn the_probe_catches_a_careless_layer() {
    only_the_ready_are_called(case(tower::layer::layer_fn(Careless), || 0)).await;
}
