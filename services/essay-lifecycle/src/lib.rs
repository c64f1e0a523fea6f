//! Owner of every essay's state, from slot to final phase.
//!
//! A registered batch has one slot per expected file. Files claim slots or use them up by failing;
//! when every slot is settled the batch is handed to the Batch Orchestrator, which then commands
//! one phase after the other. A phase is dispatched per essay (spell-checking) or per batch
//! (comparative judgement), and its outcome is told once, when the last essay has come out.
//!
//! | room | subject |
//! |---|---|
//! | [`machine`] | which state an essay may go to, and why |
//! | `intake` | registration, slots, failed files, content that is early or too much |
//! | `phases` | runs of phases: command, results, outcome |
//! | `store` | the SQL of both |
//! | `handler` | events in |
//! | `routes`, `views` | HTTP out, read only |
//!
//! Every transaction that decides about a batch first takes the batch's row (`store::batches`), so
//! decisions about one batch happen one after the other, with any number of workers.

use std::sync::Arc;

use axum::{Router, routing::get};
use huleedu_contracts::topics::Topic;
use huleedu_kit::{RunningService, ServiceCore, ServiceId, ServiceInput, StartError, runtime};

mod handler;
mod intake;
pub mod machine;
mod phases;
mod routes;
mod schema;
mod settings;
mod store;
mod views;

pub use settings::{Settings, load_settings};

/// Which service this is.
pub const SERVICE: ServiceId = ServiceId::EssayLifecycle;

/// What it listens to.
const TOPICS: &[Topic] = &[
    Topic::BatchEssaysRegistered,
    Topic::EssayContentProvisioned,
    Topic::EssayValidationFailed,
    Topic::SpellcheckInitiateCommand,
    Topic::CjAssessmentInitiateCommand,
    Topic::SpellcheckPhaseCompleted,
    Topic::EssaySpellcheckResults,
    Topic::CjAssessmentCompleted,
    Topic::CjAssessmentFailed,
];

/// Starts the service: its API and its worker in one.
///
/// # Errors
/// When settings are refused, or store, broker client or address cannot be had.
pub async fn start(input: ServiceInput) -> Result<RunningService, StartError> {
    let (common, settings) = runtime::load_settings(SERVICE, &input.env, load_settings)?;
    let mut core = ServiceCore::build(SERVICE, common, input, schema::MIGRATIONS).await?;
    core.consume(TOPICS, Arc::new(handler::Handler::new(settings)));
    let routes = Router::new()
        .route("/v1/essays/{essay_id}/status", get(routes::essay_status))
        .route(
            "/v1/essays/{essay_id}/timeline",
            get(routes::essay_timeline),
        )
        .route("/v1/batches/{batch_id}/status", get(routes::batch_status))
        .with_state(core.store().clone());
    Ok(core.launch(routes))
}
