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
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = fusebox::CircuitBreaker::builder("content_client").build()?;
//! let content = fusebox_http::HttpClient::builder("http://127.0.0.1:8001", breaker).build()?;
//! let text = content.get("/v1/content/7f").send().await?.error_for_status()?.text()?;
//! # drop(text); Ok(())
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
