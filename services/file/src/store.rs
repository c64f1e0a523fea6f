//! Uploads in the database.
//!
//! | status | meaning | left by |
//! |---|---|---|
//! | `staged` | part of a request that is being read | acceptance, or [`Uploads::discard`] |
//! | `received` | accepted; will be handled, whatever happens | the worker |
//! | `provisioned` | bytes and text are stored, the event is in the outbox | – |
//! | `failed` | cannot be assessed, the event is in the outbox | – |
//!
//! A status is left by one guarded update, so that a file is settled once however often it is
//! handled.

use huleedu_contracts::{
    api::file::{AcceptedFile, FileProcessingStatus, FileState},
    error::{ErrorCode, ErrorDetail},
    events::{
        EventName,
        file::{BatchFileAddedV1, EssayContentProvisionedV1, EssayValidationFailedV1},
    },
    ids::{BatchId, CorrelationId, FileUploadId, StorageId, UserId},
};
use huleedu_kit::{
    CallContext,
    store::{Store, StoreError, Tx, now_ms},
};
use jiff::Timestamp;
use sqlx::{Row as _, any::AnyRow};
use uuid::Uuid;

use crate::{SERVICE, upload::Received};

/// One upload request, by which its staged files are found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId(Uuid);

impl RequestId {
    /// A fresh one.
    pub(crate) fn random() -> Self {
        Self(Uuid::now_v7())
    }
}

/// A file as it was read from a request.
#[derive(Debug)]
pub(crate) struct StagedFile {
    pub(crate) filename: String,
    pub(crate) size: usize,
    /// `None` when the file is larger than a file may be.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// A received file that waits to be handled.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) id: FileUploadId,
    pub(crate) batch_id: BatchId,
    pub(crate) filename: String,
    pub(crate) size: u64,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) traceparent: String,
    pub(crate) attempts: u32,
}

/// Why a file fails for good.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) operation: &'static str,
    pub(crate) raw: Option<StorageId>,
}

/// Where the parts of a good file are.
#[derive(Debug)]
pub(crate) struct Provisioned {
    pub(crate) raw: StorageId,
    pub(crate) text: StorageId,
    pub(crate) text_md5: String,
}

/// The table of uploads.
#[derive(Clone, Debug)]
pub(crate) struct Uploads {
    store: Store,
}

impl Uploads {
    /// The uploads of this store.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Keeps a file of a request that is still being read.
    pub(crate) async fn stage(
        &self,
        request: RequestId,
        user: &UserId,
        file: &StagedFile,
    ) -> Result<(), StoreError> {
        let context = CallContext::current();
        let mut tx = self.store.begin().await?;
        sqlx::query(
            "INSERT INTO file_uploads (file_upload_id, request_id, status, user_id, filename, \
             file_size, raw_bytes, correlation_id, traceparent, created_at, updated_at) \
             VALUES ($1, $2, 'staged', $3, $4, $5, $6, $7, $8, $9, $9)",
        )
        .bind(FileUploadId::random().as_str().to_owned())
        .bind(request.0.to_string())
        .bind(user.as_str())
        .bind(file.filename.as_str())
        .bind(i64::try_from(file.size).unwrap_or(i64::MAX))
        .bind(file.bytes.as_deref())
        .bind(context.correlation_id.to_string())
        .bind(context.trace.to_string())
        .bind(now_ms())
        .execute(tx.conn())
        .await?;
        tx.commit().await
    }

    /// Takes in every staged file of a request at once. When this returns, none can be lost.
    ///
    /// Files over the limit fail here; they have no bytes to handle.
    pub(crate) async fn accept(
        &self,
        request: RequestId,
        user: &UserId,
        received: &Received,
        max_file_bytes: usize,
    ) -> Result<Vec<AcceptedFile>, StoreError> {
        let correlation_id = CallContext::current().correlation_id;
        let mut tx = self.store.begin().await?;
        sqlx::query(
            "UPDATE file_uploads SET status = 'received', batch_id = $1, assignment_id = $2, \
             updated_at = $3 WHERE request_id = $4 AND status = 'staged'",
        )
        .bind(received.batch_id.as_str())
        .bind(
            received
                .assignment_id
                .as_ref()
                .map(|id| id.as_str().to_owned()),
        )
        .bind(now_ms())
        .bind(request.0.to_string())
        .execute(tx.conn())
        .await?;
        let rows = sqlx::query(
            "SELECT file_upload_id, batch_id, filename, file_size, correlation_id, traceparent, \
             attempts, CASE WHEN raw_bytes IS NULL THEN 1 ELSE 0 END AS too_large \
             FROM file_uploads WHERE request_id = $1 ORDER BY position",
        )
        .bind(request.0.to_string())
        .fetch_all(tx.conn())
        .await?;
        let mut accepted = Vec::with_capacity(rows.len());
        for row in &rows {
            let upload = upload(row)?;
            tx.publish(BatchFileAddedV1 {
                event: EventName::new(),
                batch_id: upload.batch_id.clone(),
                file_upload_id: upload.id.clone(),
                filename: upload.filename.clone(),
                user_id: user.clone(),
                correlation_id,
                timestamp: Timestamp::now(),
            })
            .await?;
            if row.try_get::<i64, _>("too_large")? == 1 {
                let failure = Failure {
                    code: ErrorCode::PayloadTooLarge,
                    message: format!(
                        "the file has {} bytes, at most {max_file_bytes} are allowed",
                        upload.size
                    ),
                    operation: "receive",
                    raw: None,
                };
                fail_in(&mut tx, &upload, &failure).await?;
            }
            accepted.push(AcceptedFile {
                file_upload_id: upload.id,
                filename: upload.filename,
            });
        }
        tx.commit().await?;
        Ok(accepted)
    }

    /// Forgets the staged files of a request that was refused.
    pub(crate) async fn discard(&self, request: RequestId) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        sqlx::query("DELETE FROM file_uploads WHERE request_id = $1 AND status = 'staged'")
            .bind(request.0.to_string())
            .execute(tx.conn())
            .await?;
        tx.commit().await
    }

    /// Forgets staged files from before a time: their requests have ended without an answer.
    pub(crate) async fn discard_abandoned(&self, before_ms: i64) -> Result<u64, StoreError> {
        let mut tx = self.store.begin().await?;
        let done =
            sqlx::query("DELETE FROM file_uploads WHERE status = 'staged' AND created_at < $1")
                .bind(before_ms)
                .execute(tx.conn())
                .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    /// Received files that are due, in the order in which they came.
    pub(crate) async fn due(&self, limit: usize) -> Result<Vec<Upload>, StoreError> {
        let rows = sqlx::query(
            "SELECT file_upload_id, batch_id, filename, file_size, correlation_id, traceparent, \
             attempts FROM file_uploads WHERE status = 'received' AND next_try_at <= $1 \
             ORDER BY position LIMIT $2",
        )
        .bind(now_ms())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.store.pool())
        .await?;
        rows.iter().map(upload).collect()
    }

    /// When the next received file is due, in Unix milliseconds.
    pub(crate) async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query(
            "SELECT next_try_at FROM file_uploads WHERE status = 'received' \
             ORDER BY next_try_at LIMIT 1",
        )
        .fetch_optional(self.store.pool())
        .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Makes every received file due: what an earlier run waited for may have passed.
    pub(crate) async fn make_due(&self) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        sqlx::query("UPDATE file_uploads SET next_try_at = 0 WHERE status = 'received'")
            .execute(tx.conn())
            .await?;
        tx.commit().await
    }

    /// The bytes of a received file.
    pub(crate) async fn raw_bytes(&self, id: &FileUploadId) -> Result<Vec<u8>, StoreError> {
        let row = sqlx::query("SELECT raw_bytes FROM file_uploads WHERE file_upload_id = $1")
            .bind(id.as_str())
            .fetch_one(self.store.pool())
            .await?;
        Ok(row.try_get::<Option<Vec<u8>>, _>(0)?.unwrap_or_default())
    }

    /// Notes a passing failure: the file is due again at `next_try_at`.
    pub(crate) async fn postpone(
        &self,
        id: &FileUploadId,
        next_try_at: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        sqlx::query(
            "UPDATE file_uploads SET attempts = attempts + 1, next_try_at = $1, updated_at = $2 \
             WHERE file_upload_id = $3 AND status = 'received'",
        )
        .bind(next_try_at)
        .bind(now_ms())
        .bind(id.as_str())
        .execute(tx.conn())
        .await?;
        tx.commit().await
    }

    /// Settles a file as failed and tells so, in one transaction.
    pub(crate) async fn fail(&self, upload: &Upload, failure: &Failure) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        fail_in(&mut tx, upload, failure).await?;
        tx.commit().await
    }

    /// Settles a file as provisioned and tells so, in one transaction.
    pub(crate) async fn provision(
        &self,
        upload: &Upload,
        done: &Provisioned,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let settled = sqlx::query(
            "UPDATE file_uploads SET status = 'provisioned', raw_bytes = NULL, \
             raw_storage_id = $1, text_storage_id = $2, updated_at = $3 \
             WHERE file_upload_id = $4 AND status = 'received'",
        )
        .bind(done.raw.as_str())
        .bind(done.text.as_str())
        .bind(now_ms())
        .bind(upload.id.as_str())
        .execute(tx.conn())
        .await?;
        if settled.rows_affected() == 0 {
            return Ok(());
        }
        tx.publish(EssayContentProvisionedV1 {
            event: EventName::new(),
            entity_id: upload.batch_id.clone(),
            file_upload_id: upload.id.clone(),
            original_file_name: upload.filename.clone(),
            raw_file_storage_id: done.raw.clone(),
            text_storage_id: done.text.clone(),
            file_size_bytes: upload.size,
            content_md5_hash: Some(done.text_md5.clone()),
            correlation_id: upload.correlation_id,
            timestamp: Timestamp::now(),
        })
        .await?;
        tx.commit().await
    }

    /// Every file of a batch, in the order in which they came.
    pub(crate) async fn of_batch(&self, batch: &BatchId) -> Result<Vec<FileState>, StoreError> {
        let rows = sqlx::query(
            "SELECT file_upload_id, filename, file_size, status, error_code, error_message, \
             created_at, updated_at FROM file_uploads \
             WHERE batch_id = $1 AND status <> 'staged' ORDER BY position",
        )
        .bind(batch.as_str())
        .fetch_all(self.store.pool())
        .await?;
        rows.iter().map(file_state).collect()
    }
}

/// One guarded update and its event; a file that is settled already stays as it is.
async fn fail_in(tx: &mut Tx, upload: &Upload, failure: &Failure) -> Result<(), StoreError> {
    let settled = sqlx::query(
        "UPDATE file_uploads SET status = 'failed', raw_bytes = NULL, raw_storage_id = $1, \
         error_code = $2, error_message = $3, updated_at = $4 \
         WHERE file_upload_id = $5 AND status = 'received'",
    )
    .bind(failure.raw.as_ref().map(|id| id.as_str().to_owned()))
    .bind(failure.code.as_str())
    .bind(failure.message.as_str())
    .bind(now_ms())
    .bind(upload.id.as_str())
    .execute(tx.conn())
    .await?;
    if settled.rows_affected() == 0 {
        return Ok(());
    }
    let now = Timestamp::now();
    let detail = ErrorDetail::new(
        failure.code,
        failure.message.clone(),
        upload.correlation_id,
        now,
        SERVICE.name(),
        failure.operation,
    )
    .with_detail("file_name", upload.filename.clone());
    tx.publish(EssayValidationFailedV1 {
        event: EventName::new(),
        entity_id: upload.batch_id.clone(),
        file_upload_id: upload.id.clone(),
        original_file_name: upload.filename.clone(),
        raw_file_storage_id: failure.raw.clone(),
        validation_error_code: failure.code,
        validation_error_detail: detail,
        file_size_bytes: upload.size,
        correlation_id: upload.correlation_id,
        timestamp: now,
    })
    .await?;
    Ok(())
}

fn upload(row: &AnyRow) -> Result<Upload, StoreError> {
    Ok(Upload {
        id: read(row, "file_upload_id")?,
        batch_id: read(row, "batch_id")?,
        filename: row.try_get("filename")?,
        size: count(row, "file_size")?,
        correlation_id: read(row, "correlation_id")?,
        traceparent: row.try_get("traceparent")?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
    })
}

fn file_state(row: &AnyRow) -> Result<FileState, StoreError> {
    let code: Option<String> = row.try_get("error_code")?;
    let status: FileProcessingStatus = read(row, "status")?;
    Ok(FileState {
        file_upload_id: read(row, "file_upload_id")?,
        filename: row.try_get("filename")?,
        file_size_bytes: count(row, "file_size")?,
        status,
        error_code: code.map(|code| code.parse().unwrap_or(ErrorCode::UnknownError)),
        error_message: row.try_get("error_message")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn read<T: std::str::FromStr>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse()
        .map_err(|_| StoreError::Corrupt(format!("{column} of an upload")))
}

fn count(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(column)?)
        .map_err(|_| StoreError::Corrupt(format!("{column} of an upload")))
}

fn time(row: &AnyRow, column: &str) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(row.try_get::<i64, _>(column)?)
        .map_err(|_| StoreError::Corrupt(format!("{column} of an upload")))
}
