//! Pairing, scoring and decision together: a hidden order is found again.

use cj_assessment::decision::{
    DEFAULT_MAX_COMPARISONS, Decision, Progress, comparison_budget, decide,
};
use cj_assessment::pairing::{History, coverage_wave, resampling_pass};
use cj_assessment::scoring::{
    DEFAULT_ALPHA, Reference, Win, fit, logistic, ranks, separation_reliability, standard_errors,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct Outcome {
    scores: Vec<f64>,
    errors: Vec<f64>,
    asked: usize,
}

/// Judges a batch whose hidden qualities are known, with a judge who errs as Bradley and Terry say.
fn assess(qualities: &[f64], seed: u64) -> Outcome {
    let nodes = qualities.len();
    let mut judge = ChaCha8Rng::seed_from_u64(seed);
    let mut history = History::new(nodes);
    let mut wins: Vec<Win> = Vec::new();
    let mut scores: Option<Vec<f64>> = None;
    let mut progress = Progress {
        nodes,
        budget: comparison_budget(DEFAULT_MAX_COMPARISONS, nodes, None),
        completed: 0,
        failed: 0,
        pairs_won: 0,
        pairs_asked: 0,
        resampling_passes: 0,
        max_score_change: None,
    };
    for wave in 0.. {
        let pairs = match decide(&progress) {
            Decision::RequestMore { limit } => {
                coverage_wave(&history, scores.as_deref(), limit, seed, wave)
            }
            Decision::Resample { limit } => {
                progress.resampling_passes += 1;
                resampling_pass(&history, limit, seed, wave)
            }
            _ => break,
        };
        for pair in pairs {
            history.record(pair);
            let first_wins = judge.random_bool(logistic(qualities[pair.a] - qualities[pair.b]));
            let (winner, loser) = if first_wins {
                (pair.a, pair.b)
            } else {
                (pair.b, pair.a)
            };
            wins.push(Win { winner, loser });
        }
        let next = fit(nodes, &wins, DEFAULT_ALPHA).expect("every set of judgements has scores");
        progress.max_score_change = scores.as_ref().map(|before| {
            before
                .iter()
                .zip(&next)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max)
        });
        scores = Some(next);
        progress.completed = wins.len();
        progress.pairs_asked = history.distinct_pairs().len();
        progress.pairs_won = progress.pairs_asked;
    }
    let scores = scores.expect("at least one wave was asked");
    let errors = standard_errors(&scores, &wins, Reference::Mean);
    Outcome {
        scores,
        errors,
        asked: wins.len(),
    }
}

fn spearman(left: &[usize], right: &[usize]) -> f64 {
    let n = f64::from(u32::try_from(left.len()).expect("a small batch"));
    let sum: f64 = left
        .iter()
        .zip(right)
        .map(|(a, b)| f64::from(i32::try_from(a.abs_diff(*b)).expect("a small batch")).powi(2))
        .sum();
    1.0 - 6.0 * sum / (n * (n * n - 1.0))
}

#[test]
fn a_hidden_order_is_found_again() {
    // The prior of a large batch pulls its scores together, which costs reliability, not order.
    for (nodes, least, least_reliability) in
        [(16_u32, 0.93, 0.8), (40, 0.93, 0.8), (100, 0.93, 0.65)]
    {
        // Evenly spread over eight logits, in a shuffled order.
        let step = 8.0 / f64::from(nodes - 1);
        let qualities: Vec<f64> = (0..nodes)
            .map(|i| f64::from((i * 7) % nodes) * step - 4.0)
            .collect();
        for seed in 0..5 {
            let outcome = assess(&qualities, seed);
            let agreement = spearman(&ranks(&qualities), &ranks(&outcome.scores));
            assert!(
                agreement >= least,
                "{nodes} essays, seed {seed}: {agreement}"
            );
            let reliability = separation_reliability(&outcome.scores, &outcome.errors).unwrap();
            assert!(
                reliability > least_reliability,
                "{nodes} essays, seed {seed}: {reliability}"
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_ranking_and_cost() {
    let qualities: Vec<f64> = (0..23).map(|i| f64::from((i * 5) % 23) / 4.0).collect();
    let (first, second) = (assess(&qualities, 7), assess(&qualities, 7));
    assert_eq!(first.scores, second.scores);
    assert_eq!(first.asked, second.asked);
    assert!(first.asked <= comparison_budget(DEFAULT_MAX_COMPARISONS, 23, None));
}
