//! Registration of a batch.

use axum::{Json, extract::State};
use http::StatusCode;
use huleedu_contracts::{
    api::orchestrator::{RegisterBatchRequest, RegisterBatchResponse, Registered},
    error::ErrorCode,
    events::{Event as _, EventName, batch::BatchEssaysRegistered},
    ids::{BatchId, EssayId},
    metadata::SystemProcessingMetadata,
    status::ProcessingStage,
};
use huleedu_kit::{
    CallContext,
    http::{ApiError, ApiJson, ApiResult},
};
use jiff::Timestamp;
use tracing::info;

use super::Orchestrator;
use crate::{
    batch::{Batch, FailedFiles},
    machine::BatchState,
    store,
};

/// Makes the batch, its slots and the event about them in one transaction.
pub(super) async fn register(
    State(orchestrator): State<Orchestrator>,
    ApiJson(mut request): ApiJson<RegisterBatchRequest>,
) -> ApiResult<(StatusCode, Json<RegisterBatchResponse>)> {
    let (count, most) = (request.expected_essay_count.get(), orchestrator.max_essays);
    if count > most {
        return Err(ApiError::invalid(format!(
            "expected_essay_count is {count}; allowed: 1 to {most}"
        )));
    }
    if request.class_id.is_some() {
        return Err(ApiError::invalid(
            "batches of a class are not supported yet; leave class_id out to register a guest batch",
        ));
    }
    let slots = request
        .essay_ids
        .take()
        .unwrap_or_else(|| (0..count).map(|_| EssayId::random()).collect());
    let now = Timestamp::now();
    let batch = Batch {
        id: BatchId::random(),
        registration: request,
        state: BatchState::registered(),
        provisioned: None,
        failed_files: FailedFiles::default(),
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let mut tx = orchestrator.store.begin().await?;
    if !store::insert(&mut tx, &batch, &slots).await? {
        let message = "an essay id is taken by another batch";
        return Err(ApiError::new(ErrorCode::Conflict, message));
    }
    tx.publish(registered(&batch, slots)).await?;
    tx.commit().await?;
    info!(batch_id = %batch.id, essays = count, "batch registered");
    let answer = RegisterBatchResponse {
        batch_id: batch.id,
        correlation_id: CallContext::current().correlation_id,
        status: Registered::Registered,
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn registered(batch: &Batch, essay_ids: Vec<EssayId>) -> BatchEssaysRegistered {
    let registration = &batch.registration;
    BatchEssaysRegistered {
        event: EventName::new(),
        entity_id: batch.id.clone(),
        expected_essay_count: registration.expected_essay_count,
        essay_ids,
        metadata: SystemProcessingMetadata::for_batch(&batch.id, batch.created_at)
            .with_stage(ProcessingStage::Pending)
            .with_event(BatchEssaysRegistered::NAME),
        course_code: registration.course_code,
        student_prompt_ref: registration.student_prompt_ref.clone(),
        user_id: registration.user_id.clone(),
        org_id: registration.org_id.clone(),
        class_id: registration.class_id.clone(),
    }
}
