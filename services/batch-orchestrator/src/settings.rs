//! Settings of the Batch Orchestrator beside the common ones.

use std::time::Duration;

use fusebox::BreakerConfig;
use huleedu_kit::{
    ServiceId,
    settings::{CircuitDefaults, SettingsReader, circuit_config},
};
use url::Url;

/// Settings of its own.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where the Batch Conductor is.
    pub bcs_url: Url,
    /// Path of the route that resolves pipelines.
    pub bcs_endpoint: String,
    /// Longest wait for its answer.
    pub bcs_timeout: Duration,
    /// Its circuit.
    pub bcs_circuit: BreakerConfig,
    /// Where the Content Service is.
    pub content_url: Url,
    /// Longest wait for its answer.
    pub content_timeout: Duration,
    /// Its circuit.
    pub content_circuit: BreakerConfig,
    /// Most essays of one batch.
    pub max_essays: u32,
}

/// Reads them; also used to show the effective settings.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    let bcs_endpoint = reader.get(
        "BCS_PIPELINE_ENDPOINT",
        "/internal/v1/pipelines/define".to_owned(),
        "path of the Batch Conductor's route that resolves pipelines",
    );
    if !bcs_endpoint.starts_with('/') {
        reader.refuse(format!(
            "BCS_PIPELINE_ENDPOINT is `{bcs_endpoint}`; allowed: a path that begins with /"
        ));
    }
    Settings {
        bcs_url: reader.get(
            "BCS_BASE_URL",
            local(ServiceId::BatchConductor),
            "base URL of the Batch Conductor",
        ),
        bcs_endpoint,
        bcs_timeout: reader.get(
            "BCS_REQUEST_TIMEOUT",
            Duration::from_secs(30),
            "longest wait for an answer of the Batch Conductor, in seconds",
        ),
        bcs_circuit: circuit_config(reader, CircuitDefaults::BCS),
        content_url: reader.get(
            "CONTENT_SERVICE_URL",
            local(ServiceId::Content),
            "base URL of the Content Service",
        ),
        content_timeout: reader.get(
            "CONTENT_SERVICE_TIMEOUT_SECONDS",
            Duration::from_secs(5),
            "longest wait for an answer of the Content Service, in seconds",
        ),
        content_circuit: circuit_config(reader, CircuitDefaults::CONTENT),
        max_essays: reader.get_in(
            "MAX_ESSAYS_PER_BATCH",
            2000,
            1..=100_000,
            "most essays of one batch; a larger registration is refused",
        ),
    }
}

/// The base URL of a service that runs on this machine with its default port.
fn local(service: ServiceId) -> Url {
    let url = format!("http://127.0.0.1:{}", service.default_port());
    url.parse().expect("an address and a port make a URL")
}
