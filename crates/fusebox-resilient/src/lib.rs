//! Protected calls: circuit, deadline, retry budget, hedging and stream guards around any function or trait.
//!
//! A client that already stands behind a trait gets its protection from one attribute. The trait
//! stays as it is for whoever calls it; the wrapper implements it too.
//!
//! ```
//! use fusebox::{Classify, Outcome, Registry};
//! use fusebox_resilient::{Reason, Rejected, Resilience, resilient};
//!
//! #[derive(Debug)]
//! enum ContentError {
//!     Down,
//!     NotFound,
//!     Rejected(Rejected), // the policy refused or gave up
//! }
//!
//! impl From<Rejected> for ContentError {
//!     fn from(rejected: Rejected) -> Self { ContentError::Rejected(rejected) }
//! }
//!
//! impl Classify for ContentError {
//!     fn outcome(&self) -> Outcome {
//!         match self {
//!             ContentError::Down => Outcome::Failure,
//!             ContentError::NotFound => Outcome::Neutral, // the caller's mistake
//!             ContentError::Rejected(rejected) => rejected.outcome(),
//!         }
//!     }
//! }
//!
//! #[resilient(name = "content")]
//! trait Content {
//!     async fn store(&self, text: String) -> Result<u64, ContentError>; // tried once
//!     #[resilient(idempotent, attempt_timeout = "2s")]
//!     async fn fetch(&self, id: u64) -> Result<String, ContentError>; // tried again when it fails
//!     fn base_url(&self) -> &str; // not async: forwarded
//! }
//!
//! struct Broken;
//! impl Content for Broken {
//!     async fn store(&self, _: String) -> Result<u64, ContentError> { Err(ContentError::Down) }
//!     async fn fetch(&self, _: u64) -> Result<String, ContentError> { Err(ContentError::NotFound) }
//!     fn base_url(&self) -> &str { "http://content" }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new("spellchecker");
//! let content = Broken.resilient(&Resilience::new(&registry))?; // ResilientContent<Broken>
//! for _ in 0..5 {
//!     assert!(matches!(content.store("text".into()).await, Err(ContentError::Down)));
//! }
//! // The circuit `content` has opened: calls are refused without being made.
//! let Err(ContentError::Rejected(rejected)) = content.fetch(7).await else { panic!() };
//! assert!(matches!(rejected.reason(), Reason::NotPermitted(_)));
//! assert_eq!(rejected.context().operation(), "content.fetch");
//! assert_eq!(rejected.context().service(), "spellchecker");
//! # Ok(())
//! # }
//! ```
//!
//! The options of the attribute are listed at [the macro's crate](fusebox_macros). A function needs
//! no trait: [`Policy::call`] and [`Policy::repeat`].
//!
//! # Order of the layers
//! From the outside in: deadline and total timeout, hedge, retry with budget; then for each attempt
//! circuit, bulkhead, attempt timeout, call. So a refusal is never tried again, every attempt is
//! judged by itself, and waits between attempts hold no place in the bulkhead.
//!
//! # What is repeated
//! Nothing, unless it is declared `idempotent` (or called by [`Policy::repeat`]). Then a failure is
//! tried again while all of this holds: attempts are left, the circuit is not open, the wait ends
//! before the deadline, a `Retry-After` is not longer than the longest backoff, and the
//! [`RetryBudget`] pays.
//!
//! # What the circuit hears
//! The error's [`fusebox::Classify`]; without it, a refusal by an inner circuit anywhere in its
//! chain of causes is neutral and the rest a failure. An attempt that reaches its own timeout is a
//! failure. One that is cut off by the work's deadline, by a hedge that was faster, or by a caller
//! that dropped it, is neutral.
//!
//! # Spans
//! Each call is a span `protected_call` at level `INFO` with the fields `otel.name`, `service`,
//! `operation`, `correlation_id`, `circuit.name`, `circuit.state` (when the call begins),
//! `circuit.failure_count` and `circuit.success_count` (in the circuit's window when it begins),
//! `circuit.call_result` (`success`, `failure`, `neutral`, `blocked`, `abandoned`),
//! `circuit.blocked` and `attempts`. Where no subscriber wants it, nothing of this is computed.
//!
//! # Errors know their call
//! [`Rejected`] and [`CallError`] carry a [`Context`]: service, operation, circuit, correlation id,
//! trace and span ids. The ids come from [`Ids::scope`] or from the source the program names in
//! [`ResilienceBuilder::ids`]. An error type of your own takes it in by [`CarryContext`].

mod ambient;
mod budget;
mod bulkhead;
mod context;
mod deadline;
mod error;
mod method;
mod policy;
mod resilience;
mod settings;
mod span;
mod stream;
mod verdict;

pub use ambient::Scope;
pub use budget::RetryBudget;
pub use context::{CarryContext, Context, Ids};
pub use deadline::Deadline;
pub use error::{CallError, Reason, Rejected};
pub use fusebox_macros::resilient;
pub use method::MethodMeta;
pub use policy::Policy;
pub use resilience::{PolicyError, Resilience, ResilienceBuilder};
pub use settings::{Settings, SettingsError};
pub use span::{CallResult, CallSpan};
pub use stream::{GuardedStream, ItemGuard};
pub use verdict::{Fallible, Judge, Verdict};

/// What generated code needs besides; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use futures_core::Stream;

    pub use crate::stream::Rebox;
    pub use crate::verdict::{Select, ViaCarry, ViaChain, ViaClassify, ViaFailure, ViaNothing};
}

/// The guide's examples are compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/protect-a-call.md")]
mod guide {}
