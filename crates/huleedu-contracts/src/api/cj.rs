//! CJ Assessment: the ranking of a batch.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::{Fraction, NonNegative, Score};
use crate::error::ErrorDetail;
use crate::ids::{BatchId, EssayId, LetterGrade};
use crate::status::{CjBatchStatus, ConfidenceLabel};

/// Answer to GET `/internal/v1/batches/{id}/results`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchResultsResponse {
    /// The batch.
    pub batch_id: BatchId,
    /// How the judgement stands or has ended.
    pub status: CjBatchStatus,
    /// The essays, the best first; without places until the judgement is done.
    pub essays: Vec<CjEssayResult>,
    /// Who judged.
    pub judges: Vec<Judge>,
    /// Comparisons with a result.
    pub comparisons_total: u32,
    /// The greatest number of comparisons.
    pub comparisons_budget: Option<u32>,
    /// Why the judgement failed, when it did.
    pub error: Option<ErrorDetail>,
    /// When anything changed last.
    pub updated_at: Timestamp,
}

/// The result of one essay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CjEssayResult {
    /// The essay.
    pub essay_id: EssayId,
    /// The place, 1 for the best.
    pub rank: Option<NonZeroU32>,
    /// The Bradley–Terry score in logits.
    pub score: Option<Score>,
    /// Its standard error.
    pub standard_error: Option<NonNegative>,
    /// Comparisons the essay took part in.
    pub comparisons: u32,
    /// The score between 0 and 1.
    pub normalized_score: Option<Fraction>,
    /// The grade, `U` where none could be projected.
    pub letter_grade: Option<LetterGrade>,
    /// How sure the result is.
    pub confidence_score: Option<Fraction>,
    /// The same as a word.
    pub confidence_label: Option<ConfidenceLabel>,
    /// Why the essay has no place, when it failed.
    pub error: Option<ErrorDetail>,
}

/// A model that judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judge {
    /// Its provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// How many comparisons it judged.
    pub comparisons: u32,
    /// Whether it was the sandbox, which is no AI.
    #[serde(default)]
    pub sandbox: bool,
}
