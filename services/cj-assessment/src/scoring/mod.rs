//! One scale from many judgements: Bradley–Terry scores, their standard errors, and what a reader makes of them.

mod confidence;
mod errors;
mod fit;

pub use confidence::{
    ConfidenceLabel, confidence, normalised_scores, ranks, separation_reliability,
};
pub use errors::{MAX_STANDARD_ERROR, NO_DATA_STANDARD_ERROR, Reference, standard_errors};
pub use fit::{DEFAULT_ALPHA, FitError, fit};

/// One judgement: the first essay was found better than the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Win {
    /// Index of the essay that won.
    pub winner: usize,
    /// Index of the essay that lost.
    pub loser: usize,
}

/// The probability that an essay that is `difference` logits ahead wins.
#[must_use]
pub fn logistic(difference: f64) -> f64 {
    if difference >= 0.0 {
        1.0 / (1.0 + (-difference).exp())
    } else {
        let odds = difference.exp();
        odds / (1.0 + odds)
    }
}
