//! The results of a job as other services read them.

use std::{collections::HashMap, num::NonZeroU32};

use huleedu_contracts::{
    api::cj::{BatchResultsResponse, CjEssayResult, Judge},
    bounds::{Fraction, NonNegative, Score},
    ids::LetterGrade,
    status::ConfidenceLabel,
};
use huleedu_kit::store::StoreError;

use crate::{
    scoring,
    store::{Comparison, ComparisonState, Essay, Job, JudgeCount, Placed},
};

/// One placed essay in the types of the wire.
pub(crate) struct Wire {
    pub(crate) rank: NonZeroU32,
    pub(crate) score: Score,
    pub(crate) standard_error: NonNegative,
    pub(crate) normalized_score: Fraction,
    pub(crate) confidence_score: Fraction,
    pub(crate) confidence_label: ConfidenceLabel,
}

impl Wire {
    /// # Errors
    /// When a stored number is none.
    pub(crate) fn of(placed: Placed) -> Result<Self, StoreError> {
        let (confidence, label) = scoring::confidence(placed.standard_error);
        let corrupt = |error: huleedu_contracts::bounds::OutOfRange| {
            StoreError::Corrupt(format!("a result: {error}"))
        };
        Ok(Self {
            rank: NonZeroU32::new(placed.rank)
                .ok_or_else(|| StoreError::Corrupt("a place is 0".to_owned()))?,
            score: Score::new(placed.score).map_err(corrupt)?,
            standard_error: NonNegative::new(placed.standard_error).map_err(corrupt)?,
            normalized_score: Fraction::clamped(placed.normalized_score),
            confidence_score: Fraction::clamped(confidence),
            confidence_label: match label {
                scoring::ConfidenceLabel::High => ConfidenceLabel::High,
                scoring::ConfidenceLabel::Mid => ConfidenceLabel::Mid,
                scoring::ConfidenceLabel::Low => ConfidenceLabel::Low,
            },
        })
    }
}

/// How often each essay was judged, by its index.
pub(crate) fn comparisons_by_node(comparisons: &[Comparison]) -> HashMap<usize, u32> {
    let mut counts = HashMap::new();
    for one in comparisons {
        if matches!(one.state, ComparisonState::Won(_)) {
            *counts.entry(one.pair.a).or_default() += 1;
            *counts.entry(one.pair.b).or_default() += 1;
        }
    }
    counts
}

/// The answer to whoever asks for a batch's results: the best essay first, then those without a
/// place.
pub(crate) fn response(
    job: Job,
    essays: Vec<Essay>,
    comparisons: &[Comparison],
    judges: Vec<JudgeCount>,
) -> Result<BatchResultsResponse, StoreError> {
    let counts = comparisons_by_node(comparisons);
    let mut results = Vec::with_capacity(essays.len());
    for essay in essays {
        let wire = essay.placed.map(Wire::of).transpose()?;
        let wire = wire.as_ref();
        results.push(CjEssayResult {
            essay_id: essay.id,
            rank: wire.map(|wire| wire.rank),
            score: wire.map(|wire| wire.score),
            standard_error: wire.map(|wire| wire.standard_error),
            comparisons: essay
                .node
                .and_then(|node| counts.get(&node).copied())
                .unwrap_or(0),
            normalized_score: wire.map(|wire| wire.normalized_score),
            letter_grade: wire.map(|_| LetterGrade::ungraded()),
            confidence_score: wire.map(|wire| wire.confidence_score),
            confidence_label: wire.map(|wire| wire.confidence_label),
            error: essay.error,
        });
    }
    results.sort_by_key(|result| (result.rank.is_none(), result.rank));
    Ok(BatchResultsResponse {
        batch_id: job.request.entity_id,
        status: job.status,
        essays: results,
        comparisons_total: judges.iter().map(|judge| judge.comparisons).sum(),
        judges: judges
            .into_iter()
            .map(|judge| Judge {
                provider: judge.provider,
                model: judge.model,
                comparisons: judge.comparisons,
                sandbox: judge.sandbox,
            })
            .collect(),
        comparisons_budget: job
            .budget
            .map(|budget| u32::try_from(budget).unwrap_or(u32::MAX)),
        error: job.error,
        updated_at: jiff::Timestamp::from_millisecond(job.updated_at)
            .map_err(|error| StoreError::Corrupt(format!("cj_jobs.updated_at: {error}")))?,
    })
}
