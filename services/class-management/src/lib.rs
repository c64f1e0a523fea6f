//! Classes and their students.
//!
//! A class belongs to the teacher who made it, has one course, and holds students that belong to
//! the same teacher. Every change is published in the transaction that makes it.
//!
//! Who wrote which essay (suggestions, the teacher's confirmation and its time limit) is no part
//! of this service yet; its tables and routes will stand beside `classes` and `students`.

mod classes;
mod routes;
mod rules;
mod schema;
mod settings;
mod students;

use std::sync::Arc;

use huleedu_kit::{RunningService, ServiceCore, ServiceId, ServiceInput, StartError, runtime};

pub use settings::{Settings, load_settings};

/// Which of the nine services this is.
pub const SERVICE: ServiceId = ServiceId::ClassManagement;

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
