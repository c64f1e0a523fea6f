//! Batch Orchestrator: registration, status and pipeline state of a batch.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Pagination;
use crate::bounds::{Percentage, Temperature};
use crate::domain::CourseCode;
use crate::error::ErrorDetail;
use crate::ids::{
    AssignmentId, BatchId, ClassId, CorrelationId, EssayId, OrgId, PipelineName, UserId,
};
use crate::macros::{read_strictly, wire_enum};
use crate::metadata::StorageReferences;
use crate::status::{BatchStatus, PhaseName, PipelineExecutionStatus};

/// Body of POST `/v1/batches/register`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RegisterBatchFields")]
pub struct RegisterBatchRequest {
    /// How many files the client will upload.
    pub expected_essay_count: NonZeroU32,
    /// Names the client wants for the slots; as many as files are expected.
    pub essay_ids: Option<Vec<EssayId>>,
    /// The course.
    pub course_code: CourseCode,
    /// The assignment as the students got it, when it is stored already.
    pub student_prompt_ref: Option<StorageReferences>,
    /// The owner; the gateway takes it from the identity token.
    pub user_id: UserId,
    /// The owner's organisation.
    pub org_id: Option<OrgId>,
    /// The class; none means a guest batch.
    pub class_id: Option<ClassId>,
    /// The model that is to judge.
    pub cj_default_llm_model: Option<String>,
    /// Its sampling temperature; 0 is a value like any other.
    pub cj_default_temperature: Option<Temperature>,
    /// The assignment whose anchors and instructions apply.
    pub assignment_id: Option<AssignmentId>,
}

#[derive(Deserialize)]
struct RegisterBatchFields {
    expected_essay_count: NonZeroU32,
    essay_ids: Option<Vec<EssayId>>,
    course_code: CourseCode,
    student_prompt_ref: Option<StorageReferences>,
    user_id: UserId,
    org_id: Option<OrgId>,
    class_id: Option<ClassId>,
    cj_default_llm_model: Option<String>,
    cj_default_temperature: Option<Temperature>,
    assignment_id: Option<AssignmentId>,
}

/// A registration whose slots do not fit the number of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("essay_ids must name {expected} different essays, as expected_essay_count says")]
pub struct EssayIdsMismatch {
    expected: NonZeroU32,
}

impl TryFrom<RegisterBatchFields> for RegisterBatchRequest {
    type Error = EssayIdsMismatch;

    fn try_from(fields: RegisterBatchFields) -> Result<Self, Self::Error> {
        let request = Self {
            expected_essay_count: fields.expected_essay_count,
            essay_ids: fields.essay_ids,
            course_code: fields.course_code,
            student_prompt_ref: fields.student_prompt_ref,
            user_id: fields.user_id,
            org_id: fields.org_id,
            class_id: fields.class_id,
            cj_default_llm_model: fields.cj_default_llm_model,
            cj_default_temperature: fields.cj_default_temperature,
            assignment_id: fields.assignment_id,
        };
        request.check()?;
        Ok(request)
    }
}

impl RegisterBatchRequest {
    /// Checks that the named slots, if any, are as many as expected and all different.
    ///
    /// Reading a request does this already.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&self) -> Result<(), EssayIdsMismatch> {
        let Some(ids) = &self.essay_ids else {
            return Ok(());
        };
        let different: std::collections::HashSet<&EssayId> = ids.iter().collect();
        let expected = usize::try_from(self.expected_essay_count.get()).unwrap_or(usize::MAX);
        if ids.len() == expected && different.len() == expected {
            Ok(())
        } else {
            Err(EssayIdsMismatch {
                expected: self.expected_essay_count,
            })
        }
    }
}

/// Answer to POST `/v1/batches/register` (202).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterBatchResponse {
    /// The new batch.
    pub batch_id: BatchId,
    /// The request's correlation id.
    pub correlation_id: CorrelationId,
    /// What happened.
    pub status: Registered,
}

wire_enum! {
    /// The one way in which a registration succeeds.
    pub enum Registered {
        /// The batch exists.
        Registered = "registered",
    }
}
read_strictly!(Registered);

/// Answer to GET `/v1/batches/{id}/status`: the batch as the orchestrator knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchStatusResponse {
    /// The batch.
    pub batch_id: BatchId,
    /// Its owner.
    pub user_id: UserId,
    /// Where it stands.
    pub status: BatchStatus,
    /// The pipeline that was asked for last.
    pub requested_pipeline: Option<PipelineName>,
    /// The phase that is being worked on.
    pub current_phase: Option<PhaseName>,
    /// The phases of that pipeline, in order.
    pub phases: Vec<PhaseProgress>,
    /// How many files were expected.
    pub expected_essay_count: NonZeroU32,
    /// The course.
    pub course_code: CourseCode,
    /// The class; none means a guest batch.
    pub class_id: Option<ClassId>,
    /// The assignment whose anchors and instructions apply.
    pub assignment_id: Option<AssignmentId>,
    /// The assignment as the students got it.
    pub student_prompt_ref: Option<StorageReferences>,
    /// Why the batch failed, when it did.
    pub error: Option<ErrorDetail>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When anything about it changed last.
    pub updated_at: Timestamp,
    /// When the pipeline began.
    pub processing_started_at: Option<Timestamp>,
    /// When the pipeline ended.
    pub processing_completed_at: Option<Timestamp>,
}

/// One phase of a pipeline and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseProgress {
    /// The phase.
    pub phase: PhaseName,
    /// Where it stands.
    pub status: PipelineExecutionStatus,
    /// Its essays in numbers.
    pub essay_counts: EssayCounts,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Why it failed, when it did.
    pub error_info: Option<ErrorDetail>,
}

/// The essays of a phase in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssayCounts {
    /// All that entered the phase.
    #[serde(default)]
    pub total: u32,
    /// Those still on their way.
    #[serde(default)]
    pub pending_dispatch_or_processing: u32,
    /// Those that succeeded.
    #[serde(default)]
    pub successful: u32,
    /// Those that failed.
    #[serde(default)]
    pub failed: u32,
}

impl EssayCounts {
    /// How much of the phase is done.
    pub fn progress(&self) -> Percentage {
        Percentage::of(self.successful.saturating_add(self.failed), self.total)
    }
}

/// Answer to GET `/v1/batches` inside the platform: the batches of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchListResponse {
    /// The batches, the newest first.
    pub batches: Vec<BatchStatusResponse>,
    /// Which part of the list this is.
    pub pagination: Pagination,
}

/// Answer to GET `/internal/v1/batches/{id}/pipeline-state`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineStateResponse {
    /// The batch.
    pub batch_id: BatchId,
    /// The state of its pipeline.
    pub pipeline_state: ProcessingPipelineState,
    /// Its owner.
    pub user_id: UserId,
}

/// The state of a pipeline, phase by phase; a phase that is not asked for is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessingPipelineState {
    /// The batch.
    pub batch_id: BatchId,
    /// What was asked for.
    pub requested_pipelines: Vec<String>,
    /// Spell-checking.
    pub spellcheck: Option<PipelineStateDetail>,
    /// Analysis of the language.
    pub nlp: Option<PipelineStateDetail>,
    /// Feedback by an AI.
    pub ai_feedback: Option<PipelineStateDetail>,
    /// Ranking by comparative judgement.
    pub cj_assessment: Option<PipelineStateDetail>,
    /// When anything changed last.
    pub last_updated: Timestamp,
}

impl ProcessingPipelineState {
    /// A state without any phase.
    pub fn empty(batch_id: BatchId, last_updated: Timestamp) -> Self {
        Self {
            batch_id,
            requested_pipelines: Vec::new(),
            spellcheck: None,
            nlp: None,
            ai_feedback: None,
            cj_assessment: None,
            last_updated,
        }
    }

    /// The state of one phase; student matching has none here.
    pub fn phase(&self, phase: PhaseName) -> Option<&PipelineStateDetail> {
        match phase {
            PhaseName::Spellcheck => self.spellcheck.as_ref(),
            PhaseName::Nlp => self.nlp.as_ref(),
            PhaseName::AiFeedback => self.ai_feedback.as_ref(),
            PhaseName::CjAssessment => self.cj_assessment.as_ref(),
            PhaseName::StudentMatching => None,
        }
    }

    /// The place of the state of one phase, to set it; student matching has none.
    pub fn phase_mut(&mut self, phase: PhaseName) -> Option<&mut Option<PipelineStateDetail>> {
        match phase {
            PhaseName::Spellcheck => Some(&mut self.spellcheck),
            PhaseName::Nlp => Some(&mut self.nlp),
            PhaseName::AiFeedback => Some(&mut self.ai_feedback),
            PhaseName::CjAssessment => Some(&mut self.cj_assessment),
            PhaseName::StudentMatching => None,
        }
    }

    /// Whether any phase is being worked on, so that files must not change.
    pub fn is_running(&self) -> bool {
        PhaseName::ALL
            .iter()
            .filter_map(|phase| self.phase(*phase))
            .any(|detail| detail.status.is_running())
    }
}

/// The state of one phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineStateDetail {
    /// Where it stands.
    pub status: PipelineExecutionStatus,
    /// Its essays in numbers.
    #[serde(default)]
    pub essay_counts: EssayCounts,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Why it failed, when it did.
    pub error_info: Option<ErrorDetail>,
    /// How much of it is done.
    pub progress_percentage: Option<Percentage>,
}

impl PipelineStateDetail {
    /// A phase in this state, with nothing else known.
    pub fn new(status: PipelineExecutionStatus) -> Self {
        Self {
            status,
            essay_counts: EssayCounts::default(),
            started_at: None,
            completed_at: None,
            error_info: None,
            progress_percentage: None,
        }
    }
}

/// Answer to POST `/internal/v1/batches/{id}/pipelines/{phase}/preflight`.
///
/// A refusal is an answer with an error status (402, 429, 404, 409) and the common error body;
/// `allowed` is false when only the credits are short and the caller wants to know by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightResponse {
    /// Whether the pipeline may run.
    pub allowed: bool,
    /// The batch.
    pub batch_id: BatchId,
    /// The pipeline.
    pub requested_pipeline: PipelineName,
    /// Why it may not run.
    pub denial_reason: Option<crate::events::pipeline::DenialReason>,
    /// Credits it takes.
    pub required_credits: u64,
    /// Credits there are; absent when nobody counts them.
    pub available_credits: Option<u64>,
    /// The request's correlation id.
    pub correlation_id: CorrelationId,
}

/// Body of PATCH `/v1/batches/{id}/prompt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPromptRequest {
    /// The stored assignment, under `student_prompt_text`.
    pub student_prompt_ref: StorageReferences,
}

/// Answer to PATCH `/v1/batches/{id}/prompt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPromptResponse {
    /// What happened: `success`.
    pub status: String,
    /// The batch.
    pub batch_id: BatchId,
    /// The assignment it has now.
    pub student_prompt_ref: StorageReferences,
}

/// Body of POST `/v1/batches/{id}/retry-phase`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPhaseRequest {
    /// The phase that is to run again.
    pub phase_name: PhaseName,
    /// Who asks; must be the caller that the gateway vouches for.
    pub user_id: UserId,
    /// Why.
    pub retry_reason: Option<crate::events::pipeline::RetryReason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(essay_ids: &str) -> Result<RegisterBatchRequest, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"expected_essay_count":2,"essay_ids":{essay_ids},"course_code":"ENG5","user_id":"u"}}"#
        ))
    }

    #[test]
    fn named_slots_must_be_as_many_as_files_and_different() {
        assert!(read("null").is_ok());
        assert!(read(r#"["a","b"]"#).is_ok());
        for bad in [r#"["a"]"#, "[]", r#"["a","a"]"#, r#"["a","b","c"]"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_batch_without_files_cannot_be_registered() {
        let text = r#"{"expected_essay_count":0,"course_code":"ENG5","user_id":"u"}"#;
        assert!(serde_json::from_str::<RegisterBatchRequest>(text).is_err());
    }

    #[test]
    fn a_pipeline_runs_while_one_phase_is_worked_on() {
        let mut state = ProcessingPipelineState::empty(BatchId::random(), Timestamp::UNIX_EPOCH);
        assert!(!state.is_running());
        let set = |state: &mut ProcessingPipelineState, status| {
            *state.phase_mut(PhaseName::CjAssessment).unwrap() =
                Some(PipelineStateDetail::new(status));
        };
        set(&mut state, PipelineExecutionStatus::DispatchInitiated);
        assert!(state.is_running());
        set(&mut state, PipelineExecutionStatus::Failed);
        assert!(!state.is_running());
    }

    #[test]
    fn progress_counts_failures_as_done() {
        let counts = EssayCounts {
            total: 4,
            pending_dispatch_or_processing: 1,
            successful: 2,
            failed: 1,
        };
        assert!((counts.progress().get() - 75.0).abs() < 1e-12);
    }
}
