//! The journal from outside: real files, real processes, damaged bytes.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, like the tests"
)]

mod concurrent;
mod inspect;
mod kill;
mod owner;
mod support;
