//! The circuit breaker as a layer.
//!
//! A permit is taken in `call`, not in `poll_ready`: readiness that is never used holds no probe's
//! slot, and a clone that is dropped leaks none. Readiness is the inner service's. When the inner
//! service cannot become ready, neither can this one, and when its readiness ends in an error, that
//! error is passed on and not judged: no call was made. A service that connects should therefore
//! fail its calls, not its readiness, as `tower::reconnect` does.
//!
//! After a refusal the inner service stays ready for the next call.

mod future;
mod keyed;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use keyed::{Circuits, Keyed};
pub use layer::BreakerLayer;
pub use service::Breaker;
