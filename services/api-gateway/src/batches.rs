//! Registration, prompt, pipeline request and list of batches.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use fusebox_http::encode_segment;
use http::StatusCode;
use huleedu_contracts::{
    api::{
        gateway::{
            Accepted, BatchListBody, BatchSummary, ClientRegisterRequest, PipelineRequest,
            PipelineResponse,
        },
        orchestrator::{AttachPromptRequest, BatchListResponse, RegisterBatchRequest},
    },
    events::pipeline::ClientBatchPipelineRequestV1,
    ids::BatchId,
    status::BatchClientStatus,
};
use huleedu_kit::{
    CallContext,
    http::{ApiError, ApiJson, ApiPath, ApiQuery, ApiResult},
    store::record_of,
};
use serde::{Deserialize, Serialize};

use crate::{
    App, SERVICE,
    auth::User,
    downstream::{on_behalf, relay, success},
};

/// POST `/v1/batches/register`.
pub(crate) async fn register(
    State(app): State<App>,
    user: User,
    ApiJson(body): ApiJson<ClientRegisterRequest>,
) -> ApiResult<Response> {
    let request = RegisterBatchRequest {
        expected_essay_count: body.expected_essay_count,
        essay_ids: body.essay_ids,
        course_code: body.course_code,
        student_prompt_ref: body.student_prompt_ref,
        user_id: user.id.clone(),
        org_id: user.org.clone(),
        class_id: body.class_id,
        cj_default_llm_model: body.cj_default_llm_model,
        cj_default_temperature: body.cj_default_temperature,
        assignment_id: body.assignment_id,
    };
    request
        .check()
        .map_err(|e| ApiError::invalid(e.to_string()))?;
    relay(
        on_behalf(
            app.downstream.orchestrator.post("/v1/batches/register"),
            &user,
        )
        .json(&request),
    )
    .await
}

/// PATCH `/v1/batches/{id}/prompt`.
pub(crate) async fn attach_prompt(
    State(app): State<App>,
    user: User,
    ApiPath(batch_id): ApiPath<BatchId>,
    ApiJson(body): ApiJson<AttachPromptRequest>,
) -> ApiResult<Response> {
    let path = format!("/v1/batches/{}/prompt", encode_segment(batch_id.as_ref()));
    relay(on_behalf(app.downstream.orchestrator.patch(path), &user).json(&body)).await
}

/// POST `/v1/batches/{id}/pipelines`: asks the orchestrator whether it may run, then publishes the
/// request. The answer is given when the event is safe, not when the pipeline has begun.
pub(crate) async fn request_pipeline(
    State(app): State<App>,
    user: User,
    ApiPath(batch_id): ApiPath<BatchId>,
    ApiJson(body): ApiJson<PipelineRequest>,
) -> ApiResult<Response> {
    if body.batch_id != batch_id {
        return Err(
            ApiError::invalid("batch_id in the body is not the batch of the path")
                .with_detail("path", batch_id.to_string())
                .with_detail("body", body.batch_id.to_string()),
        );
    }
    let path = format!(
        "/internal/v1/batches/{}/pipelines/{}/preflight",
        encode_segment(batch_id.as_ref()),
        encode_segment(body.requested_pipeline.as_ref()),
    );
    let preflight = on_behalf(app.downstream.orchestrator.post(path), &user);
    if let Err(refusal) = success(preflight.send().await?) {
        return Ok(*refusal);
    }
    let correlation_id = CallContext::current().correlation_id;
    let event = ClientBatchPipelineRequestV1 {
        batch_id: batch_id.clone(),
        requested_pipeline: body.requested_pipeline,
        client_correlation_id: correlation_id,
        user_id: user.id,
        is_retry: body.is_retry,
        retry_reason: body.retry_reason,
        prompt_payload: body.prompt_payload,
    };
    app.bus.publish(record_of(SERVICE, event)?).await?;
    let answer = PipelineResponse {
        status: Accepted::Accepted,
        message: "the request is safe and will be handled".to_owned(),
        batch_id,
        correlation_id,
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Most batches in one answer.
const MAX_LIMIT: u32 = 100;

/// Query of the list.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<u32>,
    offset: Option<u32>,
    status: Option<BatchClientStatus>,
}

#[derive(Serialize)]
struct OrchestratorQuery {
    limit: u32,
    offset: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<BatchClientStatus>,
}

/// GET `/v1/batches`: the caller's own, the newest first.
pub(crate) async fn list(
    State(app): State<App>,
    user: User,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> ApiResult<Response> {
    let limit = query.limit.unwrap_or(20);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!(
            "limit is {limit}; allowed: from 1 to {MAX_LIMIT}"
        )));
    }
    let query = OrchestratorQuery {
        limit,
        offset: query.offset.unwrap_or(0),
        status: query.status,
    };
    let path = format!(
        "/internal/v1/batches/user/{}",
        encode_segment(user.id.as_ref())
    );
    let request = on_behalf(app.downstream.orchestrator.get(path), &user).query(&query);
    let response = match success(request.send().await?) {
        Ok(response) => response,
        Err(refusal) => return Ok(*refusal),
    };
    let list: BatchListResponse = response.json()?;
    let batches = list
        .batches
        .into_iter()
        .map(|batch| BatchSummary {
            status: batch.status.into(),
            batch_id: batch.batch_id,
            course_code: batch.course_code,
            essay_count: batch.expected_essay_count.get(),
            requested_pipeline: batch.requested_pipeline,
            current_phase: batch.current_phase,
            created_at: batch.created_at,
            last_updated: batch.updated_at,
        })
        .collect();
    Ok(Json(BatchListBody {
        batches,
        pagination: list.pagination,
    })
    .into_response())
}
