//! The kit through its public API: store, consumer, HTTP server and life cycle over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod admin;
mod circuits;
mod flow;
mod group;
mod http;
mod inbox;
mod store;
