//! Calls with a name: what their errors and their spans tell.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusebox::{Classify, Outcome, Registry};
use fusebox_limit::Limit;
use fusebox_resilient::{Ids, RetryBudget};
use fusebox_tower::{
    Always, AttemptTimeoutLayer, BreakerLayer, ByError, CallFailed, CallLayer, DeadlineLayer,
    Error, HedgeLayer, Keyed, LimitLayer, RetryLayer, RetryPolicy, TokioClock,
};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Metadata, Subscriber, dispatcher};

use crate::probe::{Answer, ByHand, DOWN, Probe, Ready, Trouble, breaker, config};

fn budget() -> RetryBudget {
    RetryBudget::new(100, 1.0)
}

fn retry() -> RetryLayer<ByError, Always> {
    RetryLayer::new(RetryPolicy::new(budget()), ByError, Always)
}

#[tokio::test(start_paused = true)]
async fn an_error_tells_its_call_and_how_often_it_was_tried() {
    let breaker = breaker();
    let limit = Limit::bulkhead(1, 0).unwrap();
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(breaker.clone(), "content.fetch", ByError))
        .layer(DeadlineLayer::new(Duration::from_mins(1)))
        .layer(retry())
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .layer(LimitLayer::new(limit.clone()))
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
        .service(Probe::answering([DOWN, DOWN, DOWN]));
    let ids = Ids::new().with_correlation_id("c-1").with_trace_id("t-1");
    let failed = ids.clone().scope(service.clone().oneshot(1)).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.error(), &Error::Inner(Trouble::Down));
    let context = failed.context();
    assert_eq!(
        (context.operation(), context.circuit(), context.attempts()),
        ("content.fetch", "probe", 3)
    );
    assert_eq!(context.ids(), &ids);
    assert_eq!(failed.to_string(), "down");
    assert!(!failed.error().was_not_sent(), "it was, three times");

    let refused = service.oneshot(1).await.unwrap_err();
    assert!(matches!(refused.error(), Error::NotPermitted(_)));
    assert_eq!(refused.context().attempts(), 0);
    assert_eq!(refused.context().ids(), &Ids::new());
    assert!(std::error::Error::source(&refused).is_some(), "the refusal");
}

/// A call that is polled inside another, as a fallback in a handler, has its own count.
#[tokio::test(start_paused = true)]
async fn each_call_counts_its_own_attempts() {
    let service = |answers: [Answer; 3]| {
        let breaker = breaker();
        ServiceBuilder::new()
            .layer(CallLayer::new(breaker.clone(), "a.b", ByError))
            .layer(retry())
            .layer(BreakerLayer::new(breaker, ByError))
            .service(Probe::answering(answers))
    };
    let inner = service([DOWN, DOWN, DOWN]);
    let breaker = breaker();
    let outer = ServiceBuilder::new()
        .layer(CallLayer::new(breaker.clone(), "c.d", ByError))
        .layer(BreakerLayer::new(breaker, ByError))
        .service(tower::service_fn(move |request: u32| {
            let inner = inner.clone();
            async move {
                let failed = inner.oneshot(request).await.unwrap_err();
                assert_eq!(failed.context().attempts(), 3);
                Err::<u32, _>(failed.into_inner())
            }
        }));
    let failed = outer.oneshot(1).await.unwrap_err();
    assert_eq!(failed.context().attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_readiness_tells_its_call_as_well() {
    let breaker = breaker();
    let probe = Probe::new();
    probe.readiness([Ready::Error]);
    let mut service = CallLayer::new(breaker, "content.fetch", ByError)
        .with_ids(|| Ids::new().with_span_id("s"))
        .layer(probe);
    let failed = service.ready().await.unwrap_err();
    assert_eq!(failed.error(), &Error::Inner(Trouble::Unready));
    assert_eq!(
        failed.context().to_string(),
        "operation=content.fetch circuit=probe service= attempts=0 span_id=s"
    );
}

fn by_host(host: &u32) -> Cow<'_, str> {
    format!("h{host}").into()
}

#[tokio::test(start_paused = true)]
async fn the_circuit_is_that_of_the_request() {
    let registry = Registry::with_clock("gateway", Arc::new(TokioClock::new()));
    let keyed = Keyed::new(&registry, "host", config(), by_host).unwrap();
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(keyed.clone(), "host.get", ByError))
        .layer(BreakerLayer::new(keyed, ByError))
        .service(Probe::answering([DOWN]));
    let failed: CallFailed<_> = service.oneshot(7).await.unwrap_err();
    assert_eq!(
        (failed.context().service(), failed.context().circuit()),
        ("gateway", "host/h7")
    );
}

/// Keeps the fields of every span, in the order they were made.
#[derive(Default)]
struct Spans(Mutex<Vec<BTreeMap<&'static str, String>>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

struct Listener(Arc<Spans>);

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        assert_eq!(span.metadata().name(), "protected_call");
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        let mut spans = self.0.0.lock().unwrap();
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.0.0.lock().unwrap();
        let at = usize::try_from(span.into_u64() - 1).unwrap();
        values.record(&mut Fields(&mut spans[at]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn one_span_for_each_call_says_how_it_ended() {
    let spans = Arc::new(Spans::default());
    let dispatch = Dispatch::new(Listener(Arc::clone(&spans)));
    let _listening = dispatcher::set_default(&dispatch);
    let breaker = breaker();
    let limit = Limit::bulkhead(1, 0).unwrap();
    let probe = Probe::answering([
        Answer::Now(Ok(1)),
        DOWN,
        Answer::Now(Ok(1)),
        Answer::Now(Err(Trouble::Mine(1))),
        Answer::Never,
        Answer::Never,
    ]);
    let service = ServiceBuilder::new()
        .layer(
            CallLayer::new(breaker.clone(), "content.fetch", ByError)
                .with_ids(|| Ids::new().with_correlation_id("c-1")),
        )
        .layer(DeadlineLayer::new(Duration::from_secs(5)))
        .layer(retry())
        .layer(BreakerLayer::new(breaker.clone(), ByError))
        .layer(LimitLayer::new(limit.clone()))
        .service(probe);
    assert!(service.clone().oneshot(1).await.is_ok());
    assert!(service.clone().oneshot(1).await.is_ok(), "second attempt");
    assert!(service.clone().oneshot(1).await.is_err(), "the caller's");
    assert!(service.clone().oneshot(1).await.is_err(), "out of time");
    let mut dropped = ByHand::new(service.clone().oneshot(1));
    assert!(dropped.poll().is_pending());
    drop(dropped);
    let place = limit.try_enter().unwrap();
    assert!(service.clone().oneshot(1).await.is_err(), "full");
    drop(place);
    breaker.force_open("drill");
    assert!(service.clone().oneshot(1).await.is_err(), "open");

    let spans = spans.0.lock().unwrap();
    let told = |field: &str| -> Vec<String> {
        let of = |span: &BTreeMap<&str, String>| span.get(field).cloned().unwrap_or_default();
        spans.iter().map(of).collect()
    };
    assert_eq!(
        told("circuit.call_result"),
        [
            "success",
            "success",
            "neutral",
            "neutral",
            "abandoned",
            "blocked",
            "blocked"
        ]
    );
    assert_eq!(told("attempts"), ["1", "2", "1", "1", "1", "1", "0"]);
    assert_eq!(told("circuit.state")[6], "open");
    assert_eq!(told("circuit.blocked")[4..], ["false", "true", "true"]);
    for span in spans.iter() {
        assert_eq!(span["operation"], "content.fetch");
        assert_eq!(span["correlation_id"], "c-1");
        assert_eq!(span["otel.name"], "circuit_breaker.probe.fetch");
    }
}

/// The dependency has not been asked, so it is not said to have failed.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_out_of_time_before_it_is_sent_is_blocked() {
    let spans = Arc::new(Spans::default());
    let dispatch = Dispatch::new(Listener(Arc::clone(&spans)));
    let _listening = dispatcher::set_default(&dispatch);
    let breaker = breaker();
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(breaker.clone(), "a.b", ByError))
        .layer(DeadlineLayer::new(Duration::ZERO))
        .layer(BreakerLayer::new(breaker, ByError))
        .service(Probe::new());
    let failed = service.oneshot(1).await.unwrap_err();
    assert!(failed.error().was_not_sent(), "{failed:?}");
    assert_eq!(failed.context().attempts(), 0);
    let spans = spans.0.lock().unwrap();
    assert_eq!(spans[0]["circuit.call_result"], "blocked");
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_the_wish_of_the_dependency() {
    let breaker = breaker();
    let wish = Duration::from_secs(7);
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(breaker.clone(), "a.b", ByError))
        .layer(BreakerLayer::new(breaker, ByError))
        .service(Probe::answering([Answer::Now(Err(Trouble::Busy(wish)))]));
    let failed = service.oneshot(1).await.unwrap_err();
    assert_eq!(failed.outcome(), Outcome::Neutral);
    assert_eq!(failed.retry_after(), Some(wish));
}

/// A hedge's copies are attempts of one call.
#[tokio::test(start_paused = true)]
async fn copies_are_attempts_too() {
    let breaker = breaker();
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(breaker.clone(), "a.b", ByError))
        .layer(DeadlineLayer::new(Duration::from_secs(1)))
        .layer(HedgeLayer::new(
            Duration::from_millis(10),
            budget(),
            ByError,
            Always,
        ))
        .layer(BreakerLayer::new(breaker, ByError))
        .service(Probe::answering([Answer::Never, Answer::Never]));
    let failed = service.oneshot(1).await.unwrap_err();
    assert!(matches!(failed.error(), Error::DeadlineExceeded(_)));
    assert_eq!(failed.context().attempts(), 2);
}
