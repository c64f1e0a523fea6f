//! Servers that answer as they are told, each on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use fusebox::{BreakerConfig, CircuitBreaker, TripRule, VirtualClock};
use fusebox_http::HttpClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Serves every path with `answer`.
pub(crate) async fn serve<F>(answer: F) -> String
where
    F: Fn(Request) -> Response + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(listener.local_addr().unwrap());
    let app = Router::new().fallback(move |request: Request| {
        let answer = answer.clone();
        async move { answer(request) }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Serves a status with headers and a body.
pub(crate) async fn serve_status(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> String {
    serve(move |_| {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Body::from(body)).unwrap()
    })
    .await
}

/// Reads each request, writes `bytes`, then closes or keeps silent. Counts the connections.
pub(crate) async fn serve_raw(
    bytes: &'static [u8],
    then_close: bool,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let read = socket.read(&mut buffer).await.unwrap();
                assert!(read > 0, "connected without a request");
                socket.write_all(bytes).await.unwrap();
                socket.flush().await.unwrap();
                if !then_close {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (url, connections)
}

/// The address of a port nobody listens on.
pub(crate) async fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url(listener.local_addr().unwrap())
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Three failures in a row open it; its clock stands still unless it is moved.
pub(crate) fn breaker() -> (CircuitBreaker, VirtualClock) {
    let clock = VirtualClock::new();
    let config = BreakerConfig::default()
        .with_trip_rule(TripRule::Consecutive)
        .with_failure_threshold(3)
        .with_break_jitter(0.0);
    let breaker = CircuitBreaker::builder("stub_client")
        .service("test")
        .config(config)
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    (breaker, clock)
}

pub(crate) fn client(url: &str) -> (HttpClient, CircuitBreaker) {
    let (breaker, _) = breaker();
    let client = HttpClient::builder(url, breaker.clone())
        .timeout(Duration::from_secs(10))
        .max_body(1_000)
        .build()
        .unwrap();
    (client, breaker)
}
