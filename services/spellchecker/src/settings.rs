//! The settings of this service alone.

use std::time::Duration;

use fusebox::BreakerConfig;
use huleedu_kit::settings::{CircuitDefaults, SettingsReader, circuit_config};
use url::Url;

/// What can be set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The Content Service.
    pub content_url: Url,
    /// Longest wait for an answer of the Content Service.
    pub content_timeout: Duration,
    /// The circuit of the Content Service.
    pub content_circuit: BreakerConfig,
    /// Largest text in bytes; a larger one fails.
    pub max_text_bytes: usize,
    /// How many texts are corrected at once.
    pub max_concurrent: usize,
}

/// Reads them.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    Settings {
        content_url: reader.get(
            "CONTENT_SERVICE_URL",
            default_content_url(),
            "base URL of the Content Service",
        ),
        content_timeout: reader.get(
            "CONTENT_TIMEOUT_SECONDS",
            Duration::from_secs(10),
            "longest wait for an answer of the Content Service, in seconds",
        ),
        content_circuit: circuit_config(reader, CircuitDefaults::CONTENT),
        max_text_bytes: reader.get_in(
            "MAX_TEXT_BYTES",
            4 * 1024 * 1024,
            1..=64 * 1024 * 1024,
            "largest text in bytes; a larger one fails",
        ),
        max_concurrent: reader.get_in(
            "MAX_CONCURRENT_CORRECTIONS",
            2,
            1..=256,
            "texts corrected at once",
        ),
    }
}

fn default_content_url() -> Url {
    Url::parse("http://127.0.0.1:8000").expect("the default is a URL")
}
