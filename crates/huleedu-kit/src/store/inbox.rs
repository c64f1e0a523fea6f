//! Which events this service has applied, and those it never can.

use std::collections::BTreeMap;

use huleedu_contracts::ids::EventId;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::{DeadEvent, Dialect, StoreError, now_ms};

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

/// Forgets the oldest events that were applied before `horizon` (Unix milliseconds), at most `most` of
/// them; answers how many.
pub(super) async fn forget(
    pool: &AnyPool,
    dialect: Dialect,
    horizon: i64,
    most: u32,
) -> Result<u64, StoreError> {
    // One short statement of its own. Replicas step over each other's rows instead of waiting; ARRAY
    // makes PostgreSQL choose the rows once.
    let sql = match dialect {
        Dialect::Sqlite => {
            "DELETE FROM inbox WHERE event_id IN \
             (SELECT event_id FROM inbox WHERE applied_at < $1 ORDER BY applied_at LIMIT $2)"
        }
        Dialect::Postgres => {
            "DELETE FROM inbox WHERE event_id = ANY (ARRAY \
             (SELECT event_id FROM inbox WHERE applied_at < $1 ORDER BY applied_at LIMIT $2 \
              FOR UPDATE SKIP LOCKED))"
        }
    };
    let done = sqlx::query(sql)
        .bind(horizon)
        .bind(i64::from(most))
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}

/// When the event was applied that is remembered longest, in Unix milliseconds.
pub(super) async fn oldest(pool: &AnyPool) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query("SELECT MIN(applied_at) FROM inbox")
        .fetch_one(pool)
        .await?;
    Ok(row.try_get(0)?)
}

/// `false` when that message had been buried before.
pub(super) async fn bury(
    conn: &mut AnyConnection,
    event: &DeadEvent<'_>,
) -> Result<bool, StoreError> {
    let headers: Vec<(&str, HeaderText)> = event
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), HeaderText::of(value)))
        .collect();
    let done = sqlx::query(
        "INSERT INTO dead_events (event_id, correlation_id, topic, partition, log_offset, sent_at, event_key, \
         headers, payload, code, reason, attempts, buried_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (topic, partition, log_offset) DO NOTHING",
    )
    .bind(event.event_id.map(|id| id.to_string()))
    .bind(event.correlation_id.map(|id| id.to_string()))
    .bind(event.topic)
    .bind(i64::from(event.partition))
    .bind(event.offset)
    .bind(event.sent_at)
    .bind(event.key.map(<[u8]>::to_vec))
    .bind(serde_json::to_string(&headers)?)
    .bind(event.payload.to_vec())
    .bind(event.code)
    .bind(event.reason)
    .bind(i64::from(event.attempts))
    .bind(now_ms())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A header's value in JSON: text, or its bytes where it is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum HeaderText {
    Text(String),
    Bytes(Vec<u8>),
}

impl HeaderText {
    fn of(value: &[u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(value.to_vec()),
        }
    }
}

/// Headers as [`bury`] wrote them.
pub(crate) fn read_dead_headers(json: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let all: Vec<(String, HeaderText)> = serde_json::from_str(json)?;
    let bytes = |value| match value {
        HeaderText::Text(text) => text.into_bytes(),
        HeaderText::Bytes(bytes) => bytes,
    };
    Ok(all.into_iter().map(|(name, v)| (name, bytes(v))).collect())
}

pub(super) async fn count_dead(pool: &AnyPool) -> Result<BTreeMap<String, u64>, StoreError> {
    let rows = sqlx::query("SELECT topic, COUNT(*) FROM dead_events GROUP BY topic")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            let count = u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0);
            Ok((row.try_get(0)?, count))
        })
        .collect()
}
