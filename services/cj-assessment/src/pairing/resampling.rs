//! Resampling passes: pairs that met already are asked again, the other way round where possible.

use rand::seq::SliceRandom;

use super::{History, Pair, orientation, wave_rng};

/// Plans a second look at pairs that met before: at most `limit` of them, each pair at most once.
///
/// Pairs whose essays have had the fewest comparisons come first, in random order among equals. No
/// essay takes part more than ⌈2·`pairs`/n⌉ times (at least once), where `pairs` is the length the
/// pass can have, so that the pass is spread over the batch. A pair that was seen one way round
/// more often than the other is shown the rarer way.
///
/// The result is empty when nothing met before or `limit` is zero, and the same for the same
/// arguments.
#[must_use]
pub fn resampling_pass(history: &History, limit: usize, seed: u64, wave: u32) -> Vec<Pair> {
    let mut candidates = history.distinct_pairs();
    let length = limit.min(candidates.len());
    if length == 0 {
        return Vec::new();
    }
    let mut rng = wave_rng(seed, wave, "resampling");
    candidates.shuffle(&mut rng);
    // A stable sort: the shuffle decides among equals.
    candidates.sort_by_key(|&(left, right)| history.comparisons(left) + history.comparisons(right));
    let per_node = (2 * length).div_ceil(history.nodes()).max(1);

    let mut counts = history.clone();
    let mut taken = vec![0_usize; history.nodes()];
    let mut pairs = Vec::with_capacity(length);
    for (left, right) in candidates {
        if pairs.len() == length {
            break;
        }
        if taken[left] >= per_node || taken[right] >= per_node {
            continue;
        }
        taken[left] += 1;
        taken[right] += 1;
        let pair = orientation::counterbalanced(&counts, left, right, &mut rng);
        counts.record(pair);
        pairs.push(pair);
    }
    pairs
}
