//! Waves: what must hold of every plan, whatever the batch.

use std::collections::BTreeSet;

use cj_assessment::pairing::{History, Pair, coverage_wave, possible_pairs, resampling_pass};
use proptest::prelude::*;

/// The best matching found by trying them all: (pairs, weight).
fn best_by_trying_all(nodes: usize, weight: &dyn Fn(usize, usize) -> Option<f64>) -> (usize, f64) {
    fn go(free: &[usize], weight: &dyn Fn(usize, usize) -> Option<f64>) -> (usize, f64) {
        let Some((&first, rest)) = free.split_first() else {
            return (0, 0.0);
        };
        let mut best = go(rest, weight);
        for (index, &other) in rest.iter().enumerate() {
            let Some(gain) = weight(first, other) else {
                continue;
            };
            let left: Vec<usize> = rest
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != index)
                .map(|(_, n)| *n)
                .collect();
            let (pairs, sum) = go(&left, weight);
            if (pairs + 1, sum + gain) > best {
                best = (pairs + 1, sum + gain);
            }
        }
        best
    }
    go(&(0..nodes).collect::<Vec<_>>(), weight)
}

/// The weight of the plan's definition, without its random part.
fn weight(history: &History, scores: &[f64], left: usize, right: usize) -> f64 {
    let need = |node| 1.0 / (1.0 + f64::from(history.comparisons(node)));
    let distance = (scores[left] - scores[right]).abs();
    let close = if distance < 2.0 {
        0.5 * (-distance).exp()
    } else {
        0.0
    };
    need(left) + need(right) + close
}

fn batch() -> impl Strategy<Value = (usize, Vec<Pair>, Vec<f64>)> {
    (2_usize..=7).prop_flat_map(|nodes| {
        let pair = (0..nodes, 0..nodes)
            .prop_filter("two different essays", |(a, b)| a != b)
            .prop_map(|(a, b)| Pair { a, b });
        (
            Just(nodes),
            proptest::collection::vec(pair, 0..=possible_pairs(nodes)),
            proptest::collection::vec(-4.0_f64..4.0, nodes),
        )
    })
}

proptest! {
    #[test]
    fn a_wave_is_the_heaviest_of_the_largest_matchings((nodes, asked, scores) in batch(), seed: u64) {
        let history = History::from_pairs(nodes, asked);
        let wave = coverage_wave(&history, Some(&scores), usize::MAX, seed, 3);
        let resting = (nodes % 2 == 1).then(|| {
            let most = (0..nodes).map(|n| history.comparisons(n)).max().unwrap();
            (0..nodes).find(|n| history.comparisons(*n) == most).unwrap()
        });
        let allowed = |left: usize, right: usize| {
            let free = resting != Some(left) && resting != Some(right) && !history.met(left, right);
            free.then(|| weight(&history, &scores, left, right))
        };
        let (pairs, sum) = best_by_trying_all(nodes, &allowed);
        let reached: f64 = wave
            .iter()
            .map(|pair| allowed(pair.a, pair.b).expect("a wave holds only pairs that may be asked"))
            .sum();
        prop_assert_eq!(wave.len(), pairs);
        // The random part is at most 0.001 for each of up to three pairs.
        prop_assert!(reached >= sum - 0.003_000_1, "{} instead of {}", reached, sum);
    }

    #[test]
    fn no_essay_twice_in_a_wave_and_no_pair_twice_in_a_batch(nodes in 2_usize..24, seed: u64, limit in 1_usize..20) {
        let mut history = History::new(nodes);
        let mut met = BTreeSet::new();
        for wave in 0.. {
            let pairs = coverage_wave(&history, None, limit, seed, wave);
            prop_assert!(pairs.len() <= limit.min(nodes / 2));
            if pairs.is_empty() {
                break;
            }
            let mut seen = BTreeSet::new();
            for pair in pairs {
                prop_assert!(seen.insert(pair.a) && seen.insert(pair.b), "an essay twice in a wave");
                prop_assert!(met.insert(pair.unordered()), "a pair twice");
                history.record(pair);
            }
        }
        // Waves stop only when everything has met; an essay that rests is never stranded.
        prop_assert_eq!(met.len(), possible_pairs(nodes));
    }

    #[test]
    fn every_essay_is_shown_first_about_as_often_as_second(nodes in 2_usize..24, seed: u64) {
        let mut history = History::new(nodes);
        for wave in 0.. {
            let pairs = coverage_wave(&history, None, usize::MAX, seed, wave);
            if pairs.is_empty() {
                break;
            }
            for pair in pairs {
                history.record(pair);
            }
            for node in 0..nodes {
                prop_assert!(history.skew(node).abs() <= 4, "skew {}", history.skew(node));
            }
        }
    }

    #[test]
    fn a_plan_depends_on_its_arguments_only((nodes, asked, scores) in batch(), seed: u64, wave: u32) {
        let history = History::from_pairs(nodes, asked);
        prop_assert_eq!(
            coverage_wave(&history, Some(&scores), 100, seed, wave),
            coverage_wave(&history.clone(), Some(&scores), 100, seed, wave)
        );
        prop_assert_eq!(
            resampling_pass(&history, 100, seed, wave),
            resampling_pass(&history.clone(), 100, seed, wave)
        );
    }

    #[test]
    fn resampling_repeats_known_pairs_the_rarer_way_round((nodes, asked, _) in batch(), seed: u64, limit in 0_usize..12) {
        let history = History::from_pairs(nodes, asked);
        let known: BTreeSet<_> = history.distinct_pairs().into_iter().collect();
        let pass = resampling_pass(&history, limit, seed, 0);
        let length = limit.min(known.len());
        prop_assert!(pass.len() <= length);
        prop_assert_eq!(pass.is_empty(), length == 0);
        let cap = (2 * length).div_ceil(nodes).max(1);
        let mut met = BTreeSet::new();
        for pair in &pass {
            prop_assert!(known.contains(&pair.unordered()));
            prop_assert!(met.insert(pair.unordered()), "a pair twice in a pass");
            let back = Pair { a: pair.b, b: pair.a };
            prop_assert!(history.times(*pair) <= history.times(back), "shown the commoner way");
        }
        for node in 0..nodes {
            let times = pass.iter().filter(|pair| pair.a == node || pair.b == node).count();
            prop_assert!(times <= cap);
        }
    }
}

#[test]
fn the_seed_and_the_number_of_the_wave_change_the_plan() {
    let history = History::new(20);
    let plan = |seed, wave| coverage_wave(&history, None, usize::MAX, seed, wave);
    assert_ne!(plan(1, 0), plan(2, 0));
    assert_ne!(plan(1, 0), plan(1, 1));
    assert_eq!(plan(1, 0), plan(1, 0));
}

#[test]
fn a_limit_keeps_the_heaviest_pairs() {
    // Essays 0 and 1 have met twice, so the pairs of the others weigh more.
    let history = History::from_pairs(6, [Pair { a: 0, b: 1 }, Pair { a: 1, b: 0 }]);
    let wave = coverage_wave(&history, None, 1, 9, 0);
    assert_eq!(wave.len(), 1);
    assert!(wave[0].a > 1 && wave[0].b > 1, "{wave:?}");
    assert!(coverage_wave(&history, None, 0, 9, 0).is_empty());
}

#[test]
fn close_scores_meet_first() {
    let history = History::new(4);
    for seed in 0..50 {
        let wave = coverage_wave(&history, Some(&[-1.5, 1.4, -1.4, 1.5]), 2, seed, 0);
        let met: BTreeSet<_> = wave.iter().map(|pair| pair.unordered()).collect();
        assert_eq!(met, BTreeSet::from([(0, 2), (1, 3)]));
    }
}

#[test]
fn fewer_than_two_essays_have_no_pairs() {
    assert!(coverage_wave(&History::new(0), None, 9, 1, 0).is_empty());
    assert!(coverage_wave(&History::new(1), None, 9, 1, 0).is_empty());
    assert!(resampling_pass(&History::new(1), 9, 1, 0).is_empty());
    assert_eq!(
        (possible_pairs(0), possible_pairs(1), possible_pairs(2)),
        (0, 0, 1)
    );
}

#[test]
fn a_large_batch_is_planned() {
    let wave = coverage_wave(&History::new(151), None, usize::MAX, 4, 0);
    assert_eq!(wave.len(), 75);
}
