//! HTTP routes of the Batch Orchestrator.

mod preflight;
mod prompt;
mod read;
mod register;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, patch, post},
};
use huleedu_contracts::ids::BatchId;
use huleedu_kit::{
    clients::ContentClient,
    http::{ApiError, ApiResult, Caller},
    store::Store,
};

use crate::{batch::Batch, store};

/// What the routes share.
#[derive(Debug, Clone)]
pub(crate) struct Orchestrator {
    pub(crate) store: Store,
    pub(crate) content: Arc<dyn ContentClient>,
    /// Most essays of one batch.
    pub(crate) max_essays: u32,
}

/// Every route of this service beside the standard ones.
pub(crate) fn router(orchestrator: Orchestrator) -> Router {
    Router::new()
        .route("/v1/batches/register", post(register::register))
        .route("/v1/batches/{id}/status", get(read::status))
        .route("/v1/batches/{id}/prompt", patch(prompt::attach))
        .route("/internal/v1/batches/user/{user_id}", get(read::list))
        .route(
            "/internal/v1/batches/{id}/pipeline-state",
            get(read::pipeline_state),
        )
        .route(
            "/internal/v1/batches/{id}/pipelines/{phase}/preflight",
            post(preflight::preflight),
        )
        .with_state(orchestrator)
}

impl Orchestrator {
    /// The batch, or 404.
    async fn batch(&self, id: &BatchId) -> ApiResult<Batch> {
        let found = store::load(self.store.pool(), id).await?;
        found.ok_or_else(|| ApiError::not_found(format!("batch {id} does not exist")))
    }
}

/// 403 unless the caller owns the batch.
fn owned_by(batch: &Batch, caller: &Caller) -> ApiResult<()> {
    if batch.registration.user_id == caller.0 {
        Ok(())
    } else {
        Err(ApiError::forbidden("the batch belongs to somebody else"))
    }
}
