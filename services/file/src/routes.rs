//! The HTTP routes: upload, add, and look.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequest as _, Multipart, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use huleedu_contracts::{
    api::file::{BatchFilesState, UploadResponse},
    error::ErrorCode,
    ids::{BatchId, UserId},
};
use huleedu_kit::{
    CallContext,
    http::{ApiError, ApiPath, ApiResult, Caller},
    store::Store,
};
use tokio::sync::Notify;

use crate::{
    gate::Gate,
    settings::Settings,
    store::{RequestId, Uploads},
    upload::Reader,
};

/// What the routes share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) settings: Arc<Settings>,
    pub(crate) received: Arc<Notify>,
}

/// The routes of the service.
pub(crate) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/v1/files/batch", post(upload))
        .route("/v1/files/batch/{batch_id}/files", post(add))
        .route("/v1/files/batch/{batch_id}/state", get(state))
        .with_state(shared)
}

async fn upload(
    State(shared): State<Shared>,
    Caller(user): Caller,
    request: Request,
) -> ApiResult<Response> {
    take_in(&shared, &user, None, request).await
}

async fn add(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(batch): ApiPath<BatchId>,
    request: Request,
) -> ApiResult<Response> {
    take_in(&shared, &user, Some(batch), request).await
}

/// Takes in the files of a request: all of them, durably, before it is answered.
///
/// A client that goes away meanwhile leaves staged files, which are swept later.
async fn take_in(
    shared: &Shared,
    user: &UserId,
    batch: Option<BatchId>,
    request: Request,
) -> ApiResult<Response> {
    let form = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| {
            ApiError::new(
                ErrorCode::InvalidRequest,
                "the request is not multipart form data",
            )
            .with_cause(rejection)
        })?;
    let uploads = Uploads::new(shared.store.clone());
    let request = RequestId::random();
    let reader = Reader {
        uploads: &uploads,
        gate: &shared.gate,
        settings: &shared.settings,
        user,
        request,
    };
    let accepted = async {
        let received = reader.read(form, batch).await?;
        let limit = shared.settings.max_file_bytes;
        let files = uploads.accept(request, user, &received, limit).await?;
        Ok::<_, ApiError>((received, files))
    };
    let (received, files) = match accepted.await {
        Ok(accepted) => accepted,
        Err(refusal) => {
            if let Err(error) = uploads.discard(request).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "staged files are left to the sweep"
                );
            }
            return Err(refusal);
        }
    };
    shared.received.notify_one();
    let body = UploadResponse {
        message: format!("{} files received and queued for processing", files.len()),
        batch_id: received.batch_id,
        correlation_id: CallContext::current().correlation_id,
        files,
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

async fn state(
    State(shared): State<Shared>,
    Caller(user): Caller,
    ApiPath(batch_id): ApiPath<BatchId>,
) -> ApiResult<Json<BatchFilesState>> {
    let lock_status = shared.gate.lock_status(&batch_id, &user).await?;
    let files = Uploads::new(shared.store.clone())
        .of_batch(&batch_id)
        .await?;
    Ok(Json(BatchFilesState {
        batch_id,
        lock_status,
        files,
    }))
}
