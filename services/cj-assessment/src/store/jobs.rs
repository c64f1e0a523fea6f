//! The table of jobs.

use std::time::Duration;

use fusebox::backoff::Backoff;
use huleedu_contracts::{
    error::ErrorDetail,
    events::cj::ELS_CJAssessmentRequestV1,
    ids::{BatchId, CorrelationId},
    status::CjBatchStatus,
};
use huleedu_kit::{
    CallContext,
    store::{StoreError, Tx, now_ms},
};
use sqlx::Row as _;

use super::{Jobs, json, signed, unsigned};
use crate::decision::Reason;

/// One request to rank a batch.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) request: ELS_CJAssessmentRequestV1,
    pub(crate) status: CjBatchStatus,
    pub(crate) assignment_text: Option<String>,
    pub(crate) budget: Option<usize>,
    pub(crate) error: Option<ErrorDetail>,
    pub(crate) context: CallContext,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

impl Jobs {
    /// Stores a request with its essays; an essay that is named twice is taken once.
    pub(crate) async fn insert(
        &self,
        tx: &mut Tx,
        job_id: &str,
        request: &ELS_CJAssessmentRequestV1,
        context: CallContext,
    ) -> Result<(), StoreError> {
        let now = now_ms();
        sqlx::query(
            "INSERT INTO cj_jobs (job_id, batch_id, request, status, open, correlation_id, \
             traceparent, created_at, updated_at) VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $7)",
        )
        .bind(job_id)
        .bind(request.entity_id.as_str())
        .bind(serde_json::to_string(request)?)
        .bind(CjBatchStatus::Pending.as_str())
        .bind(context.correlation_id.to_string())
        .bind(context.trace.to_string())
        .bind(now)
        .execute(tx.conn())
        .await?;
        for essay in &request.essays_for_cj {
            sqlx::query(
                "INSERT INTO cj_essays (job_id, essay_id, text_storage_id) VALUES ($1, $2, $3) \
                 ON CONFLICT (job_id, essay_id) DO NOTHING",
            )
            .bind(job_id)
            .bind(essay.essay_id.as_str())
            .bind(essay.text_storage_id.as_str())
            .execute(tx.conn())
            .await?;
        }
        Ok(())
    }

    /// The open jobs whose time has come, oldest first.
    pub(crate) async fn due(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT job_id FROM cj_jobs WHERE open = 1 AND next_try_at <= $1 \
             ORDER BY position LIMIT $2",
        )
        .bind(now_ms())
        .bind(signed(limit))
        .fetch_all(self.store.pool())
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// When the next job that waits is due, in Unix milliseconds.
    pub(crate) async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        let row =
            sqlx::query("SELECT MIN(next_try_at) FROM cj_jobs WHERE open = 1 AND next_try_at > $1")
                .bind(now_ms())
                .fetch_one(self.store.pool())
                .await?;
        Ok(row.try_get(0)?)
    }

    /// Makes every open job due.
    pub(crate) async fn make_due(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE cj_jobs SET next_try_at = 0, attempts = 0 WHERE open = 1")
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Lets a job wait: as long as was asked, and longer from try to try.
    pub(crate) async fn postpone(
        &self,
        job_id: &str,
        asked: Duration,
        backoff: &Backoff,
    ) -> Result<(), StoreError> {
        let row = sqlx::query("SELECT attempts FROM cj_jobs WHERE job_id = $1")
            .bind(job_id)
            .fetch_one(self.store.pool())
            .await?;
        let attempts: u32 = unsigned("cj_jobs.attempts", row.try_get(0)?)?;
        let wait = backoff
            .delay(attempts, rand::random())
            .max(asked.min(backoff.max));
        sqlx::query(
            "UPDATE cj_jobs SET next_try_at = $2, attempts = attempts + 1 WHERE job_id = $1",
        )
        .bind(job_id)
        .bind(now_ms().saturating_add(signed(wait.as_millis())))
        .execute(self.store.pool())
        .await?;
        Ok(())
    }

    /// A job by its id.
    pub(crate) async fn load(&self, job_id: &str) -> Result<Option<Job>, StoreError> {
        let row = sqlx::query(
            "SELECT job_id, request, status, assignment_text, budget, error, correlation_id, \
             traceparent, created_at, updated_at FROM cj_jobs WHERE job_id = $1",
        )
        .bind(job_id)
        .fetch_optional(self.store.pool())
        .await?;
        row.as_ref().map(job).transpose()
    }

    /// The latest job of a batch.
    pub(crate) async fn latest_of(&self, batch: &BatchId) -> Result<Option<Job>, StoreError> {
        let row = sqlx::query(
            "SELECT job_id, request, status, assignment_text, budget, error, correlation_id, \
             traceparent, created_at, updated_at FROM cj_jobs WHERE batch_id = $1 \
             ORDER BY position DESC LIMIT 1",
        )
        .bind(batch.as_str())
        .fetch_optional(self.store.pool())
        .await?;
        row.as_ref().map(job).transpose()
    }

    /// Notes that texts are being fetched.
    pub(crate) async fn begin_fetching(&self, job_id: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE cj_jobs SET status = $2, updated_at = $3 WHERE job_id = $1 AND status = $4",
        )
        .bind(job_id)
        .bind(CjBatchStatus::FetchingContent.as_str())
        .bind(now_ms())
        .bind(CjBatchStatus::Pending.as_str())
        .execute(self.store.pool())
        .await?;
        Ok(())
    }

    /// Fixes what the comparisons need: the assignment's text, the budget and every essay's index.
    pub(crate) async fn begin_comparing(
        &self,
        job_id: &str,
        assignment_text: Option<&str>,
        budget: usize,
        nodes: &[String],
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let done = sqlx::query(
            "UPDATE cj_jobs SET status = $2, assignment_text = $3, budget = $4, attempts = 0, \
             updated_at = $5 WHERE job_id = $1 AND status = $6",
        )
        .bind(job_id)
        .bind(CjBatchStatus::PerformingComparisons.as_str())
        .bind(assignment_text)
        .bind(signed(budget))
        .bind(now_ms())
        .bind(CjBatchStatus::FetchingContent.as_str())
        .execute(tx.conn())
        .await?;
        if done.rows_affected() == 1 {
            for (node, essay_id) in nodes.iter().enumerate() {
                sqlx::query("UPDATE cj_essays SET node = $3 WHERE job_id = $1 AND essay_id = $2")
                    .bind(job_id)
                    .bind(essay_id.as_str())
                    .bind(signed(node))
                    .execute(tx.conn())
                    .await?;
            }
        }
        tx.commit().await
    }

    /// Closes a job in `tx` and forgets its texts; `false` when it was closed before.
    pub(crate) async fn close(
        &self,
        tx: &mut Tx,
        job_id: &str,
        status: CjBatchStatus,
        reason: Option<Reason>,
        error: Option<&ErrorDetail>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE cj_jobs SET status = $2, open = 0, end_reason = $3, error = $4, \
             updated_at = $5 WHERE job_id = $1 AND open = 1",
        )
        .bind(job_id)
        .bind(status.as_str())
        .bind(reason.map(Reason::as_str))
        .bind(error.map(serde_json::to_string).transpose()?)
        .bind(now_ms())
        .execute(tx.conn())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("UPDATE cj_essays SET text = NULL WHERE job_id = $1")
            .bind(job_id)
            .execute(tx.conn())
            .await?;
        Ok(true)
    }
}

fn job(row: &sqlx::any::AnyRow) -> Result<Job, StoreError> {
    let status: String = row.try_get("status")?;
    let correlation: String = row.try_get("correlation_id")?;
    let traceparent: String = row.try_get("traceparent")?;
    let error: Option<String> = row.try_get("error")?;
    let budget: Option<i64> = row.try_get("budget")?;
    Ok(Job {
        id: row.try_get("job_id")?,
        request: json("cj_jobs.request", &row.try_get::<String, _>("request")?)?,
        status: status
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("cj_jobs.status `{status}`")))?,
        assignment_text: row.try_get("assignment_text")?,
        budget: budget
            .map(|budget| unsigned("cj_jobs.budget", budget))
            .transpose()?,
        error: error
            .map(|error| json("cj_jobs.error", &error))
            .transpose()?,
        context: CallContext::from_parts(
            Some(CorrelationId::from_header(&correlation)),
            Some(&traceparent),
        ),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
