//! The service's own settings: how much content may wait for a batch that is not registered yet.

use std::time::Duration;

use huleedu_kit::settings::SettingsReader;

/// Settings of Essay Lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many files may wait for registrations, over all batches (`PENDING_CONTENT_LIMIT`).
    pub pending_limit: u64,
    /// How many files may wait for one registration (`PENDING_CONTENT_PER_BATCH_LIMIT`).
    pub pending_limit_per_batch: u64,
    /// After which time a batch that was never registered makes room for others
    /// (`PENDING_CONTENT_MAX_AGE_SECONDS`).
    pub pending_max_age: Duration,
}

/// Reads the settings; also used to list them.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    Settings {
        pending_limit: reader.get_in(
            "PENDING_CONTENT_LIMIT",
            20_000,
            1..=10_000_000,
            "files that may wait for the registration of their batch, over all batches",
        ),
        pending_limit_per_batch: reader.get_in(
            "PENDING_CONTENT_PER_BATCH_LIMIT",
            2_000,
            1..=100_000,
            "files that may wait for the registration of one batch",
        ),
        pending_max_age: reader.get(
            "PENDING_CONTENT_MAX_AGE_SECONDS",
            Duration::from_hours(7 * 24),
            "after this many seconds, files of a batch that was never registered make room",
        ),
    }
}
