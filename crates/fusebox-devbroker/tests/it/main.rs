//! The broker with a real client, real sockets and real crashes.

#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod control;
mod crash;
mod faults;
mod groups;
mod hostile;
mod records;
mod start;
mod support;
