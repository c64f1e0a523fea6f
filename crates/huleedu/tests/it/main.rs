//! The binary as a user runs it, and the shape of the workspace.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod alerts;
mod architecture;
mod assess;
mod commands;
mod crash;
mod metrics;
mod operate;
mod page;
mod postgres;
mod run;
mod topics;
