//! The desk on a database: outbox and dead letters. Every change is one transaction, also beside a running
//! service.

use std::collections::BTreeMap;

use bytes::Bytes;
use fusebox_kafka::Record;
use huleedu_contracts::headers;
use sqlx::{AnyConnection, Row as _, any::AnyRow};
use uuid::Uuid;

use super::{
    desk::{AdminError, Verified},
    model::{
        Body, DeadDetail, DeadId, DeadKind, DeadQuery, DeadSummary, EventDetail, EventQuery,
        EventSummary, QueueStats, Requeued,
    },
};
use crate::{
    consumer::{chain, is_of_delivery, text_headers},
    service::ServiceId,
    store::{Dialect, Store, StoreError, Tx, now_ms, read_dead_headers},
};

/// Longest page.
const MOST: usize = 1000;

/// An operator's desk on one service's database.
#[derive(Debug, Clone)]
pub struct StoreDesk {
    service: ServiceId,
    store: Store,
}

impl StoreDesk {
    /// A desk on `store`.
    pub fn new(service: ServiceId, store: Store) -> Self {
        Self { service, store }
    }

    /// How much waits, and what is wrong.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stats(&self) -> Result<QueueStats, AdminError> {
        let pool = self.store.pool();
        let by_topic = sqlx::query(
            "SELECT topic, COUNT(*) FROM outbox WHERE settled_at IS NULL GROUP BY topic",
        )
        .fetch_all(pool)
        .await?;
        let mut waiting_by_topic = BTreeMap::new();
        for row in by_topic {
            waiting_by_topic.insert(row.try_get(0)?, count(&row, 1)?);
        }
        let oldest = sqlx::query("SELECT MIN(created_at) FROM outbox WHERE settled_at IS NULL")
            .fetch_one(pool)
            .await?
            .try_get::<Option<i64>, _>(0)?;
        let rest = sqlx::query(
            "SELECT COUNT(*), COUNT(dead_reason) FROM outbox WHERE settled_at IS NOT NULL",
        )
        .fetch_one(pool)
        .await?;
        let (settled, dead_sent) = (count(&rest, 0)?, count(&rest, 1)?);
        let age = |at: i64| u64::try_from(now_ms().saturating_sub(at)).unwrap_or(0);
        Ok(QueueStats {
            service: self.service.slug().to_owned(),
            process: None,
            sender: self.store.outbox_sender().await?,
            blocked: None,
            waiting: waiting_by_topic.values().sum(),
            waiting_by_topic,
            limit: None,
            oldest_age_ms: oldest.map(age),
            sent_kept: settled - dead_sent,
            dead_sent,
            dead_received: self.store.count_dead_events().await?,
            circuit: None,
            delivered: None,
        })
    }

    /// Events that wait, in the order of admission.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<EventSummary>, AdminError> {
        let rows = sqlx::query(
            "SELECT position, event_id, topic, event_key, LENGTH(payload) AS bytes, created_at, settled_at \
             FROM outbox WHERE settled_at IS NULL AND position > $1 \
             AND ($2 = '' OR topic = $2) AND ($3 = '' OR event_key = $3) ORDER BY position LIMIT $4",
        )
        .bind(query.after)
        .bind(query.topic.as_deref().unwrap_or_default())
        .bind(query.key.as_deref().unwrap_or_default())
        .bind(page(query.limit))
        .fetch_all(self.store.pool())
        .await?;
        rows.iter().map(event_summary).collect()
    }

    /// How many events wait behind a place for the same topic, and the same key where one is given.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn behind(
        &self,
        position: i64,
        topic: &str,
        key: Option<&str>,
    ) -> Result<u64, AdminError> {
        let row = sqlx::query(
            "SELECT COUNT(*) FROM outbox WHERE settled_at IS NULL AND position > $1 AND topic = $2 \
             AND ($3 = 0 OR event_key = $4)",
        )
        .bind(position)
        .bind(topic)
        .bind(i64::from(key.is_some()))
        .bind(key.unwrap_or_default())
        .fetch_one(self.store.pool())
        .await?;
        count(&row, 0)
    }

    /// One event of the outbox, waiting or sent.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn event(&self, position: i64) -> Result<EventDetail, AdminError> {
        let row = sqlx::query(
            "SELECT position, event_id, topic, event_key, LENGTH(payload) AS bytes, created_at, settled_at, \
             payload, headers FROM outbox WHERE position = $1 AND dead_reason IS NULL",
        )
        .bind(position)
        .fetch_optional(self.store.pool())
        .await?
        .ok_or_else(|| AdminError::NotFound(format!("event {position}")))?;
        Ok(EventDetail {
            summary: event_summary(&row)?,
            headers: outbox_headers(&row)?,
            payload: Body::of(&row.try_get::<Vec<u8>, _>("payload")?),
        })
    }

    /// Dead letters, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dead(&self, query: &DeadQuery) -> Result<Vec<DeadSummary>, AdminError> {
        let limit = if query.limit == 0 { 50 } else { query.limit };
        let wanted = |kind| query.kind.is_none_or(|only| only == kind);
        let mut letters = Vec::new();
        let begin = match query.after {
            None => Some(0),
            Some(id) if id.kind == DeadKind::Sent => Some(id.number),
            Some(_) => None,
        };
        if let Some(after) = begin.filter(|_| wanted(DeadKind::Sent)) {
            let rows = sqlx::query(
                "SELECT position, event_id, topic, event_key, LENGTH(payload) AS bytes, created_at, settled_at, \
                 dead_reason FROM outbox WHERE dead_reason IS NOT NULL AND position > $1 \
                 AND ($2 = '' OR topic = $2) AND ($3 = '' OR dead_reason LIKE $4) ORDER BY position LIMIT $5",
            )
            .bind(after)
            .bind(query.topic.as_deref().unwrap_or_default())
            .bind(query.code.as_deref().unwrap_or_default())
            .bind(format!("{}:%", query.code.as_deref().unwrap_or_default()))
            .bind(page(limit))
            .fetch_all(self.store.pool())
            .await?;
            for row in &rows {
                letters.push(sent_summary(row)?);
            }
        }
        if wanted(DeadKind::Received) && letters.len() < limit {
            let after = query
                .after
                .filter(|id| id.kind == DeadKind::Received)
                .map_or(0, |id| id.number);
            let rows = sqlx::query(
                "SELECT id, event_id, topic, code, reason, attempts, LENGTH(payload) AS bytes, buried_at \
                 FROM dead_events WHERE id > $1 AND ($2 = '' OR topic = $2) AND ($3 = '' OR code = $3) \
                 ORDER BY id LIMIT $4",
            )
            .bind(after)
            .bind(query.topic.as_deref().unwrap_or_default())
            .bind(query.code.as_deref().unwrap_or_default())
            .bind(page(limit - letters.len()))
            .fetch_all(self.store.pool())
            .await?;
            for row in &rows {
                letters.push(received_summary(row)?);
            }
        }
        Ok(letters)
    }

    /// One dead letter with all it has.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn dead_letter(&self, id: DeadId) -> Result<DeadDetail, AdminError> {
        let mut conn = self.store.pool().acquire().await?;
        let missing = || AdminError::NotFound(format!("dead letter {id}"));
        match id.kind {
            DeadKind::Sent => {
                let row = sent_row(&mut conn, id.number).await?.ok_or_else(missing)?;
                let headers = outbox_headers(&row)?;
                let correlation = headers.iter().find(|(n, _)| n == headers::CORRELATION_ID);
                Ok(DeadDetail {
                    summary: sent_summary(&row)?,
                    correlation_id: correlation.map(|(_, value)| value.clone()),
                    key: row
                        .try_get::<Option<String>, _>("event_key")?
                        .map(Body::Text),
                    partition: None,
                    offset: None,
                    event_at_ms: Some(row.try_get("created_at")?),
                    headers: headers
                        .into_iter()
                        .map(|(n, v)| (n, Body::Text(v)))
                        .collect(),
                    payload: Body::of(&row.try_get::<Vec<u8>, _>("payload")?),
                })
            }
            DeadKind::Received => {
                let row = received_row(&mut conn, id.number)
                    .await?
                    .ok_or_else(missing)?;
                let headers = read_dead_headers(&row.try_get::<String, _>("headers")?)?;
                let key = row.try_get::<Option<Vec<u8>>, _>("event_key")?;
                Ok(DeadDetail {
                    summary: received_summary(&row)?,
                    correlation_id: row.try_get("correlation_id")?,
                    key: key.map(|key| Body::of(&key)),
                    partition: Some(row.try_get("partition")?),
                    offset: Some(row.try_get("log_offset")?),
                    event_at_ms: row.try_get("sent_at")?,
                    headers: headers
                        .into_iter()
                        .map(|(n, v)| (n, Body::of(&v)))
                        .collect(),
                    payload: Body::of(&row.try_get::<Vec<u8>, _>("payload")?),
                })
            }
        }
    }

    /// Puts a dead letter into the outbox again, for the topic it was of, with its bytes, key and event
    /// id. It comes behind all that waits: its old order is not restored. In the same transaction it
    /// stops being a dead letter.
    ///
    /// One that was received goes to its topic once more, so every group that listens sees it again;
    /// whoever has applied it knows its id and leaves it.
    ///
    /// # Errors
    /// When there is none, the same event waits already, the outbox is full, or the store fails.
    pub async fn requeue(&self, id: DeadId) -> Result<Requeued, AdminError> {
        let mut tx = self.store.begin().await?;
        let missing = || AdminError::NotFound(format!("dead letter {id}"));
        let mut record = match id.kind {
            DeadKind::Sent => {
                let row = sent_row(tx.conn(), id.number).await?.ok_or_else(missing)?;
                sent_record(&row)?
            }
            DeadKind::Received => {
                let row = received_row(tx.conn(), id.number)
                    .await?
                    .ok_or_else(missing)?;
                received_record(&row)?
            }
        };
        record
            .headers
            .retain(|(n, _)| n != headers::REPLAYED_FROM && !is_of_delivery(n));
        let from = format!("{}/{id}", self.service);
        record
            .headers
            .push((headers::REPLAYED_FROM.to_owned(), from));
        remove(&mut tx, id).await?;
        make_way(&mut tx, &record).await?;
        let position = tx.enqueue(&record).await?;
        tx.commit().await?;
        tracing::warn!(dead_letter = %id, event_id = %record.event_id, topic = record.topic, position, "dead letter requeued by an operator");
        Ok(Requeued {
            id,
            position: Some(position),
            event_id: record.event_id.to_string(),
            topic: record.topic,
        })
    }

    /// Reads everything and says what is wrong; `progress` is told rows done and in all. Changes
    /// nothing.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub async fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<Verified, AdminError> {
        let pool = self.store.pool();
        let mut report = Verified::default();
        if self.store.dialect() == Dialect::Sqlite {
            for row in sqlx::query("PRAGMA integrity_check")
                .fetch_all(pool)
                .await?
            {
                let word: String = row.try_get(0)?;
                if word != "ok" {
                    report.findings.push(format!("database: {word}"));
                }
            }
        }
        let sum = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM dead_events)",
        )
        .fetch_one(pool)
        .await?;
        let total = count(&sum, 0)?;
        let mut after = 0_i64;
        loop {
            let rows = sqlx::query(
                "SELECT position, event_id, topic, event_key, LENGTH(payload) AS bytes, created_at, settled_at, \
                 payload, headers, dead_reason FROM outbox WHERE position > $1 ORDER BY position LIMIT 200",
            )
            .bind(after)
            .fetch_all(pool)
            .await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("position")?;
            for row in &rows {
                let position: i64 = row.try_get("position")?;
                report.rows += 1;
                if let Err(error) = sent_record(row).and_then(|record| check(&record)) {
                    let error = chain(&error);
                    report.findings.push(format!("event {position}: {error}"));
                }
            }
            progress(report.rows, total.max(report.rows));
        }
        after = 0;
        loop {
            let rows = sqlx::query(
                "SELECT id, headers FROM dead_events WHERE id > $1 ORDER BY id LIMIT 200",
            )
            .bind(after)
            .fetch_all(pool)
            .await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("id")?;
            for row in &rows {
                let id: i64 = row.try_get("id")?;
                report.rows += 1;
                if let Err(error) = read_dead_headers(&row.try_get::<String, _>("headers")?) {
                    let error = chain(&error);
                    report
                        .findings
                        .push(format!("dead letter received-{id}: {error}"));
                }
            }
            progress(report.rows, total.max(report.rows));
        }
        Ok(report)
    }

    /// Removes a dead letter for good.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn discard(&self, id: DeadId) -> Result<(), AdminError> {
        let mut tx = self.store.begin().await?;
        if !remove(&mut tx, id).await? {
            return Err(AdminError::NotFound(format!("dead letter {id}")));
        }
        tx.commit().await?;
        tracing::warn!(dead_letter = %id, "dead letter discarded by an operator");
        Ok(())
    }
}

/// Whether a record says of itself what its row says.
fn check(record: &Record) -> Result<(), AdminError> {
    let corrupt = |text: String| Err(StoreError::Corrupt(text).into());
    if record.topic.strip_suffix(".DLQ").is_some() {
        // A copy: its header has the id of the event it is a copy of, its bytes may be anything.
        return Ok(());
    }
    let header = record.headers.iter().find(|(n, _)| n == headers::EVENT_ID);
    match header {
        Some((_, id)) if *id != record.event_id.to_string() => {
            corrupt(format!("the header event_id says `{id}`"))
        }
        _ => Ok(()),
    }
}

fn page(limit: usize) -> i64 {
    i64::try_from(limit.clamp(1, MOST)).unwrap_or(i64::MAX)
}

fn count(row: &AnyRow, index: usize) -> Result<u64, AdminError> {
    Ok(u64::try_from(row.try_get::<i64, _>(index)?).unwrap_or(0))
}

/// SQLite counts in 64 bits, PostgreSQL measures in 32.
fn bytes(row: &AnyRow) -> Result<u64, AdminError> {
    let long = row.try_get::<i64, _>("bytes");
    let length = long.or_else(|_| row.try_get::<i32, _>("bytes").map(i64::from))?;
    Ok(u64::try_from(length).unwrap_or(0))
}

fn event_summary(row: &AnyRow) -> Result<EventSummary, AdminError> {
    Ok(EventSummary {
        position: row.try_get("position")?,
        event_id: row.try_get("event_id")?,
        topic: row.try_get("topic")?,
        key: row.try_get("event_key")?,
        bytes: bytes(row)?,
        admitted_at_ms: row.try_get("created_at")?,
        sent_at_ms: row.try_get("settled_at")?,
    })
}

fn outbox_headers(row: &AnyRow) -> Result<Vec<(String, String)>, AdminError> {
    let text: String = row.try_get("headers")?;
    Ok(serde_json::from_str(&text).map_err(StoreError::Json)?)
}

fn sent_summary(row: &AnyRow) -> Result<DeadSummary, AdminError> {
    let reason: String = row.try_get("dead_reason")?;
    let code = reason.split(':').next().unwrap_or_default().to_owned();
    let attempts = reason
        .rsplit_once("(attempts: ")
        .and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    Ok(DeadSummary {
        id: DeadId {
            kind: DeadKind::Sent,
            number: row.try_get("position")?,
        },
        event_id: Some(row.try_get("event_id")?),
        topic: row.try_get("topic")?,
        code,
        attempts: attempts.unwrap_or(0),
        bytes: bytes(row)?,
        died_at_ms: row.try_get("settled_at")?,
        reason,
    })
}

fn received_summary(row: &AnyRow) -> Result<DeadSummary, AdminError> {
    Ok(DeadSummary {
        id: DeadId {
            kind: DeadKind::Received,
            number: row.try_get("id")?,
        },
        event_id: row.try_get("event_id")?,
        topic: row.try_get("topic")?,
        code: row.try_get("code")?,
        reason: row.try_get("reason")?,
        attempts: u64::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(0),
        bytes: bytes(row)?,
        died_at_ms: row.try_get("buried_at")?,
    })
}

async fn sent_row(conn: &mut AnyConnection, number: i64) -> Result<Option<AnyRow>, AdminError> {
    Ok(sqlx::query(
        "SELECT position, event_id, topic, event_key, LENGTH(payload) AS bytes, created_at, settled_at, \
         payload, headers, dead_reason FROM outbox WHERE position = $1 AND dead_reason IS NOT NULL",
    )
    .bind(number)
    .fetch_optional(conn)
    .await?)
}

async fn received_row(conn: &mut AnyConnection, number: i64) -> Result<Option<AnyRow>, AdminError> {
    Ok(sqlx::query(
        "SELECT id, event_id, correlation_id, topic, partition, log_offset, sent_at, event_key, headers, \
         payload, LENGTH(payload) AS bytes, code, reason, attempts, buried_at FROM dead_events WHERE id = $1",
    )
    .bind(number)
    .fetch_optional(conn)
    .await?)
}

fn sent_record(row: &AnyRow) -> Result<Record, AdminError> {
    let event_id: String = row.try_get("event_id")?;
    Ok(Record {
        event_id: event_id
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("outbox.event_id `{event_id}`")))?,
        topic: row.try_get("topic")?,
        key: row.try_get("event_key")?,
        payload: Bytes::from(row.try_get::<Vec<u8>, _>("payload")?),
        headers: outbox_headers(row)?,
    })
}

fn received_record(row: &AnyRow) -> Result<Record, AdminError> {
    let event_id: Option<String> = row.try_get("event_id")?;
    let key = row.try_get::<Option<Vec<u8>>, _>("event_key")?;
    let key = key.map(String::from_utf8).transpose().map_err(|_| {
        AdminError::Conflict(
            "the key of this dead letter is no text, so it cannot be requeued; its bytes are in \
             `huleedu dead show`"
                .to_owned(),
        )
    })?;
    Ok(Record {
        // One whose envelope could not be read has no id; this one is the outbox's alone.
        event_id: event_id
            .and_then(|id| id.parse().ok())
            .unwrap_or_else(Uuid::now_v7),
        topic: row.try_get("topic")?,
        key,
        payload: Bytes::from(row.try_get::<Vec<u8>, _>("payload")?),
        headers: text_headers(&read_dead_headers(&row.try_get::<String, _>("headers")?)?),
    })
}

/// Removes the dead letter's row; `false` when there was none.
async fn remove(tx: &mut Tx, id: DeadId) -> Result<bool, AdminError> {
    let sql = match id.kind {
        DeadKind::Sent => "DELETE FROM outbox WHERE position = $1 AND dead_reason IS NOT NULL",
        DeadKind::Received => "DELETE FROM dead_events WHERE id = $1",
    };
    let done = sqlx::query(sql).bind(id.number).execute(tx.conn()).await?;
    Ok(done.rows_affected() == 1)
}

/// An event's id is in the outbox once. A row that was sent is kept only for looking at and makes way;
/// one that waits or is dead itself does not.
async fn make_way(tx: &mut Tx, record: &Record) -> Result<(), AdminError> {
    let row =
        sqlx::query("SELECT position, settled_at, dead_reason FROM outbox WHERE event_id = $1")
            .bind(record.event_id.to_string())
            .fetch_optional(tx.conn())
            .await?;
    let Some(row) = row else { return Ok(()) };
    let position: i64 = row.try_get(0)?;
    if row.try_get::<Option<i64>, _>(1)?.is_none() {
        return Err(AdminError::Conflict(format!(
            "the same event waits for Kafka already, at position {position}"
        )));
    }
    if row.try_get::<Option<String>, _>(2)?.is_some() {
        return Err(AdminError::Conflict(format!(
            "the same event is a dead letter once more: sent-{position}; requeue or discard that one first"
        )));
    }
    sqlx::query("DELETE FROM outbox WHERE position = $1")
        .bind(position)
        .execute(tx.conn())
        .await?;
    Ok(())
}
