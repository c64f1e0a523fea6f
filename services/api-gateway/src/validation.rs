//! Which files of a batch can be assessed, which cannot and why, and how many are still to come.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use fusebox_http::encode_segment;
use http::StatusCode;
use huleedu_contracts::{
    api::{
        gateway::{ValidatedFile, ValidationStatusBody},
        lifecycle::BatchEssaysResponse,
    },
    ids::BatchId,
};
use huleedu_kit::http::{ApiPath, ApiResult};

use crate::{App, auth::User, status::owned_batch};

/// GET `/v1/batches/{id}/validation-status`.
///
/// Unlike the status it has no answer without Essay Lifecycle: files are all it is about.
pub(crate) async fn validation_status(
    State(app): State<App>,
    user: User,
    ApiPath(batch_id): ApiPath<BatchId>,
) -> ApiResult<Response> {
    let batch = match owned_batch(&app, &user, &batch_id).await? {
        Ok(batch) => batch,
        Err(refusal) => return Ok(*refusal),
    };
    let path = format!("/v1/batches/{}/status", encode_segment(batch_id.as_ref()));
    let response = app.downstream.lifecycle.get(path).send().await?;
    // It hears of a batch by event: until then every file is still to come.
    let (essays, failed) = if response.status() == StatusCode::NOT_FOUND {
        (Vec::new(), Vec::new())
    } else {
        let known: BatchEssaysResponse = response.error_for_status()?.json()?;
        (known.essays, known.failed_files)
    };
    let valid: Vec<_> = essays
        .into_iter()
        .filter_map(|essay| {
            Some(ValidatedFile {
                file_upload_id: essay.file_upload_id?,
                filename: essay.filename?,
                essay_id: essay.essay_id,
            })
        })
        .collect();
    let settled = u32::try_from(valid.len() + failed.len()).unwrap_or(u32::MAX);
    let expected = batch.expected_essay_count.get();
    let pending = expected.saturating_sub(settled);
    Ok(Json(ValidationStatusBody {
        batch_id,
        expected_count: expected,
        pending_count: pending,
        complete: pending == 0,
        valid_files: valid,
        failed_files: failed,
    })
    .into_response())
}
