//! File Service: what uploading answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::ids::{BatchId, CorrelationId, FileUploadId};
use crate::macros::{read_strictly, wire_enum};

/// Names of the fields of an upload (multipart form data).
pub mod fields {
    /// The batch.
    pub const BATCH_ID: &str = "batch_id";
    /// One file; as often as there are files.
    pub const FILES: &str = "files";
    /// The assignment.
    pub const ASSIGNMENT_ID: &str = "assignment_id";
}

/// Answer to POST `/v1/files/batch` and POST `/v1/files/batch/{id}/files` (202): every named file
/// is stored durably and will be handled, even over a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadResponse {
    /// What happened, for a reader.
    pub message: String,
    /// The batch.
    pub batch_id: BatchId,
    /// The request's correlation id.
    pub correlation_id: CorrelationId,
    /// The files that were taken in.
    #[serde(default)]
    pub files: Vec<AcceptedFile>,
}

/// One file that was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedFile {
    /// The upload.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub filename: String,
}

/// Answer to GET `/v1/files/batch/{id}/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFilesState {
    /// The batch.
    pub batch_id: BatchId,
    /// Whether files may still change.
    pub lock_status: LockStatus,
    /// The files of the batch.
    #[serde(default)]
    pub files: Vec<FileState>,
}

/// Whether the files of a batch may still change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// Whether they may not.
    pub is_locked: bool,
    /// Why not.
    pub reason: Option<String>,
}

wire_enum! {
    /// Where one upload stands.
    pub enum FileProcessingStatus {
        /// Stored, not yet handled.
        Received = "received",
        /// Being handled.
        Processing = "processing",
        /// Its text is stored.
        Provisioned = "provisioned",
        /// It cannot be assessed.
        Failed = "failed",
        /// It was withdrawn.
        Removed = "removed",
    }
}
read_strictly!(FileProcessingStatus);

/// One upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// The upload.
    pub file_upload_id: FileUploadId,
    /// The file's name as the client gave it.
    pub filename: String,
    /// Its size in bytes.
    pub file_size_bytes: u64,
    /// Where it stands.
    pub status: FileProcessingStatus,
    /// Why it cannot be assessed.
    pub error_code: Option<ErrorCode>,
    /// The same for a reader.
    pub error_message: Option<String>,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// When anything changed last.
    pub updated_at: Timestamp,
}
