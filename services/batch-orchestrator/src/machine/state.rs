//! The states of a batch, each with the data that exists in it.

use huleedu_contracts::{
    events::pipeline::ClientBatchPipelineRequestV1,
    ids::PipelineName,
    status::{BatchStatus, PhaseStatus},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Phase;

/// Where a batch stands. Stored as JSON, so variants and fields may be added but not renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum BatchState {
    /// Files are awaited.
    AwaitingContent {
        /// A pipeline that was asked for too early and is started when the files are in.
        requested: Option<PipelineRequest>,
    },
    /// No file could be taken in. Final.
    ContentFailed {
        /// A pipeline that was asked for and has been told so.
        requested: Option<PipelineRequest>,
    },
    /// A pipeline may be started.
    Ready {
        /// The one that is about to be.
        requested: Option<PipelineRequest>,
    },
    /// A pipeline runs.
    Running(Run),
    /// The pipeline is over. Final.
    Finished(Finish),
}

/// A pipeline as it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineRequest {
    /// The request.
    pub asked: ClientBatchPipelineRequestV1,
    /// When it was read first.
    pub asked_at: Timestamp,
}

/// A pipeline under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was asked for.
    pub request: PipelineRequest,
    /// When its first phase was commanded.
    pub started_at: Timestamp,
    /// Phases that are over, in order.
    pub done: Vec<PhaseRecord>,
    /// The phase that was commanded last.
    pub current: CurrentPhase,
    /// Phases that follow, in order.
    pub later: Vec<Phase>,
}

/// The phase that is being worked on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurrentPhase {
    /// The phase.
    pub phase: Phase,
    /// Essays that entered it.
    pub total: u32,
    /// When it was commanded.
    pub started_at: Timestamp,
}

/// A phase that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// The phase.
    pub phase: Phase,
    /// How it ended.
    pub status: PhaseStatus,
    /// Essays that went on.
    pub successful: u32,
    /// Essays that did not.
    pub failed: u32,
    /// When it was commanded.
    pub started_at: Timestamp,
    /// When its outcome came.
    pub ended_at: Timestamp,
}

/// A pipeline that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// What was asked for.
    pub request: PipelineRequest,
    /// When its first phase was commanded, or would have been.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Phases that ran, in order.
    pub done: Vec<PhaseRecord>,
    /// Phases that were not begun because one before them failed.
    pub skipped: Vec<Phase>,
    /// How it ended.
    pub status: PhaseStatus,
    /// Why it failed, when it did.
    pub reason: Option<Reason>,
}

/// Why a pipeline failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The conductor refused it, in these words.
    Refused(String),
    /// This phase failed for every essay.
    PhaseFailed(Phase),
}

impl BatchState {
    /// The state of a batch that was just registered.
    pub const fn registered() -> Self {
        Self::AwaitingContent { requested: None }
    }

    /// The state by its name on the wire.
    pub fn status(&self) -> BatchStatus {
        match self {
            Self::AwaitingContent { .. } => BatchStatus::AwaitingContentValidation,
            Self::ContentFailed { .. } => BatchStatus::ContentIngestionFailed,
            Self::Ready { .. } => BatchStatus::ReadyForPipelineExecution,
            Self::Running(_) => BatchStatus::ProcessingPipelines,
            Self::Finished(end) => end.status.into(),
        }
    }

    /// The pipeline that was asked for.
    pub fn request(&self) -> Option<&PipelineRequest> {
        match self {
            Self::AwaitingContent { requested }
            | Self::ContentFailed { requested }
            | Self::Ready { requested } => requested.as_ref(),
            Self::Running(run) => Some(&run.request),
            Self::Finished(end) => Some(&end.request),
        }
    }
}

impl PipelineRequest {
    /// The pipeline's name.
    pub fn pipeline(&self) -> &PipelineName {
        &self.asked.requested_pipeline
    }

    /// Whether both are the same wish of the same client, read at different times.
    pub fn is_same(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}
