//! The proofs; each module says what it proves and what is real in it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the figures of a proof are a part of it, and helpers of tests fail by panicking"
)]

mod clusters;
mod killed;
mod lost_cluster;
mod model;
mod refusals;
mod simulation;
mod support;
