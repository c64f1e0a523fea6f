//! Batch Orchestrator: owner of the batch record and of pipeline progress.
//!
//! A batch is registered over HTTP, filled through the other services, and then taken through a
//! pipeline phase by phase: each phase is commanded by an event and ends with an event. What may
//! happen when is decided in [`machine`], which is pure; everything else here brings triggers to it
//! and carries out its effects.
//!
//! | room | subject |
//! |---|---|
//! | [`machine`] | the life of a batch: states, triggers, effects |
//! | `batch` | the record of a batch and what it looks like from outside |
//! | `store` | that record in SQL, with compare-and-set on its version |
//! | `effects` | carries effects out: commands and announcements |
//! | `conductor` | asks the Batch Conductor for the phases of a pipeline |
//! | `handler`, `routes` | Kafka and HTTP |

mod batch;
mod conductor;
mod effects;
mod handler;
pub mod machine;
pub mod pricing;
mod routes;
mod schema;
pub mod settings;
mod store;

use std::sync::Arc;

use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    RunningService, ServiceCore, ServiceId, ServiceInput, StartError,
    providers::{provide_content_client, provide_http_client},
    runtime,
};

pub use crate::settings::load_settings;
use crate::{conductor::ConductorClient, handler::Handler, routes::Orchestrator};

/// Which service this is.
pub const SERVICE: ServiceId = ServiceId::BatchOrchestrator;

/// What it listens to.
const TOPICS: &[Topic] = &[
    Topic::BatchContentProvisioningCompleted,
    Topic::BatchValidationErrors,
    Topic::ClientBatchPipelineRequest,
    Topic::ElsBatchPhaseOutcome,
];

/// Starts the service.
///
/// # Errors
/// When settings are refused, or store, producer, clients or address cannot be had.
pub async fn start(input: ServiceInput) -> Result<RunningService, StartError> {
    let (common, settings) = runtime::load_settings(SERVICE, &input.env, load_settings)?;
    let mut core = ServiceCore::build(SERVICE, common, input, schema::MIGRATIONS).await?;
    let content = provide_content_client(
        core.breakers(),
        SERVICE,
        settings.content_circuit,
        &settings.content_url,
        settings.content_timeout,
    )?;
    let conductor = provide_http_client(
        core.breakers(),
        SERVICE,
        "batch_conductor_client",
        settings.bcs_circuit,
        &settings.bcs_url,
        settings.bcs_timeout,
    )?;
    let conductor = ConductorClient::new(conductor, settings.bcs_endpoint);
    core.consume(TOPICS, Arc::new(Handler::new(conductor)));
    let routes = routes::router(Orchestrator {
        store: core.store().clone(),
        content,
        max_essays: settings.max_essays,
    });
    Ok(core.launch(routes))
}
