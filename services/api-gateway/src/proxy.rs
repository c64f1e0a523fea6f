//! Files and classes: requests that are passed through with nothing added but who asks.
//!
//! An upload is read whole before it is sent on. So a slow or broken client costs us memory, which
//! is bounded, and never counts as a failure of the File Service.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request, State},
    response::Response,
};
use http::{StatusCode, header::CONTENT_TYPE};
use huleedu_contracts::error::ErrorCode;
use huleedu_kit::http::{ApiError, ApiResult};
use tokio::sync::Semaphore;

use crate::{
    App,
    auth::User,
    downstream::{on_behalf, relay},
};

/// Bounds how many uploads are in memory.
#[derive(Debug, Clone)]
pub(crate) struct UploadGate {
    permits: Arc<Semaphore>,
    timeout: Duration,
}

impl UploadGate {
    pub(crate) fn new(most: usize, timeout: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(most)),
            timeout,
        }
    }
}

/// POST `/v1/files/batch`.
pub(crate) async fn upload(
    State(app): State<App>,
    user: User,
    request: Request,
) -> ApiResult<Response> {
    let Ok(_permit) = app.uploads.permits.try_acquire() else {
        return Err(ApiError::new(
            ErrorCode::ServiceUnavailable,
            "too many uploads at once; try again soon",
        )
        .with_retry_after(Duration::from_secs(2))
        .refused_by("limit"));
    };
    let content_type = content_type(&request, "multipart/form-data")?;
    let body = body(request).await?;
    let request = app
        .downstream
        .file
        .post("/v1/files/batch")
        .timeout(app.uploads.timeout);
    relay(on_behalf(request, &user).body(body, content_type)).await
}

/// ANY `/v1/classes/…`.
pub(crate) async fn classes(
    State(app): State<App>,
    user: User,
    request: Request,
) -> ApiResult<Response> {
    let method = request.method().clone();
    let path = request
        .uri()
        .path_and_query()
        .map_or("/v1/classes/", |p| p.as_str())
        .to_owned();
    let content_type = content_type(&request, "application/json")?;
    let body = body(request).await?;
    let mut onward = on_behalf(app.downstream.classes.request(method, path), &user);
    if !body.is_empty() {
        onward = onward.body(body, content_type);
    }
    relay(onward).await
}

fn content_type(request: &Request, default: &str) -> ApiResult<String> {
    match request.headers().get(CONTENT_TYPE) {
        None => Ok(default.to_owned()),
        Some(value) => value
            .to_str()
            .map(str::to_owned)
            .map_err(|_| ApiError::invalid("the header Content-Type is not text")),
    }
}

async fn body(request: Request) -> ApiResult<Bytes> {
    Bytes::from_request(request, &())
        .await
        .map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::new(ErrorCode::PayloadTooLarge, "the request body is too large")
            } else {
                ApiError::invalid("the request body could not be read")
            }
        })
}
