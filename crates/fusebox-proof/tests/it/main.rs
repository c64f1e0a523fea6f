//! The proofs; each module says what it proves and what is real in it.

#![expect(
    clippy::print_stdout,
    reason = "the figures of a proof are a part of it"
)]

mod model;
