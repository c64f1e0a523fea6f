//! Comparative judgement of a batch: the request, the thin answers, the ranking and its cost.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventName, event};
use crate::bounds::{Fraction, NonNegative, Score, Temperature};
use crate::domain::CourseCode;
use crate::ids::{AssignmentId, BatchId, EssayId, LanguageTag, LetterGrade, OrgId, UserId};
use crate::metadata::{EssayProcessingInputRefV1, StorageReferences, SystemProcessingMetadata};
use crate::status::{BatchStatus, ConfidenceLabel};

/// What one request wants otherwise than the settings of the service say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LLMConfigOverrides {
    /// The model.
    pub model_override: Option<String>,
    /// The sampling temperature; 0 is a value like any other.
    pub temperature_override: Option<Temperature>,
    /// The greatest length of an answer, in tokens.
    pub max_tokens_override: Option<NonZeroU32>,
    /// The provider.
    pub provider_override: Option<String>,
    /// The system prompt.
    pub system_prompt_override: Option<String>,
    /// The instructions for the judge.
    pub judge_rubric_override: Option<String>,
    /// How hard the model thinks: `none`, `low`, `medium` or `high`.
    pub reasoning_effort: Option<String>,
    /// How much the model says: `low`, `medium` or `high`.
    pub output_verbosity: Option<String>,
}

/// The essays of a batch are to be ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(
    non_camel_case_types,
    reason = "the name the wire's schema has everywhere else"
)]
pub struct ELS_CJAssessmentRequestV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was asked for.
    pub timestamp: Timestamp,
    /// Processing metadata of the batch.
    pub system_metadata: SystemProcessingMetadata,
    /// The essays with the texts to compare.
    pub essays_for_cj: Vec<EssayProcessingInputRefV1>,
    /// Their language.
    pub language: LanguageTag,
    /// The course.
    pub course_code: CourseCode,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
    /// What this request wants otherwise.
    pub llm_config_overrides: Option<LLMConfigOverrides>,
    /// The assignment whose anchors and instructions apply.
    pub assignment_id: Option<AssignmentId>,
    /// Who pays.
    pub user_id: UserId,
    /// Their organisation.
    pub org_id: Option<OrgId>,
}
event!(
    ELS_CJAssessmentRequestV1,
    ElsCjAssessmentRequested,
    "els.cj_assessment.requested",
    |it| it.entity_id.to_string()
);

/// A batch is ranked: what states need to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CJAssessmentCompletedV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was done.
    pub timestamp: Timestamp,
    /// How it ended.
    pub status: BatchStatus,
    /// Processing metadata of the batch.
    pub system_metadata: SystemProcessingMetadata,
    /// The judgement, as the CJ service names it.
    pub cj_assessment_job_id: String,
    /// Which essays were ranked and which were not.
    pub processing_summary: CjProcessingSummary,
}
event!(
    CJAssessmentCompletedV1,
    CjAssessmentCompleted,
    "cj_assessment.completed",
    |it| it.entity_id.to_string()
);

/// Which essays were ranked and which were not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CjProcessingSummary {
    /// All essays of the request.
    pub total_essays: u32,
    /// How many were ranked.
    pub successful: u32,
    /// How many were not.
    pub failed: u32,
    /// Those that were ranked.
    pub successful_essay_ids: Vec<EssayId>,
    /// Those that were not.
    pub failed_essay_ids: Vec<EssayId>,
    /// How long it took, in seconds.
    pub processing_time_seconds: NonNegative,
}

/// A batch cannot be ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CJAssessmentFailedV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was given up.
    pub timestamp: Timestamp,
    /// How it ended.
    pub status: BatchStatus,
    /// Processing metadata of the batch, with the reason in `error_info`.
    pub system_metadata: SystemProcessingMetadata,
    /// The judgement, as the CJ service names it.
    pub cj_assessment_job_id: String,
}
event!(
    CJAssessmentFailedV1,
    CjAssessmentFailed,
    "cj_assessment.failed",
    |it| it.entity_id.to_string()
);

/// The ranking of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssessmentResultV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was published.
    pub timestamp: Timestamp,
    /// The batch.
    pub batch_id: BatchId,
    /// The judgement, as the CJ service names it.
    pub cj_assessment_job_id: String,
    /// The assignment whose anchors and instructions applied.
    pub assignment_id: Option<AssignmentId>,
    /// How it was assessed, for example `cj_assessment`.
    pub assessment_method: String,
    /// The model that judged; with several, the one that judged most.
    pub model_used: String,
    /// Its provider.
    pub model_provider: String,
    /// Its version.
    pub model_version: Option<String>,
    /// The results, the best essay first.
    pub essay_results: Vec<EssayResultV1>,
    /// How the ranking came about: numbers of comparisons, calibration and the like.
    #[serde(default)]
    pub assessment_metadata: BTreeMap<String, Value>,
    /// When the ranking was fixed.
    pub assessed_at: Timestamp,
}
event!(
    AssessmentResultV1,
    AssessmentResultPublished,
    "assessment.result.published",
    |it| it.batch_id.to_string()
);

/// The result of one essay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayResultV1 {
    /// The essay.
    pub essay_id: EssayId,
    /// The score between 0 and 1.
    pub normalized_score: Fraction,
    /// The grade, `U` where none could be projected.
    pub letter_grade: LetterGrade,
    /// How sure the result is.
    pub confidence_score: Fraction,
    /// The same as a word.
    pub confidence_label: ConfidenceLabel,
    /// The Bradley–Terry score in logits.
    pub bt_score: Score,
    /// The place, 1 for the best.
    pub rank: NonZeroU32,
    /// Whether it is an anchor essay.
    #[serde(default)]
    pub is_anchor: bool,
    /// Where feedback is.
    pub feedback_uri: Option<String>,
    /// Where figures are.
    pub metrics_uri: Option<String>,
    /// A name to show.
    pub display_name: Option<String>,
}

/// Something was used up that somebody pays for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceConsumptionV1 {
    /// The event's name.
    #[serde(default)]
    pub event_name: EventName<Self>,
    /// The batch.
    pub entity_id: Option<BatchId>,
    /// What the id names: [`ENTITY_BATCH`](crate::metadata::ENTITY_BATCH).
    pub entity_type: Option<String>,
    /// Unused for batches.
    pub parent_id: Option<String>,
    /// When it was published.
    pub timestamp: Timestamp,
    /// Who pays.
    pub user_id: UserId,
    /// Their organisation.
    pub org_id: Option<OrgId>,
    /// What was used, for example `cj_comparison`.
    pub resource_type: String,
    /// How much of it: what was really done, not what was planned.
    pub quantity: u64,
    /// The service that used it.
    pub service_name: String,
    /// The work it was used for, as that service names it.
    pub processing_id: String,
    /// When it was used.
    pub consumed_at: Timestamp,
}
event!(
    ResourceConsumptionV1,
    ResourceConsumption,
    "resource.consumption.reported",
    |it| it
        .entity_id
        .as_ref()
        .map_or_else(|| it.processing_id.clone(), ToString::to_string)
);
