//! Settings of the Batch Conductor beside the common ones.

use huleedu_kit::settings::SettingsReader;

/// Settings of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether phases that read the assignment are refused for a batch without one.
    pub require_prompt: bool,
}

/// Reads them; also used to show the effective settings.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    Settings {
        require_prompt: reader.get(
            "REQUIRE_PROMPT",
            false,
            "true refuses cj_assessment, nlp and ai_feedback for a batch without a student prompt",
        ),
    }
}
