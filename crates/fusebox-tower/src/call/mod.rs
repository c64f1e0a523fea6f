//! A name for a whole call: its span, and the context that its error carries.
//!
//! Put it outermost, around retry and all the rest. The call then is one span `protected_call` with the
//! fields of [`fusebox_resilient`]'s, whatever number of attempts it took, and its error says which
//! service called what through which circuit, for which correlation id, in which trace.
//!
//! Attempts are counted by the breaker's layer inside, as long as nothing between the two hands the
//! call to another task, as `tower::buffer` does.

mod attempts;
mod error;
mod future;
mod layer;
mod service;

pub(crate) use attempts::count;
pub use error::CallFailed;
pub use future::ResponseFuture;
pub use layer::CallLayer;
pub use service::Call;
