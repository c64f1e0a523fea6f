//! Takes uploads, extracts and validates their text.
//!
//! The path of a file: it is *staged* while the request that brings it is read, *received* when
//! the request is accepted (from then on it is never lost), and then either *provisioned* (its
//! bytes and its text are in the Content Service and Essay Lifecycle is told) or *failed* (with
//! the reason, and Essay Lifecycle is told). What passes by itself – the Content Service is away,
//! too many events wait – is tried again until it has passed; only what is the file's own fault
//! fails it, and it fails alone.
//!
//! | room | subject |
//! |---|---|
//! | [`extract`] | bytes to clean text; pure |
//! | `upload` | reads an upload request, file by file |
//! | `gate` | asks the Batch Orchestrator whether a batch may take files |
//! | `routes` | the HTTP routes |
//! | `store` | uploads in the database |
//! | `intake` | handles one received file |
//! | `worker` | drives the received files, several at once, again after failures |

pub mod extract;
mod gate;
mod intake;
mod routes;
mod schema;
mod settings;
mod store;
mod upload;
mod worker;

use std::sync::Arc;

use huleedu_kit::{
    RunningService, ServiceCore, ServiceId, ServiceInput, StartError,
    providers::{provide_content_client, provide_http_client},
    runtime,
};
use tokio::sync::Notify;

pub use settings::{Settings, load_settings};

/// Which of the nine services this is.
pub const SERVICE: ServiceId = ServiceId::File;

/// Starts the service; uploads that an earlier run left unfinished are taken up again.
///
/// # Errors
/// When settings are refused or store, producer, clients or address cannot be had.
pub async fn start(input: ServiceInput) -> Result<RunningService, StartError> {
    let (common, settings) = runtime::load_settings(SERVICE, &input.env, load_settings)?;
    let mut core = ServiceCore::build(SERVICE, common, input, schema::MIGRATIONS).await?;
    let content = provide_content_client(
        core.breakers(),
        SERVICE,
        settings.content_circuit.clone(),
        &settings.content_url,
        settings.content_timeout,
    )?;
    let orchestrator = provide_http_client(
        core.breakers(),
        SERVICE,
        "batch_orchestrator_client",
        settings.orchestrator_circuit.clone(),
        &settings.orchestrator_url,
        settings.orchestrator_timeout,
    )?;
    let settings = Arc::new(settings);
    let store = core.store().clone();
    // Woken whenever an upload is accepted.
    let received = Arc::new(Notify::new());
    let intake = intake::Intake::new(store.clone(), content, Arc::clone(&settings));
    let work = worker::run(
        store.clone(),
        intake,
        Arc::clone(&settings),
        Arc::clone(&received),
        core.shutdown(),
    );
    core.spawn("intake", || work);
    let routes = routes::routes(routes::Shared {
        store,
        gate: gate::Gate::new(orchestrator),
        settings,
        received,
    });
    Ok(core.launch(routes))
}
