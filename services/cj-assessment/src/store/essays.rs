//! The table of essays.

use huleedu_contracts::{
    error::ErrorDetail,
    ids::{EssayId, StorageId},
};
use huleedu_kit::store::{StoreError, Tx};
use sqlx::Row as _;

use super::{Jobs, json, signed, unsigned};

/// One essay of a job.
#[derive(Debug, Clone)]
pub(crate) struct Essay {
    pub(crate) id: EssayId,
    pub(crate) text_storage_id: StorageId,
    /// Its text, once fetched; empty again at the job's end.
    pub(crate) text: Option<String>,
    /// Its index in the mathematics.
    pub(crate) node: Option<usize>,
    /// Why it takes no part.
    pub(crate) error: Option<ErrorDetail>,
    /// Its result, at the job's end.
    pub(crate) placed: Option<Placed>,
}

/// The result of one essay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed {
    pub(crate) score: f64,
    pub(crate) standard_error: f64,
    pub(crate) normalized_score: f64,
    /// From 1.
    pub(crate) rank: u32,
}

impl Jobs {
    /// The essays of a job, by id.
    pub(crate) async fn essays(&self, job_id: &str) -> Result<Vec<Essay>, StoreError> {
        let rows = sqlx::query(
            "SELECT essay_id, text_storage_id, text, node, error, score, standard_error, \
             normalized_score, place FROM cj_essays WHERE job_id = $1 ORDER BY essay_id",
        )
        .bind(job_id)
        .fetch_all(self.store.pool())
        .await?;
        rows.iter().map(essay).collect()
    }

    /// Keeps the text of an essay.
    pub(crate) async fn keep_text(
        &self,
        job_id: &str,
        essay: &EssayId,
        text: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE cj_essays SET text = $3 WHERE job_id = $1 AND essay_id = $2")
            .bind(job_id)
            .bind(essay.as_str())
            .bind(text)
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Leaves an essay out of the assessment.
    pub(crate) async fn leave_out(
        &self,
        job_id: &str,
        essay: &EssayId,
        error: &ErrorDetail,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE cj_essays SET error = $3 WHERE job_id = $1 AND essay_id = $2")
            .bind(job_id)
            .bind(essay.as_str())
            .bind(serde_json::to_string(error)?)
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Keeps the result of an essay.
    pub(crate) async fn place(
        &self,
        tx: &mut Tx,
        job_id: &str,
        essay: &EssayId,
        placed: Placed,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE cj_essays SET score = $3, standard_error = $4, normalized_score = $5, \
             place = $6 WHERE job_id = $1 AND essay_id = $2",
        )
        .bind(job_id)
        .bind(essay.as_str())
        .bind(placed.score)
        .bind(placed.standard_error)
        .bind(placed.normalized_score)
        .bind(signed(placed.rank))
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}

fn essay(row: &sqlx::any::AnyRow) -> Result<Essay, StoreError> {
    let id: String = row.try_get("essay_id")?;
    let storage: String = row.try_get("text_storage_id")?;
    let error: Option<String> = row.try_get("error")?;
    let node: Option<i64> = row.try_get("node")?;
    let score: Option<f64> = row.try_get("score")?;
    let placed = match score {
        None => None,
        Some(score) => Some(Placed {
            score,
            standard_error: row.try_get("standard_error")?,
            normalized_score: row.try_get("normalized_score")?,
            rank: unsigned("cj_essays.place", row.try_get("place")?)?,
        }),
    };
    Ok(Essay {
        id: EssayId::new(id).map_err(|error| StoreError::Corrupt(error.to_string()))?,
        text_storage_id: StorageId::new(storage)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?,
        text: row.try_get("text")?,
        node: node
            .map(|node| unsigned("cj_essays.node", node))
            .transpose()?,
        error: error
            .map(|error| json("cj_essays.error", &error))
            .transpose()?,
        placed,
    })
}
