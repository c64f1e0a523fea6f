//! Tests of the client over real sockets.

#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod circuit;
mod judgement;
#[path = "../../../fusebox-resilient/tests/spans/recorder.rs"]
mod recorder;
mod requests;
mod spans;
mod stub;
