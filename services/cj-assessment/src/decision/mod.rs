//! Stop or go on: what follows when a wave has been answered.
//!
//! Decided only when nothing is pending. Words: *completed* comparisons have a winner, *failed*
//! ones were given up; both together are *settled*. Coverage is complete when every pair of essays
//! has a winner at least once. A small net has at most three essays, which run out of new pairs at
//! once and are asked again instead.
//!
//! | # | when | then |
//! |---|------|------|
//! | 1 | coverage complete, not stable, budget left, passes left (small net 4, else 1) | resample |
//! | 2 | success below 80 %, and nothing more can be asked | finalise as failed |
//! | 3 | stable, or nothing more can be asked | finalise with scores |
//! | 4 | otherwise | another coverage wave |
//!
//! Nothing more can be asked when the budget is used up or no new pair is left. Every state thus
//! leads on: no batch waits for a sweep to close it.

/// Least number of comparisons of a batch that the setting allows, unless it says otherwise.
pub const DEFAULT_MAX_COMPARISONS: usize = 120;

/// Comparisons per essay up to which the cap grows with a batch.
///
/// Each comparison serves two essays, so 8 of them give every essay about 16 judgements, the
/// region in which comparative judgement becomes reliable. A cap of 120 alone would leave an essay
/// of a batch of 100 with two.
pub const COMPARISONS_PER_ESSAY: usize = 8;

/// Settled comparisons before which scores are never called stable.
const MIN_SETTLED_FOR_STABILITY: usize = 12;
/// Largest change of any score, in logits, that counts as stable.
const STABLE_CHANGE: f64 = 0.025;
/// Share of settled comparisons that must have a winner, in percent.
const MIN_SUCCESS_PERCENT: usize = 80;
/// Largest small net.
const SMALL_NET: usize = 3;
const SMALL_NET_PASSES: u32 = 4;
const REGULAR_PASSES: u32 = 1;

/// The number of comparisons a batch may cost: the larger of `setting` and
/// [`COMPARISONS_PER_ESSAY`] per essay. A request may ask for fewer with a cap above zero, never for
/// more: what a batch may cost is the operator's decision.
#[must_use]
pub fn comparison_budget(setting: usize, nodes: usize, requested: Option<usize>) -> usize {
    let allowed = setting.max(nodes.saturating_mul(COMPARISONS_PER_ESSAY));
    match requested {
        Some(cap) if cap > 0 => cap.min(allowed),
        _ => allowed,
    }
}

/// Where a batch stands when nothing is pending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Number of essays.
    pub nodes: usize,
    /// Comparisons the batch may cost.
    pub budget: usize,
    /// Comparisons that have a winner.
    pub completed: usize,
    /// Comparisons that were given up.
    pub failed: usize,
    /// Different pairs that have a winner at least once.
    pub pairs_won: usize,
    /// Different pairs that were asked, with or without a winner.
    pub pairs_asked: usize,
    /// Resampling passes made so far.
    pub resampling_passes: u32,
    /// Largest change of any score since the last evaluation, in logits; `None` when there was no
    /// evaluation before or the scores could not be computed.
    pub max_score_change: Option<f64>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Plan and send a coverage wave of at most `limit` pairs.
    RequestMore {
        /// Budget that is left.
        limit: usize,
    },
    /// Plan and send a resampling pass of at most `limit` pairs.
    Resample {
        /// Budget that is left.
        limit: usize,
    },
    /// Close the batch with its scores.
    FinaliseScores(Reason),
    /// Close the batch as failed: too few comparisons have a winner.
    FinaliseFailure(Reason),
}

/// Why a batch is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The scores no longer change.
    Stable,
    /// The budget is used up.
    BudgetUsed,
    /// Every pair was asked, and as often as is useful.
    NothingLeftToAsk,
}

impl Reason {
    /// The reason as a word for logs, metrics and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::BudgetUsed => "budget_used",
            Self::NothingLeftToAsk => "nothing_left_to_ask",
        }
    }
}

impl Progress {
    fn settled(&self) -> usize {
        self.completed + self.failed
    }

    fn budget_left(&self) -> usize {
        self.budget.saturating_sub(self.settled())
    }

    fn success_is_low(&self) -> bool {
        self.completed == 0 || self.completed * 100 < self.settled() * MIN_SUCCESS_PERCENT
    }

    /// Whether the scores may be called final.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        self.settled() >= MIN_SETTLED_FOR_STABILITY
            && self
                .max_score_change
                .is_some_and(|change| change <= STABLE_CHANGE)
            && !self.success_is_low()
    }

    fn passes_allowed(&self) -> u32 {
        if self.nodes <= SMALL_NET {
            SMALL_NET_PASSES
        } else {
            REGULAR_PASSES
        }
    }
}

/// Decides what follows. Call it only when nothing is pending.
#[must_use]
pub fn decide(progress: &Progress) -> Decision {
    let possible = crate::pairing::possible_pairs(progress.nodes);
    let limit = progress.budget_left();
    let stable = progress.is_stable();
    let covered = possible > 0 && progress.pairs_won >= possible;
    if covered && !stable && limit > 0 && progress.resampling_passes < progress.passes_allowed() {
        return Decision::Resample { limit };
    }
    let reason = if stable {
        Reason::Stable
    } else if limit == 0 {
        Reason::BudgetUsed
    } else if progress.pairs_asked >= possible {
        Reason::NothingLeftToAsk
    } else {
        return Decision::RequestMore { limit };
    };
    if progress.success_is_low() {
        Decision::FinaliseFailure(reason)
    } else {
        Decision::FinaliseScores(reason)
    }
}
