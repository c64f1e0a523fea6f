//! Which events this service has applied, and those it never can.

use huleedu_contracts::ids::EventId;
use sqlx::{AnyConnection, AnyPool};

use super::{DeadEvent, StoreError, now_ms};

pub(super) async fn insert(
    conn: &mut AnyConnection,
    event_id: EventId,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO inbox (event_id, applied_at) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(event_id.to_string())
    .bind(now_ms())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn contains(pool: &AnyPool, event_id: EventId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT applied_at FROM inbox WHERE event_id = $1")
        .bind(event_id.to_string())
        .fetch_optional(pool)
        .await?;
    Ok(row.is_some())
}

pub(super) async fn bury(pool: &AnyPool, event: &DeadEvent<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO dead_events (event_id, topic, partition, log_offset, payload, reason, buried_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (topic, partition, log_offset) DO NOTHING",
    )
    .bind(event.event_id.map(|id| id.to_string()))
    .bind(event.topic)
    .bind(i64::from(event.partition))
    .bind(event.offset)
    .bind(event.payload.to_vec())
    .bind(event.reason)
    .bind(now_ms())
    .execute(pool)
    .await?;
    Ok(())
}
