//! Stop or go on: every rule, and that every batch comes to an end.

use cj_assessment::decision::{
    DEFAULT_MAX_COMPARISONS, Decision, Progress, Reason, comparison_budget, decide,
};
use cj_assessment::pairing::possible_pairs;
use proptest::prelude::*;

/// A batch of ten essays in the middle of its coverage waves.
fn halfway() -> Progress {
    Progress {
        nodes: 10,
        budget: 120,
        completed: 20,
        failed: 0,
        pairs_won: 20,
        pairs_asked: 20,
        resampling_passes: 0,
        max_score_change: Some(0.4),
    }
}

#[test]
fn more_is_asked_while_scores_move() {
    assert_eq!(decide(&halfway()), Decision::RequestMore { limit: 100 });
    let first = Progress {
        completed: 0,
        pairs_won: 0,
        pairs_asked: 0,
        max_score_change: None,
        ..halfway()
    };
    assert_eq!(decide(&first), Decision::RequestMore { limit: 120 });
}

#[test]
fn stable_scores_end_the_batch() {
    let stable = Progress {
        max_score_change: Some(0.025),
        ..halfway()
    };
    assert_eq!(decide(&stable), Decision::FinaliseScores(Reason::Stable));
    let moved = Progress {
        max_score_change: Some(0.0251),
        ..halfway()
    };
    assert_eq!(decide(&moved), Decision::RequestMore { limit: 100 });
    let early = Progress {
        completed: 11,
        pairs_won: 11,
        pairs_asked: 11,
        ..stable
    };
    assert_eq!(decide(&early), Decision::RequestMore { limit: 109 });
    let unscored = Progress {
        max_score_change: None,
        ..halfway()
    };
    assert_eq!(decide(&unscored), Decision::RequestMore { limit: 100 });
    // 15 of 20 succeeded: not enough to believe in stability.
    let failing = Progress {
        completed: 15,
        failed: 5,
        pairs_won: 15,
        ..stable
    };
    assert_eq!(decide(&failing), Decision::RequestMore { limit: 100 });
    // 16 of 20 are enough.
    let enough = Progress {
        completed: 16,
        failed: 4,
        pairs_won: 16,
        ..stable
    };
    assert_eq!(decide(&enough), Decision::FinaliseScores(Reason::Stable));
}

#[test]
fn a_used_budget_ends_the_batch() {
    let used = Progress {
        budget: 20,
        ..halfway()
    };
    assert_eq!(decide(&used), Decision::FinaliseScores(Reason::BudgetUsed));
    let failed = Progress {
        completed: 15,
        failed: 5,
        pairs_won: 15,
        ..used
    };
    assert_eq!(
        decide(&failed),
        Decision::FinaliseFailure(Reason::BudgetUsed)
    );
    let nothing = Progress {
        completed: 0,
        failed: 20,
        pairs_won: 0,
        ..used
    };
    assert_eq!(
        decide(&nothing),
        Decision::FinaliseFailure(Reason::BudgetUsed)
    );
}

#[test]
fn a_covered_batch_is_looked_at_once_more() {
    let covered = Progress {
        completed: 45,
        pairs_won: 45,
        pairs_asked: 45,
        ..halfway()
    };
    assert_eq!(decide(&covered), Decision::Resample { limit: 75 });
    let stable = Progress {
        max_score_change: Some(0.0),
        ..covered
    };
    assert_eq!(decide(&stable), Decision::FinaliseScores(Reason::Stable));
    // The gap: nothing new to ask although budget is left.
    let resampled = Progress {
        completed: 90,
        resampling_passes: 1,
        ..covered
    };
    assert_eq!(
        decide(&resampled),
        Decision::FinaliseScores(Reason::NothingLeftToAsk)
    );
}

#[test]
fn a_batch_whose_pairs_are_all_asked_ends_even_when_some_have_no_winner() {
    let refused = Progress {
        completed: 40,
        failed: 5,
        pairs_won: 40,
        pairs_asked: 45,
        ..halfway()
    };
    assert_eq!(
        decide(&refused),
        Decision::FinaliseScores(Reason::NothingLeftToAsk)
    );
    let hopeless = Progress {
        completed: 20,
        failed: 25,
        pairs_won: 20,
        ..refused
    };
    assert_eq!(
        decide(&hopeless),
        Decision::FinaliseFailure(Reason::NothingLeftToAsk)
    );
}

#[test]
fn a_small_net_is_asked_up_to_four_more_times() {
    let mut net = Progress {
        nodes: 3,
        completed: 3,
        pairs_won: 3,
        pairs_asked: 3,
        ..halfway()
    };
    for pass in 0..4 {
        net.resampling_passes = pass;
        assert!(
            matches!(decide(&net), Decision::Resample { .. }),
            "pass {pass}"
        );
        net.completed += 3;
    }
    net.resampling_passes = 4;
    assert_eq!(
        decide(&net),
        Decision::FinaliseScores(Reason::NothingLeftToAsk)
    );
    let used = Progress {
        budget: 15,
        resampling_passes: 2,
        ..net
    };
    assert_eq!(decide(&used), Decision::FinaliseScores(Reason::BudgetUsed));
}

#[test]
fn too_few_essays_never_wait() {
    for nodes in [0, 1] {
        let alone = Progress {
            nodes,
            completed: 0,
            pairs_won: 0,
            pairs_asked: 0,
            ..halfway()
        };
        assert_eq!(
            decide(&alone),
            Decision::FinaliseFailure(Reason::NothingLeftToAsk)
        );
    }
}

#[test]
fn the_budget_grows_with_the_batch_and_a_request_may_only_lower_it() {
    assert_eq!(comparison_budget(DEFAULT_MAX_COMPARISONS, 10, None), 120);
    assert_eq!(comparison_budget(DEFAULT_MAX_COMPARISONS, 30, None), 240);
    assert_eq!(comparison_budget(DEFAULT_MAX_COMPARISONS, 30, Some(0)), 240);
    assert_eq!(comparison_budget(DEFAULT_MAX_COMPARISONS, 30, Some(50)), 50);
    assert_eq!(
        comparison_budget(DEFAULT_MAX_COMPARISONS, 30, Some(5000)),
        240
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Plays any batch to its end with answers that come and fail at random.
    #[test]
    fn every_batch_comes_to_an_end(nodes in 2_usize..30, budget in 1_usize..200, seed: u64, failing in 0_u32..100) {
        use cj_assessment::pairing::{History, coverage_wave, resampling_pass};
        use std::collections::BTreeSet;

        let mut history = History::new(nodes);
        let mut won = BTreeSet::new();
        let mut progress = Progress {
            nodes, budget, completed: 0, failed: 0, pairs_won: 0, pairs_asked: 0,
            resampling_passes: 0, max_score_change: None,
        };
        for wave in 0.. {
            prop_assert!(wave < 1000, "goes on for ever");
            let pairs = match decide(&progress) {
                Decision::RequestMore { limit } => coverage_wave(&history, None, limit, seed, wave),
                Decision::Resample { limit } => {
                    progress.resampling_passes += 1;
                    resampling_pass(&history, limit, seed, wave)
                }
                Decision::FinaliseScores(_) => {
                    prop_assert!(progress.completed > 0);
                    break;
                }
                Decision::FinaliseFailure(_) => {
                    prop_assert!(progress.completed * 5 < (progress.completed + progress.failed) * 4 || progress.completed == 0);
                    break;
                }
            };
            // A decision to go on always finds something to ask.
            prop_assert!(!pairs.is_empty());
            for (index, pair) in pairs.into_iter().enumerate() {
                history.record(pair);
                let dice = (seed >> (index % 48)).wrapping_mul(0x9E37_79B9).wrapping_add(u64::from(wave)) % 100;
                if dice < u64::from(failing) {
                    progress.failed += 1;
                } else {
                    progress.completed += 1;
                    won.insert(pair.unordered());
                }
            }
            progress.pairs_won = won.len();
            progress.pairs_asked = history.distinct_pairs().len();
            prop_assert!(progress.completed + progress.failed <= budget);
            prop_assert!(progress.pairs_asked <= possible_pairs(nodes));
        }
    }
}
