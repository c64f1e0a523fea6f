//! The deadline as a layer: one moment by which a piece of work must be done, whatever it calls.
//!
//! It stands outermost. The earliest of all deadlines counts: that of this layer, that of the
//! request, and the one already in force around the running task
//! ([`fusebox_resilient::Deadline::current`]). It is put in force for what runs inside, so that
//! a retry does not wait beyond it and protected calls below know how much time is left. Reaching
//! it says nothing about the dependency.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::{DeadlineLayer, TimeFor};
pub use service::WithDeadline;
