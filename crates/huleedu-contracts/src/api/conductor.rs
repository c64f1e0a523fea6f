//! Batch Conductor: which phases a pipeline means for a batch.

use serde::{Deserialize, Serialize};

use crate::ids::{AssignmentId, BatchId, CorrelationId, PipelineName};
use crate::status::PhaseName;

/// Body of POST `/internal/v1/pipelines/define`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinePipelineRequest {
    /// The batch.
    pub batch_id: BatchId,
    /// The pipeline that was asked for.
    pub requested_pipeline: PipelineName,
    /// The request's correlation id.
    pub correlation_id: CorrelationId,
    /// What the pipeline may depend on.
    pub batch_metadata: Option<PipelineBatchMetadata>,
}

/// Facts about a batch that decide whether a pipeline suits it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineBatchMetadata {
    /// Whether the batch has an assignment text.
    #[serde(default)]
    pub prompt_attached: bool,
    /// Where that text comes from.
    pub prompt_source: Option<String>,
    /// The assignment.
    pub assignment_id: Option<AssignmentId>,
}

/// Answer to POST `/internal/v1/pipelines/define`.
///
/// An empty list is an answer like any other: everything was done before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinePipelineResponse {
    /// The batch.
    pub batch_id: BatchId,
    /// The phases that are to run, in order.
    pub final_pipeline: Vec<PhaseName>,
    /// How the list came about, for a reader.
    pub analysis_summary: Option<String>,
}

/// Body of POST `/internal/v1/phases/complete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseCompleteRequest {
    /// The batch.
    pub batch_id: BatchId,
    /// The phase.
    #[serde(alias = "phase_name")]
    pub completed_phase: PhaseName,
    /// Whether it succeeded; absent means yes.
    #[serde(default = "yes")]
    pub success: bool,
}

/// Answer to POST `/internal/v1/phases/complete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseCompleteResponse {
    /// The batch.
    pub batch_id: BatchId,
    /// The phase.
    pub completed_phase: PhaseName,
    /// Whether the record is new, not a repetition.
    pub recorded: bool,
}

fn yes() -> bool {
    true
}
