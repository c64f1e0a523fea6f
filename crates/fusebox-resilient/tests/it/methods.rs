//! What the wrapper of a trait does, method by method.

use std::sync::Arc;
use std::time::Duration;

use fusebox::{Classify, Outcome, Registry, State, VirtualClock};
use fusebox_resilient::{Ids, MethodMeta, PolicyError, Reason, Resilience, Settings};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_circuit_opens_refuses_and_heals() {
    let clock = VirtualClock::new();
    let registry = Registry::with_clock("orchestrator", Arc::new(clock.clone()));
    let resilience = Resilience::builder(&registry)
        .breaker(opens_after(3))
        .build()
        .unwrap();
    let fake = Fake::failing(3);
    let client = fake.clone().resilient(&resilience).unwrap();
    for _ in 0..3 {
        assert!(client.resolve(1, vec![]).await.unwrap_err().is_down());
    }
    let error = client.resolve(1, vec![]).await.unwrap_err();
    let refusal = error.rejected().not_permitted().unwrap();
    assert_eq!(refusal.circuit(), "bc");
    assert_eq!(error.rejected().retry_after(), Some(Duration::from_mins(1)));
    assert!(error.rejected().was_not_sent());
    assert!(
        client.health().await.is_err(),
        "one circuit for the whole trait"
    );
    assert_eq!(fake.calls(), 3, "refused calls are not made");
    clock.advance(Duration::from_mins(1));
    assert_eq!(client.resolve(9, vec!["a".into()]).await.unwrap(), "9/1/4");
    assert_eq!(registry.get("bc").unwrap().state(), State::Closed);
}

#[tokio::test]
async fn every_kind_of_method_is_forwarded() {
    let fake = Fake::default();
    let mut client = fake.clone().resilient(&resilience(1)).unwrap();
    assert_eq!(client.resolve(4, vec![]).await.unwrap(), "4/0/1");
    assert_eq!(client.fetch("/p/", 5).await.unwrap(), "/p/5#2");
    assert_eq!(client.bulk(vec![1, 2]).await.unwrap(), 2);
    assert!(client.health().await.is_ok());
    assert_eq!(
        fake.calls(),
        4,
        "the implementation's body, not the trait's"
    );
    assert!(client.r#match().await.is_ok());
    assert!(client.ping().await);
    assert_eq!(client.future().await.unwrap(), 5);
    assert_eq!(client.generic("k").await.unwrap(), "k");
    assert_eq!(client.anonymous("k").await.unwrap(), "k");
    assert_eq!(client.borrowed("z").await.unwrap(), "z");
    assert_eq!(client.sum((1, 2)).await.unwrap(), 3);
    assert_eq!(client.always_compiled().await.unwrap(), 10);
    assert_eq!(client.label(), "default");
    assert_eq!(
        <ResilientBatchConductor<Fake> as BatchConductor>::make(),
        42
    );
    assert_eq!(
        <ResilientBatchConductor<Fake> as BatchConductor>::VERSION,
        7
    );
    assert_eq!(client.clone().consume().await.unwrap(), 11);
    assert_eq!(client.inner().calls(), 11);
    assert_eq!(client.into_inner().calls(), 11);
}

#[tokio::test]
async fn a_method_may_have_a_circuit_of_its_own() {
    let resilience = resilience(1);
    let mut client = Fake::failing(1).resilient(&resilience).unwrap();
    assert!(client.bulk(vec![]).await.unwrap_err().is_down());
    let refused = client.bulk(vec![]).await.unwrap_err();
    assert_eq!(refused.rejected().context().circuit(), "bc.bulk");
    assert!(client.health().await.is_ok());
    let names: Vec<_> = resilience.registry().breakers();
    assert_eq!(names.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_callers_mistakes_are_neutral_even_in_half_open() {
    let clock = VirtualClock::new();
    let registry = Registry::with_clock("orchestrator", Arc::new(clock.clone()));
    let resilience = Resilience::builder(&registry)
        .breaker(opens_after(1))
        .build()
        .unwrap();
    let bad = Fake::with(std::iter::repeat_n(Step::Fail(ApiError::BadRequest), 9));
    let bad = bad.resilient(&resilience).unwrap();
    let breaker = registry.get("bc").unwrap();
    for _ in 0..5 {
        assert_eq!(bad.health().await, Err(ApiError::BadRequest));
    }
    assert_eq!(breaker.state(), State::Closed);
    let other = Fake::failing(1).resilient(&resilience).unwrap();
    assert!(other.health().await.is_err());
    clock.advance(Duration::from_mins(1));
    assert_eq!(bad.health().await, Err(ApiError::BadRequest));
    assert_eq!(
        breaker.state(),
        State::HalfOpen,
        "no proof of recovery either"
    );
    assert!(other.health().await.is_ok());
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_slot_back() {
    let clock = VirtualClock::new();
    let registry = Registry::with_clock("orchestrator", Arc::new(clock.clone()));
    let resilience = Resilience::builder(&registry)
        .breaker(opens_after(1))
        .build()
        .unwrap();
    let fake = Fake::with([Step::Fail(DOWN), Step::Hang]);
    let client = fake.resilient(&resilience).unwrap();
    assert!(client.health().await.is_err());
    clock.advance(Duration::from_mins(1));
    let hanging = tokio::time::timeout(Duration::from_millis(5), client.health()).await;
    assert!(hanging.is_err());
    assert!(
        client.health().await.is_ok(),
        "the only slot was free again"
    );
    assert_eq!(registry.get("bc").unwrap().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_a_failure() {
    let resilience = resilience(1);
    let client = Fake::with([Step::Hang]).resilient(&resilience).unwrap();
    let error = client.resolve(1, vec![]).await.unwrap_err();
    let after = Duration::from_secs(10);
    assert_eq!(
        error.rejected().reason(),
        &Reason::AttemptTimedOut { after }
    );
    assert_eq!(error.outcome(), Outcome::Failure);
    assert!(!error.rejected().was_not_sent());
    assert_eq!(
        error.rejected().to_string(),
        "the call of bc.resolve got no answer within 10s"
    );
    assert_eq!(
        resilience.registry().get("bc").unwrap().state(),
        State::Open
    );
}

#[tokio::test(start_paused = true)]
async fn a_total_timeout_alone_is_the_attempts_too() {
    let settings = Settings::new()
        .with_attempt_timeout(Duration::MAX)
        .with_total_timeout(Duration::from_secs(2));
    let resilience = builder(1).settings(settings).build().unwrap();
    let client = Fake::with([Step::Hang]).resilient(&resilience).unwrap();
    let error = client.health().await.unwrap_err();
    let after = Duration::from_secs(2);
    assert_eq!(
        error.rejected().reason(),
        &Reason::AttemptTimedOut { after }
    );
    assert_eq!(
        resilience.registry().get("bc").unwrap().state(),
        State::Open
    );
}

#[tokio::test(start_paused = true)]
async fn too_many_at_once_are_refused_without_harm() {
    let resilience = builder(1)
        .operation("bc.resolve", Settings::new().with_max_concurrent(2))
        .build()
        .unwrap();
    let fake = Fake::with([Step::Slow(Duration::from_secs(1)), Step::Hang]);
    let client = fake.clone().resilient(&resilience).unwrap();
    let (first, _, third) = tokio::join!(
        client.resolve(1, vec![]),
        async { tokio::time::timeout(Duration::from_secs(2), client.resolve(2, vec![])).await },
        client.resolve(3, vec![]),
    );
    assert!(first.is_ok());
    let error = third.unwrap_err();
    assert_eq!(error.rejected().reason(), &Reason::TooBusy { limit: 2 });
    assert_eq!(fake.calls(), 2);
    assert!(
        client.resolve(4, vec![]).await.is_ok(),
        "places come back, also from the dropped call"
    );
    assert_eq!(
        resilience.registry().get("bc").unwrap().state(),
        State::Closed
    );
}

#[tokio::test]
async fn switched_off_is_the_same_type_and_the_bare_client() {
    let registry = Registry::disabled("orchestrator");
    let resilience = Resilience::builder(&registry)
        .settings(Settings::new().with_max_concurrent(1))
        .build()
        .unwrap();
    let fake = Fake::failing(50);
    let client: ResilientBatchConductor<Fake> = fake.clone().resilient(&resilience).unwrap();
    for _ in 0..20 {
        let error = client.fetch("x", 1).await.unwrap_err();
        assert_eq!(error, ApiError::Down(None), "not even a context is added");
    }
    assert_eq!(fake.calls(), 20, "neither refused nor repeated");
    assert!(client.policies().iter().all(|(_, p)| p.is_pass_through()));
}

#[tokio::test]
async fn an_inner_refusal_is_neutral_outside() {
    let inner = resilience(1);
    let outer = resilience(1);
    let client = Fake::failing(1).resilient(&inner).unwrap();
    assert!(client.health().await.is_err());
    let client = client.resilient(&outer).unwrap();
    for _ in 0..3 {
        let error = client.health().await.unwrap_err();
        assert_eq!(error.rejected().reason(), &inner_reason(&inner, &error));
    }
    assert_eq!(outer.registry().get("bc").unwrap().state(), State::Closed);
    assert_eq!(
        outer
            .registry()
            .get("bc")
            .unwrap()
            .snapshot()
            .counts
            .neutral,
        3
    );
}

fn inner_reason(inner: &Resilience, error: &ApiError) -> Reason {
    assert_eq!(inner.registry().get("bc").unwrap().state(), State::Open);
    Reason::NotPermitted(error.rejected().not_permitted().unwrap().clone())
}

#[tokio::test]
async fn every_error_knows_its_call() {
    let client = Fake::failing(1).resilient(&resilience(1)).unwrap();
    let ids = Ids::new()
        .with_correlation_id("c-1")
        .with_trace_id("t-1")
        .with_span_id("s-1");
    let errors = ids
        .scope(async { [client.health().await, client.health().await] })
        .await;
    let [
        Err(ApiError::Down(Some(own))),
        Err(ApiError::Rejected(rejected)),
    ] = &errors
    else {
        panic!("{errors:?}");
    };
    for context in [own, rejected.context()] {
        assert_eq!(context.service(), "orchestrator");
        assert_eq!(context.operation(), "bc.health");
        assert_eq!(context.circuit(), "bc");
        assert_eq!(context.correlation_id(), Some("c-1"));
        assert_eq!(context.trace_id(), Some("t-1"));
        assert_eq!(context.span_id(), Some("s-1"));
    }
    assert_eq!((own.attempts(), rejected.context().attempts()), (1, 0));
}

#[tokio::test]
async fn ids_may_come_from_the_programs_own_source() {
    let resilience = builder(1)
        .ids(|| Ids::new().with_correlation_id("from the program"))
        .build()
        .unwrap();
    let client = Fake::failing(1).resilient(&resilience).unwrap();
    let Err(ApiError::Down(Some(context))) = client.health().await else {
        panic!("the call fails")
    };
    assert_eq!(context.correlation_id(), Some("from the program"));
}

#[tokio::test]
async fn a_method_may_be_judged_by_a_function() {
    let resilience = resilience(1);
    let client = Fake::failing(3).resilient(&resilience).unwrap();
    for _ in 0..3 {
        assert!(client.lenient().await.is_err());
    }
    let counts = resilience.registry().get("bc").unwrap().snapshot().counts;
    assert_eq!((counts.success, counts.failure), (3, 0));
}

#[tokio::test]
async fn futures_can_be_spawned_from_generic_code() {
    async fn user<B: BatchConductor<Id = u64> + Send + Sync + 'static>(b: Arc<B>) -> String {
        let task = tokio::spawn(async move { b.fetch("x", 1).await });
        task.await.unwrap().unwrap()
    }
    let resilience = resilience(1);
    let once = Fake::default().resilient(&resilience).unwrap();
    assert_eq!(user(Arc::new(once)).await, "x1#1");
    let twice = Fake::default().resilient(&resilience).unwrap();
    let twice = twice.resilient(&resilience).unwrap();
    assert_eq!(user(Arc::new(twice)).await, "x1#1");
}

#[test]
fn the_attribute_can_be_read_back() {
    type Client = ResilientBatchConductor<Fake>;
    let find = |name: &str| {
        let methods = Client::METHODS.iter();
        *methods
            .clone()
            .find(|method| method.name() == name)
            .unwrap()
    };
    assert_eq!(Client::CLIENT, "bc");
    assert_eq!(
        find("resolve"),
        MethodMeta::new("resolve").with_circuit("bc")
    );
    let twice = MethodMeta::new("twice")
        .with_circuit("bc")
        .with_idempotent()
        .with_attempts(2)
        .with_attempt_timeout(Duration::from_millis(100))
        .with_total_timeout(Duration::from_secs(1));
    assert_eq!(find("twice"), twice);
    let settings = find("twice").settings();
    assert_eq!(
        (
            settings.max_attempts,
            settings.attempt_timeout,
            settings.total_timeout
        ),
        (
            Some(2),
            Some(Duration::from_millis(100)),
            Some(Duration::from_secs(1))
        )
    );
    let plain = find("resolve");
    assert!(!plain.is_idempotent() && !plain.is_hedged() && !plain.is_stream());
    assert!(find("hedged").is_hedged() && find("hedged").is_idempotent());
    assert_eq!(find("bulk").circuit(), Some("bc.bulk"));
    assert_eq!(find("ping").circuit(), None);
    assert_eq!(find("label").circuit(), None);
    assert_eq!(find("match").circuit(), Some("bc"));
    assert!(Client::METHODS.iter().all(|m| m.name() != "never_compiled"));
    let client = Fake::default().resilient(&resilience(1)).unwrap();
    let protected = Client::METHODS.iter().filter(|m| m.circuit().is_some());
    assert_eq!(client.policies().len(), protected.count());
}

#[test]
fn settings_are_checked_and_misspelt_names_found() {
    let refused = builder(1)
        .operation("bc.fetch", Settings::new().with_max_attempts(0))
        .build()
        .unwrap_err();
    assert!(matches!(&refused, PolicyError::Settings { name, .. } if name == "bc.fetch"));
    let refused = builder(0).build().unwrap_err();
    assert!(matches!(&refused, PolicyError::Breaker { name, .. } if name == "all circuits"));

    let resilience = builder(1)
        .operation("bc.fetsch", Settings::new())
        .operation("bc.fetch", Settings::new())
        .circuit("bd", opens_after(1))
        .build()
        .unwrap();
    let _client = Fake::default().resilient(&resilience).unwrap();
    assert_eq!(resilience.unused(), ["bc.fetsch", "bd"]);
}

#[test]
fn a_circuit_that_is_there_is_shared() {
    let registry = Registry::new("orchestrator");
    let there = registry.register("bc", opens_after(17)).unwrap();
    let resilience = Resilience::new(&registry);
    let client = Fake::default().resilient(&resilience).unwrap();
    let (_, policy) = client.policies()[0];
    let threshold = policy.breaker().unwrap().snapshot().failure_threshold;
    assert_eq!(threshold, 17);
    there.force_open("drill");
    assert_eq!(policy.breaker().unwrap().state(), State::Open);
    assert_eq!(resilience.budgets().len(), 2, "bc and bc.bulk");
}
