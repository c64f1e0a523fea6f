//! The span of a protected call.

use fusebox::{CircuitBreaker, Outcome};
use fusebox_resilient::{CallResult, CallSpan, Ids, resilient};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tracing::Span;

use crate::recorder::{Recorder, check};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_call_tells_its_circuit_and_its_result() {
    let (recorder, _guard) = Recorder::start();
    let client = Fake::with([Step::Fail(ApiError::BadRequest), Step::Fail(DOWN)])
        .resilient(&resilience(1))
        .unwrap();
    let ids = Ids::new().with_correlation_id("c-1");
    ids.scope(async {
        assert!(client.consume_all().await.is_err());
    })
    .await;
    let spans = recorder.spans();
    check(
        &spans[0],
        &[
            ("otel.name", "circuit_breaker.bc.health"),
            ("service", "orchestrator"),
            ("operation", "bc.health"),
            ("correlation_id", "c-1"),
            ("circuit.name", "bc"),
            ("circuit.state", "closed"),
            ("circuit.failure_count", "0"),
            ("circuit.success_count", "0"),
            ("circuit.call_result", "neutral"),
            ("circuit.blocked", "false"),
            ("attempts", "1"),
        ],
    );
    check(
        &spans[1],
        &[
            ("circuit.call_result", "failure"),
            ("otel.status_code", "ERROR"),
        ],
    );
    check(
        &spans[2],
        &[
            ("circuit.state", "open"),
            ("circuit.call_result", "blocked"),
            ("circuit.blocked", "true"),
            ("attempts", "0"),
        ],
    );
    assert_eq!(spans.len(), 3);
}

impl ResilientBatchConductor<Fake> {
    /// One call after the other, whatever they give; the last one's answer.
    async fn consume_all(&self) -> ApiResult<()> {
        assert!(self.health().await.is_err());
        assert!(self.health().await.is_err());
        self.health().await
    }
}

#[tokio::test(start_paused = true)]
async fn one_span_for_all_attempts_around_the_call_itself() {
    let (recorder, _guard) = Recorder::start();
    let policy = resilience(9).policy("store", "store.put").unwrap();
    let tries = std::cell::Cell::new(0);
    let answer = policy
        .repeat(async || {
            assert_eq!(
                Span::current().metadata().map(tracing::Metadata::name),
                Some("protected_call")
            );
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(DOWN) } else { Ok(()) }
        })
        .await;
    assert!(answer.is_ok() && Span::current().is_none());
    let spans = recorder.spans();
    assert_eq!(spans.len(), 1);
    check(
        &spans[0],
        &[("circuit.call_result", "success"), ("attempts", "3")],
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_told_as_abandoned() {
    let (recorder, _guard) = Recorder::start();
    let client = Fake::with([Step::Hang]).resilient(&resilience(1)).unwrap();
    let brief = std::time::Duration::from_millis(5);
    assert!(tokio::time::timeout(brief, client.health()).await.is_err());
    check(
        &recorder.spans()[0],
        &[("circuit.call_result", "abandoned")],
    );
}

#[resilient]
trait Feed {
    #[resilient(stream)]
    async fn open(&self) -> ApiResult<BoxStream<'static, ApiResult<u8>>>;
}

struct Items(Vec<ApiResult<u8>>);

impl Feed for Items {
    async fn open(&self) -> ApiResult<BoxStream<'static, ApiResult<u8>>> {
        Ok(stream::iter(self.0.clone()).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_at_its_end() {
    let (recorder, _guard) = Recorder::start();
    for (items, result) in [
        (vec![Ok(1), Ok(2)], "success"),
        (vec![Ok(1), Err(DOWN)], "failure"),
        (vec![Err(ApiError::BadRequest)], "neutral"),
    ] {
        let feed = Items(items).resilient(&resilience(9)).unwrap();
        let opened = feed.open().await.unwrap();
        let told = || recorder.spans().last().unwrap().clone();
        assert_eq!(told().get("circuit.call_result"), None, "it goes on");
        opened.collect::<Vec<_>>().await;
        check(&told(), &[("circuit.call_result", result)]);
    }
}

/// For clients that are not called through a policy.
#[test]
fn a_span_of_ones_own_tells_the_same() {
    let (recorder, _guard) = Recorder::start();
    let breaker = CircuitBreaker::builder("store").build().unwrap();
    let results = [Outcome::Success, Outcome::Failure, Outcome::Neutral].map(CallResult::of);
    assert_eq!(
        results,
        [
            CallResult::Success,
            CallResult::Failure,
            CallResult::Neutral
        ]
    );
    for (attempts, result) in (0..).zip(results) {
        let mut span = CallSpan::begin(&breaker, "store.put", Ids::new);
        for _ in 0..attempts {
            span.count_attempt();
        }
        assert_eq!(span.attempts(), attempts);
        span.finish(result);
    }
    drop(CallSpan::begin(&breaker, "store.put", Ids::new));
    let spans = recorder.spans();
    let told = ["success", "failure", "neutral", "abandoned"];
    assert_eq!(spans.len(), told.len());
    for (span, (attempts, result)) in spans.iter().zip(["0", "1", "2", "0"].iter().zip(told)) {
        check(
            span,
            &[
                ("otel.name", "circuit_breaker.store.put"),
                ("circuit.call_result", result),
                ("circuit.blocked", "false"),
                ("attempts", attempts),
            ],
        );
        let failed = span.contains_key("otel.status_code");
        assert_eq!(failed, result == "failure");
    }
}
