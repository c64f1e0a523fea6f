//! The routes: results of a batch, for the gateway.

use axum::{Json, Router, extract::State, routing::get};
use huleedu_contracts::{api::cj::BatchResultsResponse, ids::BatchId};
use huleedu_kit::http::{ApiError, ApiPath, ApiResult};

use crate::{results, store::Jobs};

/// The routes of the service.
pub(crate) fn routes(jobs: Jobs) -> Router {
    Router::new()
        .route(
            "/internal/v1/batches/{batch_id}/results",
            get(batch_results),
        )
        .with_state(jobs)
}

/// How the latest assessment of a batch stands or has ended.
async fn batch_results(
    State(jobs): State<Jobs>,
    ApiPath(batch_id): ApiPath<String>,
) -> ApiResult<Json<BatchResultsResponse>> {
    let batch_id = BatchId::new(batch_id)
        .map_err(|error| ApiError::invalid(format!("this is not a batch id: {error}")))?;
    let Some(job) = jobs.latest_of(&batch_id).await? else {
        return Err(ApiError::not_found(format!(
            "batch {batch_id} has no assessment"
        )));
    };
    let essays = jobs.essays(&job.id).await?;
    let comparisons = jobs.comparisons(&job.id).await?;
    let judges = jobs.judges(&job.id).await?;
    Ok(Json(results::response(job, essays, &comparisons, judges)?))
}
