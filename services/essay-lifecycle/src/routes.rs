//! HTTP out, read only: one essay, what happened to it, and all essays of a batch.

use axum::{Json, extract::State};
use huleedu_contracts::{
    api::lifecycle::{BatchEssaysResponse, EssayStatusResponse, EssayTimelineResponse},
    ids::{BatchId, EssayId},
};
use huleedu_kit::{
    http::{ApiError, ApiPath, ApiResult},
    store::Store,
};

use crate::{
    store::{
        batches,
        essays::{self, Essay, Step},
        files,
    },
    views,
};

/// GET `/v1/essays/{essay_id}/status`.
pub(crate) async fn essay_status(
    State(store): State<Store>,
    ApiPath(essay_id): ApiPath<EssayId>,
) -> ApiResult<Json<EssayStatusResponse>> {
    let (essay, steps) = find(&store, &essay_id).await?;
    Ok(Json(views::essay(essay, &steps)))
}

/// GET `/v1/essays/{essay_id}/timeline`.
pub(crate) async fn essay_timeline(
    State(store): State<Store>,
    ApiPath(essay_id): ApiPath<EssayId>,
) -> ApiResult<Json<EssayTimelineResponse>> {
    let (essay, steps) = find(&store, &essay_id).await?;
    Ok(Json(views::timeline(essay, &steps)))
}

/// GET `/v1/batches/{batch_id}/status`.
pub(crate) async fn batch_status(
    State(store): State<Store>,
    ApiPath(batch_id): ApiPath<BatchId>,
) -> ApiResult<Json<BatchEssaysResponse>> {
    let mut conn = store.pool().acquire().await?;
    if !batches::exists(&mut conn, &batch_id).await? {
        return Err(ApiError::not_found(format!(
            "batch {batch_id} does not exist"
        )));
    }
    let essays = essays::of_batch(&mut conn, &batch_id).await?;
    let failures = files::failures(&mut conn, &batch_id).await?;
    Ok(Json(views::batch(batch_id, essays, failures)))
}

async fn find(store: &Store, essay_id: &EssayId) -> ApiResult<(Essay, Vec<Step>)> {
    let mut conn = store.pool().acquire().await?;
    let essay = essays::latest(&mut conn, essay_id)
        .await?
        .ok_or_else(|| ApiError::not_found(format!("essay {essay_id} does not exist")))?;
    let steps = essays::steps(&mut conn, &essay).await?;
    Ok((essay, steps))
}
