//! Fusebox beside other breakers: adapters for the conformance suite, cases to time, a counting
//! allocator.

pub mod cases;
pub mod counting;
pub mod peers;
pub mod subjects;
pub mod timing;
pub mod wrappers;

use std::fmt;
use std::hint::black_box;
use std::time::Duration;

use fusebox::{Classify, Outcome};

/// A break that does not end while something is measured.
pub const LONG: Duration = Duration::from_hours(1);

/// The error of the protected operation.
#[derive(Debug, Clone, Copy)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation failed")
    }
}

impl std::error::Error for Failed {}

impl Classify for Failed {
    fn outcome(&self) -> Outcome {
        Outcome::Failure
    }
}

/// The protected operation: cheap, and opaque to the optimiser.
///
/// # Errors
/// When told to fail.
#[inline(never)]
pub fn operation(fail: bool) -> Result<u64, Failed> {
    if black_box(fail) {
        Err(Failed)
    } else {
        Ok(black_box(1))
    }
}
