//! The record of a batch and what it looks like from outside.

use std::collections::BTreeMap;

use huleedu_contracts::{
    api::orchestrator::{
        BatchStatusResponse, EssayCounts, PhaseProgress, PipelineStateDetail,
        ProcessingPipelineState, RegisterBatchRequest,
    },
    domain::ContentType,
    error::{ErrorCode, ErrorDetail},
    events::pipeline::PipelinePromptPayload,
    ids::BatchId,
    status::{PhaseName, PipelineExecutionStatus},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    SERVICE,
    machine::{BatchState, Facts, Finish, Phase, PhaseRecord, PipelineRequest, Reason},
};

/// A batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    /// As it was registered, without the names of the slots; they have a table of their own.
    pub(crate) registration: RegisterBatchRequest,
    pub(crate) state: BatchState,
    /// How many slots are filled, once that is known.
    pub(crate) provisioned: Option<u32>,
    pub(crate) failed_files: FailedFiles,
    /// Grows by one with every change.
    pub(crate) version: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// Files that could not be taken in, as reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedFiles {
    /// How many.
    pub(crate) total: u32,
    /// How many for which reason.
    pub(crate) kinds: BTreeMap<String, u32>,
}

impl Batch {
    /// Files that were expected.
    pub(crate) fn expected(&self) -> u32 {
        self.registration.expected_essay_count.get()
    }

    /// What the rules need to know. Failed files are known from two events that come in any order;
    /// the greater number is the later knowledge.
    pub(crate) fn facts(&self, now: Timestamp) -> Facts {
        let missing = self
            .provisioned
            .map_or(0, |some| self.expected().saturating_sub(some));
        Facts {
            expected: self.expected(),
            failed_files: self.failed_files.total.max(missing),
            now,
        }
    }

    /// Takes over where the assignment comes from, when the request says so.
    pub(crate) fn adopt_prompt(&mut self, request: &PipelineRequest) {
        match &request.asked.prompt_payload {
            Some(PipelinePromptPayload::Assignment(id)) => {
                self.registration.assignment_id = Some(id.clone());
            }
            Some(PipelinePromptPayload::Stored(stored)) => {
                self.registration.student_prompt_ref = Some(stored.clone());
            }
            None => {}
        }
    }

    /// Whether the assignment as the students got it is stored.
    pub(crate) fn has_prompt(&self) -> bool {
        let prompt = self.registration.student_prompt_ref.as_ref();
        prompt.is_some_and(|prompt| prompt.storage_id(ContentType::StudentPromptText).is_some())
    }

    /// The phases of its pipeline, in order; none before it is resolved.
    pub(crate) fn phases(&self) -> Vec<PhaseProgress> {
        match &self.state {
            BatchState::AwaitingContent { .. }
            | BatchState::ContentFailed { .. }
            | BatchState::Ready { .. } => vec![],
            BatchState::Running(run) => {
                let current = PhaseProgress {
                    phase: run.current.phase.name(),
                    status: PipelineExecutionStatus::DispatchInitiated,
                    essay_counts: EssayCounts {
                        total: run.current.total,
                        pending_dispatch_or_processing: run.current.total,
                        ..EssayCounts::default()
                    },
                    started_at: Some(run.current.started_at),
                    completed_at: None,
                    error_info: None,
                };
                let later = run
                    .later
                    .iter()
                    .map(|phase| not_begun(*phase, PipelineExecutionStatus::PendingDependencies));
                let done = run
                    .done
                    .iter()
                    .map(|record| self.over(record, &run.request));
                done.chain([current]).chain(later).collect()
            }
            BatchState::Finished(end) => {
                let skipped = PipelineExecutionStatus::SkippedDueToDependencyFailure;
                let skipped = end.skipped.iter().map(|phase| not_begun(*phase, skipped));
                let done = end
                    .done
                    .iter()
                    .map(|record| self.over(record, &end.request));
                done.chain(skipped).collect()
            }
        }
    }

    /// The batch as `GET /v1/batches/{id}/status` shows it.
    pub(crate) fn view(&self) -> BatchStatusResponse {
        let registration = &self.registration;
        let (started, completed) = match &self.state {
            BatchState::Running(run) => (Some(run.started_at), None),
            BatchState::Finished(end) => (Some(end.started_at), Some(end.ended_at)),
            _ => (None, None),
        };
        BatchStatusResponse {
            batch_id: self.id.clone(),
            user_id: registration.user_id.clone(),
            status: self.state.status(),
            requested_pipeline: self
                .state
                .request()
                .map(|request| request.pipeline().clone()),
            current_phase: match &self.state {
                BatchState::Running(run) => Some(run.current.phase.name()),
                _ => None,
            },
            phases: self.phases(),
            expected_essay_count: registration.expected_essay_count,
            course_code: registration.course_code,
            class_id: registration.class_id.clone(),
            assignment_id: registration.assignment_id.clone(),
            student_prompt_ref: registration.student_prompt_ref.clone(),
            error: self.error(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            processing_started_at: started,
            processing_completed_at: completed,
        }
    }

    /// The state of its pipeline, phase by phase.
    pub(crate) fn pipeline_state(&self) -> ProcessingPipelineState {
        let mut state = ProcessingPipelineState::empty(self.id.clone(), self.updated_at);
        let request = self.state.request();
        state.requested_pipelines = request
            .iter()
            .map(|request| request.pipeline().to_string())
            .collect();
        for progress in self.phases() {
            if let Some(place) = state.phase_mut(progress.phase) {
                *place = Some(PipelineStateDetail {
                    status: progress.status,
                    progress_percentage: Some(progress.essay_counts.progress()),
                    essay_counts: progress.essay_counts,
                    started_at: progress.started_at,
                    completed_at: progress.completed_at,
                    error_info: progress.error_info,
                });
            }
        }
        state
    }

    /// Why the batch failed, when it did.
    fn error(&self) -> Option<ErrorDetail> {
        match &self.state {
            BatchState::ContentFailed { requested } => {
                let message = "none of the files could be taken in";
                let request = requested.as_ref();
                let error = self.failure(ErrorCode::ValidationError, message, request);
                let kinds = &self.failed_files.kinds;
                let kinds = kinds
                    .iter()
                    .map(|(kind, count)| (kind.clone(), (*count).into()));
                let kinds: serde_json::Map<_, _> = kinds.collect();
                Some(error.with_detail("failed_files", kinds))
            }
            BatchState::Finished(Finish {
                reason: Some(reason),
                request,
                ..
            }) => {
                let (code, message) = match reason {
                    Reason::Refused(words) => (ErrorCode::InvalidRequest, words.clone()),
                    Reason::PhaseFailed(phase) => (code(*phase), failed(*phase)),
                };
                Some(self.failure(code, message, Some(request)))
            }
            _ => None,
        }
    }

    fn over(&self, record: &PhaseRecord, request: &PipelineRequest) -> PhaseProgress {
        let phase = record.phase;
        let failure = (!record.status.has_survivors())
            .then(|| self.failure(code(phase), failed(phase), Some(request)));
        PhaseProgress {
            phase: phase.name(),
            status: record.status.into(),
            essay_counts: EssayCounts {
                total: record.successful + record.failed,
                pending_dispatch_or_processing: 0,
                successful: record.successful,
                failed: record.failed,
            },
            started_at: Some(record.started_at),
            completed_at: Some(record.ended_at),
            error_info: failure,
        }
    }

    fn failure(
        &self,
        code: ErrorCode,
        message: impl Into<String>,
        request: Option<&PipelineRequest>,
    ) -> ErrorDetail {
        let correlation = request.map_or_else(
            || huleedu_kit::CallContext::current().correlation_id,
            |request| request.asked.client_correlation_id,
        );
        let at = self.updated_at;
        ErrorDetail::new(
            code,
            message,
            correlation,
            at,
            SERVICE.name(),
            "run_pipeline",
        )
    }
}

/// A phase whose status differs between two states of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PhaseChange {
    pub(crate) phase: PhaseName,
    pub(crate) from: Option<PipelineExecutionStatus>,
    pub(crate) to: PipelineExecutionStatus,
    pub(crate) counts: EssayCounts,
}

/// The phases whose status differs, so that no change can be forgotten in the log.
pub(crate) fn phase_changes(before: &[PhaseProgress], after: &[PhaseProgress]) -> Vec<PhaseChange> {
    let old = |phase| before.iter().find(|p| p.phase == phase).map(|p| p.status);
    after
        .iter()
        .map(|p| PhaseChange {
            phase: p.phase,
            from: old(p.phase),
            to: p.status,
            counts: p.essay_counts,
        })
        .filter(|change| change.from != Some(change.to))
        .collect()
}

fn not_begun(phase: Phase, status: PipelineExecutionStatus) -> PhaseProgress {
    PhaseProgress {
        phase: phase.name(),
        status,
        essay_counts: EssayCounts::default(),
        started_at: None,
        completed_at: None,
        error_info: None,
    }
}

fn failed(phase: Phase) -> String {
    format!("{phase} failed for every essay")
}

fn code(phase: Phase) -> ErrorCode {
    match phase {
        Phase::Spellcheck => ErrorCode::SpellcheckServiceError,
        Phase::CjAssessment => ErrorCode::CjAssessmentServiceError,
    }
}
