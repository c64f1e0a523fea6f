//! Where a job stands, computed from what is stored.

use fusebox_llm::Side;

use crate::{
    decision::Progress,
    pairing::History,
    scoring::{DEFAULT_ALPHA, Win, fit},
    store::{Comparison, ComparisonState, Essay, Job, WaveKind},
};

/// Where a job stands.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) history: History,
    pub(super) wins: Vec<Win>,
    /// Scores after the last wave; `None` before the first result.
    pub(super) scores: Option<Vec<f64>>,
    pub(super) progress: Progress,
    pending: usize,
    waves: u32,
}

impl Position {
    pub(super) fn of(job: &Job, essays: &[Essay], comparisons: &[Comparison]) -> Self {
        let nodes = essays.iter().filter(|essay| essay.node.is_some()).count();
        let history = History::from_pairs(nodes, comparisons.iter().map(|one| one.pair));
        let waves = comparisons.last().map_or(0, |last| last.wave + 1);
        let wins: Vec<Win> = comparisons.iter().filter_map(win).collect();
        let before: Vec<Win> = comparisons
            .iter()
            .filter(|one| one.wave + 1 < waves)
            .filter_map(win)
            .collect();
        let scores = scores(nodes, &wins);
        let change = scores
            .as_deref()
            .zip(self::scores(nodes, &before).as_deref())
            .map(|(now, then)| largest_change(now, then));
        let count = |state: fn(&ComparisonState) -> bool| {
            comparisons.iter().filter(|one| state(&one.state)).count()
        };
        let mut won_pairs: Vec<(usize, usize)> = comparisons
            .iter()
            .filter(|one| matches!(one.state, ComparisonState::Won(_)))
            .map(|one| one.pair.unordered())
            .collect();
        won_pairs.sort_unstable();
        won_pairs.dedup();
        let mut passes: Vec<u32> = comparisons
            .iter()
            .filter(|one| one.kind == WaveKind::Resampling)
            .map(|one| one.wave)
            .collect();
        passes.dedup();
        Self {
            progress: Progress {
                nodes,
                budget: job.budget.unwrap_or(0),
                completed: wins.len(),
                failed: count(|state| matches!(state, ComparisonState::Failed)),
                pairs_won: won_pairs.len(),
                pairs_asked: history.distinct_pairs().len(),
                resampling_passes: u32::try_from(passes.len()).unwrap_or(u32::MAX),
                max_score_change: change,
            },
            pending: count(|state| matches!(state, ComparisonState::Pending { .. })),
            history,
            wins,
            scores,
            waves,
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        self.pending > 0
    }

    pub(super) fn next_wave(&self) -> u32 {
        self.waves
    }
}

fn win(comparison: &Comparison) -> Option<Win> {
    let pair = comparison.pair;
    match comparison.state {
        ComparisonState::Won(Side::A) => Some(Win {
            winner: pair.a,
            loser: pair.b,
        }),
        ComparisonState::Won(Side::B) => Some(Win {
            winner: pair.b,
            loser: pair.a,
        }),
        _ => None,
    }
}

/// The scores of these results; `None` without any, or when they could not be computed.
fn scores(nodes: usize, wins: &[Win]) -> Option<Vec<f64>> {
    if wins.is_empty() {
        return None;
    }
    fit(nodes, wins, DEFAULT_ALPHA)
        .inspect_err(|error| {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "scores were not computed"
            );
        })
        .ok()
}

fn largest_change(now: &[f64], then: &[f64]) -> f64 {
    now.iter()
        .zip(then)
        .map(|(now, then)| (now - then).abs())
        .fold(0.0, f64::max)
}
