//! The outbox table: events that are safe and wait for Kafka, in the order of their commits.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fusebox_kafka::{
    Accepted, Backlog, BacklogError, BacklogStats, DeadReason, EventBus, Parked, Position,
    PublishError, Record,
};
use sqlx::{AnyConnection, Row as _};

use tokio::time::Instant;

use super::{Store, StoreError, lease::Lease, millis, now_ms};

/// How long a sent event stays readable in the table.
const KEEP_SETTLED: Duration = Duration::from_hours(1);

/// Refuses when the outbox is full, so that overflow is an error to the caller and never a drop.
pub(super) async fn check_room(
    conn: &mut AnyConnection,
    limit: u64,
    bytes_limit: u64,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) \
         FROM outbox WHERE settled_at IS NULL",
    )
    .fetch_one(conn)
    .await?;
    let waiting = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    if waiting >= limit {
        return Err(StoreError::OutboxFull { waiting, limit });
    }
    let bytes = u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0);
    if bytes >= bytes_limit {
        return Err(StoreError::OutboxBytesFull {
            bytes,
            limit: bytes_limit,
        });
    }
    Ok(())
}

pub(super) async fn insert(conn: &mut AnyConnection, record: &Record) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO outbox (event_id, topic, event_key, payload, headers, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING position",
    )
    .bind(record.event_id.to_string())
    .bind(record.topic.as_str())
    .bind(record.key.as_deref())
    .bind(record.payload.to_vec())
    .bind(serde_json::to_string(&record.headers)?)
    .bind(now_ms())
    .fetch_one(conn)
    .await?;
    Ok(row.try_get(0)?)
}

/// Publishing outside of a business transaction: the record is safe when `publish` returns.
#[derive(Debug, Clone)]
pub struct OutboxBus {
    store: Store,
}

impl OutboxBus {
    /// A bus on the outbox of `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl EventBus for OutboxBus {
    async fn publish(&self, record: Record) -> Result<Accepted, PublishError> {
        let event_id = record.event_id;
        let stored = async {
            let mut tx = self.store.begin().await?;
            let position = tx.enqueue(&record).await?;
            tx.commit().await?;
            Ok(Accepted::new(event_id, Position(position)))
        };
        stored.await.map_err(|error: StoreError| match error {
            StoreError::OutboxFull { .. } | StoreError::OutboxBytesFull { .. } => {
                PublishError::Full
            }
            other => PublishError::Backlog(BacklogError::new("keep an event", other)),
        })
    }
}

/// The outbox as the drainer sees it.
#[derive(Debug, Clone)]
pub struct OutboxBacklog {
    store: Store,
    /// None: nobody else sends from it.
    lease: Option<Arc<Lease>>,
}

impl OutboxBacklog {
    /// The backlog of `store`, which no other process drains.
    pub fn new(store: Store) -> Self {
        Self { store, lease: None }
    }

    /// The backlog of a `store` that several processes share: at any time one of them sends, and when
    /// it dies another one takes over.
    pub fn shared(store: Store) -> Self {
        Self {
            store,
            lease: Some(Arc::new(Lease::new())),
        }
    }

    /// Like [`shared`](Self::shared), with a lease of `length` that is left `margin` early.
    pub fn shared_for(store: Store, length: Duration, margin: Duration) -> Self {
        Self {
            store,
            lease: Some(Arc::new(Lease::lasting(length, margin))),
        }
    }

    /// Whether this process is the one that sends; takes the lease when nobody has it. Asked more often
    /// than once in a while, it answers from memory.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_mine(&self) -> Result<bool, StoreError> {
        match &self.lease {
            None => Ok(true),
            Some(lease) => lease.hold(&self.store).await,
        }
    }

    async fn peek_rows(&self, after: Position, limit: usize) -> Result<Vec<Parked>, StoreError> {
        if !self.is_mine().await? {
            return Ok(Vec::new());
        }
        let inherited = self
            .lease
            .as_ref()
            .map_or(i64::MIN, |lease| lease.inherited());
        let rows = sqlx::query(
            "SELECT position, event_id, topic, event_key, payload, headers, created_at, attempts FROM outbox \
             WHERE settled_at IS NULL AND position > $1 ORDER BY position LIMIT $2",
        )
        .bind(after.0)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.store.pool())
        .await?;
        rows.iter()
            .map(|row| {
                let event_id: String = row.try_get("event_id")?;
                let position = Position(row.try_get("position")?);
                let attempts = u32::try_from(row.try_get::<i64, _>("attempts")?);
                Ok(Parked {
                    position,
                    record: Record {
                        event_id: event_id.parse().map_err(|_| {
                            StoreError::Corrupt(format!("outbox.event_id `{event_id}`"))
                        })?,
                        topic: row.try_get("topic")?,
                        key: row.try_get("event_key")?,
                        payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
                        headers: serde_json::from_str(&row.try_get::<String, _>("headers")?)?,
                    },
                    admitted_at_ms: row.try_get("created_at")?,
                    attempts: attempts
                        .unwrap_or(u32::MAX)
                        .max(u32::from(position.0 <= inherited)),
                })
            })
            .collect()
    }

    async fn settle_rows(&self, positions: &[Position]) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let now = now_ms();
        for position in positions {
            sqlx::query("UPDATE outbox SET settled_at = $1 WHERE position = $2")
                .bind(now)
                .bind(position.0)
                .execute(tx.conn())
                .await?;
        }
        let horizon = now - millis(KEEP_SETTLED);
        sqlx::query("DELETE FROM outbox WHERE settled_at < $1 AND dead_reason IS NULL")
            .bind(horizon)
            .execute(tx.conn())
            .await?;
        tx.commit().await
    }

    async fn bury_row(&self, position: Position, reason: &DeadReason) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET settled_at = $1, dead_reason = $2 WHERE position = $3")
            .bind(now_ms())
            .bind(reason.to_string())
            .bind(position.0)
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    async fn read_stats(&self) -> Result<BacklogStats, StoreError> {
        self.is_mine().await?;
        let waiting =
            sqlx::query("SELECT COUNT(*), MIN(created_at) FROM outbox WHERE settled_at IS NULL")
                .fetch_one(self.store.pool())
                .await?;
        let dead = sqlx::query("SELECT COUNT(*) FROM outbox WHERE dead_reason IS NOT NULL")
            .fetch_one(self.store.pool())
            .await?;
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok(BacklogStats {
            waiting: count(waiting.try_get(0)?),
            dead: count(dead.try_get(0)?),
            oldest_age: waiting
                .try_get::<Option<i64>, _>(1)?
                .map(|oldest| Duration::from_millis(count(now_ms() - oldest))),
        })
    }
}

#[async_trait]
impl Backlog for OutboxBacklog {
    async fn peek(&self, after: Position, limit: usize) -> Result<Vec<Parked>, BacklogError> {
        self.peek_rows(after, limit)
            .await
            .map_err(|e| BacklogError::new("read the outbox", e))
    }

    async fn settle(&self, positions: &[Position]) -> Result<(), BacklogError> {
        self.settle_rows(positions)
            .await
            .map_err(|e| BacklogError::new("settle events", e))
    }

    async fn bury(&self, position: Position, reason: &DeadReason) -> Result<(), BacklogError> {
        self.bury_row(position, reason)
            .await
            .map_err(|e| BacklogError::new("bury an event", e))
    }

    async fn stats(&self) -> Result<BacklogStats, BacklogError> {
        self.read_stats()
            .await
            .map_err(|e| BacklogError::new("count events", e))
    }

    fn may_send_until(&self) -> Option<Instant> {
        self.lease.as_ref().map(|lease| lease.until())
    }

    async fn give_up(&self) {
        if let Some(lease) = &self.lease
            && let Err(error) = lease.give_up(&self.store).await
        {
            // Then it passes by itself.
            tracing::debug!(%error, "lease of the outbox not given up");
        }
    }
}
