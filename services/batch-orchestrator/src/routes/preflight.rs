//! The check before a pipeline is asked for.
//!
//! It judges the batch alone and not whether the conductor can be reached: a request that is
//! accepted while the conductor is away is carried out when it is back.

use axum::{Json, extract::State};
use huleedu_contracts::{
    api::orchestrator::PreflightResponse,
    error::ErrorCode,
    ids::{BatchId, PipelineName},
};
use huleedu_kit::{
    CallContext,
    http::{ApiError, ApiPath, ApiResult, Caller},
};

use super::{Orchestrator, owned_by};
use crate::{batch::Batch, machine::BatchState, pricing};

/// Says whether a pipeline could be started now and what it takes. Nobody counts credits on this
/// platform, so none are reported as available and none can be short.
pub(super) async fn preflight(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    ApiPath((id, pipeline)): ApiPath<(BatchId, PipelineName)>,
) -> ApiResult<Json<PreflightResponse>> {
    if pricing::required_credits(pipeline.as_str(), 0).is_none() {
        let known = pricing::RUNNABLE.join(", ");
        let message = format!(
            "pipeline {:?} cannot be run here; choose one of: {known}",
            pipeline.as_str()
        );
        return Err(ApiError::invalid(message).with_detail("known_pipelines", pricing::RUNNABLE));
    }
    let batch = orchestrator.batch(&id).await?;
    owned_by(&batch, &caller)?;
    startable(&batch)?;
    let essays = batch.provisioned.unwrap_or(0);
    Ok(Json(PreflightResponse {
        allowed: true,
        batch_id: id,
        required_credits: pricing::required_credits(pipeline.as_str(), essays).unwrap_or(0),
        requested_pipeline: pipeline,
        denial_reason: None,
        available_credits: None,
        correlation_id: CallContext::current().correlation_id,
    }))
}

/// 409 with what stands in the way.
fn startable(batch: &Batch) -> ApiResult<()> {
    let message = match &batch.state {
        BatchState::Ready { requested: None } => return Ok(()),
        BatchState::Ready {
            requested: Some(request),
        } => {
            format!(
                "pipeline {} was asked for already and is about to begin",
                request.pipeline()
            )
        }
        BatchState::AwaitingContent { .. } => format!(
            "the content of the batch is not complete yet: {} files are expected, and not all of \
             them are taken in or refused",
            batch.expected()
        ),
        BatchState::ContentFailed { .. } => {
            "none of the batch's files could be taken in, there is nothing to run on".to_owned()
        }
        BatchState::Running(run) => format!("pipeline {} is running", run.request.pipeline()),
        BatchState::Finished(end) => format!("pipeline {} is over", end.request.pipeline()),
    };
    let status = batch.state.status();
    Err(ApiError::new(ErrorCode::Conflict, message).with_detail("status", status.as_str()))
}
