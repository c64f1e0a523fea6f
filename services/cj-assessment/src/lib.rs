//! Ranks essays by comparative judgement through AI providers.
//!
//! The mathematics is pure: [`pairing`] chooses who meets whom, [`scoring`] turns the answers into
//! one scale, [`decision`] says whether to go on. Essays are indices `0..n` there; the service
//! orders them by a hash of their text, so that the random ids of a run change nothing.
//!
//! Around it: the handler stores a request as a *job*; the driver takes jobs up, several at once,
//! and leads each from its stored state to its end: texts are fetched, waves of pairs are stored
//! and then judged one by one, every result is stored as it comes, and the end is one transaction
//! of state and events. All that a job needs is in the database, so a service that was killed
//! anywhere goes on where it was, and comes to the same ranking.
//!
//! Comparisons that no provider can answer now are parked and tried again; they are never counted
//! as answered. Not here yet, each with a place of its own: anchors ([`scoring::Reference::Node`]),
//! projection to grades, and the routes that keep instructions and rubrics.

pub mod decision;
pub mod pairing;
pub mod scoring;

mod assess;
mod driver;
mod handler;
mod judges;
mod results;
mod routes;
mod schema;
mod settings;
mod store;

use std::sync::Arc;

use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    RunningService, ServiceCore, ServiceId, ServiceInput, StartError, providers, runtime,
};
use tokio::sync::{Notify, Semaphore};

pub use settings::{ProviderSettings, Settings, load_settings};

/// Which of the nine services this is.
pub const SERVICE: ServiceId = ServiceId::CjAssessment;

/// Starts the service.
///
/// # Errors
/// When settings are refused, or store, producer, providers or address cannot be had.
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
    let judges = judges::Judges::build(core.breakers(), &settings)?;
    let jobs = store::Jobs::new(core.store().clone());
    let requested = Arc::new(Notify::new());
    core.consume(
        &[Topic::ElsCjAssessmentRequested],
        Arc::new(handler::Handler {
            jobs: jobs.clone(),
            requested: Arc::clone(&requested),
        }),
    );
    let routes = routes::routes(jobs.clone());
    let places = Arc::new(Semaphore::new(settings.max_concurrent_comparisons));
    let engine = Arc::new(assess::Engine {
        jobs,
        content,
        judges,
        places,
        settings,
    });
    let stop = core.shutdown();
    core.spawn("driver", || driver::run(engine, requested, stop));
    Ok(core.launch(routes))
}
