//! The journal from outside: real files, real processes, damaged bytes.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, say what they did, and have small numbers"
)]

mod concurrent;
mod damage;
mod encryption;
mod full_disk;
mod inspect;
mod kill;
mod owner;
mod power;
#[path = "../power/replay.rs"]
mod replay;
mod support;
mod written;
