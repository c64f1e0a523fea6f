//! The settings of this service alone.

use std::time::Duration;

use fusebox::{BreakerConfig, backoff::Backoff};
use huleedu_kit::settings::{CircuitDefaults, SettingsReader, circuit_config};
use url::Url;

use crate::extract::TextRules;

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
    /// The Batch Orchestrator.
    pub orchestrator_url: Url,
    /// Longest wait for an answer of the Batch Orchestrator.
    pub orchestrator_timeout: Duration,
    /// The circuit of the Batch Orchestrator.
    pub orchestrator_circuit: BreakerConfig,
    /// How long a text must and may be.
    pub rules: TextRules,
    /// Largest file in bytes; a larger one fails alone.
    pub max_file_bytes: usize,
    /// Most files in one request.
    pub max_files: usize,
    /// How many files are handled at once.
    pub workers: usize,
    /// Longest extraction of one file.
    pub extraction_timeout: Duration,
    /// Waits between tries of a file whose handling met a passing failure.
    pub backoff: Backoff,
}

/// Reads them.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    let rules = TextRules {
        min_characters: reader.get_in(
            "MIN_CONTENT_LENGTH",
            TextRules::default().min_characters,
            1..=1_000_000,
            "fewest characters of an essay",
        ),
        max_characters: reader.get_in(
            "MAX_CONTENT_LENGTH",
            TextRules::default().max_characters,
            1..=1_000_000,
            "most characters of an essay",
        ),
    };
    if rules.min_characters > rules.max_characters {
        reader.refuse(format!(
            "MIN_CONTENT_LENGTH is {}, more than MAX_CONTENT_LENGTH, which is {}",
            rules.min_characters, rules.max_characters
        ));
    }
    let retry_min = reader.get(
        "INTAKE_RETRY_MIN_SECONDS",
        Duration::from_millis(500),
        "first wait before a file is handled again after a passing failure, in seconds",
    );
    let retry_max = reader.get(
        "INTAKE_RETRY_MAX_SECONDS",
        Duration::from_secs(15),
        "longest wait before a file is handled again after a passing failure, in seconds",
    );
    Settings {
        content_url: url(
            reader,
            "CONTENT_SERVICE_URL",
            "http://127.0.0.1:8000",
            "base URL of the Content Service",
        ),
        content_timeout: reader.get(
            "CONTENT_TIMEOUT_SECONDS",
            Duration::from_secs(10),
            "longest wait for an answer of the Content Service, in seconds",
        ),
        content_circuit: circuit_config(reader, CircuitDefaults::CONTENT),
        orchestrator_url: url(
            reader,
            "BATCH_ORCHESTRATOR_URL",
            "http://127.0.0.1:5000",
            "base URL of the Batch Orchestrator",
        ),
        orchestrator_timeout: reader.get(
            "BATCH_ORCHESTRATOR_TIMEOUT_SECONDS",
            Duration::from_secs(10),
            "longest wait for an answer of the Batch Orchestrator, in seconds",
        ),
        orchestrator_circuit: circuit_config(reader, CircuitDefaults::HTTP),
        rules,
        max_file_bytes: reader.get_in(
            "MAX_FILE_BYTES",
            10 * 1024 * 1024,
            1..=512 * 1024 * 1024,
            "largest file in bytes; a larger one fails alone",
        ),
        max_files: reader.get_in(
            "MAX_FILES_PER_REQUEST",
            2000,
            1..=100_000,
            "most files in one request; beyond it 413",
        ),
        workers: reader.get_in("WORKERS", 4, 1..=256, "files handled at once"),
        extraction_timeout: reader.get(
            "EXTRACTION_TIMEOUT_SECONDS",
            Duration::from_secs(30),
            "longest extraction of the text of one file, in seconds",
        ),
        backoff: Backoff::new(retry_min, retry_max),
    }
}

fn url(
    reader: &mut SettingsReader<'_>,
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Url {
    let default = Url::parse(default).expect("the defaults of this file are URLs");
    reader.get(name, default, meaning)
}
