//! What Essay Lifecycle says about slots and phases.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventName, event};
use crate::ids::{BatchId, CorrelationId, EssayId, FileUploadId, StorageId};
use crate::metadata::EssayProcessingInputRefV1;
use crate::status::{PhaseName, PhaseStatus};

/// A file got its slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssaySlotAssignedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The slot.
    pub essay_id: EssayId,
    /// The upload that fills it.
    pub file_upload_id: FileUploadId,
    /// The stored plain text.
    pub text_storage_id: StorageId,
    /// The file's name as the client gave it.
    pub original_file_name: String,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When the slot was taken.
    pub timestamp: Timestamp,
}
event!(
    EssaySlotAssignedV1,
    EssaySlotAssigned,
    "essay.slot.assigned",
    |it| it.batch_id.to_string()
);

/// A phase is over for a batch: every essay that entered it has come out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ELSBatchPhaseOutcomeV1 {
    /// The batch.
    pub batch_id: BatchId,
    /// The phase.
    pub phase_name: PhaseName,
    /// How it ended.
    pub phase_status: PhaseStatus,
    /// The essays that succeeded, with the texts that the next phase works on.
    pub processed_essays: Vec<EssayProcessingInputRefV1>,
    /// The essays that failed.
    pub failed_essay_ids: Vec<EssayId>,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
}
event!(
    ELSBatchPhaseOutcomeV1,
    ElsBatchPhaseOutcome,
    "els.batch.phase.outcome",
    |it| it.batch_id.to_string()
);
