//! API Gateway: what clients of the platform send and get.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Pagination;
use super::cj::Judge;
use super::lifecycle::FailedFile;
use super::orchestrator::PhaseProgress;
use crate::bounds::{Fraction, NonNegative, Score, Temperature};
use crate::domain::CourseCode;
use crate::error::ErrorDetail;
use crate::events::pipeline::{PipelinePromptPayload, RetryReason};
use crate::ids::{
    AssignmentId, BatchId, ClassId, CorrelationId, EssayId, FileUploadId, LetterGrade,
    PipelineName, StorageId, UserId,
};
use crate::macros::{read_strictly, wire_enum};
use crate::metadata::StorageReferences;
use crate::status::{BatchClientStatus, ConfidenceLabel, PhaseName};

/// Body of POST `/v1/batches/register`; who the client is comes from the identity token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRegisterRequest {
    /// How many files the client will upload.
    pub expected_essay_count: NonZeroU32,
    /// The course.
    pub course_code: CourseCode,
    /// Names the client wants for the slots.
    pub essay_ids: Option<Vec<EssayId>>,
    /// The assignment as the students got it, when it is stored already.
    pub student_prompt_ref: Option<StorageReferences>,
    /// The class; none means a guest batch.
    pub class_id: Option<ClassId>,
    /// The model that is to judge.
    pub cj_default_llm_model: Option<String>,
    /// Its sampling temperature.
    pub cj_default_temperature: Option<Temperature>,
    /// The assignment whose anchors and instructions apply.
    pub assignment_id: Option<AssignmentId>,
}

/// Body of POST `/v1/batches/{id}/pipelines`; who the client is comes from the identity token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineRequest {
    /// The batch; must be that of the path.
    pub batch_id: BatchId,
    /// The pipeline.
    pub requested_pipeline: PipelineName,
    /// Whether the pipeline has run before.
    #[serde(default)]
    pub is_retry: bool,
    /// Why it is to run again.
    pub retry_reason: Option<RetryReason>,
    /// Where the assignment comes from.
    pub prompt_payload: Option<PipelinePromptPayload>,
}

/// Answer to POST `/v1/batches/{id}/pipelines` (202).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineResponse {
    /// What happened.
    pub status: Accepted,
    /// The same for a reader.
    pub message: String,
    /// The batch.
    pub batch_id: BatchId,
    /// The request's correlation id.
    pub correlation_id: CorrelationId,
}

wire_enum! {
    /// The one way in which a request for a pipeline succeeds.
    pub enum Accepted {
        /// It is safe and will be handled.
        Accepted = "accepted",
    }
}
read_strictly!(Accepted);

/// Answer to GET `/v1/batches/{id}/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchStatusBody {
    /// Where the batch stands.
    pub status: BatchClientStatus,
    /// All that is known about it.
    pub details: BatchStatusDetails,
}

/// All that is known about a batch, put together from three services.
///
/// A part whose service cannot answer is left out and named in `unavailable`, so that one service
/// that is down does not hide what the others know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchStatusDetails {
    /// The batch.
    pub batch_id: BatchId,
    /// Its owner.
    pub user_id: UserId,
    /// The assignment whose anchors and instructions apply.
    pub assignment_id: Option<AssignmentId>,
    /// Where the batch stands.
    pub overall_status: BatchClientStatus,
    /// How many files were expected.
    pub essay_count: u32,
    /// Essays with a result.
    pub completed_essay_count: u32,
    /// Essays and files that failed.
    pub failed_essay_count: u32,
    /// The pipeline that was asked for last.
    pub requested_pipeline: Option<PipelineName>,
    /// The phase that is being worked on.
    pub current_phase: Option<PhaseName>,
    /// The phases of the pipeline, in order.
    #[serde(default)]
    pub phases: Vec<PhaseProgress>,
    /// The essays; ranked ones first, the best at the top.
    #[serde(default)]
    pub essays: Vec<EssayResultView>,
    /// Files that cannot be assessed.
    #[serde(default)]
    pub failed_files: Vec<FailedFile>,
    /// Who judged.
    #[serde(default)]
    pub judges: Vec<Judge>,
    /// Comparisons with a result.
    pub comparisons_total: Option<u32>,
    /// The greatest number of comparisons.
    pub comparisons_budget: Option<u32>,
    /// When the batch was registered.
    pub created_at: Timestamp,
    /// When anything about it changed last.
    pub last_updated: Timestamp,
    /// When the pipeline began.
    pub processing_started_at: Option<Timestamp>,
    /// When the pipeline ended.
    pub processing_completed_at: Option<Timestamp>,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
    /// Why the batch failed, when it did.
    pub error: Option<ErrorDetail>,
    /// Services whose part is missing because they cannot answer now.
    #[serde(default)]
    pub unavailable: Vec<String>,
}

wire_enum! {
    /// How one phase stands for one essay.
    pub enum EssayPhaseStatus {
        /// Not begun.
        Pending = "pending",
        /// Under way.
        Processing = "processing",
        /// Done.
        Completed = "completed",
        /// Failed.
        Failed = "failed",
    }
}
read_strictly!(EssayPhaseStatus);

/// One essay as a client sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayResultView {
    /// The essay.
    pub essay_id: EssayId,
    /// The file that fills the slot; none while it waits.
    pub filename: Option<String>,
    /// The upload that fills the slot; none while it waits.
    pub file_upload_id: Option<FileUploadId>,
    /// How spell-checking stands.
    pub spellcheck_status: Option<EssayPhaseStatus>,
    /// How many corrections it made.
    pub spellcheck_correction_count: Option<u32>,
    /// The corrected text.
    pub spellcheck_corrected_text_storage_id: Option<StorageId>,
    /// Why spell-checking failed.
    pub spellcheck_error_detail: Option<ErrorDetail>,
    /// How the judgement stands.
    pub cj_assessment_status: Option<EssayPhaseStatus>,
    /// The place, 1 for the best.
    pub cj_rank: Option<NonZeroU32>,
    /// The Bradley–Terry score in logits.
    pub cj_score: Option<Score>,
    /// Its standard error.
    pub cj_standard_error: Option<NonNegative>,
    /// Comparisons the essay took part in.
    pub cj_comparison_count: Option<u32>,
    /// The score between 0 and 1.
    pub cj_normalized_score: Option<Fraction>,
    /// The grade, `U` where none could be projected.
    pub cj_letter_grade: Option<LetterGrade>,
    /// How sure the result is.
    pub cj_confidence_label: Option<ConfidenceLabel>,
    /// Why the judgement failed.
    pub cj_assessment_error_detail: Option<ErrorDetail>,
    /// When anything about the essay changed last.
    pub last_updated: Timestamp,
}

/// Answer to GET `/v1/batches/{id}/validation-status`: what became of the batch's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationStatusBody {
    /// The batch.
    pub batch_id: BatchId,
    /// How many files were expected.
    pub expected_count: u32,
    /// How many of them are neither taken in nor refused yet.
    pub pending_count: u32,
    /// Whether no file is pending.
    pub complete: bool,
    /// Files that can be assessed, in the order of the slots.
    #[serde(default)]
    pub valid_files: Vec<ValidatedFile>,
    /// Files that cannot, with the reason.
    #[serde(default)]
    pub failed_files: Vec<FailedFile>,
}

/// One file that can be assessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatedFile {
    /// The upload.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub filename: String,
    /// The slot it fills.
    pub essay_id: EssayId,
}

/// Answer to GET `/v1/batches`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchListBody {
    /// The batches of the client, the newest first.
    pub batches: Vec<BatchSummary>,
    /// Which part of the list this is.
    pub pagination: Pagination,
}

/// One batch in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSummary {
    /// The batch.
    pub batch_id: BatchId,
    /// Where it stands.
    pub status: BatchClientStatus,
    /// The course.
    pub course_code: CourseCode,
    /// How many files were expected.
    pub essay_count: u32,
    /// The pipeline that was asked for last.
    pub requested_pipeline: Option<PipelineName>,
    /// The phase that is being worked on.
    pub current_phase: Option<PhaseName>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When anything about it changed last.
    pub last_updated: Timestamp,
}
