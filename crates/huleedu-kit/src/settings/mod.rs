//! Settings from the environment: read once at start, checked, and explained.
//!
//! Every setting is read through a [`SettingsReader`], which looks for the variable with the
//! service's prefix first, then for the plain name, then takes the default. It remembers each
//! reading, so that `huleedu config` can show value, source and meaning, and it collects every
//! error, so that an operator sees all bad values at once.

mod common;
mod env;
mod pace;
mod poison;
mod reader;
mod value;

pub use common::{
    CircuitDefaults, CommonSettings, DatabaseSettings, JournalSettings, KafkaSettings, PublishMode,
    circuit_config,
};
pub use env::Env;
pub use pace::PaceSettings;
pub use poison::{PoisonSettings, PolicyByTopic};
pub use reader::{SettingRow, SettingsError, SettingsReader, Source};
pub use value::{Secret, SettingValue};
