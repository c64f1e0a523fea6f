//! Stores blobs by content hash.
//!
//! Everything large on the platform – uploaded files, their texts, corrected texts, prompts – is
//! kept here and named by its hash in events. An answer of 201 means that the bytes are on disk.
//! The same bytes of the same type always have the same id, so that storing twice is harmless and
//! a caller may try again after any failure.
//!
//! The service publishes nothing and consumes nothing.

mod routes;
mod schema;
mod settings;
mod store;

use std::sync::Arc;

use huleedu_kit::{RunningService, ServiceCore, ServiceId, ServiceInput, StartError, runtime};

pub use settings::{Settings, load_settings};
pub use store::storage_id;

/// Which of the nine services this is.
pub const SERVICE: ServiceId = ServiceId::Content;

/// Starts the service.
///
/// # Errors
/// When settings are refused or store, producer or address cannot be had.
pub async fn start(input: ServiceInput) -> Result<RunningService, StartError> {
    let (common, settings) = runtime::load_settings(SERVICE, &input.env, load_settings)?;
    let core = ServiceCore::build(SERVICE, common, input, schema::MIGRATIONS).await?;
    let routes = routes::routes(core.store().clone(), Arc::new(settings));
    Ok(core.launch(routes))
}
