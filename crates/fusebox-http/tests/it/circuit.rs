//! What is judged reaches the circuit: storms open it, and its refusal is typed.

use std::time::Duration;

use fusebox::State;
use fusebox_http::{HttpClient, HttpErrorKind};

use crate::stub::{breaker, client, serve_raw, serve_status};

/// W1, W3: a client that never raised for 5xx could never open its circuit.
#[tokio::test]
async fn a_storm_of_5xx_opens_the_circuit() {
    let (client, breaker) = client(&serve_status(500, &[], "").await);
    for _ in 0..3 {
        client.get("/").send().await.unwrap();
    }
    assert_eq!(breaker.state(), State::Open);
    let error = client.get("/").send().await.unwrap_err();
    let refusal = error.not_permitted().expect("a typed refusal");
    assert_eq!(
        (refusal.circuit(), refusal.service()),
        ("stub_client", "test")
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert!(error.is_transient() && error.was_not_sent());
    assert!(error.to_string().contains("stub_client"), "{error}");
}

/// W1: a total timeout was an error of another type, and so no failure.
#[tokio::test]
async fn a_row_of_timeouts_opens_the_circuit() {
    let (url, _) = serve_raw(b"", false).await;
    let (client, breaker) = client(&url);
    for _ in 0..3 {
        let call = client.post("/").json(&1).timeout(Duration::from_millis(30));
        let error = call.send().await.unwrap_err();
        assert!(matches!(error.kind(), HttpErrorKind::Timeout { .. }));
    }
    assert_eq!(breaker.state(), State::Open);
}

/// W7: the mistakes of a caller must not cut off everybody else.
#[tokio::test]
async fn no_number_of_4xx_opens_the_circuit() {
    for status in [400, 404, 429] {
        let (client, breaker) = client(&serve_status(status, &[("retry-after", "1")], "").await);
        for _ in 0..50 {
            client.get("/").send().await.unwrap();
        }
        assert_eq!(breaker.state(), State::Closed, "{status}");
    }
}

#[tokio::test]
async fn the_break_lasts_as_long_as_the_dependency_asked() {
    let url = serve_status(503, &[("retry-after", "20")], "").await;
    let (breaker, clock) = breaker();
    let client = HttpClient::builder(url, breaker.clone()).build().unwrap();
    for _ in 0..3 {
        client.get("/").send().await.unwrap();
    }
    let error = client.get("/").send().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
    clock.advance(Duration::from_secs(19));
    assert_eq!(breaker.state(), State::Open);
    clock.advance(Duration::from_secs(1));
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[tokio::test]
async fn a_circuit_closes_again_when_the_dependency_is_well() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let well = Arc::new(AtomicBool::new(false));
    let health = Arc::clone(&well);
    let url = crate::stub::serve(move |_| {
        let status = if health.load(Ordering::SeqCst) {
            200
        } else {
            502
        };
        axum::response::Response::builder()
            .status(status)
            .body(axum::body::Body::empty())
            .unwrap()
    })
    .await;
    let (breaker, clock) = breaker();
    let client = HttpClient::builder(url, breaker.clone()).build().unwrap();
    for _ in 0..3 {
        client.get("/").send().await.unwrap();
    }
    assert_eq!(breaker.state(), State::Open);
    well.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        client.get("/").send().await.unwrap();
    }
    assert_eq!(breaker.state(), State::Closed);
}
