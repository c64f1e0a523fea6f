//! The refusal of a limit.

use fusebox::{Classify, Outcome};
use thiserror::Error;

/// A call was refused because as many as may run are under way, and as many as may wait do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("all {limit} places for calls are taken, and {waiting} calls wait for one")]
pub struct Full {
    pub(crate) limit: u32,
    pub(crate) waiting: usize,
}

impl Full {
    /// Most calls at once, at the moment of the refusal.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Calls that were waiting for a place.
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

/// A refusal of our own is no evidence against the dependency behind the next breaker out.
impl Classify for Full {
    fn outcome(&self) -> Outcome {
        Outcome::Neutral
    }
}
