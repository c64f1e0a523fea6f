//! Coverage waves: a matching of the essays that gives the most useful new pairs.

use std::convert::Infallible;

use rand::RngExt;
use rustworkx_core::max_weight_matching::max_weight_matching;
use rustworkx_core::petgraph::graph::UnGraph;

use super::{History, Pair, orientation, wave_rng};

/// Weight of an essay's need for comparisons.
const NEED: f64 = 1.0;
/// Weight of two essays being close in score, where a judgement tells most.
const CLOSENESS: f64 = 0.5;
/// Essays further apart than this many logits gain nothing from being close.
const CLOSE_WITHIN: f64 = 2.0;
/// Upper end of the random part that breaks ties.
const JITTER: f64 = 0.001;
/// The matching works on integers: one unit of weight is this many.
const SCALE: f64 = 1e12;

/// Plans the next coverage wave: at most `limit` pairs that never met before, each essay at most once.
///
/// Of all matchings with the most pairs it takes the one with the largest sum of weights, where a
/// pair weighs more the fewer comparisons its essays have had and the closer their scores are. With
/// an odd number of essays the one with the most comparisons sits out (the smallest index among
/// equals). When `limit` cuts the wave, the heaviest pairs stay. Who is shown first keeps every
/// essay's skew small, counted within the wave too.
///
/// `scores` are the scores so far, one per essay, or `None` before the first scoring. The result
/// is empty when every pair has met or `limit` is zero, and the same for the same arguments.
///
/// # Panics
/// Panics when `scores` has another length than the history has essays.
#[must_use]
pub fn coverage_wave(
    history: &History,
    scores: Option<&[f64]>,
    limit: usize,
    seed: u64,
    wave: u32,
) -> Vec<Pair> {
    assert!(
        scores.is_none_or(|scores| scores.len() == history.nodes()),
        "one score per essay is needed"
    );
    if limit == 0 {
        return Vec::new();
    }
    let mut rng = wave_rng(seed, wave, "coverage");
    let candidates = candidates(history, scores, &mut rng);
    let mut chosen = heaviest_matching(history.nodes(), &candidates);
    chosen.sort_unstable_by_key(|&(left, right, weight)| (std::cmp::Reverse(weight), left, right));
    chosen.truncate(limit);

    let mut counts = history.clone();
    let mut pairs = Vec::with_capacity(chosen.len());
    for (left, right, _) in chosen {
        let pair = orientation::balanced(&counts, left, right, &mut rng);
        counts.record(pair);
        pairs.push(pair);
    }
    pairs
}

/// Every pair that may still be asked, with its weight; smaller index first.
fn candidates(
    history: &History,
    scores: Option<&[f64]>,
    rng: &mut impl rand::Rng,
) -> Vec<(usize, usize, i128)> {
    let resting = resting_node(history);
    let mut edges = Vec::new();
    for left in 0..history.nodes() {
        for right in left + 1..history.nodes() {
            // Drawn for every pair, so that what met before does not shift the draws of the rest.
            let jitter = rng.random_range(0.0..JITTER);
            if resting == Some(left) || resting == Some(right) || history.met(left, right) {
                continue;
            }
            let weight = pair_weight(history, scores, left, right) + jitter;
            edges.push((left, right, to_integer(weight)));
        }
    }
    edges
}

/// The essay that sits out when their number is odd.
fn resting_node(history: &History) -> Option<usize> {
    if history.nodes().is_multiple_of(2) {
        return None;
    }
    (0..history.nodes()).min_by_key(|&node| (std::cmp::Reverse(history.comparisons(node)), node))
}

fn pair_weight(history: &History, scores: Option<&[f64]>, left: usize, right: usize) -> f64 {
    let need = |node| 1.0 / (1.0 + f64::from(history.comparisons(node)));
    let distance = scores.map_or(0.0, |scores| (scores[left] - scores[right]).abs());
    let closeness = if distance < CLOSE_WITHIN {
        (-distance).exp()
    } else {
        0.0
    };
    NEED * (need(left) + need(right)) + CLOSENESS * closeness
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "weights are below 3, so the product is far below 2^63"
)]
fn to_integer(weight: f64) -> i128 {
    i128::from((weight * SCALE).round() as i64)
}

/// The matching with the most pairs and, among those, the largest weight.
fn heaviest_matching(nodes: usize, edges: &[(usize, usize, i128)]) -> Vec<(usize, usize, i128)> {
    let mut graph = UnGraph::<(), i128, usize>::with_capacity(nodes, edges.len());
    let indices: Vec<_> = (0..nodes).map(|_| graph.add_node(())).collect();
    for &(left, right, weight) in edges {
        graph.add_edge(indices[left], indices[right], weight);
    }
    let Ok(matching) = max_weight_matching(
        &graph,
        true,
        |edge| Ok::<_, Infallible>(*edge.weight()),
        false,
    );
    // The matching comes as an unordered set of node pairs in either direction.
    edges
        .iter()
        .filter(|(left, right, _)| {
            matching.contains(&(*left, *right)) || matching.contains(&(*right, *left))
        })
        .copied()
        .collect()
}
