//! Building a registry.

use std::fmt;

use super::Registry;
use crate::clock::{MonotonicClock, TimeSource};
use crate::config::BreakerConfig;
use crate::settings::{CircuitSettings, SettingsError};

/// The most circuits a registry holds unless it is told otherwise: each is a set of metric series.
const CAPACITY: usize = 1_000;

/// Gathers what a registry needs. See [`Registry::builder`].
#[must_use = "a builder does nothing until `build`"]
#[derive(Clone)]
pub struct RegistryBuilder {
    pub(super) service: String,
    pub(super) enabled: bool,
    pub(super) clock: Option<TimeSource>,
    pub(super) capacity: usize,
    pub(super) template: BreakerConfig,
    pub(super) settings: CircuitSettings,
}

impl RegistryBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            enabled: true,
            clock: None,
            capacity: CAPACITY,
            template: BreakerConfig::default(),
            settings: CircuitSettings::new(),
        }
    }

    /// Sets the clock of all breakers: one of those [`TimeSource`] knows, or any
    /// [`Clock`](crate::Clock) in an `Arc`; default a [`MonotonicClock`].
    pub fn clock(mut self, clock: impl Into<TimeSource>) -> Self {
        self.clock = Some(clock.into());
        self
    }

    /// With false, the breakers let every call pass and count none: what is wired when circuit
    /// breakers are switched off. Settings are still checked and names still clash.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets the most circuits the registry holds, 0 counting as 1; default 1000.
    pub fn capacity(mut self, circuits: usize) -> Self {
        self.capacity = circuits.max(1);
        self
    }

    /// Sets what [`Registry::get_or_register`] makes circuits from; default
    /// [`BreakerConfig::default`].
    pub fn template(mut self, config: BreakerConfig) -> Self {
        self.template = config;
        self
    }

    /// Sets what goes over the settings of the code, by pattern of names; default nothing.
    pub fn settings(mut self, settings: CircuitSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Builds the registry, empty.
    ///
    /// # Errors
    /// The template, with what is given for all circuits and under each pattern, makes no sense.
    pub fn build(self) -> Result<Registry, SettingsError> {
        self.settings.check(&self.template)?;
        let clock = self
            .clock
            .clone()
            .unwrap_or_else(|| MonotonicClock::new().into());
        Ok(Registry::from_checked(self, clock))
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder")
            .field("service", &self.service)
            .field("enabled", &self.enabled)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
