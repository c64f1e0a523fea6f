//! Batch Conductor: resolves a requested pipeline into the phases that are still to run.
//!
//! It answers one question, `POST /internal/v1/pipelines/define`, and keeps the one fact needed for
//! the answer: how each phase last ended for each batch. That fact comes from
//! `els.batch.phase.outcome` alone, which is published once per phase and batch and already weighs
//! all essays; counting essays here from thin events could only disagree with it.
//!
//! | room | subject |
//! |---|---|
//! | [`catalogue`] | the pipelines and their phases, checked and ordered at start |
//! | [`resolve`] | requested pipeline and history to phases to run (pure) |
//! | `store` | how phases ended, in SQL |
//! | `routes`, `handler` | HTTP and Kafka |

pub mod catalogue;
mod handler;
pub mod resolve;
mod routes;
mod schema;
pub mod settings;
mod store;

use std::sync::Arc;

use huleedu_contracts::topics::Topic;
use huleedu_kit::{RunningService, ServiceCore, ServiceId, ServiceInput, StartError, runtime};

pub use crate::settings::load_settings;
use crate::{catalogue::Catalogue, handler::Handler, routes::Conductor};

/// Which service this is.
pub const SERVICE: ServiceId = ServiceId::BatchConductor;

/// Starts the service.
///
/// # Errors
/// When settings are refused, the pipelines contradict themselves, or store, producer or address
/// cannot be had.
pub async fn start(input: ServiceInput) -> Result<RunningService, StartError> {
    let (common, settings) = runtime::load_settings(SERVICE, &input.env, load_settings)?;
    let catalogue = Catalogue::builtin().map_err(|e| StartError::Other(Box::new(e)))?;
    let mut core = ServiceCore::build(SERVICE, common, input, schema::MIGRATIONS).await?;
    core.consume(&[Topic::ElsBatchPhaseOutcome], Arc::new(Handler));
    let conductor = Conductor::new(core.store().clone(), catalogue, settings);
    Ok(core.launch(routes::router(conductor)))
}
