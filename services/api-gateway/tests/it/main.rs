//! The gateway over real HTTP, with stubs for the services behind it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod routes;
mod stub;
