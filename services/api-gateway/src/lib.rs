//! The front door: JWT, ownership, size limits, and one circuit per downstream service.
//!
//! | file | subject |
//! |---|---|
//! | [`settings`](Settings) | what it reads from the environment |
//! | [`token`] | making and reading tokens |
//! | `auth` | who calls, by token |
//! | `downstream` | the other services, one circuit each, and passing answers on |
//! | `batches` | registration, prompt, pipeline, list |
//! | `status` | one status put together from three services |
//! | `proxy` | files and classes, passed through |
//!
//! The gateway knows no rule of a batch: it says who asks, and the services behind it decide.
//! Rate limits, stale answers and the validation view of class batches have their place here later.

mod auth;
mod batches;
mod downstream;
mod proxy;
mod settings;
mod status;
pub mod token;
mod validation;

use std::sync::Arc;

use axum::{
    Router,
    routing::{any, get, patch, post},
};
use fusebox_kafka::EventBus;
use huleedu_kit::{RunningService, ServiceCore, ServiceId, ServiceInput, StartError, runtime};

pub use settings::{Settings, load_settings};

use self::{auth::Verifier, downstream::Downstream, proxy::UploadGate};

/// Which service this is.
pub const SERVICE: ServiceId = ServiceId::ApiGateway;

/// What every route can use.
#[derive(Clone)]
struct App {
    verifier: Verifier,
    downstream: Downstream,
    uploads: UploadGate,
    bus: Arc<dyn EventBus>,
}

/// Starts the gateway.
///
/// # Errors
/// When a setting is bad, the journal cannot be opened or the address cannot be had.
pub async fn start(input: ServiceInput) -> Result<RunningService, StartError> {
    let (common, settings) = runtime::load_settings(SERVICE, &input.env, load_settings)?;
    // It keeps no state: its events wait in a journal.
    let core = ServiceCore::build(SERVICE, common, input, &[]).await?;
    let app = App {
        verifier: Verifier::new(&settings.jwt_secret),
        downstream: Downstream::connect(core.breakers(), &settings)?,
        uploads: UploadGate::new(settings.max_concurrent_uploads, settings.upload_timeout),
        bus: Arc::clone(core.bus()),
    };
    let routes = Router::new()
        .route("/v1/batches", get(batches::list))
        .route("/v1/batches/register", post(batches::register))
        .route(
            "/v1/batches/{batch_id}/prompt",
            patch(batches::attach_prompt),
        )
        .route(
            "/v1/batches/{batch_id}/pipelines",
            post(batches::request_pipeline),
        )
        .route("/v1/batches/{batch_id}/status", get(status::status))
        .route(
            "/v1/batches/{batch_id}/validation-status",
            get(validation::validation_status),
        )
        .route("/v1/files/batch", post(proxy::upload))
        .route("/v1/classes", any(proxy::classes))
        .route("/v1/classes/", any(proxy::classes))
        .route("/v1/classes/{*path}", any(proxy::classes))
        .with_state(app);
    Ok(core.launch(routes))
}
