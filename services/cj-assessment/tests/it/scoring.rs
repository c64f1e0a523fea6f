//! Scores and standard errors against published tables and another implementation.

use cj_assessment::scoring::{
    ConfidenceLabel, DEFAULT_ALPHA, FitError, MAX_STANDARD_ERROR, NO_DATA_STANDARD_ERROR,
    Reference, Win, confidence, fit, logistic, normalised_scores, ranks, separation_reliability,
    standard_errors,
};
use proptest::prelude::*;
use serde_json::Value;

/// Weak enough to leave the maximum of the likelihood where the published tables have it.
const NO_PRIOR: f64 = 1e-9;

fn wins(winner: usize, loser: usize, times: usize) -> impl Iterator<Item = Win> {
    std::iter::repeat_n(Win { winner, loser }, times)
}

fn assert_close(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= tolerance,
            "{index}: {got} instead of {want}"
        );
    }
}

/// The 1987 season of the American League's eastern division: games won at home and away.
/// A. Agresti, Categorical Data Analysis (2002), table 10.10; the estimates and standard errors
/// without a home advantage, Baltimore as reference, as printed for the R package `BradleyTerry2`
/// (H. Turner, D. Firth, Journal of Statistical Software 48(9), 2012).
#[test]
fn baseball_of_1987() {
    // Milwaukee, Detroit, Toronto, New York, Boston, Cleveland, Baltimore;
    // row at home against column: (won at home, lost at home).
    let home: [[(usize, usize); 7]; 7] = [
        [(0, 0), (4, 3), (4, 2), (4, 3), (6, 1), (4, 2), (6, 0)],
        [(3, 3), (0, 0), (4, 2), (4, 3), (6, 0), (6, 1), (4, 3)],
        [(2, 5), (4, 3), (0, 0), (2, 4), (4, 3), (4, 2), (6, 0)],
        [(3, 3), (5, 1), (2, 5), (0, 0), (4, 3), (4, 2), (6, 1)],
        [(5, 1), (2, 5), (3, 3), (4, 2), (0, 0), (5, 2), (6, 0)],
        [(2, 5), (3, 3), (3, 4), (4, 3), (4, 2), (0, 0), (2, 4)],
        [(2, 5), (1, 5), (1, 6), (2, 4), (1, 6), (3, 4), (0, 0)],
    ];
    let mut games = Vec::new();
    for (host, row) in home.iter().enumerate() {
        for (guest, &(won, lost)) in row.iter().enumerate() {
            games.extend(wins(host, guest, won));
            games.extend(wins(guest, host, lost));
        }
    }
    let scores = fit(7, &games, NO_PRIOR).unwrap();
    let over_baltimore: Vec<f64> = scores.iter().map(|score| score - scores[6]).collect();
    let published = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0];
    assert_close(&over_baltimore, &published, 6e-5);
    let errors = standard_errors(&scores, &games, Reference::Node(6));
    let published = [0.3433, 0.3396, 0.3367, 0.3359, 0.3339, 0.3319, 0.0];
    assert_close(&errors, &published, 6e-5);
}

/// Which of four statistical journals cites which (S. Stigler, Statistical Science 9, 1994;
/// Agresti 2002, table 10.11): a journal "wins" when it is cited. Estimates and standard errors,
/// Biometrika as reference, as printed for the R package `BradleyTerry2`.
#[test]
fn journals_of_statistics() {
    // Biometrika, Communications in Statistics, JASA, JRSS-B; row cited by column.
    let cited = [
        [714, 730, 498, 221],
        [33, 425, 68, 17],
        [320, 813, 1072, 142],
        [284, 276, 325, 188],
    ];
    let mut citations = Vec::new();
    for (winner, row) in cited.iter().enumerate() {
        for (loser, &times) in row.iter().enumerate() {
            if winner != loser {
                citations.extend(wins(winner, loser, times));
            }
        }
    }
    let scores = fit(4, &citations, NO_PRIOR).unwrap();
    let over_biometrika: Vec<f64> = scores.iter().map(|score| score - scores[0]).collect();
    assert_close(&over_biometrika, &[0.0, -2.9491, -0.4796, 0.2690], 6e-5);
    let errors = standard_errors(&scores, &citations, Reference::Node(0));
    assert_close(&errors, &[0.0, 0.1025, 0.0606, 0.0708], 6e-5);
}

#[test]
fn scores_agree_with_spectral_ranking_of_another_implementation() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/choix.json")).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 9);
    for case in cases {
        let judgements: Vec<Win> = case["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| Win {
                winner: usize::try_from(result[0].as_u64().unwrap()).unwrap(),
                loser: usize::try_from(result[1].as_u64().unwrap()).unwrap(),
            })
            .collect();
        let nodes = usize::try_from(case["items"].as_u64().unwrap()).unwrap();
        let want: Vec<f64> = case["scores"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect();
        let got = fit(nodes, &judgements, case["alpha"].as_f64().unwrap()).unwrap();
        assert_close(&got, &want, 1e-7);
    }
}

#[test]
fn nothing_known_is_zero_everywhere() {
    assert_eq!(fit(0, &[], DEFAULT_ALPHA).unwrap(), Vec::<f64>::new());
    assert_eq!(fit(1, &[], DEFAULT_ALPHA).unwrap(), [0.0]);
    assert_eq!(fit(3, &[], DEFAULT_ALPHA).unwrap(), [0.0, 0.0, 0.0]);
    assert_eq!(
        standard_errors(&[0.0; 3], &[], Reference::Mean),
        [NO_DATA_STANDARD_ERROR; 3]
    );
}

#[test]
fn judgements_that_fit_no_batch_are_refused() {
    let outside = [Win {
        winner: 0,
        loser: 3,
    }];
    assert_eq!(
        fit(3, &outside, DEFAULT_ALPHA),
        Err(FitError::UnknownItem {
            winner: 0,
            loser: 3,
            nodes: 3
        })
    );
    assert!(
        fit(
            3,
            &[Win {
                winner: 1,
                loser: 1
            }],
            DEFAULT_ALPHA
        )
        .is_err()
    );
    for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(fit(3, &[], alpha), Err(FitError::Prior { .. })));
    }
}

#[test]
fn winning_or_losing_everything_stays_finite_and_in_order() {
    // Each essay beats every later one, ten times.
    let judgements: Vec<Win> = (0..12)
        .flat_map(|winner| (winner + 1..12).flat_map(move |loser| wins(winner, loser, 10)))
        .collect();
    let scores = fit(12, &judgements, DEFAULT_ALPHA).unwrap();
    assert!(
        scores.windows(2).all(|pair| pair[0] > pair[1]),
        "{scores:?}"
    );
    assert!(scores.iter().all(|score| score.is_finite()));
    assert_eq!(ranks(&scores), (1..=12).collect::<Vec<_>>());
    let errors = standard_errors(&scores, &judgements, Reference::Mean);
    assert!(
        errors
            .iter()
            .all(|error| (0.0..=MAX_STANDARD_ERROR).contains(error)),
        "{errors:?}"
    );
}

#[test]
fn essays_outside_of_the_main_group_have_the_largest_error() {
    // Essays 0, 1, 2 met each other; 3 and 4 met each other; 5 met none.
    let judgements: Vec<Win> = [(0, 1), (1, 2), (2, 0), (0, 1), (3, 4)]
        .map(|(winner, loser)| Win { winner, loser })
        .to_vec();
    let scores = fit(6, &judgements, DEFAULT_ALPHA).unwrap();
    // Three of six is no majority: nobody can be placed.
    assert_eq!(
        standard_errors(&scores, &judgements, Reference::Mean),
        [2.0; 6]
    );
    let on_zero = standard_errors(&scores, &judgements, Reference::Node(0));
    assert_eq!((on_zero[0], &on_zero[3..]), (0.0, &[2.0, 2.0, 2.0][..]));
    assert!(on_zero[1] < 2.0 && on_zero[2] < 2.0);
    let on_five = standard_errors(&scores, &judgements, Reference::Node(5));
    assert_eq!(on_five, [2.0, 2.0, 2.0, 2.0, 2.0, 0.0]);

    // Four essays of five: the fifth alone is unknown.
    let judgements: Vec<Win> = [(0, 1), (1, 2), (2, 3), (3, 0)]
        .map(|(winner, loser)| Win { winner, loser })
        .to_vec();
    let scores = fit(5, &judgements, DEFAULT_ALPHA).unwrap();
    let errors = standard_errors(&scores, &judgements, Reference::Mean);
    assert!(errors[..4].iter().all(|error| *error < 2.0));
    assert!((errors[4] - 2.0).abs() < f64::EPSILON);
}

/// Against a value worked out by hand: two essays, k judgements at even odds give the difference
/// the variance 4/k; relative to their mean each essay has half the difference.
#[test]
fn standard_errors_of_two_essays_by_hand() {
    let judgements: Vec<Win> = wins(0, 1, 8).chain(wins(1, 0, 8)).collect();
    let scores = fit(2, &judgements, DEFAULT_ALPHA).unwrap();
    let difference = (4.0_f64 / 16.0).sqrt();
    let relative_to_one = standard_errors(&scores, &judgements, Reference::Node(1));
    assert_close(&relative_to_one, &[difference, 0.0], 1e-12);
    let relative_to_mean = standard_errors(&scores, &judgements, Reference::Mean);
    assert_close(&relative_to_mean, &[difference / 2.0; 2], 1e-12);
}

/// Scores so far apart that a judgement tells nothing must not look certain.
#[test]
fn judgements_that_tell_nothing_give_no_certainty() {
    let judgements: Vec<Win> = wins(0, 1, 3)
        .chain(wins(1, 0, 3))
        .chain(wins(2, 0, 1))
        .collect();
    let errors = standard_errors(&[-4.0, -4.0, 8.0], &judgements, Reference::Mean);
    assert!(
        (errors[2] - MAX_STANDARD_ERROR).abs() < f64::EPSILON,
        "{errors:?}"
    );
    let errors = standard_errors(&[0.0, 20.0], &judgements[..1], Reference::Mean);
    assert_eq!(errors, [MAX_STANDARD_ERROR; 2]);
    let errors = standard_errors(&[0.0, 20.0], &judgements[..1], Reference::Node(0));
    assert_eq!(errors, [0.0, MAX_STANDARD_ERROR]);
}

#[test]
fn confidence_follows_the_standard_error() {
    for (error, score, label) in [
        (0.0, 1.0, ConfidenceLabel::High),
        (0.499, 1.0, ConfidenceLabel::High),
        (0.5, 0.8, ConfidenceLabel::High),
        (1.0, 0.6, ConfidenceLabel::Mid),
        (1.499, 0.6, ConfidenceLabel::Mid),
        (1.5, 0.3, ConfidenceLabel::Low),
        (2.0, 0.3, ConfidenceLabel::Low),
        (f64::NAN, 0.3, ConfidenceLabel::Low),
    ] {
        let (got, got_label) = confidence(error);
        assert!(
            (got - score).abs() < f64::EPSILON && got_label == label,
            "{error}"
        );
    }
    assert_eq!(ConfidenceLabel::Mid.to_string(), "MID");
}

#[test]
fn reliability_is_the_part_of_the_spread_that_is_not_error() {
    assert_eq!(separation_reliability(&[1.0, 1.0], &[0.1, 0.1]), None);
    assert_eq!(separation_reliability(&[1.0], &[0.1]), None);
    let good = separation_reliability(&[-1.0, 0.0, 1.0], &[0.5, 0.5, 0.5]).unwrap();
    assert!((good - 0.75).abs() < 1e-12);
    assert_eq!(
        separation_reliability(&[-1.0, 0.0, 1.0], &[2.0; 3]),
        Some(0.0)
    );
}

#[test]
fn equal_scores_are_ranked_by_index() {
    assert_eq!(ranks(&[0.5, 1.0, 0.5, -1.0]), [2, 1, 3, 4]);
    assert_eq!(ranks(&[]), Vec::<usize>::new());
}

fn judgements() -> impl Strategy<Value = (usize, Vec<Win>)> {
    (2_usize..14).prop_flat_map(|nodes| {
        let win = (0..nodes, 0..nodes)
            .prop_filter("two different essays", |(winner, loser)| winner != loser)
            .prop_map(|(winner, loser)| Win { winner, loser });
        (Just(nodes), proptest::collection::vec(win, 0..120))
    })
}

proptest! {
    #[test]
    fn every_set_of_judgements_has_centred_scores_in_balance((nodes, wins) in judgements()) {
        let scores = fit(nodes, &wins, DEFAULT_ALPHA).unwrap();
        prop_assert!(scores.iter().sum::<f64>().abs() < 1e-8);
        // The balance equations, with weights that sum to n, hold at the fit.
        let n = f64::from(u32::try_from(nodes).unwrap());
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        let mut balance: Vec<f64> =
            scores.iter().map(|score| DEFAULT_ALPHA * n * (1.0 - n * score.exp() / total)).collect();
        for win in &wins {
            let surprise = logistic(scores[win.loser] - scores[win.winner]);
            balance[win.winner] += surprise;
            balance[win.loser] -= surprise;
        }
        for rest in balance {
            prop_assert!(rest.abs() < 1e-8, "{}", rest);
        }
    }

    #[test]
    fn one_more_win_never_lowers_the_winner((nodes, mut wins) in judgements(), more in (0_usize..14, 0_usize..14)) {
        let win = Win { winner: more.0 % nodes, loser: more.1 % nodes };
        prop_assume!(win.winner != win.loser);
        let before = fit(nodes, &wins, DEFAULT_ALPHA).unwrap();
        wins.push(win);
        let after = fit(nodes, &wins, DEFAULT_ALPHA).unwrap();
        let lead = |scores: &[f64]| scores[win.winner] - scores[win.loser];
        prop_assert!(lead(&after) > lead(&before));
    }

    #[test]
    fn standard_errors_stay_in_their_bounds((nodes, wins) in judgements()) {
        let scores = fit(nodes, &wins, DEFAULT_ALPHA).unwrap();
        for reference in [Reference::Mean, Reference::Node(nodes - 1)] {
            let errors = standard_errors(&scores, &wins, reference);
            prop_assert_eq!(errors.len(), nodes);
            prop_assert!(errors.iter().all(|error| (0.0..=MAX_STANDARD_ERROR).contains(error)));
        }
    }

    #[test]
    fn normalised_scores_keep_the_order_and_the_mean(scores in proptest::collection::vec(-30.0_f64..30.0, 2..40)) {
        let normal = normalised_scores(&scores);
        let mean = normal.iter().sum::<f64>() / f64::from(u32::try_from(scores.len()).unwrap());
        prop_assert!((mean - 0.5).abs() < 1e-9);
        for (left, a) in scores.iter().zip(&normal) {
            prop_assert!((0.0..=1.0).contains(a));
            for (right, b) in scores.iter().zip(&normal) {
                prop_assert!(left.total_cmp(right).is_le() == (a <= b) || (a - b).abs() < 1e-9);
            }
        }
    }
}
