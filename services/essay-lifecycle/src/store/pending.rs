//! Files that came before the registration of their batch.

use std::time::Duration;

use huleedu_contracts::ids::{BatchId, FileUploadId};
use huleedu_kit::store::{StoreError, Tx};
use jiff::Timestamp;
use sqlx::Row as _;

/// Takes the row of an unregistered batch until the transaction ends, and answers how many files
/// wait for it.
///
/// Content and registration travel on different topics. Both take this row before they decide, so
/// one of them always sees what the other has committed.
pub(crate) async fn gate(
    tx: &mut Tx,
    batch_id: &BatchId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO pending_batches (batch_id, waiting, first_at) VALUES ($1, 0, $2) \
         ON CONFLICT (batch_id) DO UPDATE SET waiting = pending_batches.waiting RETURNING waiting",
    )
    .bind(batch_id.as_str())
    .bind(now.as_millisecond())
    .fetch_one(tx.conn())
    .await?;
    Ok(u64::try_from(row.try_get::<i64, _>("waiting")?).unwrap_or(0))
}

/// Keeps a file for a batch whose gate is held; `false` when it was kept before.
pub(crate) async fn keep(
    tx: &mut Tx,
    batch_id: &BatchId,
    upload: &FileUploadId,
    payload: String,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO pending_content (batch_id, file_upload_id, payload) VALUES ($1, $2, $3) \
         ON CONFLICT (batch_id, file_upload_id) DO NOTHING",
    )
    .bind(batch_id.as_str())
    .bind(upload.as_str())
    .bind(payload)
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("UPDATE pending_batches SET waiting = waiting + 1 WHERE batch_id = $1")
        .bind(batch_id.as_str())
        .execute(tx.conn())
        .await?;
    Ok(true)
}

/// Removes and returns what waits for a batch whose gate is held, in the order of arrival.
pub(crate) async fn take(tx: &mut Tx, batch_id: &BatchId) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT payload FROM pending_content WHERE batch_id = $1 ORDER BY id")
        .bind(batch_id.as_str())
        .fetch_all(tx.conn())
        .await?;
    let payloads = rows
        .iter()
        .map(|row| row.try_get("payload"))
        .collect::<Result<_, _>>()?;
    forget(tx, batch_id).await?;
    Ok(payloads)
}

async fn forget(tx: &mut Tx, batch_id: &BatchId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pending_content WHERE batch_id = $1")
        .bind(batch_id.as_str())
        .execute(tx.conn())
        .await?;
    sqlx::query("DELETE FROM pending_batches WHERE batch_id = $1")
        .bind(batch_id.as_str())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// How many files wait for registrations, over all batches.
pub(crate) async fn total(tx: &mut Tx) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) FROM pending_content")
        .fetch_one(tx.conn())
        .await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

/// Drops what has waited longer than `max_age`, and answers how many files that were.
pub(crate) async fn expire(
    tx: &mut Tx,
    now: Timestamp,
    max_age: Duration,
) -> Result<u64, StoreError> {
    let age = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
    let horizon = now.as_millisecond().saturating_sub(age);
    let done = sqlx::query(
        "DELETE FROM pending_content WHERE batch_id IN \
         (SELECT batch_id FROM pending_batches WHERE first_at < $1)",
    )
    .bind(horizon)
    .execute(tx.conn())
    .await?;
    sqlx::query("DELETE FROM pending_batches WHERE first_at < $1")
        .bind(horizon)
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}

/// Removes the row of a batch that turned out to be registered.
pub(crate) async fn drop_gate(tx: &mut Tx, batch_id: &BatchId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pending_batches WHERE batch_id = $1 AND waiting = 0")
        .bind(batch_id.as_str())
        .execute(tx.conn())
        .await?;
    Ok(())
}
