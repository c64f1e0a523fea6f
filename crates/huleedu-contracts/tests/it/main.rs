//! Tests of the wire format from outside, as its users see it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod document;
mod golden;
mod round_trip;
