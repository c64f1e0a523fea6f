//! A throttle at the caller as a layer: of what an overloaded dependency would turn away, most is not
//! sent.
//!
//! Put it inside retry, so that each attempt is counted and a refusal ends the call, and outside the
//! breaker: a refusal of the circuit is none of the dependency's, and is not counted.
//!
//! What a result says is judged as for the limit that adapts ([`crate::limit::Load`]): a response was
//! accepted, a time-out was not, and what says nothing is taken out of the count. A dependency that
//! turns calls away by a status wants a judge of yours that knows it ([`crate::limit::load_fn`]).

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::ThrottleLayer;
pub use service::Throttling;
