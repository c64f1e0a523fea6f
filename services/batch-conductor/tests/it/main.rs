//! The Batch Conductor over real HTTP and the embedded broker.

mod define;
mod support;
