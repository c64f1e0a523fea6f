//! What goes over the wire: paths, queries, headers, bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use fusebox_http::{HttpClient, HttpErrorKind, encode_segment};
use futures_util::stream;
use http::HeaderMap;
use serde_json::json;

use crate::stub::{breaker, client, serve};

/// Answers with the request line, the headers that matter, and the body.
async fn echo() -> String {
    serve(|request: Request| {
        let (parts, body) = request.into_parts();
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or("")
                .to_owned()
        };
        Response::builder()
            .header("x-line", format!("{} {}", parts.method, parts.uri))
            .header("x-type", header("content-type"))
            .header("x-one", header("x-one"))
            .header("x-attempt", header("x-attempt"))
            .body(body)
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn queries_and_unicode_paths_arrive() {
    let url = format!("{}/api/", echo().await);
    let (client, _) = client(&url);
    let path = format!("/v1/{}/å ä?x=1", encode_segment("klass 9B/å"));
    let request = client
        .get(path)
        .query(&[("name", "Åsa & co"), ("page", "2")]);
    let response = request
        .query(&json!({}))
        .query(&[("z", 1)])
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.headers()["x-line"],
        "GET /api/v1/klass%209B%2F%C3%A5/%C3%A5%20%C3%A4?x=1&name=%C3%85sa+%26+co&page=2&z=1"
    );
}

#[tokio::test]
async fn bodies_and_their_types_arrive() {
    let (client, _) = client(&echo().await);
    let response = client
        .post("/")
        .json(&json!({"a": [1, "å"]}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-type"], "application/json");
    assert_eq!(
        response.json::<serde_json::Value>().unwrap(),
        json!({"a": [1, "å"]})
    );
    let response = client
        .put("/")
        .body("text å", "text/plain; charset=utf-8")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-type"], "text/plain; charset=utf-8");
    assert_eq!(response.text().unwrap(), "text å");
    let parts = ["one ", "two"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
    let body = fusebox_http::Body::wrap_stream(stream::iter(parts));
    let response = client.patch("/").stream(body).send().await.unwrap();
    assert_eq!(response.bytes(), "one two");
    let response = client
        .post("/")
        .body(vec![0xff], "application/octet-stream")
        .send()
        .await;
    let error = response.unwrap().text().unwrap_err();
    assert!(error.to_string().contains("not valid UTF-8"), "{error}");
}

#[tokio::test]
async fn each_attempt_is_decorated_anew() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let client = HttpClient::builder(echo().await, breaker().0)
        .decorate(Arc::new(move |headers: &mut HeaderMap| {
            let n = counter.fetch_add(1, Ordering::SeqCst) + 1;
            headers.insert("x-attempt", n.to_string().parse().unwrap());
        }))
        .build()
        .unwrap();
    let mut extra = HeaderMap::new();
    extra.insert("x-one", "two".parse().unwrap());
    let request = client.get("/").header("x-one", "one").headers(extra);
    assert_eq!(request.send().await.unwrap().headers()["x-one"], "two");
    assert_eq!(
        client.delete("/").send().await.unwrap().headers()["x-attempt"],
        "2"
    );

    let refused = crate::stub::refused().await;
    let counter = Arc::clone(&count);
    let client = HttpClient::builder(refused, breaker().0)
        .decorate(Arc::new(move |_| {
            counter.fetch_add(10, Ordering::SeqCst);
        }))
        .build()
        .unwrap();
    client.get("/").send().await.unwrap_err();
    assert_eq!(
        count.load(Ordering::SeqCst),
        22,
        "two attempts, two decorations"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_without_a_call() {
    let (client, breaker) = client(&echo().await);
    let unserialisable: std::collections::HashMap<Vec<u8>, u8> = [(vec![1], 1)].into();
    for (request, what) in [
        (
            client.get("/").header("bad name", "x"),
            "a header's name is not valid",
        ),
        (
            client.get("/").header("x", "a\nb"),
            "a header's value is not valid",
        ),
        (
            client.post("/").json(&unserialisable),
            "its body does not serialise",
        ),
        (client.get("/").query(&5), "its query does not serialise"),
        (
            client.get("/v1/../secret"),
            "its path holds a segment that climbs",
        ),
    ] {
        let error = request.send().await.unwrap_err();
        assert!(
            matches!(error.kind(), HttpErrorKind::Build { .. }),
            "{error:?}"
        );
        assert!(error.to_string().ends_with(what), "{error}");
        assert!(!error.is_transient());
    }
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.success, counts.failure, counts.neutral), (0, 0, 0));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let url = serve(|request| {
        assert_eq!(request.uri().path(), "/", "followed");
        Response::builder()
            .status(307)
            .header("location", "/other")
            .body(Body::empty())
            .unwrap()
    })
    .await;
    let (client, _) = client(&url);
    let response = client.post("/").json(&1).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 307);
    assert_eq!(response.headers()["location"], "/other");
}
