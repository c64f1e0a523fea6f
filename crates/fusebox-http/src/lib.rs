//! An HTTP client whose every call passes a circuit breaker: deadlines, Retry-After, typed errors.
//!
//! One [`HttpClient`] speaks to one dependency and owns one circuit. It decides by what came over
//! the wire whether the dependency is ill, and tells the circuit so:
//!
//! | what happened | outcome for the circuit |
//! |---|---|
//! | 2xx, 3xx | success |
//! | 4xx | neutral: the request was at fault |
//! | 429 | neutral: a throttle, the dependency is well |
//! | 503 with [`REJECTED_HEADER`] | neutral: a circuit or shedder inside the dependency refused |
//! | 503 | failure; its `Retry-After` is the circuit's hint |
//! | other 5xx | failure |
//! | no answer within the total timeout | failure |
//! | no connection, connection lost, body cut | failure |
//! | 2xx to 4xx with a body longer than the limit | neutral: the answer is of no use, but it came |
//! | the request's own body failed while it was read | neutral: nothing of theirs |
//! | the caller dropped the future | neutral |
//!
//! A request is sent once. The one exception: an idempotent request that could not even be
//! connected, and so was provably not sent, is tried one more time.
//!
//! Each call is a span `protected_call` with the fields of [`fusebox_resilient`]'s, and each error
//! carries the [context](HttpError::context) of its call.
//!
//! ```
//! use axum::Router;
//! use axum::extract::Path;
//! use axum::http::StatusCode;
//! use axum::routing::get;
//! use fusebox::{BreakerConfig, Registry, State};
//! use fusebox_http::{HttpClient, HttpErrorKind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("http://{}", listener.local_addr()?);
//! // The dependency: it knows one text, not another, and is down for the rest.
//! let content = Router::new().route("/v1/content/{id}", get(async |Path(id): Path<u32>| match id {
//!     7 => Ok("text"),
//!     8 => Err(StatusCode::NOT_FOUND),
//!     _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
//! }));
//! # tokio::spawn(async move { axum::serve(listener, content).await });
//!
//! let circuits = Registry::new("spellchecker");
//! let circuit = circuits.register("content", BreakerConfig::default().with_failure_threshold(3))?;
//! let content = HttpClient::builder(&url, circuit.clone()).build()?;
//!
//! let response = content.get("/v1/content/7").send().await?;
//! assert_eq!(response.text()?, "text");
//!
//! // A mistake of the caller says nothing about the dependency.
//! let missing = content.get("/v1/content/8").send().await?.error_for_status().unwrap_err();
//! assert!(matches!(missing.kind(), HttpErrorKind::Status { status: StatusCode::NOT_FOUND, .. }));
//! assert_eq!(circuit.snapshot().counts.neutral, 1);
//!
//! for _ in 0..3 {
//!     assert!(content.get("/v1/content/9").send().await?.error_for_status().is_err());
//! }
//! assert_eq!(circuit.state(), State::Open);
//! let refused = content.get("/v1/content/7").send().await.unwrap_err();
//! assert!(refused.retry_after().is_some(), "for the caller's own 503");
//! assert_eq!(refused.context().map(|call| call.service()), Some("spellchecker"));
//! # Ok(())
//! # }
//! ```

mod client;
mod error;
mod judge;
mod path;
mod request;
mod response;
mod retry_after;

pub use client::{BuildError, Decorator, HttpClient, HttpClientBuilder};
pub use error::{HttpError, HttpErrorKind};
pub use judge::REJECTED_HEADER;
pub use path::encode_segment;
pub use request::RequestBuilder;
pub use response::Response;
pub use retry_after::{MAX_RETRY_AFTER, parse_retry_after};

/// What a streamed request body is made of; see [`RequestBuilder::stream`].
pub use reqwest::Body;
