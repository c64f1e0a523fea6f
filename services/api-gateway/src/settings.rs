//! Settings of the gateway.

use std::time::Duration;

use fusebox::BreakerConfig;
use huleedu_kit::{
    ServiceId,
    settings::{CircuitDefaults, Secret, SettingsReader, circuit_config},
};
use url::Url;

/// What the gateway needs beside the common settings.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Secret of the tokens' HS256 signature.
    pub jwt_secret: Secret,
    /// The circuit of each downstream service.
    pub circuit: BreakerConfig,
    /// Longest wait for a downstream answer.
    pub timeout: Duration,
    /// Longest wait for the answer to an upload.
    pub upload_timeout: Duration,
    /// Uploads that may be held in memory at once.
    pub max_concurrent_uploads: usize,
    /// Where the Batch Orchestrator is.
    pub batch_orchestrator: Url,
    /// Where the Essay Lifecycle is.
    pub essay_lifecycle: Url,
    /// Where CJ Assessment is.
    pub cj_assessment: Url,
    /// Where the File Service is.
    pub file: Url,
    /// Where Class Management is.
    pub class_management: Url,
}

/// A key as long as the hash is the least that HS256 asks for (RFC 7518, 3.2).
const LEAST_SECRET_BYTES: usize = 32;

/// Reads them.
pub fn load_settings(r: &mut SettingsReader<'_>) -> Settings {
    let jwt_secret = r.required(
        "JWT_SECRET",
        Secret::new(""),
        "secret of the tokens' HS256 signature, at least 32 bytes",
    );
    let length = jwt_secret.expose().len();
    if length > 0 && length < LEAST_SECRET_BYTES {
        r.refuse(format!(
            "JWT_SECRET has {length} bytes; allowed: at least {LEAST_SECRET_BYTES}"
        ));
    }
    Settings {
        jwt_secret,
        circuit: circuit_config(r, CircuitDefaults::HTTP),
        timeout: r.get(
            "HTTP_CLIENT_TIMEOUT_SECONDS",
            Duration::from_secs(30),
            "longest wait for a downstream answer, in seconds",
        ),
        upload_timeout: r.get(
            "UPLOAD_TIMEOUT_SECONDS",
            Duration::from_mins(1),
            "longest wait for the answer to an upload, in seconds",
        ),
        max_concurrent_uploads: r.get_in(
            "MAX_CONCURRENT_UPLOADS",
            8,
            1..=1000,
            "uploads held in memory at once; beyond it 503 with Retry-After",
        ),
        batch_orchestrator: r.get(
            "BATCH_ORCHESTRATOR_URL",
            ServiceId::BatchOrchestrator.default_url(),
            "base URL of the Batch Orchestrator",
        ),
        essay_lifecycle: r.get(
            "ESSAY_LIFECYCLE_URL",
            ServiceId::EssayLifecycle.default_url(),
            "base URL of the Essay Lifecycle",
        ),
        cj_assessment: r.get(
            "CJ_ASSESSMENT_URL",
            ServiceId::CjAssessment.default_url(),
            "base URL of CJ Assessment",
        ),
        file: r.get(
            "FILE_SERVICE_URL",
            ServiceId::File.default_url(),
            "base URL of the File Service",
        ),
        class_management: r.get(
            "CLASS_MANAGEMENT_URL",
            ServiceId::ClassManagement.default_url(),
            "base URL of Class Management",
        ),
    }
}
