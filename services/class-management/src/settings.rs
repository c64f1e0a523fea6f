//! The settings of this service alone.

use huleedu_kit::settings::SettingsReader;

/// What can be set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Most students in one class; 500 by default.
    pub max_students_per_class: u32,
}

/// Reads them.
pub fn load_settings(reader: &mut SettingsReader<'_>) -> Settings {
    Settings {
        max_students_per_class: reader.get_in(
            "MAX_STUDENTS_PER_CLASS",
            500,
            1..=100_000,
            "most students in one class; beyond it 409",
        ),
    }
}
