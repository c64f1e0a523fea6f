//! How fast events may be handed to Kafka, always and while a backlog is made up for.

use std::num::{NonZeroU32, NonZeroU64};

use fusebox_kafka::{DrainerConfig, PaceLimit};

use super::reader::SettingsReader;

/// Least bound of bytes: the largest event is made up for in a minute.
const LEAST_BYTES: NonZeroU64 = NonZeroU64::new(16 << 10).expect("above zero");

/// Bounds of an operator's; what is not set is not bounded by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaceSettings {
    /// Always.
    pub always: PaceLimit,
    /// While a backlog is made up for, over what the drainer finds out itself.
    pub recovery: PaceLimit,
}

impl PaceSettings {
    pub(super) fn load(r: &mut SettingsReader<'_>) -> Self {
        let (records, bytes) = (
            NonZeroU32::MIN..=NonZeroU32::MAX,
            LEAST_BYTES..=NonZeroU64::MAX,
        );
        Self {
            always: PaceLimit {
                records: r.optional_in(
                    "KAFKA_PACE_EVENTS",
                    records.clone(),
                    "most events handed to Kafka in a second, always; not set: no bound",
                ),
                bytes: r.optional_in(
                    "KAFKA_PACE_BYTES",
                    bytes.clone(),
                    "most bytes of events handed to Kafka in a second, always; not set: no bound",
                ),
            },
            recovery: PaceLimit {
                records: r.optional_in(
                    "KAFKA_RECOVERY_PACE_EVENTS",
                    records,
                    "most events handed to Kafka in a second while a backlog is made up for; not set: as many as it \
                     acknowledges in time",
                ),
                bytes: r.optional_in(
                    "KAFKA_RECOVERY_PACE_BYTES",
                    bytes,
                    "the same in bytes",
                ),
            },
        }
    }

    /// Lets a drainer act by it.
    pub fn apply_to(&self, config: &mut DrainerConfig) {
        config.pace = self.always;
        config.recovery_pace = self.recovery;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        service::ServiceId,
        settings::{Env, SettingsError},
    };

    fn load(env: &Env) -> Result<DrainerConfig, SettingsError> {
        let mut reader = SettingsReader::new(ServiceId::File, env);
        let settings = PaceSettings::load(&mut reader);
        reader.finish()?;
        let mut config = DrainerConfig::default();
        settings.apply_to(&mut config);
        Ok(config)
    }

    #[test]
    fn bounds_are_those_that_were_set() {
        let config = load(&Env::empty()).unwrap();
        let none = PaceLimit::default();
        assert_eq!((config.pace, config.recovery_pace), (none, none));
        let env = Env::empty()
            .with("KAFKA_PACE_EVENTS", "5000")
            .with("KAFKA_PACE_BYTES", "16384")
            .with("FILE_SERVICE_KAFKA_RECOVERY_PACE_EVENTS", "1")
            .with("KAFKA_RECOVERY_PACE_BYTES", "1000000");
        let config = load(&env).unwrap();
        let limit = |records, bytes| PaceLimit {
            records: NonZeroU32::new(records),
            bytes: NonZeroU64::new(bytes),
        };
        assert_eq!(config.pace, limit(5_000, 16_384));
        assert_eq!(config.recovery_pace, limit(1, 1_000_000));
    }

    #[test]
    fn a_bound_that_would_stop_events_is_refused() {
        for (name, text, allowed) in [
            ("KAFKA_PACE_EVENTS", "0", "from 1 to"),
            ("KAFKA_PACE_BYTES", "16383", "from 16384 to"),
            ("KAFKA_RECOVERY_PACE_EVENTS", "-1", "from 1 to"),
            ("KAFKA_RECOVERY_PACE_BYTES", "fast", "from 1 to"),
        ] {
            let error = load(&Env::empty().with(name, text))
                .unwrap_err()
                .to_string();
            assert!(error.contains(&format!("{name} is `{text}`")), "{error}");
            assert!(error.contains(allowed), "{error}");
        }
    }
}
