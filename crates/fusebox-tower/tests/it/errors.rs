//! Errors: typed, in a box, and what is found in the box.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use fusebox::{Classify, NotPermitted, Outcome, Registry, State, VirtualClock};
use fusebox_limit::{Full, Limit, Throttle, ThrottleConfig, Throttled};
use fusebox_resilient::{CallError, Deadline, Resilience, RetryBudget, Settings, Verdict};
use fusebox_tower::{
    Always, BreakerLayer, ByChain, ByError, ClassifyResult, DeadlineLayer, Error, HasOrigin,
    LimitLayer, Origin, RetryLayer, RetryPolicy, TimedOut,
};
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use crate::probe::{Answer, ByHand, Probe, TestError, Trouble, breaker};

/// tower's own timeout and load shedder erase types; the layers work around them all the same.
#[tokio::test(start_paused = true)]
async fn the_layers_work_on_boxed_errors() {
    let breaker = breaker();
    let limit = Limit::bulkhead(1, 0).unwrap();
    let budget = RetryBudget::new(10, 0.0);
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_mins(1)))
        .layer(LoadShedLayer::new())
        .layer(RetryLayer::new(
            RetryPolicy::new(budget.clone()).with_max_attempts(3),
            ByChain,
            Always,
        ))
        .layer(BreakerLayer::new(breaker.clone(), ByChain))
        .layer(LimitLayer::new(limit.clone()))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(Probe::answering([Answer::Never; 3]));
    let error: BoxError = service.clone().oneshot(1).await.unwrap_err();
    assert_eq!(
        error.origin(),
        Origin::TimedOut,
        "three attempts, all in vain"
    );
    assert_eq!(budget.granted(), 2);
    assert_eq!(
        breaker.state(),
        State::Open,
        "tower's time-outs are failures"
    );
    let error = service.clone().oneshot(1).await.unwrap_err();
    assert!(error.downcast_ref::<NotPermitted>().is_some(), "{error}");
    breaker.reset();
    let _place = limit.try_enter().unwrap();
    let error = service.oneshot(1).await.unwrap_err();
    assert!(error.downcast_ref::<Full>().is_some(), "{error}");
}

fn refusals() -> [(TestError, Origin, Outcome); 5] {
    let refusal = NotPermitted::new("a", "b", State::Open, Some(Duration::from_secs(9)));
    let full = Limit::bulkhead(1, 0).unwrap();
    let _place = full.try_enter().unwrap();
    [
        (refusal.into(), Origin::NotPermitted, Outcome::Neutral),
        (
            full.try_enter().unwrap_err().into(),
            Origin::Full,
            Outcome::Neutral,
        ),
        (Error::Inner(Trouble::Down), Origin::Inner, Outcome::Failure),
        (
            Error::Inner(Trouble::Mine(1)),
            Origin::Inner,
            Outcome::Neutral,
        ),
        (throttled().into(), Origin::Throttled, Outcome::Neutral),
    ]
}

fn throttled() -> Throttled {
    let throttle = Throttle::new(ThrottleConfig::new(), Arc::new(VirtualClock::new())).unwrap();
    throttle.try_begin(0.0).unwrap().overloaded();
    throttle.try_begin(0.0).unwrap_err()
}

#[test]
fn a_box_remembers_where_its_error_comes_from() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] BoxError);

    for (error, origin, outcome) in refusals() {
        assert_eq!((error.origin(), error.outcome()), (origin, outcome));
        let deep: BoxError = Box::new(Outer(Box::new(Outer(error.into()))));
        assert_eq!(deep.origin(), origin);
    }
    let shed: BoxError = Box::new(tower::load_shed::error::Overloaded::new());
    assert_eq!(shed.origin(), Origin::Full);
    let judged = ClassifyResult::<(), _>::verdict(&ByChain, Err(&shed));
    assert_eq!(judged, Verdict::neutral());
}

/// A refusal that knows its end would read as a throttle otherwise, and be tried again by policies
/// that ask the error alone.
#[test]
fn the_rest_of_a_break_is_no_wish_of_the_dependency() {
    let [(refusal, ..), ..] = refusals();
    assert_eq!(refusal.refused_for(), Some(Duration::from_secs(9)));
    assert_eq!(refusal.retry_after(), None);
    assert!(!Verdict::of(&refusal).may_retry());
    let throttle: TestError = Error::Inner(Trouble::Busy(Duration::from_secs(1)));
    assert!(Verdict::of(&throttle).may_retry());
}

#[test]
fn a_message_says_what_failed_and_its_source_says_why() {
    let [(refusal, ..), (full, ..), (down, ..), _, (throttled, ..)] = refusals();
    let chain = |error: &TestError| {
        let source = error.source().map(ToString::to_string);
        (error.to_string(), source.unwrap_or_default())
    };
    assert_eq!(
        chain(&refusal),
        (
            "the call was not permitted".to_owned(),
            "circuit b of a is open: the call was not permitted".to_owned()
        )
    );
    assert_eq!(
        chain(&full),
        (
            "the call found no place among those under way".to_owned(),
            "all 1 places for calls are taken, and 0 calls wait for one".to_owned()
        )
    );
    assert_eq!(
        chain(&throttled),
        (
            "the call was held back".to_owned(),
            "the dependency turns most calls away, and this one was not made".to_owned()
        )
    );
    assert!(throttled.was_not_sent() && throttled.origin().is_refusal());
    assert_eq!(chain(&down), ("down".to_owned(), String::new()));
    assert_eq!(down.into_inner(), Some(Trouble::Down));
}

/// An error type of one's own needs no more than the conversions of the layers in use.
#[tokio::test(start_paused = true)]
async fn an_error_type_of_ones_own_will_do() {
    #[derive(Debug)]
    enum Own {
        Refused(NotPermitted),
        Late(TimedOut),
    }
    impl From<NotPermitted> for Own {
        fn from(refusal: NotPermitted) -> Self {
            Own::Refused(refusal)
        }
    }
    impl From<TimedOut> for Own {
        fn from(error: TimedOut) -> Self {
            Own::Late(error)
        }
    }
    impl Classify for Own {
        fn outcome(&self) -> Outcome {
            match self {
                Own::Refused(refusal) => refusal.outcome(),
                Own::Late(error) => error.outcome(),
            }
        }
    }

    let breaker = breaker();
    let service = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .layer(fusebox_tower::AttemptTimeoutLayer::new(
            Duration::from_secs(1),
        ))
        .service(service_fn(|()| {
            std::future::pending::<Result<Arc<str>, Own>>()
        }));
    for _ in 0..3 {
        assert!(matches!(
            service.clone().oneshot(()).await,
            Err(Own::Late(_))
        ));
    }
    assert!(matches!(service.oneshot(()).await, Err(Own::Refused(_))));
}

/// A policy of `fusebox-resilient` may be behind the layers.
#[tokio::test(start_paused = true)]
async fn what_a_policy_refused_or_gave_up_is_known_for_what_it_is() {
    let settings = Settings::new()
        .with_attempt_timeout(Duration::from_secs(1))
        .with_max_concurrent(1);
    let resilience = Resilience::builder(&Registry::new("s"))
        .settings(settings)
        .build()
        .unwrap();
    let policy = resilience.policy("store", "store.put").unwrap();
    let hang = std::future::pending::<Result<(), Trouble>>;
    let origin = |error: CallError<Trouble>| {
        let rejected = error.rejected().expect("not the call's own").clone();
        BoxError::from(rejected).origin()
    };
    let late = policy.call(hang).await.unwrap_err();
    assert_eq!(origin(late), Origin::TimedOut);
    let mut under_way = ByHand::new(policy.call(hang));
    assert!(under_way.poll().is_pending());
    let busy = policy.call(hang).await.unwrap_err();
    assert_eq!(origin(busy), Origin::Full);
    drop(under_way);
    let over = Deadline::after(Duration::ZERO);
    let over = over.scope(policy.call(hang)).await.unwrap_err();
    assert_eq!(origin(over), Origin::DeadlineExceeded);
    policy.breaker().unwrap().force_open("drill");
    let refused = policy.call(hang).await.unwrap_err();
    assert_eq!(origin(refused), Origin::NotPermitted);
}
