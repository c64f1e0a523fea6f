//! Uploaded files that fill no slot: those that cannot be assessed and those that are too many.

use huleedu_contracts::{
    error::{ErrorCode, ErrorDetail},
    events::file::{EssayContentProvisionedV1, EssayValidationFailedV1},
    ids::{BatchId, EssayId, FileUploadId},
};
use huleedu_kit::store::{StoreError, Tx};
use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _};

use super::{json_opt, parsed, parsed_opt, time};

/// A file that cannot be assessed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileFailure {
    pub(crate) file_upload_id: FileUploadId,
    pub(crate) file_name: String,
    /// The slot it used up; none when there was no slot left.
    pub(crate) essay_id: Option<EssayId>,
    pub(crate) code: ErrorCode,
    pub(crate) detail: ErrorDetail,
    pub(crate) failed_at: Timestamp,
}

/// Whether this upload has been settled before, in whichever way.
pub(crate) async fn is_settled(
    tx: &mut Tx,
    batch_id: &BatchId,
    upload: &FileUploadId,
) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT 1 FROM essay_states WHERE batch_id = $1 AND file_upload_id = $2 \
         UNION ALL SELECT 1 FROM file_failures WHERE batch_id = $1 AND file_upload_id = $2 \
         UNION ALL SELECT 1 FROM excess_content WHERE batch_id = $1 AND file_upload_id = $2",
    )
    .bind(batch_id.as_str())
    .bind(upload.as_str())
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.is_some())
}

pub(crate) async fn insert_failure(
    tx: &mut Tx,
    file: &EssayValidationFailedV1,
    essay_id: Option<&EssayId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO file_failures (batch_id, file_upload_id, file_name, essay_id, error_code, \
         error, failed_at, noted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(file.entity_id.as_str())
    .bind(file.file_upload_id.as_str())
    .bind(file.original_file_name.as_str())
    .bind(essay_id.map(|id| id.as_str().to_owned()))
    .bind(file.validation_error_code.as_str())
    .bind(serde_json::to_string(&file.validation_error_detail)?)
    .bind(file.timestamp.as_millisecond())
    .bind(now.as_millisecond())
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn insert_excess(
    tx: &mut Tx,
    content: &EssayContentProvisionedV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO excess_content (batch_id, file_upload_id, file_name, text_storage_id, noted_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(content.entity_id.as_str())
    .bind(content.file_upload_id.as_str())
    .bind(content.original_file_name.as_str())
    .bind(content.text_storage_id.as_str())
    .bind(now.as_millisecond())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The files of a batch that cannot be assessed, in the order in which they were noted.
pub(crate) async fn failures(
    conn: &mut AnyConnection,
    batch_id: &BatchId,
) -> Result<Vec<FileFailure>, StoreError> {
    let rows = sqlx::query(
        "SELECT file_upload_id, file_name, essay_id, error_code, error, failed_at \
         FROM file_failures WHERE batch_id = $1 ORDER BY noted_at, file_upload_id",
    )
    .bind(batch_id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(FileFailure {
                file_upload_id: parsed(row, "file_upload_id")?,
                file_name: row.try_get("file_name")?,
                essay_id: parsed_opt(row, "essay_id")?,
                code: parsed(row, "error_code")?,
                detail: json_opt(row, "error")?
                    .ok_or_else(|| StoreError::Corrupt("file_failures.error".to_owned()))?,
                failed_at: time(row, "failed_at")?,
            })
        })
        .collect()
}
