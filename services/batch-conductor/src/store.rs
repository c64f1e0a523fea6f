//! How phases ended, in SQL.

use huleedu_contracts::{
    ids::{BatchId, CorrelationId},
    status::{PhaseName, PhaseStatus},
};
use huleedu_kit::store::{StoreError, Tx, now_ms};
use sqlx::Row as _;

/// Notes how a phase ended; the latest run of a phase is the one that counts.
pub(crate) async fn note_outcome(
    tx: &mut Tx,
    batch: &BatchId,
    phase: PhaseName,
    status: PhaseStatus,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO phase_outcomes (batch_id, phase, status, ended_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (batch_id, phase) \
         DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at",
    )
    .bind(batch.as_str())
    .bind(phase.as_str())
    .bind(status.as_str())
    .bind(now_ms())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How phases last ended for a batch.
pub(crate) async fn history(
    tx: &mut Tx,
    batch: &BatchId,
) -> Result<Vec<(PhaseName, PhaseStatus)>, StoreError> {
    let rows = sqlx::query("SELECT phase, status FROM phase_outcomes WHERE batch_id = $1")
        .bind(batch.as_str())
        .fetch_all(tx.conn())
        .await?;
    rows.iter()
        .map(|row| {
            let (phase, status): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let phase = phase.parse().map_err(corrupt)?;
            Ok((phase, status.parse().map_err(corrupt)?))
        })
        .collect()
}

/// Notes that a skipped phase is announced for a request; `false` when it was before, so that a
/// repeated request does not announce it twice.
pub(crate) async fn note_announced(
    tx: &mut Tx,
    batch: &BatchId,
    phase: PhaseName,
    request: CorrelationId,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO announced_skips (batch_id, phase, correlation_id, announced_at) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (batch_id, phase, correlation_id) DO NOTHING",
    )
    .bind(batch.as_str())
    .bind(phase.as_str())
    .bind(request.to_string())
    .bind(now_ms())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

fn corrupt(error: impl std::error::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
