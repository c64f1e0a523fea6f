//! How a batch is filled: its registration, the files that take its slots or use them up, and the
//! one moment at which every slot is settled.
//!
//! A file is known by its upload id, not by its text: two equal texts are two essays. The first
//! thing said about an upload stands.
//!
//! | file | batch | what happens |
//! |---|---|---|
//! | any | not registered | kept until the registration, within bounds |
//! | any | upload settled before | nothing |
//! | text stored | slot free | slot `ready_for_processing`, slot assigned |
//! | text stored | no slot free | excess content |
//! | cannot be assessed | slot free | slot `content_ingestion_failed`, failure recorded |
//! | cannot be assessed | no slot free | failure recorded |

use std::collections::HashSet;

use huleedu_contracts::{
    events::{
        EventName,
        batch::{
            BatchContentProvisioningCompletedV1, BatchErrorSummary, BatchEssaysRegistered,
            BatchValidationErrorsV1, EssayValidationError, ExcessContentProvisionedV1,
        },
        essay::EssaySlotAssignedV1,
        file::{EssayContentProvisionedV1, EssayValidationFailedV1},
    },
    ids::{BatchId, CorrelationId, FileUploadId},
    metadata::{EssayProcessingInputRefV1, SystemProcessingMetadata},
    status::ProcessingStage,
};
use huleedu_kit::{
    consumer::HandlerError,
    context::CallContext,
    store::{StoreError, Tx},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::{
    settings::Settings,
    store::{
        batches::{self, Tracker},
        essays, files, pending,
    },
};

/// What the File Service says about one upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrival {
    /// Its text is stored.
    Content(EssayContentProvisionedV1),
    /// It cannot be assessed.
    Failure(EssayValidationFailedV1),
}

impl Arrival {
    fn batch_id(&self) -> &BatchId {
        match self {
            Self::Content(content) => &content.entity_id,
            Self::Failure(failure) => &failure.entity_id,
        }
    }

    fn file_upload_id(&self) -> &FileUploadId {
        match self {
            Self::Content(content) => &content.file_upload_id,
            Self::Failure(failure) => &failure.file_upload_id,
        }
    }
}

/// An event of the intake that can never be applied.
#[derive(Debug, Error)]
pub(crate) enum IntakeError {
    /// The slots do not fit the number of files.
    #[error("batch {batch_id} expects {expected} files and has {slots} different slots")]
    SlotsDoNotFit {
        batch_id: BatchId,
        expected: u32,
        slots: usize,
    },
    /// Nobody registers these batches, and what waits for them is bounded.
    #[error("{waiting} files wait for the registration of {of}; {limit} are allowed")]
    TooManyWait {
        of: &'static str,
        waiting: u64,
        limit: u64,
    },
}

/// Makes a batch with its slots, and lets in what came before it.
pub(crate) async fn register(
    tx: &mut Tx,
    batch: &BatchEssaysRegistered,
    now: Timestamp,
) -> Result<(), HandlerError> {
    let expected = batch.expected_essay_count.get();
    let distinct: HashSet<_> = batch.essay_ids.iter().collect();
    if distinct.len() != batch.essay_ids.len()
        || u32::try_from(distinct.len()).ok() != Some(expected)
    {
        return Err(HandlerError::permanent(IntakeError::SlotsDoNotFit {
            batch_id: batch.entity_id.clone(),
            expected,
            slots: distinct.len(),
        }));
    }
    pending::gate(tx, &batch.entity_id, now).await?;
    if !batches::insert(tx, batch, now).await? {
        info!(batch_id = %batch.entity_id, "batch was registered before");
        pending::drop_gate(tx, &batch.entity_id).await?;
        return Ok(());
    }
    for (slot, essay_id) in batch.essay_ids.iter().enumerate() {
        essays::insert_slot(tx, &batch.entity_id, essay_id, slot, now).await?;
    }
    let early = pending::take(tx, &batch.entity_id).await?;
    info!(batch_id = %batch.entity_id, slots = expected, early = early.len(), "batch registered");
    if early.is_empty() {
        return Ok(());
    }
    let mut tracker = locked(tx, &batch.entity_id).await?;
    for payload in early {
        let arrival: Arrival = serde_json::from_str(&payload).map_err(StoreError::Json)?;
        settle(tx, &mut tracker, &arrival, now).await?;
    }
    Ok(())
}

/// Lets one file take its slot, or keeps it until its batch is registered.
pub(crate) async fn take_in(
    tx: &mut Tx,
    arrival: &Arrival,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), HandlerError> {
    let batch_id = arrival.batch_id();
    if let Some(mut tracker) = batches::lock(tx, batch_id).await? {
        settle(tx, &mut tracker, arrival, now).await?;
        return Ok(());
    }
    // Whoever holds the gate may be registering the batch this moment: ask again behind it.
    let waiting = pending::gate(tx, batch_id, now).await?;
    if let Some(mut tracker) = batches::lock(tx, batch_id).await? {
        pending::drop_gate(tx, batch_id).await?;
        settle(tx, &mut tracker, arrival, now).await?;
        return Ok(());
    }
    keep(tx, arrival, waiting, settings, now).await
}

async fn keep(
    tx: &mut Tx,
    arrival: &Arrival,
    waiting: u64,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), HandlerError> {
    let batch_id = arrival.batch_id();
    let too_many = |of, waiting, limit| {
        HandlerError::permanent(IntakeError::TooManyWait { of, waiting, limit })
    };
    let payload = serde_json::to_string(arrival).map_err(StoreError::Json)?;
    if !pending::keep(tx, batch_id, arrival.file_upload_id(), payload).await? {
        debug!(%batch_id, "file waits for its batch already");
        return Ok(());
    }
    // Both refusals undo what was just written: the transaction ends without a commit.
    if waiting >= settings.pending_limit_per_batch {
        return Err(too_many(
            "one batch",
            waiting,
            settings.pending_limit_per_batch,
        ));
    }
    if pending::total(tx).await? > settings.pending_limit {
        let dropped = pending::expire(tx, now, settings.pending_max_age).await?;
        let total = pending::total(tx).await?;
        if total > settings.pending_limit {
            return Err(too_many("all batches", total - 1, settings.pending_limit));
        }
        warn!(
            dropped,
            "files of batches that were never registered made room"
        );
    }
    info!(%batch_id, "file waits for the registration of its batch");
    Ok(())
}

/// Settles one upload of a batch whose row is held.
async fn settle(
    tx: &mut Tx,
    tracker: &mut Tracker,
    arrival: &Arrival,
    now: Timestamp,
) -> Result<(), StoreError> {
    if files::is_settled(tx, &tracker.batch_id, arrival.file_upload_id()).await? {
        debug!(batch_id = %tracker.batch_id, "upload was settled before");
        return Ok(());
    }
    let slot = essays::free_slot(tx, &tracker.batch_id).await?;
    match (arrival, slot) {
        (Arrival::Content(content), Some(essay_id)) => {
            essays::assign_content(tx, &essay_id, content, now).await?;
            tracker.provisioned += 1;
            tx.publish(EssaySlotAssignedV1 {
                event: EventName::new(),
                batch_id: content.entity_id.clone(),
                essay_id,
                file_upload_id: content.file_upload_id.clone(),
                text_storage_id: content.text_storage_id.clone(),
                original_file_name: content.original_file_name.clone(),
                correlation_id: content.correlation_id,
                timestamp: now,
            })
            .await?;
        }
        (Arrival::Failure(failure), Some(essay_id)) => {
            essays::reject_content(tx, &essay_id, failure, now).await?;
            files::insert_failure(tx, failure, Some(&essay_id), now).await?;
            tracker.failed += 1;
        }
        (Arrival::Content(content), None) => {
            files::insert_excess(tx, content, now).await?;
            warn!(batch_id = %tracker.batch_id, "file found no free slot");
            tx.publish(ExcessContentProvisionedV1 {
                event: EventName::new(),
                batch_id: content.entity_id.clone(),
                original_file_name: content.original_file_name.clone(),
                text_storage_id: content.text_storage_id.clone(),
                reason: format!("all {} slots of the batch are used", tracker.expected),
                correlation_id: content.correlation_id,
                timestamp: now,
            })
            .await?;
            return Ok(());
        }
        (Arrival::Failure(failure), None) => {
            files::insert_failure(tx, failure, None, now).await?;
            return Ok(());
        }
    }
    batches::save_counts(tx, tracker).await?;
    if tracker.provisioned + tracker.failed == tracker.expected {
        complete(tx, tracker, now).await?;
    }
    Ok(())
}

/// Hands the batch over, once.
async fn complete(tx: &mut Tx, tracker: &Tracker, now: Timestamp) -> Result<(), StoreError> {
    if !batches::complete_provisioning(tx, &tracker.batch_id, now).await? {
        return Ok(());
    }
    info!(
        batch_id = %tracker.batch_id,
        provisioned = tracker.provisioned,
        failed = tracker.failed,
        "every slot of the batch is settled"
    );
    let correlation_id = CallContext::current().correlation_id;
    if tracker.failed > 0 {
        publish_failures(tx, tracker, correlation_id, now).await?;
    }
    let essays_for_processing = essays::of_batch(tx.conn(), &tracker.batch_id)
        .await?
        .into_iter()
        .filter_map(|essay| {
            let text = essay.text_storage_id?;
            Some(EssayProcessingInputRefV1::new(essay.essay_id, text))
        })
        .collect();
    tx.publish(BatchContentProvisioningCompletedV1 {
        event: EventName::new(),
        batch_id: tracker.batch_id.clone(),
        provisioned_count: tracker.provisioned,
        expected_count: tracker.expected,
        course_code: tracker.course_code,
        user_id: tracker.user_id.clone(),
        essays_for_processing,
        correlation_id,
        timestamp: now,
    })
    .await?;
    Ok(())
}

async fn publish_failures(
    tx: &mut Tx,
    tracker: &Tracker,
    correlation_id: CorrelationId,
    now: Timestamp,
) -> Result<(), StoreError> {
    // A failed file that came when no slot was left used none up and is not of this list.
    let failures: Vec<_> = files::failures(tx.conn(), &tracker.batch_id)
        .await?
        .into_iter()
        .filter_map(|failure| Some((failure.essay_id.clone()?, failure)))
        .collect();
    let codes = failures.iter().map(|(_, failure)| failure.code);
    let error_summary = BatchErrorSummary::count(codes, tracker.provisioned == 0);
    let failed_essays = failures
        .into_iter()
        .map(|(essay_id, failure)| EssayValidationError {
            essay_id,
            file_name: failure.file_name,
            error_detail: failure.detail,
            failed_at: failure.failed_at,
        })
        .collect();
    tx.publish(BatchValidationErrorsV1 {
        event: EventName::new(),
        batch_id: tracker.batch_id.clone(),
        failed_essays,
        error_summary,
        correlation_id,
        metadata: SystemProcessingMetadata::for_batch(&tracker.batch_id, now)
            .with_stage(ProcessingStage::Failed),
    })
    .await?;
    Ok(())
}

/// The row of a batch that was registered in this very transaction.
async fn locked(tx: &mut Tx, batch_id: &BatchId) -> Result<Tracker, StoreError> {
    batches::lock(tx, batch_id)
        .await?
        .ok_or_else(|| StoreError::Corrupt(format!("batch {batch_id} is gone")))
}
