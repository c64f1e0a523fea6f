//! A bound on the calls under way at once as a layer: bulkhead or limit that adapts.
//!
//! A place is taken in `call`. `tower::limit` takes it in `poll_ready`, so that a handle which is
//! ready and not called holds a place, and a few of them hold all. When no place is free the call
//! waits in the limit's bounded queue, or is refused where that has no room; a limit without a
//! queue is the load shedder.
//!
//! A call that waits keeps the inner service it was made on, which is ready and stays so; what that
//! readiness holds is bounded by the queue. Put time-outs inside this layer and deadlines outside
//! it: the wait must have an end too.

mod future;
mod layer;
mod load;
mod service;

pub use future::ResponseFuture;
pub use layer::LimitLayer;
pub use load::{Load, LoadFn, TimeOuts, load_fn};
pub use service::Limited;
