//! Batches and their essays in SQL.
//!
//! A batch is changed by compare-and-set on its version: [`save`] fails with
//! [`ChangeError::Conflict`] when somebody else was faster, and the caller starts again from a fresh
//! reading. So no change is made on the grounds of a state that no longer holds.

use huleedu_contracts::{
    api::orchestrator::EssayCounts,
    ids::{BatchId, CorrelationId, EssayId, UserId},
    metadata::EssayProcessingInputRefV1,
    status::BatchClientStatus,
};
use huleedu_kit::{
    consumer::HandlerError,
    http::ApiError,
    store::{StoreError, Tx, now_ms},
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};
use thiserror::Error;

use crate::batch::{Batch, PhaseChange, phase_changes};

/// A change that could not be stored.
#[derive(Debug, Error)]
pub(crate) enum ChangeError {
    /// Somebody else changed the batch since it was read.
    #[error("batch {0} was changed by somebody else")]
    Conflict(BatchId),
    /// The store failed.
    #[error("the batch could not be stored")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<ChangeError> for HandlerError {
    fn from(error: ChangeError) -> Self {
        Self::retry(error)
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Conflict(_) => Self::new(
                huleedu_contracts::error::ErrorCode::Conflict,
                "the batch is being changed by somebody else; try again",
            )
            .with_cause(error),
            ChangeError::Store(error) => error.into(),
        }
    }
}

/// Stores a new batch with its slots; `false` when a slot's name is taken by another batch.
pub(crate) async fn insert(
    tx: &mut Tx,
    batch: &Batch,
    slots: &[EssayId],
) -> Result<bool, StoreError> {
    sqlx::query(
        "INSERT INTO batches (id, user_id, expected_essay_count, registration, status, \
         client_status, state, failed_files, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(batch.id.as_str())
    .bind(batch.registration.user_id.as_str())
    .bind(i64::from(batch.expected()))
    .bind(json(&batch.registration)?)
    .bind(batch.state.status().as_str())
    .bind(client_status(batch).as_str())
    .bind(json(&batch.state)?)
    .bind(json(&batch.failed_files)?)
    .bind(batch.version)
    .bind(batch.created_at.as_millisecond())
    .bind(batch.updated_at.as_millisecond())
    .execute(tx.conn())
    .await?;
    for (place, slot) in slots.iter().enumerate() {
        let done = sqlx::query(
            "INSERT INTO batch_essays (essay_id, batch_id, place) VALUES ($1, $2, $3) \
             ON CONFLICT (essay_id) DO NOTHING",
        )
        .bind(slot.as_str())
        .bind(batch.id.as_str())
        .bind(i64::try_from(place).unwrap_or(i64::MAX))
        .execute(tx.conn())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a batch.
pub(crate) async fn load<'c>(
    from: impl Executor<'c, Database = Any>,
    id: &BatchId,
) -> Result<Option<Batch>, StoreError> {
    let row = sqlx::query(
        "SELECT id, registration, state, provisioned_count, failed_files, version, created_at, \
         updated_at FROM batches WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(from)
    .await?;
    row.as_ref().map(batch).transpose()
}

/// Which batches of a user are wanted.
#[derive(Debug, Clone)]
pub(crate) struct ListQuery {
    pub(crate) user: UserId,
    /// A status as services or as clients name it; none means all.
    pub(crate) status: Option<&'static str>,
    pub(crate) limit: u32,
    pub(crate) offset: u32,
}

/// The batches of a user, the newest first, and how many there are.
pub(crate) async fn list(
    conn: &mut AnyConnection,
    query: &ListQuery,
) -> Result<(Vec<Batch>, u64), StoreError> {
    let status = query.status.unwrap_or("");
    let total: i64 = sqlx::query(
        "SELECT COUNT(*) FROM batches \
         WHERE user_id = $1 AND ($2 = '' OR status = $2 OR client_status = $2)",
    )
    .bind(query.user.as_str())
    .bind(status)
    .fetch_one(&mut *conn)
    .await?
    .try_get(0)?;
    let rows = sqlx::query(
        "SELECT id, registration, state, provisioned_count, failed_files, version, created_at, \
         updated_at FROM batches \
         WHERE user_id = $1 AND ($2 = '' OR status = $2 OR client_status = $2) \
         ORDER BY created_at DESC, id LIMIT $3 OFFSET $4",
    )
    .bind(query.user.as_str())
    .bind(status)
    .bind(i64::from(query.limit))
    .bind(i64::from(query.offset))
    .fetch_all(conn)
    .await?;
    let batches = rows.iter().map(batch).collect::<Result<_, _>>()?;
    Ok((batches, u64::try_from(total).unwrap_or(0)))
}

/// Stores `after` in place of `before`, which must be what was read, and logs every phase whose
/// status differs. Both the version and the time of change are set in `after`.
pub(crate) async fn save(
    tx: &mut Tx,
    before: &Batch,
    after: &mut Batch,
) -> Result<(), ChangeError> {
    after.version = before.version + 1;
    after.updated_at = Timestamp::now();
    let done = sqlx::query(
        "UPDATE batches SET registration = $1, status = $2, client_status = $3, state = $4, \
         provisioned_count = $5, failed_files = $6, version = $7, updated_at = $8 \
         WHERE id = $9 AND version = $10",
    )
    .bind(json(&after.registration)?)
    .bind(after.state.status().as_str())
    .bind(client_status(after).as_str())
    .bind(json(&after.state)?)
    .bind(after.provisioned.map(i64::from))
    .bind(json(&after.failed_files)?)
    .bind(after.version)
    .bind(after.updated_at.as_millisecond())
    .bind(after.id.as_str())
    .bind(before.version)
    .execute(tx.conn())
    .await?;
    if done.rows_affected() != 1 {
        return Err(ChangeError::Conflict(after.id.clone()));
    }
    let request = after.state.request();
    let correlation = request.map(|request| request.asked.client_correlation_id);
    for change in phase_changes(&before.phases(), &after.phases()) {
        log_phase(tx, &after.id, &change, correlation).await?;
    }
    Ok(())
}

async fn log_phase(
    tx: &mut Tx,
    batch: &BatchId,
    change: &PhaseChange,
    correlation: Option<CorrelationId>,
) -> Result<(), StoreError> {
    let EssayCounts {
        successful, failed, ..
    } = change.counts;
    sqlx::query(
        "INSERT INTO phase_status_log (batch_id, phase, from_status, to_status, successful, \
         failed, correlation_id, logged_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(batch.as_str())
    .bind(change.phase.as_str())
    .bind(
        change
            .from
            .map(huleedu_contracts::status::PipelineExecutionStatus::as_str),
    )
    .bind(change.to.as_str())
    .bind(i64::from(successful))
    .bind(i64::from(failed))
    .bind(correlation.map(|id| id.to_string()).unwrap_or_default())
    .bind(now_ms())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Fills the slots that were handed over; the others have failed. Answers how many are filled.
pub(crate) async fn fill_slots(
    tx: &mut Tx,
    batch: &BatchId,
    essays: &[EssayProcessingInputRefV1],
) -> Result<u32, StoreError> {
    let mut filled = 0;
    for essay in essays {
        // A slot that is filled already was listed twice.
        let done = sqlx::query(
            "UPDATE batch_essays SET text_storage_id = $1, spellcheck_metrics = $2 \
             WHERE batch_id = $3 AND essay_id = $4 AND text_storage_id IS NULL",
        )
        .bind(essay.text_storage_id.as_str())
        .bind(essay.spellcheck_metrics.as_ref().map(json).transpose()?)
        .bind(batch.as_str())
        .bind(essay.essay_id.as_str())
        .execute(tx.conn())
        .await?;
        filled += u32::try_from(done.rows_affected()).unwrap_or(0);
    }
    sqlx::query(
        "UPDATE batch_essays SET failed_in = 'content' \
         WHERE batch_id = $1 AND text_storage_id IS NULL",
    )
    .bind(batch.as_str())
    .execute(tx.conn())
    .await?;
    Ok(filled)
}

/// The essays that can enter the next phase, in the order of their slots.
pub(crate) async fn survivors<'c>(
    from: impl Executor<'c, Database = Any>,
    batch: &BatchId,
) -> Result<Vec<EssayProcessingInputRefV1>, StoreError> {
    let rows = sqlx::query(
        "SELECT essay_id, text_storage_id, spellcheck_metrics FROM batch_essays \
         WHERE batch_id = $1 AND text_storage_id IS NOT NULL AND failed_in IS NULL ORDER BY place",
    )
    .bind(batch.as_str())
    .fetch_all(from)
    .await?;
    rows.iter()
        .map(|row| {
            let (id, text): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let metrics: Option<String> = row.try_get(2)?;
            Ok(EssayProcessingInputRefV1 {
                essay_id: id.parse().map_err(corrupt)?,
                text_storage_id: text.parse().map_err(corrupt)?,
                spellcheck_metrics: metrics.as_deref().map(parse).transpose()?,
            })
        })
        .collect()
}

/// Notes the new text of an essay that goes on. Metrics that are not told again are kept.
pub(crate) async fn set_text(
    tx: &mut Tx,
    essay: &EssayProcessingInputRefV1,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE batch_essays SET text_storage_id = $1, \
         spellcheck_metrics = COALESCE($2, spellcheck_metrics) WHERE essay_id = $3",
    )
    .bind(essay.text_storage_id.as_str())
    .bind(essay.spellcheck_metrics.as_ref().map(json).transpose()?)
    .bind(essay.essay_id.as_str())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Notes that an essay does not go on.
pub(crate) async fn set_failed(
    tx: &mut Tx,
    essay: &EssayId,
    phase: &'static str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE batch_essays SET failed_in = $1 WHERE essay_id = $2")
        .bind(phase)
        .bind(essay.as_str())
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn client_status(batch: &Batch) -> BatchClientStatus {
    batch.state.status().into()
}

fn batch(row: &AnyRow) -> Result<Batch, StoreError> {
    let (id, registration): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let (state, failed_files): (String, String) = (row.try_get(2)?, row.try_get(4)?);
    let provisioned: Option<i64> = row.try_get(3)?;
    let count = |n| u32::try_from(n).map_err(corrupt);
    Ok(Batch {
        id: id.parse().map_err(corrupt)?,
        registration: parse(&registration)?,
        state: parse(&state)?,
        provisioned: provisioned.map(count).transpose()?,
        failed_files: parse(&failed_files)?,
        version: row.try_get(5)?,
        created_at: Timestamp::from_millisecond(row.try_get(6)?).map_err(corrupt)?,
        updated_at: Timestamp::from_millisecond(row.try_get(7)?).map_err(corrupt)?,
    })
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    Ok(serde_json::to_string(value)?)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(corrupt)
}

fn corrupt(error: impl std::error::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use huleedu_kit::store::{NoObserver, Store, StoreOptions};

    use super::*;
    use crate::{
        batch::FailedFiles,
        machine::{BatchState, Phase},
        schema,
    };

    async fn store(folder: &tempfile::TempDir) -> Store {
        let options = StoreOptions {
            url: format!("sqlite://{}/test.db", folder.path().display()),
            max_connections: 2,
            outbox_limit: 10,
            observer: Arc::new(NoObserver),
        };
        Store::open(crate::SERVICE, options, schema::MIGRATIONS)
            .await
            .unwrap()
    }

    fn new_batch() -> Batch {
        let registration = r#"{"expected_essay_count":2,"course_code":"ENG5","user_id":"u"}"#;
        let now = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        Batch {
            id: BatchId::random(),
            registration: serde_json::from_str(registration).unwrap(),
            state: BatchState::registered(),
            provisioned: None,
            failed_files: FailedFiles::default(),
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The result of the comparison used to be thrown away, and the slower of two changes won.
    #[tokio::test]
    async fn the_slower_of_two_changes_is_refused_and_leaves_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        let batch = new_batch();
        let slots = [EssayId::random(), EssayId::random()];
        let mut tx = store.begin().await.unwrap();
        assert!(insert(&mut tx, &batch, &slots).await.unwrap());
        tx.commit().await.unwrap();
        let read = load(store.pool(), &batch.id).await.unwrap().unwrap();
        assert_eq!(read, batch, "what is read is what was stored");

        let (mut faster, mut slower) = (read.clone(), read.clone());
        faster.state = BatchState::Ready { requested: None };
        faster.provisioned = Some(2);
        let mut tx = store.begin().await.unwrap();
        save(&mut tx, &read, &mut faster).await.unwrap();
        tx.commit().await.unwrap();

        slower.state = BatchState::ContentFailed { requested: None };
        let mut tx = store.begin().await.unwrap();
        let refused = save(&mut tx, &read, &mut slower).await.unwrap_err();
        assert!(matches!(&refused, ChangeError::Conflict(id) if *id == batch.id));
        assert!(matches!(refused.into(), HandlerError::Retry { .. }));
        drop(tx);
        let now = load(store.pool(), &batch.id).await.unwrap().unwrap();
        assert_eq!((now.state, now.version), (faster.state, 2));
    }

    #[tokio::test]
    async fn slots_are_filled_once_and_only_survivors_go_on() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        let batch = new_batch();
        let [one, two, stranger] = [(); 3].map(|()| EssayId::random());
        let text = |n| huleedu_contracts::ids::StorageId::from_bytes([n; 16]);
        let essay = |id: &EssayId, n| EssayProcessingInputRefV1::new(id.clone(), text(n));
        let mut tx = store.begin().await.unwrap();
        insert(&mut tx, &batch, &[one.clone(), two.clone()])
            .await
            .unwrap();
        let told = [
            essay(&two, 2),
            essay(&two, 3),
            essay(&one, 1),
            essay(&stranger, 4),
        ];
        let filled = fill_slots(&mut tx, &batch.id, &told).await.unwrap();
        assert_eq!(filled, 2, "listed twice counts once, a stranger not at all");
        let found = survivors(tx.conn(), &batch.id).await.unwrap();
        assert_eq!(found, [essay(&one, 1), essay(&two, 2)]);

        let phase = Phase::Spellcheck.name().as_str();
        set_failed(&mut tx, &one, phase).await.unwrap();
        set_text(&mut tx, &essay(&two, 9)).await.unwrap();
        let found = survivors(tx.conn(), &batch.id).await.unwrap();
        assert_eq!(found, [essay(&two, 9)]);
    }
}
