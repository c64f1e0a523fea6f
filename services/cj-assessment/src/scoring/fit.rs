//! The Bradley–Terry scores of a set of judgements.
//!
//! Iterative Luce spectral ranking (Maystre and Grossglauser, 2015) with the rate `alpha` in every
//! cell of its chain has one fixed point. Written with weights `e^θᵢ` that sum to `n`, its balance
//! equations are
//!
//! ```text
//! Σ over judgements of i: (1 if i won else 0) − P(i wins)  +  alpha·n·(1 − e^θᵢ)  =  0
//! ```
//!
//! and that is the gradient of the log-likelihood plus `alpha·n·Σ(θᵢ − e^θᵢ)`: a strictly concave
//! function, whose single maximum exists for any judgements, even when an essay won or lost
//! everything, was never compared, or the judgements fall into groups that never met. We climb it
//! with Newton's method and a line search, which takes a few steps where the spectral iteration may
//! take thousands, and is checked against an implementation of that iteration in the tests.

use nalgebra::{Cholesky, DMatrix, DVector};
use thiserror::Error;

use super::{Win, logistic};

/// The usual strength of the prior.
pub const DEFAULT_ALPHA: f64 = 0.01;

/// Steps after which the fit gives up. Newton's method needs fewer than twenty in practice.
const MAX_STEPS: usize = 100;
/// Largest component of the gradient at which the maximum counts as reached, per essay.
const TOLERANCE: f64 = 1e-10;

/// Why no scores could be computed.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum FitError {
    /// A judgement names an essay that does not exist, or one essay twice.
    #[error("judgement of essays {winner} and {loser} does not fit a batch of {nodes}")]
    UnknownItem {
        /// Index of the winner.
        winner: usize,
        /// Index of the loser.
        loser: usize,
        /// Number of essays in the batch.
        nodes: usize,
    },
    /// The strength of the prior is not a positive number.
    #[error("prior strength {alpha} is not a positive number")]
    Prior {
        /// The strength that was given.
        alpha: f64,
    },
    /// The maximum was not reached within the steps allowed.
    #[error("scores did not settle; largest gradient left is {gradient}")]
    NotConverged {
        /// Largest component of the gradient at the end.
        gradient: f64,
    },
}

/// Computes one score per essay, in logits, with mean zero.
///
/// `alpha` is the strength of the prior ([`DEFAULT_ALPHA`]): every essay is pulled towards the
/// mean as if by `alpha·n` judgements. Without any judgement all scores are zero; an essay without
/// judgements stays at the prior's place. The order of the judgements does not matter beyond
/// rounding.
///
/// # Errors
/// Fails when a judgement does not fit the batch, when `alpha` is not positive, or when the maximum
/// is not reached in 100 steps.
pub fn fit(nodes: usize, wins: &[Win], alpha: f64) -> Result<Vec<f64>, FitError> {
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(FitError::Prior { alpha });
    }
    for win in wins {
        if win.winner == win.loser || win.winner.max(win.loser) >= nodes {
            return Err(FitError::UnknownItem {
                winner: win.winner,
                loser: win.loser,
                nodes,
            });
        }
    }
    if nodes == 0 {
        return Ok(Vec::new());
    }
    let objective = Objective {
        wins,
        strength: alpha * count(nodes),
    };
    let mut scores = DVector::zeros(nodes);
    let mut value = objective.value(&scores);
    let mut gradient = objective.gradient(&scores);
    for _ in 0..MAX_STEPS {
        if gradient.amax() <= TOLERANCE {
            return Ok(centred(&scores));
        }
        let curvature =
            Cholesky::new(objective.negative_hessian(&scores)).ok_or(FitError::NotConverged {
                gradient: gradient.amax(),
            })?;
        let direction = curvature.solve(&gradient);
        let slope = gradient.dot(&direction);
        let mut length = 1.0;
        let (next, next_value) = loop {
            let next = &scores + &direction * length;
            let next_value = objective.value(&next);
            // Near the top the gain sinks below rounding; a step that loses nothing is taken.
            let rounding = 1e-12 * (1.0 + value.abs());
            if next_value >= value + 1e-4 * length * slope - rounding {
                break (next, next_value);
            }
            length /= 2.0;
            if length < 1e-12 {
                return Err(FitError::NotConverged {
                    gradient: gradient.amax(),
                });
            }
        };
        scores = next;
        value = next_value;
        gradient = objective.gradient(&scores);
    }
    Err(FitError::NotConverged {
        gradient: gradient.amax(),
    })
}

/// The concave function whose maximum is the fit.
struct Objective<'a> {
    wins: &'a [Win],
    /// `alpha·n`.
    strength: f64,
}

impl Objective<'_> {
    fn value(&self, scores: &DVector<f64>) -> f64 {
        let likelihood: f64 = self
            .wins
            .iter()
            .map(|win| {
                let behind = scores[win.loser] - scores[win.winner];
                // −ln(1 + e^behind), without overflow.
                -(behind.max(0.0) + (-behind.abs()).exp().ln_1p())
            })
            .sum();
        let prior: f64 = scores.iter().map(|score| score - score.exp()).sum();
        likelihood + self.strength * prior
    }

    fn gradient(&self, scores: &DVector<f64>) -> DVector<f64> {
        let mut gradient = scores.map(|score| self.strength * (1.0 - score.exp()));
        for win in self.wins {
            let surprise = logistic(scores[win.loser] - scores[win.winner]);
            gradient[win.winner] += surprise;
            gradient[win.loser] -= surprise;
        }
        gradient
    }

    fn negative_hessian(&self, scores: &DVector<f64>) -> DMatrix<f64> {
        let mut hessian = DMatrix::from_diagonal(&scores.map(|score| self.strength * score.exp()));
        for win in self.wins {
            add_information(&mut hessian, *win, scores[win.winner] - scores[win.loser]);
        }
        hessian
    }
}

/// Adds what one judgement tells about the difference of its two essays.
pub(super) fn add_information(matrix: &mut DMatrix<f64>, win: Win, difference: f64) {
    let information = logistic(difference) * logistic(-difference);
    matrix[(win.winner, win.winner)] += information;
    matrix[(win.loser, win.loser)] += information;
    matrix[(win.winner, win.loser)] -= information;
    matrix[(win.loser, win.winner)] -= information;
}

fn centred(scores: &DVector<f64>) -> Vec<f64> {
    let mean = scores.mean();
    scores.iter().map(|score| score - mean).collect()
}

/// A count as a number to calculate with.
#[expect(
    clippy::cast_precision_loss,
    reason = "a batch has far fewer than 2^52 essays"
)]
pub(super) fn count(items: usize) -> f64 {
    items as f64
}
