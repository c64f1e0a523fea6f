//! Corrects learners' spelling in English and Swedish.
//!
//! A worker on Kafka: it is asked for one essay at a time, fetches its text from the Content
//! Service, corrects it ([`engine`]), stores the corrected text, which is what the next phase reads,
//! and tells the result twice: shortly to those who keep states, fully to those who show results.
//! An essay that can never be corrected ends with a failure and its reason; when only the Content
//! Service is away, the request waits and is taken up again.
//!
//! It has no routes of its own beside health and metrics.

mod check;
pub mod engine;
mod handler;
mod schema;
mod settings;
mod store;

use std::sync::Arc;

use axum::Router;
use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    RunningService, ServiceCore, ServiceId, ServiceInput, StartError, providers, runtime,
};

pub use settings::{Settings, load_settings};

/// Which of the nine services this is.
pub const SERVICE: ServiceId = ServiceId::Spellchecker;

/// Starts the service.
///
/// # Errors
/// When settings are refused or store, producer, circuits or address cannot be had.
pub async fn start(input: ServiceInput) -> Result<RunningService, StartError> {
    let (common, settings) = runtime::load_settings(SERVICE, &input.env, load_settings)?;
    let mut core = ServiceCore::build(SERVICE, common, input, schema::MIGRATIONS).await?;
    let content = providers::provide_content_client(
        core.breakers(),
        SERVICE,
        settings.content_circuit.clone(),
        &settings.content_url,
        settings.content_timeout,
    )?;
    let checker = check::Checker::new(content, &settings);
    core.consume(
        &[Topic::EssaySpellcheckRequested],
        Arc::new(handler::Handler::new(checker)),
    );
    Ok(core.launch(Router::new()))
}
