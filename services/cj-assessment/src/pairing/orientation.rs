//! Which essay of a pair is shown as Essay A.
//!
//! Judges lean a little towards one of the two places. The lean cancels out when every essay is
//! shown about as often first as second, and when a repeated pair is shown the other way round.

use rand::RngExt;

use super::{History, Pair};

/// Shows the essay that was Essay A more often as Essay B; a tie is drawn by lot.
///
/// This is the order that makes the sum of the squared skews smallest.
pub(super) fn balanced(
    history: &History,
    left: usize,
    right: usize,
    rng: &mut impl rand::Rng,
) -> Pair {
    let left_first = match history.skew(left).cmp(&history.skew(right)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => rng.random_bool(0.5),
    };
    if left_first {
        Pair { a: left, b: right }
    } else {
        Pair { a: right, b: left }
    }
}

/// Shows a pair the other way round than most often so far; when both ways were used equally
/// often, as [`balanced`] does.
pub(super) fn counterbalanced(
    history: &History,
    left: usize,
    right: usize,
    rng: &mut impl rand::Rng,
) -> Pair {
    let forward = Pair { a: left, b: right };
    let backward = Pair { a: right, b: left };
    match history.times(forward).cmp(&history.times(backward)) {
        std::cmp::Ordering::Less => forward,
        std::cmp::Ordering::Greater => backward,
        std::cmp::Ordering::Equal => balanced(history, left, right, rng),
    }
}
