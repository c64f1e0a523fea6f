//! The settings of this service alone.

use huleedu_kit::settings::SettingsReader;

/// What can be set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Largest content in bytes; beyond it 413. 32 MiB by default.
    pub max_content_bytes: usize,
}

/// Reads them.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    Settings {
        max_content_bytes: reader.get_in(
            "MAX_CONTENT_BYTES",
            32 * 1024 * 1024,
            1..=512 * 1024 * 1024,
            "largest content in bytes; beyond it 413",
        ),
    }
}
