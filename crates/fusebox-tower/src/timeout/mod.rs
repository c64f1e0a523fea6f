//! The attempt timeout as a layer: the dependency's time for one answer.
//!
//! It stands innermost. Reaching it is a failure of the dependency, and a sign of load for a limit
//! that adapts. Unlike `tower::timeout` it keeps the error's type.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::AttemptTimeoutLayer;
pub use service::AttemptTimeout;
