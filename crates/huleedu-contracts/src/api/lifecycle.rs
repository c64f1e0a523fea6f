//! Essay Lifecycle: where an essay stands, and all essays of a batch.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::Percentage;
use crate::domain::ContentType;
use crate::error::{ErrorCode, ErrorDetail};
use crate::ids::{BatchId, EssayId, FileUploadId, StorageId};
use crate::metadata::SpellcheckMetricsV1;
use crate::status::EssayStatus;

/// Answer to GET `/v1/essays/{id}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssayStatusResponse {
    /// The essay.
    pub essay_id: EssayId,
    /// Where it stands.
    pub current_status: EssayStatus,
    /// Its batch.
    pub batch_id: Option<BatchId>,
    /// Steps by name, and whether they are done.
    pub processing_progress: BTreeMap<String, bool>,
    /// States by name, and when each was reached.
    pub timeline: BTreeMap<String, Timestamp>,
    /// Stored contents by what they are.
    pub storage_references: BTreeMap<ContentType, StorageId>,
    /// When the slot was made.
    pub created_at: Timestamp,
    /// When the state changed last.
    pub updated_at: Timestamp,
}

/// Answer to GET `/v1/essays/{id}/timeline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssayTimelineResponse {
    /// The essay.
    pub essay_id: EssayId,
    /// Its batch.
    pub batch_id: Option<BatchId>,
    /// Where it stands.
    pub current_status: EssayStatus,
    /// What happened, in order.
    pub entries: Vec<TimelineEntry>,
}

/// One step in the life of an essay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// The state that was reached.
    pub status: EssayStatus,
    /// When.
    pub at: Timestamp,
}

/// Answer to GET `/v1/batches/{id}/status`: all essays of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchEssaysResponse {
    /// The batch.
    pub batch_id: BatchId,
    /// How many slots it has.
    pub total_essays: u32,
    /// How many essays are in which state.
    pub status_breakdown: BTreeMap<EssayStatus, u32>,
    /// How much of the batch is done.
    pub completion_percentage: Percentage,
    /// The slots, in the order of the registration.
    #[serde(default)]
    pub essays: Vec<EssayView>,
    /// Files that cannot be assessed.
    #[serde(default)]
    pub failed_files: Vec<FailedFile>,
}

/// One slot of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayView {
    /// The slot.
    pub essay_id: EssayId,
    /// The file that fills it; none while it waits.
    pub filename: Option<String>,
    /// The upload that fills it; none while it waits.
    pub file_upload_id: Option<FileUploadId>,
    /// Where it stands.
    pub current_status: EssayStatus,
    /// The stored plain text.
    pub text_storage_id: Option<StorageId>,
    /// How many corrections spell-checking made, when it has run.
    pub corrections: Option<u32>,
    /// What else spell-checking found.
    pub spellcheck_metrics: Option<SpellcheckMetricsV1>,
    /// The corrected text.
    pub corrected_text_storage_id: Option<StorageId>,
    /// Why it failed, when it did.
    pub error: Option<ErrorDetail>,
    /// When the state changed last.
    pub updated_at: Timestamp,
}

/// One file that cannot be assessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedFile {
    /// The upload.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub filename: String,
    /// Why it cannot be assessed.
    pub error_code: ErrorCode,
    /// The same for a reader.
    pub message: String,
}
