//! What can be read about batches.

use axum::{Json, extract::State};
use huleedu_contracts::{
    api::{
        Pagination,
        orchestrator::{BatchListResponse, BatchStatusResponse, PipelineStateResponse},
    },
    ids::{BatchId, UserId},
    status::{BatchClientStatus, BatchStatus},
};
use huleedu_kit::http::{ApiError, ApiPath, ApiQuery, ApiResult};
use serde::Deserialize;

use super::Orchestrator;
use crate::store::{self, ListQuery};

/// Most batches of one answer.
const MOST: u32 = 100;

/// The batch as it stands.
pub(super) async fn status(
    State(orchestrator): State<Orchestrator>,
    ApiPath(id): ApiPath<BatchId>,
) -> ApiResult<Json<BatchStatusResponse>> {
    Ok(Json(orchestrator.batch(&id).await?.view()))
}

/// The state of its pipeline, phase by phase.
pub(super) async fn pipeline_state(
    State(orchestrator): State<Orchestrator>,
    ApiPath(id): ApiPath<BatchId>,
) -> ApiResult<Json<PipelineStateResponse>> {
    let batch = orchestrator.batch(&id).await?;
    Ok(Json(PipelineStateResponse {
        pipeline_state: batch.pipeline_state(),
        batch_id: batch.id,
        user_id: batch.registration.user_id,
    }))
}

/// Which part of a user's batches is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    limit: Option<u32>,
    offset: Option<u32>,
    status: Option<String>,
}

/// The batches of a user, the newest first. `limit` is 1 to 100, by default 20; `status` is a
/// status as clients or as services name it.
pub(super) async fn list(
    State(orchestrator): State<Orchestrator>,
    ApiPath(user): ApiPath<UserId>,
    ApiQuery(part): ApiQuery<Part>,
) -> ApiResult<Json<BatchListResponse>> {
    let limit = part.limit.unwrap_or(20);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::invalid(format!(
            "limit is {limit}; allowed: 1 to {MOST}"
        )));
    }
    let offset = part.offset.unwrap_or(0);
    let status = part.status.as_deref().map(known_status).transpose()?;
    let query = ListQuery {
        user,
        status,
        limit,
        offset,
    };
    let mut connection = orchestrator.store.pool().acquire().await?;
    let (batches, total) = store::list(&mut connection, &query).await?;
    Ok(Json(BatchListResponse {
        batches: batches.iter().map(crate::batch::Batch::view).collect(),
        pagination: Pagination {
            limit,
            offset,
            total,
        },
    }))
}

fn known_status(text: &str) -> ApiResult<&'static str> {
    let client = text
        .parse::<BatchClientStatus>()
        .map(BatchClientStatus::as_str);
    let known = client.or_else(|_| text.parse::<BatchStatus>().map(BatchStatus::as_str));
    known.map_err(|_| {
        let all = BatchClientStatus::ALL.iter().map(|status| status.as_str());
        let all = all.collect::<Vec<_>>().join(", ");
        ApiError::invalid(format!(
            "status {text:?} is not known; choose one of: {all}"
        ))
    })
}
