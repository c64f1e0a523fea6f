//! What a reader makes of scores: ranks, scores from 0 to 1, and how far to trust them.

use std::fmt;

use super::fit::count;
use super::logistic;

/// How far a result may be trusted, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfidenceLabel {
    /// Standard error below 1.0 logits.
    High,
    /// Standard error from 1.0 to below 1.5 logits.
    Mid,
    /// Standard error of 1.5 logits or more.
    Low,
}

impl ConfidenceLabel {
    /// The label as it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Mid => "MID",
            Self::Low => "LOW",
        }
    }
}

impl fmt::Display for ConfidenceLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The confidence of a result without grades, from 0 to 1, and its label, from the standard error
/// in logits.
///
/// Below 0.5 it is 1.0, below 1.0 it is 0.8 (both high), below 1.5 it is 0.6 (mid), else 0.3 (low).
#[must_use]
pub fn confidence(standard_error: f64) -> (f64, ConfidenceLabel) {
    if standard_error < 0.5 {
        (1.0, ConfidenceLabel::High)
    } else if standard_error < 1.0 {
        (0.8, ConfidenceLabel::High)
    } else if standard_error < 1.5 {
        (0.6, ConfidenceLabel::Mid)
    } else {
        (0.3, ConfidenceLabel::Low)
    }
}

/// Brings scores to 0–1 without grades: the share of the rest of its batch that an essay is
/// expected to win against.
///
/// It keeps the order of the scores, its mean over the batch is one half, and it does not depend on
/// what an outlier did to the range. A batch of one gets one half.
#[must_use]
pub fn normalised_scores(scores: &[f64]) -> Vec<f64> {
    if scores.len() < 2 {
        return vec![0.5; scores.len()];
    }
    scores
        .iter()
        .map(|score| {
            let wins: f64 = scores.iter().map(|other| logistic(score - other)).sum();
            // The essay met itself in that sum, with one half.
            ((wins - 0.5) / count(scores.len() - 1)).clamp(0.0, 1.0)
        })
        .collect()
}

/// Ranks scores from 1, best first; each place is given once, and among equal scores the smaller
/// index comes first.
#[must_use]
pub fn ranks(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&left, &right| {
        scores[right]
            .total_cmp(&scores[left])
            .then(left.cmp(&right))
    });
    let mut ranks = vec![0; scores.len()];
    for (place, node) in order.into_iter().enumerate() {
        ranks[node] = place + 1;
    }
    ranks
}

/// The scale separation reliability: the part of the spread of the scores that is not error, from
/// 0 to 1, or `None` when the scores do not differ.
#[must_use]
pub fn separation_reliability(scores: &[f64], errors: &[f64]) -> Option<f64> {
    if scores.len() < 2 || scores.len() != errors.len() {
        return None;
    }
    let mean = scores.iter().sum::<f64>() / count(scores.len());
    let spread = scores
        .iter()
        .map(|score| (score - mean).powi(2))
        .sum::<f64>()
        / count(scores.len() - 1);
    if spread <= f64::EPSILON {
        return None;
    }
    let error = errors.iter().map(|error| error.powi(2)).sum::<f64>() / count(errors.len());
    Some(((spread - error) / spread).clamp(0.0, 1.0))
}
