//! HTTP routes: define a pipeline, report a completed phase.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::post};
use huleedu_contracts::{
    api::conductor::{
        DefinePipelineRequest, DefinePipelineResponse, PhaseCompleteRequest, PhaseCompleteResponse,
    },
    events::{Event as _, EventName, pipeline::PhaseSkippedV1},
    metadata::SystemProcessingMetadata,
    status::{PhaseName, PhaseStatus},
};
use huleedu_kit::{
    http::{ApiError, ApiJson, ApiResult},
    store::{Store, StoreError, Tx},
};
use tracing::info;

use crate::{
    catalogue::Catalogue,
    resolve::{Question, Refusal, Resolution, resolve},
    settings::Settings,
    store,
};

/// What the routes share.
#[derive(Debug, Clone)]
pub(crate) struct Conductor {
    store: Store,
    catalogue: Arc<Catalogue>,
    settings: Settings,
}

impl Conductor {
    pub(crate) fn new(store: Store, catalogue: Catalogue, settings: Settings) -> Self {
        Self {
            store,
            catalogue: Arc::new(catalogue),
            settings,
        }
    }
}

/// Every route of this service beside the standard ones.
pub(crate) fn router(conductor: Conductor) -> Router {
    Router::new()
        .route("/internal/v1/pipelines/define", post(define))
        .route("/internal/v1/phases/complete", post(complete))
        .with_state(conductor)
}

/// Resolves a pipeline. The answer and the announcements of skipped phases come from one
/// transaction: whoever reads the announcement finds it true.
async fn define(
    State(conductor): State<Conductor>,
    ApiJson(request): ApiJson<DefinePipelineRequest>,
) -> ApiResult<Json<DefinePipelineResponse>> {
    let mut tx = conductor.store.begin().await?;
    let history = store::history(&mut tx, &request.batch_id).await?;
    let metadata = request.batch_metadata.as_ref();
    let question = Question {
        pipeline: request.requested_pipeline.as_str(),
        history: &history,
        prompt_attached: metadata.is_some_and(|metadata| metadata.prompt_attached),
        require_prompt: conductor.settings.require_prompt,
    };
    let resolution = resolve(&conductor.catalogue, question).map_err(refuse)?;
    for &phase in &resolution.skipped {
        announce_skip(&mut tx, &request, phase).await?;
    }
    tx.commit().await?;
    info!(
        batch_id = %request.batch_id,
        pipeline = %request.requested_pipeline,
        to_run = resolution.to_run.len(),
        skipped = resolution.skipped.len(),
        "pipeline resolved"
    );
    Ok(Json(DefinePipelineResponse {
        batch_id: request.batch_id,
        analysis_summary: Some(summary(&resolution)),
        final_pipeline: resolution.to_run,
    }))
}

async fn announce_skip(
    tx: &mut Tx,
    request: &DefinePipelineRequest,
    phase: PhaseName,
) -> Result<(), StoreError> {
    let (batch, correlation) = (&request.batch_id, request.correlation_id);
    if !store::note_announced(tx, batch, phase, correlation).await? {
        return Ok(());
    }
    let metadata = SystemProcessingMetadata::for_batch(batch, jiff::Timestamp::now());
    tx.publish(PhaseSkippedV1 {
        event: EventName::new(),
        batch_id: batch.clone(),
        phase_name: phase,
        skip_reason: "already_completed".to_owned(),
        storage_id: None,
        correlation_id: correlation,
        metadata: metadata.with_event(PhaseSkippedV1::NAME),
    })
    .await?;
    Ok(())
}

/// Notes a phase that somebody else reports, beside the outcomes that come over Kafka. A report
/// that tells nothing new leaves the record as it is, so that a known partial success stays one.
async fn complete(
    State(conductor): State<Conductor>,
    ApiJson(request): ApiJson<PhaseCompleteRequest>,
) -> ApiResult<Json<PhaseCompleteResponse>> {
    let (batch, phase) = (&request.batch_id, request.completed_phase);
    let mut tx = conductor.store.begin().await?;
    let before = store::history(&mut tx, batch).await?;
    let before = before
        .iter()
        .find(|(name, _)| *name == phase)
        .map(|(_, status)| *status);
    let recorded = before.is_none_or(|status| status.has_survivors() != request.success);
    if recorded {
        let status = if request.success {
            PhaseStatus::CompletedSuccessfully
        } else {
            PhaseStatus::FailedCritically
        };
        store::note_outcome(&mut tx, batch, phase, status).await?;
        tx.commit().await?;
    }
    Ok(Json(PhaseCompleteResponse {
        batch_id: request.batch_id,
        completed_phase: phase,
        recorded,
    }))
}

fn refuse(refusal: Refusal) -> ApiError {
    let answer = ApiError::invalid(refusal.to_string());
    match refusal {
        Refusal::UnknownPipeline { known, .. } => answer.with_detail("known_pipelines", known),
        Refusal::NoService { phase, .. } | Refusal::PromptMissing { phase } => {
            answer.with_detail("phase", phase.as_str())
        }
    }
}

fn summary(resolution: &Resolution) -> String {
    let list = |phases: &[PhaseName]| match phases {
        [] => "nothing".to_owned(),
        _ => phases
            .iter()
            .map(|phase| phase.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!(
        "to run: {}; done before: {}",
        list(&resolution.to_run),
        list(&resolution.skipped)
    )
}
