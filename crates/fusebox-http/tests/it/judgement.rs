//! Every row of the table in the crate's documentation.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use fusebox::Classify as _;
use fusebox::Outcome;
use fusebox_http::{HttpErrorKind, REJECTED_HEADER};
use futures_util::stream;

use crate::stub::{client, refused, serve, serve_raw, serve_status};

/// Successes, failures and neutrals after one call.
fn counts(breaker: &fusebox::CircuitBreaker) -> (u64, u64, u64) {
    let counts = breaker.snapshot().counts;
    (counts.success, counts.failure, counts.neutral)
}

#[tokio::test]
async fn statuses_are_judged_by_whose_fault_they_are() {
    for (status, success, failure, neutral) in [
        (200, 1, 0, 0),
        (204, 1, 0, 0),
        (302, 1, 0, 0),
        (304, 1, 0, 0),
        (400, 0, 0, 1),
        (401, 0, 0, 1),
        (404, 0, 0, 1),
        (409, 0, 0, 1),
        (422, 0, 0, 1),
        (429, 0, 0, 1),
        (500, 0, 1, 0),
        (502, 0, 1, 0),
        (503, 0, 1, 0),
        (504, 0, 1, 0),
        (599, 0, 1, 0),
    ] {
        let (client, breaker) = client(&serve_status(status, &[("location", "/x")], "").await);
        let response = client.get("/").send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(counts(&breaker), (success, failure, neutral), "{status}");
        let checked = response.error_for_status();
        assert_eq!(checked.is_err(), status >= 400, "{status}");
        if let Err(error) = checked {
            assert_eq!(error.status().unwrap().as_u16(), status);
            let transient = matches!(status, 429 | 500..);
            assert_eq!(error.is_transient(), transient, "{status}");
            let outcome = if status >= 500 {
                Outcome::Failure
            } else {
                Outcome::Neutral
            };
            assert_eq!(error.outcome(), outcome, "{status}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_the_dependency_itself_is_neutral() {
    let url = serve_status(
        503,
        &[(REJECTED_HEADER, "breaker"), ("retry-after", "7")],
        "{}",
    )
    .await;
    let (client, breaker) = client(&url);
    let error = client
        .get("/")
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap_err();
    assert_eq!(counts(&breaker), (0, 0, 1));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(error.outcome(), Outcome::Neutral);
    assert!(error.is_transient());
    // The header means nothing on another status.
    let (client, breaker) =
        crate::stub::client(&serve_status(500, &[(REJECTED_HEADER, "x")], "").await);
    client.get("/").send().await.unwrap();
    assert_eq!(counts(&breaker), (0, 1, 0));
}

#[tokio::test]
async fn no_answer_in_time_is_a_failure() {
    let (url, _) = serve_raw(b"", false).await;
    let (client, breaker) = client(&url);
    let short = Duration::from_millis(50);
    let error = client.get("/slow").timeout(short).send().await.unwrap_err();
    assert!(
        matches!(error.kind(), HttpErrorKind::Timeout { .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!("GET {url}/slow brought no whole answer within 50ms")
    );
    assert!(error.is_transient());
    assert_eq!(counts(&breaker), (0, 1, 0));
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_is_a_failure() {
    let (url, _) = serve_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", false).await;
    let (client, breaker) = client(&url);
    let error = client
        .get("/")
        .timeout(Duration::from_millis(50))
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), HttpErrorKind::Timeout { .. }),
        "{error:?}"
    );
    assert_eq!(counts(&breaker), (0, 1, 0));
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_and_was_not_sent() {
    let (client, breaker) = client(&refused().await);
    let error = client.post("/v1/x").send().await.unwrap_err();
    assert!(
        matches!(error.kind(), HttpErrorKind::Connect { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("could not be connected"),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
    assert!(error.was_not_sent() && error.is_transient());
    assert_eq!(counts(&breaker), (0, 1, 0));
}

#[tokio::test]
async fn an_idempotent_request_that_was_not_connected_is_tried_once_more() {
    let url = refused().await;
    let (one, breaker) = client(&url);
    one.get("/").send().await.unwrap_err();
    assert_eq!(counts(&breaker), (0, 2, 0));
    let (one, breaker) = client(&url);
    one.post("/")
        .idempotent(true)
        .json(&1)
        .send()
        .await
        .unwrap_err();
    assert_eq!(counts(&breaker), (0, 2, 0));
    // A stream cannot be read twice.
    let (one, breaker) = client(&url);
    let nothing = stream::empty::<Result<Bytes, std::io::Error>>();
    one.put("/")
        .stream(fusebox_http::Body::wrap_stream(nothing))
        .send()
        .await
        .unwrap_err();
    assert_eq!(counts(&breaker), (0, 1, 0));
}

#[tokio::test]
async fn a_lost_connection_is_a_failure_and_never_tried_again() {
    let (url, connections) = serve_raw(b"", true).await;
    let (client, breaker) = client(&url);
    let error = client.get("/").send().await.unwrap_err();
    assert!(
        matches!(error.kind(), HttpErrorKind::Transport { .. }),
        "{error:?}"
    );
    assert_eq!(counts(&breaker), (0, 1, 0));
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cut_body_is_a_failure_whatever_the_status() {
    for head in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".as_slice(),
        b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (url, _) = serve_raw(head, true).await;
        let (client, breaker) = client(&url);
        let error = client.get("/").send().await.unwrap_err();
        assert!(
            matches!(error.kind(), HttpErrorKind::Transport { .. }),
            "{error:?}"
        );
        assert_eq!(counts(&breaker), (0, 1, 0));
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
    let announced = serve(|_| Response::new(Body::from(vec![b'x'; 1_001]))).await;
    let streamed = serve(|_| {
        let chunks = (0..11).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 100])));
        Response::new(Body::from_stream(stream::iter(chunks)))
    })
    .await;
    for url in [announced, streamed] {
        let (client, breaker) = client(&url);
        let error = client.get("/").send().await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                HttpErrorKind::BodyTooLarge { limit: 1_000, .. }
            ),
            "{error:?}"
        );
        assert!(!error.is_transient());
        assert_eq!(counts(&breaker), (0, 0, 1));
    }
    let (client, _) = client(&serve(|_| Response::new(Body::from(vec![b'x'; 1_000]))).await);
    assert_eq!(client.get("/").send().await.unwrap().bytes().len(), 1_000);
}

#[tokio::test]
async fn json_that_is_none_is_the_answers_fault_and_says_so() {
    let (client, breaker) = client(&serve_status(200, &[], "{\"a\":").await);
    let response = client
        .get("/v1/batch")
        .query(&[("secret", "s3cr3t")])
        .send()
        .await
        .unwrap();
    let error = response.json::<serde_json::Value>().unwrap_err();
    assert!(
        matches!(error.kind(), HttpErrorKind::Decode { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("is not valid JSON"), "{error}");
    assert!(
        !error.to_string().contains("s3cr3t"),
        "a query was shown: {error}"
    );
    assert!(!error.is_transient());
    assert_eq!(counts(&breaker), (1, 0, 0));
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_the_dependencys_fault() {
    let (url, _) = serve_raw(b"", false).await;
    let (client, breaker) = client(&url);
    let parts = [
        Ok(Bytes::from_static(b"a part")),
        Err(std::io::Error::other("disk gone")),
    ];
    let body = fusebox_http::Body::wrap_stream(stream::iter(parts));
    let error = client
        .post("/upload")
        .stream(body)
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), HttpErrorKind::RequestBody { .. }),
        "{error:?}"
    );
    assert_eq!(counts(&breaker), (0, 0, 1));
}

#[tokio::test]
async fn a_dropped_call_is_neutral() {
    let (url, connections) = serve_raw(b"", false).await;
    let (client, breaker) = client(&url);
    let call = tokio::spawn(client.get("/").send());
    while connections.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(counts(&breaker), (0, 0, 1));
}
