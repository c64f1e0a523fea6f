//! Functions without a trait.

use std::cell::Cell;
use std::time::Duration;

use fusebox::{Registry, State};
use fusebox_resilient::{CallError, Judge, Policy, Reason, Resilience, Settings, Verdict};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_function_is_called_once_or_repeated() {
    let policy = resilience(9).policy("store", "store.put").unwrap();
    assert!(!policy.is_pass_through());
    let tries = Cell::new(0);
    let attempt = || {
        tries.set(tries.get() + 1);
        let now = tries.get();
        async move { if now < 3 { Err(DOWN) } else { Ok(now) } }
    };
    let error = policy.call(&attempt).await.unwrap_err();
    assert_eq!(error.context().unwrap().operation(), "store.put");
    assert!(error.into_inner().unwrap().is_down());
    assert_eq!(policy.repeat(&attempt).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_timeouts_are_typed() {
    let resilience = resilience(1);
    let policy = resilience.policy("store", "store.put").unwrap();
    let hanging = policy.call(std::future::pending::<ApiResult<()>>).await;
    let error = hanging.unwrap_err();
    let after = Duration::from_secs(10);
    assert_eq!(
        error.rejected().unwrap().reason(),
        &Reason::AttemptTimedOut { after }
    );
    let refused = policy.call(async || Ok::<(), ApiError>(())).await;
    let Err(CallError::Rejected(rejected)) = refused else {
        panic!("the circuit is open")
    };
    assert!(rejected.not_permitted().is_some());
    let source = std::error::Error::source(&rejected).unwrap();
    assert!(source.is::<fusebox::NotPermitted>());
}

/// With one time for both, its end is the attempt's, and so evidence against the dependency. On the real
/// clock, which goes on between the two.
#[tokio::test]
async fn the_time_of_a_first_attempt_begins_with_the_call() {
    let resilience = builder(1)
        .settings(
            Settings::new()
                .with_attempt_timeout(Duration::MAX)
                .with_total_timeout(Duration::from_millis(10)),
        )
        .build()
        .unwrap();
    let policy = resilience.policy("store", "store.put").unwrap();
    let hanging = policy.call(std::future::pending::<ApiResult<()>>).await;
    assert!(matches!(
        hanging.unwrap_err().rejected().unwrap().reason(),
        Reason::AttemptTimedOut { .. }
    ));
    assert_eq!(policy.breaker().unwrap().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn errors_without_classification_are_judged_by_a_function() {
    let resilience = resilience(1);
    let policy = resilience.policy("store", "store.put").unwrap();
    let judge = Judge::by(|error: &&str| match *error {
        "mine" => Verdict::neutral(),
        _ => Verdict::permanent_failure(),
    });
    let calls = Cell::new(0);
    let answer = policy
        .repeat_with(judge, async || {
            calls.set(calls.get() + 1);
            Err::<(), _>("mine")
        })
        .await;
    assert_eq!(answer.unwrap_err().into_inner(), Some("mine"));
    assert_eq!(policy.breaker().unwrap().state(), State::Closed);
    let answer = policy
        .repeat_with(judge, async || {
            calls.set(calls.get() + 1);
            Err::<(), _>("theirs")
        })
        .await;
    assert_eq!(answer.unwrap_err().into_inner(), Some("theirs"));
    assert_eq!(policy.breaker().unwrap().state(), State::Open);
    assert_eq!(calls.get(), 2, "neither was worth another attempt");
    let answer = policy.call_with(judge, async || Ok::<_, &str>(1)).await;
    assert!(matches!(answer, Err(CallError::Rejected(_))));
}

#[test]
fn plain_functions_need_no_runtime() {
    let registry = Registry::new("orchestrator");
    let resilience = Resilience::builder(&registry)
        .breaker(opens_after(1))
        .settings(
            Settings::new()
                .with_attempt_timeout(Duration::MAX)
                .with_total_timeout(Duration::MAX),
        )
        .build()
        .unwrap();
    let policy = resilience.policy("disk", "disk.write").unwrap();
    assert_eq!(policy.call_sync(|| Ok::<_, ApiError>(3)).unwrap(), 3);
    assert!(policy.call_sync(|| Err::<(), _>(DOWN)).is_err());
    let mut called = false;
    let refused = policy.call_sync(|| {
        called = true;
        Ok::<_, ApiError>(())
    });
    assert!(refused.unwrap_err().rejected().is_some() && !called);
}

#[tokio::test]
async fn a_pass_through_policy_does_nothing() {
    let policy = Policy::pass_through();
    for _ in 0..20 {
        let error = policy
            .repeat(async || Err::<(), _>(DOWN))
            .await
            .unwrap_err();
        assert_eq!(error.context(), None);
        assert_eq!(error.into_inner(), Some(DOWN));
    }
    assert!(policy.breaker().is_none() && policy.budget().is_none());
}
