//! Attaching the assignment as the students got it.

use axum::{Json, extract::State};
use huleedu_contracts::{
    api::orchestrator::{AttachPromptRequest, AttachPromptResponse},
    domain::ContentType,
    error::ErrorCode,
    ids::BatchId,
};
use huleedu_kit::{
    clients::ContentError,
    http::{ApiError, ApiJson, ApiPath, ApiResult, Caller},
};
use tracing::info;

use super::{Orchestrator, owned_by};
use crate::{
    batch::Batch,
    machine::BatchState,
    store::{self, ChangeError},
};

/// How often a change that meets another one is made again.
const TRIES: usize = 5;

/// Attaches a stored prompt, or replaces the one that is attached, until a pipeline has begun.
pub(super) async fn attach(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    ApiPath(id): ApiPath<BatchId>,
    ApiJson(request): ApiJson<AttachPromptRequest>,
) -> ApiResult<Json<AttachPromptResponse>> {
    let prompt = request.student_prompt_ref;
    let Some(storage_id) = prompt.storage_id(ContentType::StudentPromptText) else {
        let message = "student_prompt_ref names no content under student_prompt_text";
        return Err(ApiError::invalid(message));
    };
    // Who may not do this learns nothing about contents, and costs no call.
    changeable(&orchestrator.batch(&id).await?, &caller)?;
    match orchestrator.content.fetch_text(storage_id).await {
        Ok(_) => {}
        Err(ContentError::Call(error)) => return Err(error.into()),
        Err(error) => return Err(ApiError::invalid(error.to_string())),
    }
    for _ in 0..TRIES {
        let mut tx = orchestrator.store.begin().await?;
        let Some(before) = store::load(tx.conn(), &id).await? else {
            break;
        };
        changeable(&before, &caller)?;
        let mut after = before.clone();
        after.registration.student_prompt_ref = Some(prompt.clone());
        match store::save(&mut tx, &before, &mut after).await {
            Ok(()) => {}
            Err(ChangeError::Conflict(_)) => continue,
            Err(error) => return Err(error.into()),
        }
        tx.commit().await?;
        info!(batch_id = %id, "prompt attached");
        return Ok(Json(AttachPromptResponse {
            status: "success".to_owned(),
            batch_id: id,
            student_prompt_ref: prompt,
        }));
    }
    Err(ChangeError::Conflict(id).into())
}

/// 403 for a stranger, 409 once the prompt is in use.
fn changeable(batch: &Batch, caller: &Caller) -> ApiResult<()> {
    owned_by(batch, caller)?;
    let message = match &batch.state {
        BatchState::AwaitingContent { .. } | BatchState::Ready { requested: None } => return Ok(()),
        BatchState::Ready { requested: Some(_) } | BatchState::Running(_) => {
            "a pipeline runs, the prompt can no longer be changed"
        }
        BatchState::ContentFailed { .. } | BatchState::Finished(_) => {
            "the batch is over, the prompt can no longer be changed"
        }
    };
    Err(ApiError::new(ErrorCode::Conflict, message))
}
