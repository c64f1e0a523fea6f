//! Tower layers with typed errors: breaker, retry with budget, deadline, hedge, throttle, adaptive limit.
//!
//! Each layer is a room of its own; together they make a protected call. Take those you need: a
//! breaker and an attempt timeout are a good beginning. Their order, from the outside in, as it
//! compiles:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use fusebox::{BreakerConfig, Classify, Outcome, Registry};
//! use fusebox_limit::{AdaptiveConfig, Limit, Throttle, ThrottleConfig};
//! use fusebox_resilient::RetryBudget;
//! use fusebox_tower::{
//!     Always, AttemptTimeoutLayer, BreakerLayer, ByError, CallLayer, DeadlineLayer, Error,
//!     HedgeLayer, LimitLayer, RetryLayer, RetryPolicy, ThrottleLayer, TokioClock,
//! };
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! #[derive(Debug)]
//! enum StoreError { Down, NotFound }
//!
//! impl Classify for StoreError {
//!     fn outcome(&self) -> Outcome {
//!         match self {
//!             StoreError::Down => Outcome::Failure,
//!             StoreError::NotFound => Outcome::Neutral, // the caller's fault
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new("essay_lifecycle");
//! let breaker = registry.register("content", BreakerConfig::default())?;
//! let budget = RetryBudget::default(); // one for all that reaches this dependency
//! let clock = Arc::new(TokioClock::new());
//! let throttle = Throttle::new(ThrottleConfig::new(), clock.clone())?;
//! let adaptive = Limit::adaptive(AdaptiveConfig::new(), clock)?;
//!
//! let mut content = ServiceBuilder::new()
//!     .layer(CallLayer::new(breaker.clone(), "content.fetch", ByError)) // span and context
//!     .layer(DeadlineLayer::new(Duration::from_secs(10)))
//!     // A server puts tower's `load_shed` here.
//!     .layer(HedgeLayer::new(Duration::from_millis(800), budget.clone(), ByError, Always))
//!     .layer(RetryLayer::new(RetryPolicy::new(budget), ByError, Always))
//!     // From here on, for each attempt:
//!     .layer(ThrottleLayer::new(throttle)) // for what turns calls away under load
//!     .layer(BreakerLayer::new(breaker, ByError))
//!     .layer(LimitLayer::new(adaptive)) // or a bulkhead
//!     .layer(AttemptTimeoutLayer::new(Duration::from_secs(2)))
//!     .map_err(Error::Inner) // typed errors: what the layers refuse, or the service's own
//!     .service(service_fn(|id: u64| async move {
//!         if id == 7 { Ok("text") } else { Err(StoreError::NotFound) }
//!     }));
//!
//! assert_eq!(content.ready().await?.call(7).await?, "text");
//! let error = content.ready().await?.call(8).await.unwrap_err();
//! assert!(matches!(error.error(), Error::Inner(StoreError::NotFound)));
//! assert_eq!(
//!     error.context().to_string(),
//!     "operation=content.fetch circuit=content service=essay_lifecycle attempts=1"
//! );
//! # Ok(())
//! # }
//! # impl std::fmt::Display for StoreError {
//! #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("store") }
//! # }
//! # impl std::error::Error for StoreError {}
//! ```
//!
//! # Why this order
//! What names the call is outermost, so that one span covers it and every error, of whatever layer,
//! carries its context; it is the only layer that changes the error's type. The deadline covers waits
//! and all attempts. Retry stands outside the breaker, so that each attempt is judged by itself and
//! a refusal ends the call. The throttle counts attempts, and is outside the breaker because a
//! circuit's refusal is none of the dependency's. The breaker
//! stands outside the limit: an open circuit takes no place, and a full limit is no failure.
//! The attempt timeout is innermost: the time a call waits for its place is not the dependency's.
//!
//! # Errors
//! A layer changes no error that passes through it, but for [`CallLayer`], which adds the context. Its
//! own refusal is made into the service's error
//! type by [`From`]: [`Error`] takes in all of them, so does `tower::BoxError`, and so can an error
//! type of yours. In a box, [`HasOrigin`] still finds where an error came from.
//!
//! # Readiness
//! Every layer passes its inner service's readiness on and takes what it hands out (permits, places,
//! tokens) in `call`. An inner service is called only after it has said that it is ready, once for
//! each time, clones included. A refused call leaves it ready for the next.
//!
//! # What tower has already
//! Use as they are: `load_shed` at the outer edge of a server, `limit::rate`, `buffer`, `balance`,
//! `steer` for failover by request, `map_err`. `retry`, `timeout`, `hedge` and `limit::concurrency`
//! have a counterpart here, and each room says why.

mod classify;
mod clock;
mod error;
mod origin;
mod replay;

pub mod breaker;
pub mod call;
pub mod deadline;
pub mod hedge;
pub mod limit;
pub mod retry;
pub mod throttle;
pub mod timeout;

pub use breaker::{BreakerLayer, Circuits, Keyed};
pub use call::{CallFailed, CallLayer};
pub use classify::{ByChain, ByError, ClassifyFn, ClassifyResult, classify_fn};
pub use clock::TokioClock;
pub use deadline::DeadlineLayer;
pub use error::{DeadlineExceeded, Error, TimedOut};
pub use hedge::HedgeLayer;
pub use limit::LimitLayer;
pub use origin::{HasOrigin, Origin};
pub use replay::{Always, Replay, ReplayFn, replay_fn};
pub use retry::{RetryLayer, RetryPolicy};
pub use throttle::ThrottleLayer;
pub use timeout::AttemptTimeoutLayer;
