//! Standard errors of the scores, from the Fisher information of the judgements.
//!
//! Judgements only tell differences, so a standard error is always one relative to something. The
//! default is the mean of the batch, which treats every essay alike. Relative to one essay is what
//! published tables use and what a scale hung on anchors needs; that essay's own error is zero.

use nalgebra::{DMatrix, DVector};

use super::{Win, fit};

/// No standard error is reported larger than this, in logits.
pub const MAX_STANDARD_ERROR: f64 = 2.0;

/// The standard error of every essay as long as there is no judgement at all, in logits.
pub const NO_DATA_STANDARD_ERROR: f64 = 0.5;

/// Eigenvalues below this part of the largest count as zero.
const RELATIVE_CUT: f64 = 1e-10;
/// Differences beyond this many logits tell nothing more.
const CERTAIN: f64 = 10.0;

/// What the standard errors are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reference {
    /// The mean of the batch.
    #[default]
    Mean,
    /// One essay, whose own error is zero.
    Node(usize),
}

/// Computes one standard error per essay, in logits, from 0 to [`MAX_STANDARD_ERROR`].
///
/// Without any judgement every essay gets [`NO_DATA_STANDARD_ERROR`]. Judgements that fall into
/// groups which never met say nothing about the distance of the groups: an essay outside the main
/// group gets [`MAX_STANDARD_ERROR`]. The main group is the one that holds the reference essay, or,
/// relative to the mean, the one that holds more than half of all essays; when there is none, every
/// essay gets the maximum.
///
/// # Panics
/// Panics when a judgement or the reference names an essay outside of `scores`.
#[must_use]
pub fn standard_errors(scores: &[f64], wins: &[Win], reference: Reference) -> Vec<f64> {
    if wins.is_empty() {
        return vec![NO_DATA_STANDARD_ERROR; scores.len()];
    }
    let main = main_group(scores.len(), wins, reference);
    let mut errors = vec![MAX_STANDARD_ERROR; scores.len()];
    if main.len() < 2 {
        if let Reference::Node(node) = reference {
            errors[node] = 0.0;
        }
        return errors;
    }
    let mut place = vec![None; scores.len()];
    for (index, &node) in main.iter().enumerate() {
        place[node] = Some(index);
    }
    let mut information = DMatrix::zeros(main.len(), main.len());
    for win in wins {
        if let (Some(winner), Some(loser)) = (place[win.winner], place[win.loser]) {
            let difference = scores[win.winner] - scores[win.loser];
            if difference.abs() <= CERTAIN {
                fit::add_information(&mut information, Win { winner, loser }, difference);
            }
        }
    }
    let variances = match reference {
        Reference::Mean => {
            // Fixing the common shift with weight w adds 1/(w·n) to every variance; it goes again.
            let size = fit::count(main.len());
            let weight = information.trace() / size;
            information.add_scalar_mut(weight / size);
            inverse_diagonal(information).add_scalar(-1.0 / (weight * size))
        }
        Reference::Node(node) => {
            let index = place[node].expect("the main group holds the reference essay");
            let free = information.remove_row(index).remove_column(index);
            inverse_diagonal(free).insert_row(index, 0.0)
        }
    };
    for (&node, &variance) in main.iter().zip(variances.iter()) {
        // Not a number only when no judgement tells anything: nothing is known then.
        if variance.is_finite() {
            errors[node] = variance.max(0.0).sqrt().min(MAX_STANDARD_ERROR);
        }
    }
    errors
}

/// The diagonal of the inverse of a symmetric matrix; infinite where a row has a part in a direction
/// about which the matrix says nothing.
fn inverse_diagonal(matrix: DMatrix<f64>) -> DVector<f64> {
    let size = matrix.nrows();
    let eigen = matrix.symmetric_eigen();
    let cut = eigen.eigenvalues.amax() * RELATIVE_CUT;
    DVector::from_fn(size, |row, _| {
        eigen
            .eigenvalues
            .iter()
            .enumerate()
            .map(|(column, &value)| {
                let part = eigen.eigenvectors[(row, column)].powi(2);
                match value > cut {
                    true => part / value,
                    false if part > RELATIVE_CUT => f64::INFINITY,
                    false => 0.0,
                }
            })
            .sum()
    })
}

/// The essays that hang together with the reference, in ascending order; empty when none do.
fn main_group(nodes: usize, wins: &[Win], reference: Reference) -> Vec<usize> {
    let mut group: Vec<usize> = (0..nodes).collect();
    for win in wins {
        let (left, right) = (root(&mut group, win.winner), root(&mut group, win.loser));
        group[left.max(right)] = left.min(right);
    }
    let roots: Vec<usize> = (0..nodes).map(|node| root(&mut group, node)).collect();
    let members = |wanted: usize| -> Vec<usize> {
        (0..nodes).filter(|&node| roots[node] == wanted).collect()
    };
    match reference {
        Reference::Node(node) => members(roots[node]),
        Reference::Mean => roots
            .iter()
            .map(|&candidate| members(candidate))
            .find(|group| 2 * group.len() > nodes)
            .unwrap_or_default(),
    }
}

/// The representative of the group that an essay belongs to.
fn root(group: &mut [usize], mut node: usize) -> usize {
    while group[node] != node {
        group[node] = group[group[node]];
        node = group[node];
    }
    node
}
