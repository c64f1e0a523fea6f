//! What the File Service says about uploaded files.
//!
//! All are keyed by the batch, so that its files settle in the order in which they were handled.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventName, event};
use crate::error::{ErrorCode, ErrorDetail};
use crate::ids::{BatchId, CorrelationId, FileUploadId, StorageId, UserId};

/// The text of a file is stored and can fill a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EssayContentProvisionedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// The upload; by it a slot is filled once and only once.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub original_file_name: String,
    /// The stored bytes of the file.
    pub raw_file_storage_id: StorageId,
    /// The stored plain text.
    pub text_storage_id: StorageId,
    /// The size of the file in bytes.
    pub file_size_bytes: u64,
    /// The MD5 of the plain text, for older readers.
    pub content_md5_hash: Option<String>,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When the text was stored.
    pub timestamp: Timestamp,
}
event!(
    EssayContentProvisionedV1,
    EssayContentProvisioned,
    "essay.content.provisioned",
    |it| it.entity_id.to_string()
);

/// A file cannot be assessed; its slot fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EssayValidationFailedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub entity_id: BatchId,
    /// The upload; by it a slot fails once and only once.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub original_file_name: String,
    /// The stored bytes of the file; none, on the wire `STORAGE_FAILED`, when they are not stored.
    #[serde(with = "stored_or_not")]
    pub raw_file_storage_id: Option<StorageId>,
    /// Why the file cannot be assessed.
    pub validation_error_code: ErrorCode,
    /// The same in detail.
    pub validation_error_detail: ErrorDetail,
    /// The size of the file in bytes.
    pub file_size_bytes: u64,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When the file was refused.
    pub timestamp: Timestamp,
}
event!(
    EssayValidationFailedV1,
    EssayValidationFailed,
    "essay.validation.failed",
    |it| it.entity_id.to_string()
);

/// A file was taken in for a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFileAddedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The upload.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub filename: String,
    /// Who uploaded it.
    pub user_id: UserId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When it was taken in.
    pub timestamp: Timestamp,
}
event!(BatchFileAddedV1, BatchFileAdded, "batch.file.added", |it| {
    it.batch_id.to_string()
});

/// A file was withdrawn from a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFileRemovedV1 {
    /// The event's name.
    #[serde(default)]
    pub event: EventName<Self>,
    /// The batch.
    pub batch_id: BatchId,
    /// The upload.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub filename: String,
    /// Who withdrew it.
    pub user_id: UserId,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// When it was withdrawn.
    pub timestamp: Timestamp,
}
event!(
    BatchFileRemovedV1,
    BatchFileRemoved,
    "batch.file.removed",
    |it| it.batch_id.to_string()
);

/// The field is a plain string on the wire, and one fixed word stands for "not stored".
mod stored_or_not {
    use std::borrow::Cow;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::ids::StorageId;

    const NOT_STORED: &str = "STORAGE_FAILED";

    #[expect(
        clippy::ref_option,
        reason = "serde calls it with a reference to the field"
    )]
    pub(super) fn serialize<S: Serializer>(
        id: &Option<StorageId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_ref().map_or(NOT_STORED, StorageId::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<StorageId>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        if text == NOT_STORED {
            return Ok(None);
        }
        StorageId::new(text).map(Some).map_err(D::Error::custom)
    }
}
