//! The life of a pipeline: asked for, refused, shortened, over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventName, event};
use crate::bounds::NonNegative;
use crate::ids::{AssignmentId, BatchId, CorrelationId, OrgId, PipelineName, StorageId, UserId};
use crate::macros::{read_strictly, text_type, wire_enum};
use crate::metadata::{StorageReferences, SystemProcessingMetadata};
use crate::status::{BatchStatus, PhaseName};

text_type! {
    /// Why somebody wants a pipeline to run again.
    pub struct RetryReason(max = 500);
}

/// A client asks for a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientBatchPipelineRequestV1 {
    /// The batch.
    pub batch_id: BatchId,
    /// The pipeline.
    pub requested_pipeline: PipelineName,
    /// The request it happened for.
    pub client_correlation_id: CorrelationId,
    /// Who asks; the gateway takes it from the identity token, never from the client's words.
    pub user_id: UserId,
    /// Whether the pipeline has run before.
    #[serde(default)]
    pub is_retry: bool,
    /// Why it is to run again.
    pub retry_reason: Option<RetryReason>,
    /// Where the assignment comes from, when the client says so.
    pub prompt_payload: Option<PipelinePromptPayload>,
}
event!(
    ClientBatchPipelineRequestV1,
    ClientBatchPipelineRequest,
    "client.batch.pipeline.request",
    |it| it.batch_id.to_string()
);

/// Where the assignment of a pipeline comes from: one of the two, never both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PromptFields", into = "PromptFields")]
pub enum PipelinePromptPayload {
    /// From the assignment's own record.
    Assignment(AssignmentId),
    /// From a stored text.
    Stored(StorageReferences),
}

#[derive(Serialize, Deserialize)]
struct PromptFields {
    assignment_id: Option<AssignmentId>,
    cms_prompt_ref: Option<StorageReferences>,
}

/// A prompt that names no source of the assignment, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a prompt names either assignment_id or cms_prompt_ref")]
pub struct AmbiguousPrompt;

impl TryFrom<PromptFields> for PipelinePromptPayload {
    type Error = AmbiguousPrompt;

    fn try_from(fields: PromptFields) -> Result<Self, Self::Error> {
        match (fields.assignment_id, fields.cms_prompt_ref) {
            (Some(assignment), None) => Ok(Self::Assignment(assignment)),
            (None, Some(stored)) => Ok(Self::Stored(stored)),
            _ => Err(AmbiguousPrompt),
        }
    }
}

impl From<PipelinePromptPayload> for PromptFields {
    fn from(prompt: PipelinePromptPayload) -> Self {
        match prompt {
            PipelinePromptPayload::Assignment(assignment) => Self {
                assignment_id: Some(assignment),
                cms_prompt_ref: None,
            },
            PipelinePromptPayload::Stored(stored) => Self {
                assignment_id: None,
                cms_prompt_ref: Some(stored),
            },
        }
    }
}

/// A pipeline has come to its end, well or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchPipelineCompletedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The phases that were completed, in order.
    pub completed_phases: Vec<PhaseName>,
    /// How it ended.
    pub final_status: BatchStatus,
    /// How long it took, in seconds.
    pub processing_duration_seconds: NonNegative,
    /// Essays that came out of the last phase.
    pub successful_essay_count: u32,
    /// Essays that did not.
    pub failed_essay_count: u32,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// Processing metadata of the batch.
    pub metadata: SystemProcessingMetadata,
}
event!(
    BatchPipelineCompletedV1,
    BatchPipelineCompleted,
    "batch.pipeline.completed",
    |it| it.batch_id.to_string()
);

/// A phase is left out because it was done before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseSkippedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The phase.
    pub phase_name: PhaseName,
    /// Why, usually `already_completed`.
    #[serde(default = "already_completed")]
    pub skip_reason: String,
    /// Where its result is stored.
    pub storage_id: Option<StorageId>,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// Processing metadata of the batch.
    pub metadata: SystemProcessingMetadata,
}
event!(
    PhaseSkippedV1,
    BatchPhaseSkipped,
    "batch.phase.skipped",
    |it| it.batch_id.to_string()
);

fn already_completed() -> String {
    String::from("already_completed")
}

wire_enum! {
    /// Why a pipeline was refused.
    pub enum DenialReason {
        /// The credits do not suffice.
        InsufficientCredits = "insufficient_credits",
        /// Too many requests.
        RateLimitExceeded = "rate_limit_exceeded",
    }
}
read_strictly!(DenialReason);

/// A pipeline was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineDeniedV1 {
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
    /// Who asked.
    pub user_id: UserId,
    /// Their organisation.
    pub org_id: Option<OrgId>,
    /// The pipeline.
    pub requested_pipeline: PipelineName,
    /// Why it was refused.
    pub denial_reason: DenialReason,
    /// Credits it would take.
    pub required_credits: u64,
    /// Credits there are.
    pub available_credits: u64,
    /// Credits by resource.
    pub resource_breakdown: Option<BTreeMap<String, u64>>,
    /// When it was refused.
    pub denied_at: Timestamp,
}
event!(PipelineDeniedV1, PipelineDenied, "pipeline.denied", |it| it
    .batch_id
    .to_string());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_has_one_source() {
        let read = |text: &str| serde_json::from_str::<PipelinePromptPayload>(text);
        assert!(read(r#"{"assignment_id":"a"}"#).is_ok());
        assert!(read(r#"{"cms_prompt_ref":{"references":{}}}"#).is_ok());
        assert!(read("{}").is_err());
        assert!(read(r#"{"assignment_id":"a","cms_prompt_ref":{"references":{}}}"#).is_err());
    }

    #[test]
    fn a_reason_to_retry_is_bounded() {
        assert!(RetryReason::new("x".repeat(500)).is_ok());
        assert!(RetryReason::new("x".repeat(501)).is_err());
    }
}
