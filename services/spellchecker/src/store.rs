//! SQL of this service: the row of a finished request.

use huleedu_contracts::{events::spellcheck::EssayLifecycleSpellcheckRequestV1, ids::EventId};
use huleedu_kit::store::{StoreError, Tx, now_ms};

use crate::{
    check::{Checked, Rejected},
    engine::{self, Metrics},
};

/// Writes what became of a request.
pub(crate) async fn insert_job(
    tx: &mut Tx,
    event_id: EventId,
    request: &EssayLifecycleSpellcheckRequestV1,
    correlation_id: String,
    result: &Result<Checked, Rejected>,
    duration_ms: u64,
) -> Result<(), StoreError> {
    let (metrics, corrections, corrected_text) = match result {
        Ok(checked) => (
            checked.correction.metrics,
            serde_json::to_string(&checked.correction.corrections)?,
            Some(checked.corrected_text.to_string()),
        ),
        Err(_) => (Metrics::default(), "[]".to_owned(), None),
    };
    let failure = result.as_ref().err();
    sqlx::query(
        "INSERT INTO spellcheck_jobs (event_id, essay_id, batch_id, correlation_id, language, \
         status, error_code, error_message, original_text_storage_id, corrected_text_storage_id, \
         word_count, total_corrections, l2_dictionary_corrections, spellchecker_corrections, \
         corrections, processor_version, processing_duration_ms, completed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(event_id.to_string())
    .bind(request.entity_id.to_string())
    .bind(request.parent_id.to_string())
    .bind(correlation_id)
    .bind(request.language.to_string())
    .bind(if failure.is_some() {
        "failed"
    } else {
        "completed"
    })
    .bind(failure.map(|rejected| rejected.code().as_str()))
    .bind(failure.map(Rejected::message))
    .bind(request.text_storage_id.to_string())
    .bind(corrected_text)
    .bind(count(metrics.word_count))
    .bind(count(metrics.total_corrections))
    .bind(count(metrics.l2_dictionary_corrections))
    .bind(count(metrics.spellchecker_corrections))
    .bind(corrections)
    .bind(engine::VERSION)
    .bind(i64::try_from(duration_ms).unwrap_or(i64::MAX))
    .bind(now_ms())
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
