//! Slots, the essays in them, and what happened to each.

use huleedu_contracts::{
    error::ErrorDetail,
    events::file::EssayContentProvisionedV1,
    ids::{BatchId, EssayId, FileUploadId, StorageId},
    metadata::SpellcheckMetricsV1,
    status::EssayStatus,
};
use huleedu_kit::store::{StoreError, Tx};
use jiff::Timestamp;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use super::{json_opt, parsed, parsed_opt, time};
use crate::machine::Cause;

/// A slot with the essay in it, if there is one.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_field_names,
    reason = "the names of the columns and of the wire"
)]
pub(crate) struct Essay {
    pub(crate) batch_id: BatchId,
    pub(crate) essay_id: EssayId,
    pub(crate) status: EssayStatus,
    pub(crate) file_upload_id: Option<FileUploadId>,
    pub(crate) file_name: Option<String>,
    pub(crate) raw_file_storage_id: Option<StorageId>,
    pub(crate) text_storage_id: Option<StorageId>,
    pub(crate) corrected_text_storage_id: Option<StorageId>,
    pub(crate) corrections: Option<u32>,
    pub(crate) metrics: Option<SpellcheckMetricsV1>,
    pub(crate) error: Option<ErrorDetail>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Essay {
    fn of(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            batch_id: parsed(row, "batch_id")?,
            essay_id: parsed(row, "essay_id")?,
            status: parsed(row, "status")?,
            file_upload_id: parsed_opt(row, "file_upload_id")?,
            file_name: row.try_get("file_name")?,
            raw_file_storage_id: parsed_opt(row, "raw_file_storage_id")?,
            text_storage_id: parsed_opt(row, "text_storage_id")?,
            corrected_text_storage_id: parsed_opt(row, "corrected_text_storage_id")?,
            corrections: row
                .try_get::<Option<i64>, _>("corrections")?
                .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            metrics: json_opt(row, "spellcheck_metrics")?,
            error: json_opt(row, "error")?,
            created_at: time(row, "created_at")?,
            updated_at: time(row, "updated_at")?,
        })
    }
}

/// One step in an essay's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) status: EssayStatus,
    pub(crate) at: Timestamp,
}

/// What else a step changes; `None` keeps what is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change<'a> {
    pub(crate) corrected_text: Option<&'a StorageId>,
    pub(crate) error: Option<&'a ErrorDetail>,
}

/// Makes a free slot.
pub(crate) async fn insert_slot(
    tx: &mut Tx,
    batch_id: &BatchId,
    essay_id: &EssayId,
    slot: usize,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO essay_states (batch_id, essay_id, slot, status, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(batch_id.as_str())
    .bind(essay_id.as_str())
    .bind(i64::try_from(slot).unwrap_or(i64::MAX))
    .bind(EssayStatus::Uploaded.as_str())
    .bind(now.as_millisecond())
    .execute(tx.conn())
    .await?;
    note_step(
        tx,
        batch_id,
        essay_id,
        "registered",
        EssayStatus::Uploaded,
        now,
    )
    .await
}

/// The first free slot of a batch whose row is held.
pub(crate) async fn free_slot(
    tx: &mut Tx,
    batch_id: &BatchId,
) -> Result<Option<EssayId>, StoreError> {
    // The status is written out so that the partial index applies.
    let row = sqlx::query(
        "SELECT essay_id FROM essay_states WHERE batch_id = $1 AND status = 'uploaded' \
         ORDER BY slot LIMIT 1",
    )
    .bind(batch_id.as_str())
    .fetch_optional(tx.conn())
    .await?;
    row.map(|row| parsed(&row, "essay_id")).transpose()
}

/// Puts a file's text into a free slot.
pub(crate) async fn assign_content(
    tx: &mut Tx,
    essay_id: &EssayId,
    content: &EssayContentProvisionedV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE essay_states SET file_upload_id = $3, file_name = $4, raw_file_storage_id = $5, \
         text_storage_id = $6 WHERE batch_id = $1 AND essay_id = $2",
    )
    .bind(content.entity_id.as_str())
    .bind(essay_id.as_str())
    .bind(content.file_upload_id.as_str())
    .bind(content.original_file_name.as_str())
    .bind(content.raw_file_storage_id.as_str())
    .bind(content.text_storage_id.as_str())
    .execute(tx.conn())
    .await?;
    step(
        tx,
        &content.entity_id,
        essay_id,
        Cause::ContentAssigned,
        &Change::default(),
        now,
    )
    .await
}

/// Uses a free slot up for a file that cannot be assessed.
pub(crate) async fn reject_content(
    tx: &mut Tx,
    essay_id: &EssayId,
    file: &huleedu_contracts::events::file::EssayValidationFailedV1,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE essay_states SET file_upload_id = $3, file_name = $4, raw_file_storage_id = $5 \
         WHERE batch_id = $1 AND essay_id = $2",
    )
    .bind(file.entity_id.as_str())
    .bind(essay_id.as_str())
    .bind(file.file_upload_id.as_str())
    .bind(file.original_file_name.as_str())
    .bind(
        file.raw_file_storage_id
            .as_ref()
            .map(|id| id.as_str().to_owned()),
    )
    .execute(tx.conn())
    .await?;
    let change = Change {
        error: Some(&file.validation_error_detail),
        ..Change::default()
    };
    step(
        tx,
        &file.entity_id,
        essay_id,
        Cause::ContentRejected,
        &change,
        now,
    )
    .await
}

/// Moves an essay to the state that `cause` leads to. The caller has asked the state machine.
pub(crate) async fn step(
    tx: &mut Tx,
    batch_id: &BatchId,
    essay_id: &EssayId,
    cause: Cause,
    change: &Change<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let status = cause.leads_to();
    let error = change.error.map(serde_json::to_string).transpose()?;
    sqlx::query(
        "UPDATE essay_states SET status = $3, updated_at = $4, error = COALESCE($5, error), \
         corrected_text_storage_id = COALESCE($6, corrected_text_storage_id) \
         WHERE batch_id = $1 AND essay_id = $2",
    )
    .bind(batch_id.as_str())
    .bind(essay_id.as_str())
    .bind(status.as_str())
    .bind(now.as_millisecond())
    .bind(error)
    .bind(change.corrected_text.map(|id| id.as_str().to_owned()))
    .execute(tx.conn())
    .await?;
    note_step(tx, batch_id, essay_id, &cause.to_string(), status, now).await
}

/// Notes a step behind the others of the essay, never dated before them.
async fn note_step(
    tx: &mut Tx,
    batch_id: &BatchId,
    essay_id: &EssayId,
    cause: &str,
    status: EssayStatus,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Whoever waited for the batch's row read the clock before, and a clock may be set back.
    sqlx::query(
        "INSERT INTO essay_timeline (batch_id, essay_id, cause, status, at) \
         SELECT $1, $2, $3, $4, CASE WHEN MAX(at) > $5 THEN MAX(at) ELSE $5 END \
         FROM essay_timeline WHERE batch_id = $1 AND essay_id = $2",
    )
    .bind(batch_id.as_str())
    .bind(essay_id.as_str())
    .bind(cause)
    .bind(status.as_str())
    .bind(now.as_millisecond())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Notes what spell-checking found; `false` when there is no such essay. The state stays.
pub(crate) async fn add_spellcheck_findings(
    tx: &mut Tx,
    batch_id: &BatchId,
    essay_id: &EssayId,
    corrections: u32,
    metrics: &SpellcheckMetricsV1,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE essay_states SET corrections = $3, spellcheck_metrics = $4 \
         WHERE batch_id = $1 AND essay_id = $2",
    )
    .bind(batch_id.as_str())
    .bind(essay_id.as_str())
    .bind(i64::from(corrections))
    .bind(serde_json::to_string(metrics)?)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Where one essay of a batch stands.
pub(crate) async fn status(
    tx: &mut Tx,
    batch_id: &BatchId,
    essay_id: &EssayId,
) -> Result<Option<EssayStatus>, StoreError> {
    let row = sqlx::query("SELECT status FROM essay_states WHERE batch_id = $1 AND essay_id = $2")
        .bind(batch_id.as_str())
        .bind(essay_id.as_str())
        .fetch_optional(tx.conn())
        .await?;
    row.map(|row| parsed(&row, "status")).transpose()
}

/// All slots of a batch, in the order of the registration.
pub(crate) async fn of_batch(
    conn: &mut AnyConnection,
    batch_id: &BatchId,
) -> Result<Vec<Essay>, StoreError> {
    let rows = sqlx::query(
        "SELECT batch_id, essay_id, status, file_upload_id, file_name, raw_file_storage_id, \
         text_storage_id, corrected_text_storage_id, corrections, spellcheck_metrics, error, \
         created_at, updated_at FROM essay_states WHERE batch_id = $1 ORDER BY slot",
    )
    .bind(batch_id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(Essay::of).collect()
}

/// The essay with this id; when several batches have one, that of the batch registered last.
pub(crate) async fn latest(
    conn: &mut AnyConnection,
    essay_id: &EssayId,
) -> Result<Option<Essay>, StoreError> {
    let row = sqlx::query(
        "SELECT batch_id, essay_id, status, file_upload_id, file_name, raw_file_storage_id, \
         text_storage_id, corrected_text_storage_id, corrections, spellcheck_metrics, error, \
         created_at, updated_at FROM essay_states WHERE essay_id = $1 \
         ORDER BY created_at DESC, batch_id DESC LIMIT 1",
    )
    .bind(essay_id.as_str())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(Essay::of).transpose()
}

/// What happened to an essay, in order.
pub(crate) async fn steps(
    conn: &mut AnyConnection,
    essay: &Essay,
) -> Result<Vec<Step>, StoreError> {
    let rows = sqlx::query(
        "SELECT status, at FROM essay_timeline WHERE batch_id = $1 AND essay_id = $2 ORDER BY id",
    )
    .bind(essay.batch_id.as_str())
    .bind(essay.essay_id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Step {
                status: parsed(row, "status")?,
                at: time(row, "at")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use huleedu_contracts::ids::EventId;
    use huleedu_kit::{
        ServiceId,
        store::{PublishObserver, Store, StoreOptions},
        testing::service_env,
    };

    use super::*;
    use crate::schema::MIGRATIONS;

    #[derive(Debug)]
    struct Nobody;

    impl PublishObserver for Nobody {
        fn safe(&self, _: EventId, _: &str) {}
        fn delivered(&self, _: EventId, _: &str) {}
    }

    // Two events of one essay, on PostgreSQL: the later one read the clock first and then waited for
    // the row. Its step stood behind the other and was dated before it.
    #[tokio::test]
    async fn no_step_is_dated_before_the_one_it_follows() {
        let folder = tempfile::tempdir().unwrap();
        let env = service_env(ServiceId::EssayLifecycle, "", folder.path());
        let options = StoreOptions {
            url: env.get("DATABASE_URL").unwrap().to_owned(),
            max_connections: 1,
            outbox_limit: 10,
            observer: Arc::new(Nobody),
        };
        let store = Store::open(ServiceId::EssayLifecycle, options, MIGRATIONS)
            .await
            .unwrap();
        let (batch, essay) = ("b".parse().unwrap(), "e".parse().unwrap());
        let mut tx = store.begin().await.unwrap();
        let mut dates = Vec::new();
        for second in [20, 10, 30] {
            let now = Timestamp::from_second(second).unwrap();
            let status = EssayStatus::Uploaded;
            note_step(&mut tx, &batch, &essay, "test", status, now)
                .await
                .unwrap();
            let at = sqlx::query("SELECT at FROM essay_timeline ORDER BY id DESC LIMIT 1")
                .fetch_one(tx.conn())
                .await
                .unwrap();
            dates.push(time(&at, "at").unwrap().as_second());
        }
        assert_eq!(dates, [20, 20, 30]);
    }
}
