//! The broker with a real client, real sockets and real crashes.

#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod control;
mod crash;
mod faults;
mod groups;
mod hostile;
mod power;
mod records;
#[path = "../../../fusebox-journal/tests/power/replay.rs"]
#[expect(
    dead_code,
    reason = "torn sectors are for the journal, which shares none"
)]
mod replay;
mod start;
mod support;
