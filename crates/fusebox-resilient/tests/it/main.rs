//! Tests of protected calls through the public interface.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are tests too; the lint's own exception knows only test functions"
)]

mod compose;
mod functions;
mod hedging;
mod methods;
#[path = "../spans/recorder.rs"]
mod recorder;
mod retries;
mod spans;
mod streams;
mod support;
mod ui;
