//! Registered batches, and the row lock under which everything about a batch is decided.

use huleedu_contracts::{
    domain::CourseCode,
    events::batch::BatchEssaysRegistered,
    ids::{BatchId, OrgId, UserId},
};
use huleedu_kit::store::{StoreError, Tx};
use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _};

use super::{count, parsed, parsed_opt};

/// A registered batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tracker {
    pub(crate) batch_id: BatchId,
    pub(crate) expected: u32,
    pub(crate) provisioned: u32,
    pub(crate) failed: u32,
    pub(crate) course_code: CourseCode,
    pub(crate) user_id: UserId,
    pub(crate) org_id: Option<OrgId>,
}

/// Takes the batch's row until the transaction ends; `None` when the batch is not registered.
///
/// This must be the first statement about a batch in every transaction that decides about it:
/// what is read afterwards then includes everything that other workers have committed, so that
/// "was that the last one?" has one answer.
pub(crate) async fn lock(tx: &mut Tx, batch_id: &BatchId) -> Result<Option<Tracker>, StoreError> {
    let row = sqlx::query(
        "UPDATE batch_trackers SET version = version + 1 WHERE batch_id = $1 \
         RETURNING expected_count, provisioned_count, failed_count, course_code, user_id, org_id",
    )
    .bind(batch_id.as_str())
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Tracker {
        batch_id: batch_id.clone(),
        expected: count(&row, "expected_count")?,
        provisioned: count(&row, "provisioned_count")?,
        failed: count(&row, "failed_count")?,
        course_code: parsed(&row, "course_code")?,
        user_id: parsed(&row, "user_id")?,
        org_id: parsed_opt(&row, "org_id")?,
    }))
}

/// Writes a new batch; `false` when there is one with this id.
pub(crate) async fn insert(
    tx: &mut Tx,
    batch: &BatchEssaysRegistered,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO batch_trackers \
         (batch_id, expected_count, course_code, user_id, org_id, class_id, registered_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (batch_id) DO NOTHING",
    )
    .bind(batch.entity_id.as_str())
    .bind(i64::from(batch.expected_essay_count.get()))
    .bind(batch.course_code.as_str())
    .bind(batch.user_id.as_str())
    .bind(batch.org_id.as_ref().map(|id| id.as_str().to_owned()))
    .bind(batch.class_id.as_ref().map(|id| id.as_str().to_owned()))
    .bind(now.as_millisecond())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes the counts of a batch whose row is held.
pub(crate) async fn save_counts(tx: &mut Tx, tracker: &Tracker) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE batch_trackers SET provisioned_count = $2, failed_count = $3 WHERE batch_id = $1",
    )
    .bind(tracker.batch_id.as_str())
    .bind(i64::from(tracker.provisioned))
    .bind(i64::from(tracker.failed))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Notes that provisioning is over; `false` when it had been noted before.
pub(crate) async fn complete_provisioning(
    tx: &mut Tx,
    batch_id: &BatchId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE batch_trackers SET provisioning_completed_at = $2 \
         WHERE batch_id = $1 AND provisioning_completed_at IS NULL",
    )
    .bind(batch_id.as_str())
    .bind(now.as_millisecond())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the batch is registered.
pub(crate) async fn exists(
    conn: &mut AnyConnection,
    batch_id: &BatchId,
) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) FROM batch_trackers WHERE batch_id = $1")
        .bind(batch_id.as_str())
        .fetch_one(conn)
        .await?;
    Ok(row.try_get::<i64, _>(0)? > 0)
}
