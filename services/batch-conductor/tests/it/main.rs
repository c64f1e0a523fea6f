//! The Batch Conductor over real HTTP and the embedded broker.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail loudly at the place of the fault"
)]

mod define;
mod support;
