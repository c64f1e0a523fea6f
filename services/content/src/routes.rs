//! The two routes: put a content in, take it out.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use huleedu_contracts::{api::content::StoreContentResponse, error::ErrorCode, ids::StorageId};
use huleedu_kit::{
    CallContext,
    http::{ApiError, ApiPath, ApiResult},
    store::Store,
};

use crate::{settings::Settings, store};

/// What a content is when its sender did not say.
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Longest media type that is kept.
const MAX_TYPE_LEN: usize = 255;

#[derive(Clone)]
struct Shared {
    store: Store,
    settings: Arc<Settings>,
}

/// The routes of the service.
pub(crate) fn routes(store: Store, settings: Arc<Settings>) -> Router {
    Router::new()
        .route("/v1/content", post(put_content))
        .route("/v1/content/{content_id}", get(get_content))
        .with_state(Shared { store, settings })
}

async fn put_content(State(shared): State<Shared>, request: Request) -> ApiResult<Response> {
    let limit = shared.settings.max_content_bytes;
    let content_type = content_type(request.headers())?;
    // What the sender announces is checked before a byte is read, what it sends afterwards.
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Err(too_large(limit));
    }
    let bytes = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                too_large(limit)
            } else {
                ApiError::new(
                    ErrorCode::InvalidRequest,
                    "the body could not be read to its end",
                )
                .with_cause(rejection)
            }
        })?;
    if bytes.len() > limit {
        return Err(too_large(limit));
    }
    if bytes.is_empty() {
        return Err(ApiError::new(ErrorCode::EmptyContent, "the body is empty"));
    }
    let storage_id = store::put(&shared.store, &content_type, &bytes).await?;
    let correlation_id = CallContext::current().correlation_id;
    Ok((
        StatusCode::CREATED,
        Json(StoreContentResponse {
            storage_id,
            correlation_id,
        }),
    )
        .into_response())
}

async fn get_content(
    State(shared): State<Shared>,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<Response> {
    let id = StorageId::new(id)
        .map_err(|error| ApiError::invalid(format!("this is not a content id: {error}")))?;
    let Some(stored) = store::get(&shared.store, &id).await? else {
        return Err(ApiError::not_found(format!("content {id} does not exist")));
    };
    let content_type = HeaderValue::from_str(&stored.content_type)
        .unwrap_or_else(|_| HeaderValue::from_static(UNKNOWN_TYPE));
    let headers = [
        (header::CONTENT_TYPE, content_type),
        // The sender named the type; no browser shall guess another one.
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        // An id names these bytes for good.
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
    ];
    Ok((headers, stored.bytes).into_response())
}

fn content_type(headers: &HeaderMap) -> ApiResult<String> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(UNKNOWN_TYPE.to_owned());
    };
    let text = value.to_str().map(str::trim).unwrap_or_default();
    if text.is_empty() || text.len() > MAX_TYPE_LEN {
        return Err(ApiError::invalid(format!(
            "the header Content-Type must be plain text of 1 to {MAX_TYPE_LEN} characters"
        )));
    }
    Ok(text.to_owned())
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        ErrorCode::PayloadTooLarge,
        format!("a content may have at most {limit} bytes"),
    )
    .with_detail("max_content_bytes", limit)
}
