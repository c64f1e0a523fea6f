//! Spell-checking one essay: the request, the thin answer and the rich one.
//!
//! Keyed by the essay: each one is a piece of work of its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventName, event};
use crate::error::ErrorCode;
use crate::ids::{BatchId, CorrelationId, EssayId, LanguageTag, StorageId, UserId};
use crate::metadata::{SpellcheckMetricsV1, SystemProcessingMetadata};
use crate::status::{EssayStatus, ProcessingStatus};

/// One essay is to be spell-checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayLifecycleSpellcheckRequestV1 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The essay.
    pub entity_id: EssayId,
    /// What the id names: [`ENTITY_ESSAY`](crate::metadata::ENTITY_ESSAY).
    pub entity_type: Option<String>,
    /// The batch.
    pub parent_id: BatchId,
    /// When it was asked for.
    pub timestamp: Timestamp,
    /// The essay's new state.
    pub status: EssayStatus,
    /// Processing metadata of the essay.
    pub system_metadata: SystemProcessingMetadata,
    /// The text to check.
    pub text_storage_id: StorageId,
    /// Its language.
    pub language: LanguageTag,
}
event!(
    EssayLifecycleSpellcheckRequestV1,
    EssaySpellcheckRequested,
    "essay.spellcheck.requested",
    |it| it.entity_id.to_string()
);

/// One essay is spell-checked or has failed: what states need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpellcheckPhaseCompletedV1 {
    /// The essay.
    pub entity_id: EssayId,
    /// The batch.
    pub batch_id: BatchId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// [`Completed`](ProcessingStatus::Completed) or [`Failed`](ProcessingStatus::Failed).
    pub status: ProcessingStatus,
    /// The corrected text, on success.
    pub corrected_text_storage_id: Option<StorageId>,
    /// Why it failed, on failure.
    pub error_code: Option<ErrorCode>,
    /// How long it took, in milliseconds.
    pub processing_duration_ms: u64,
    /// When it was done.
    pub timestamp: Timestamp,
}
event!(
    SpellcheckPhaseCompletedV1,
    SpellcheckPhaseCompleted,
    "spellcheck.phase.completed",
    |it| it.entity_id.to_string()
);

/// One essay is spell-checked or has failed: all that is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpellcheckResultV1 {
    /// The event's name.
    pub event_name: EventName<Self>,
    /// The essay.
    pub entity_id: EssayId,
    /// What the id names: [`ENTITY_ESSAY`](crate::metadata::ENTITY_ESSAY).
    pub entity_type: Option<String>,
    /// The batch, once more.
    pub parent_id: Option<BatchId>,
    /// When it was done.
    pub timestamp: Timestamp,
    /// The essay's new state.
    pub status: EssayStatus,
    /// Processing metadata of the essay, with the reason of a failure.
    pub system_metadata: SystemProcessingMetadata,
    /// The batch.
    pub batch_id: BatchId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// The owner of the batch, when known.
    pub user_id: Option<UserId>,
    /// All corrections.
    pub corrections_made: u32,
    /// The same in detail.
    pub correction_metrics: SpellcheckMetricsV1,
    /// The text that was checked.
    pub original_text_storage_id: StorageId,
    /// The corrected text, on success.
    pub corrected_text_storage_id: Option<StorageId>,
    /// How long it took, in milliseconds.
    pub processing_duration_ms: u64,
    /// Which spell checker, with its version.
    pub processor_version: String,
}
event!(
    SpellcheckResultV1,
    EssaySpellcheckResults,
    "spellcheck.results",
    |it| it.entity_id.to_string()
);
