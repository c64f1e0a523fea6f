//! What a call tells about itself: its span, and the context of its errors.

use std::time::Duration;

use fusebox_http::{HttpClient, HttpErrorKind};
use fusebox_resilient::Ids;

use crate::recorder::{Recorder, check};
use crate::stub::{breaker, client, refused, serve_raw, serve_status};

#[tokio::test]
async fn a_call_is_a_span_with_its_circuit_and_its_result() {
    let (recorder, _guard) = Recorder::start();
    let (ok, _) = client(&serve_status(200, &[], "").await);
    let ids = Ids::new().with_correlation_id("c-1");
    ids.scope(async { ok.get("/a/7").operation("fetch").send().await.unwrap() })
        .await;
    let (bad, _) = client(&serve_status(500, &[], "").await);
    for _ in 0..3 {
        bad.post("/").send().await.unwrap();
    }
    bad.post("/").send().await.unwrap_err();
    let (throttled, _) = client(&serve_status(429, &[], "").await);
    throttled.get("/").send().await.unwrap();

    let spans = recorder.spans();
    check(
        &spans[0],
        &[
            ("otel.name", "circuit_breaker.stub_client.fetch"),
            ("service", "test"),
            ("operation", "fetch"),
            ("correlation_id", "c-1"),
            ("circuit.name", "stub_client"),
            ("circuit.state", "closed"),
            ("circuit.failure_count", "0"),
            ("circuit.success_count", "0"),
            ("circuit.call_result", "success"),
            ("circuit.blocked", "false"),
            ("attempts", "1"),
        ],
    );
    check(
        &spans[3],
        &[
            ("otel.name", "circuit_breaker.stub_client.post"),
            ("circuit.call_result", "failure"),
            ("otel.status_code", "ERROR"),
        ],
    );
    check(
        &spans[4],
        &[
            ("circuit.state", "open"),
            ("circuit.call_result", "blocked"),
            ("circuit.blocked", "true"),
            ("attempts", "0"),
        ],
    );
    check(&spans[5], &[("circuit.call_result", "neutral")]);
    assert_eq!(spans.len(), 6);
}

#[tokio::test]
async fn a_dropped_call_is_told_as_abandoned() {
    let (recorder, _guard) = Recorder::start();
    let (url, _) = serve_raw(b"", false).await;
    let (client, _) = client(&url);
    let brief = Duration::from_millis(20);
    let call = tokio::time::timeout(brief, client.get("/").send());
    assert!(call.await.is_err());
    check(
        &recorder.spans()[0],
        &[("circuit.call_result", "abandoned"), ("attempts", "1")],
    );
}

/// M2.4: service, operation, correlation id, trace id and span id, in every error of a call.
#[tokio::test]
async fn every_error_knows_its_call() {
    let ids = Ids::new()
        .with_correlation_id("c-9")
        .with_trace_id("t-9")
        .with_span_id("s-9");
    let source = ids.clone();
    let client = HttpClient::builder(serve_status(500, &[], "no json").await, breaker().0)
        .ids(move || source.clone())
        .build()
        .unwrap();
    let get = || client.get("/x").operation("fetch");
    let answer = get().send().await.unwrap();
    let decode = answer.json::<u64>().unwrap_err();
    let status = answer.error_for_status().unwrap_err();
    let build = client
        .get("/../x")
        .operation("fetch")
        .send()
        .await
        .unwrap_err();
    get().send().await.unwrap();
    get().send().await.unwrap();
    let shut = get().send().await.unwrap_err();
    let nowhere = HttpClient::builder(refused().await, breaker().0).ids(move || ids.clone());
    let nowhere = nowhere.build().unwrap();
    let connect = nowhere
        .get("/x")
        .operation("fetch")
        .send()
        .await
        .unwrap_err();

    assert!(matches!(decode.kind(), HttpErrorKind::Decode { .. }));
    assert!(matches!(status.kind(), HttpErrorKind::Status { .. }));
    assert!(matches!(build.kind(), HttpErrorKind::Build { .. }));
    assert!(shut.not_permitted().is_some());
    assert!(matches!(connect.kind(), HttpErrorKind::Connect { .. }));
    for (error, attempts) in [
        (decode, 1),
        (status, 1),
        (build, 0),
        (shut, 0),
        (connect, 2),
    ] {
        let context = error.context().expect("an error of a call").to_string();
        let expected = format!(
            "operation=fetch circuit=stub_client service=test attempts={attempts} \
             correlation_id=c-9 trace_id=t-9 span_id=s-9"
        );
        assert_eq!(context, expected, "{error}");
    }
}
