//! The Batch Orchestrator over real HTTP and the embedded broker, with the other services played by
//! the test, except the Batch Conductor, which is the real one.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail loudly at the place of the fault"
)]

mod conductor_away;
mod content;
mod crash;
mod flow;
mod routes;
mod support;
