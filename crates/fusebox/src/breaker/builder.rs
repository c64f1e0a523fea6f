//! Building a breaker.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::CircuitBreaker;
use crate::clock::{MonotonicClock, TimeSource};
use crate::config::{BreakerConfig, ConfigError};
use crate::engine::Engine;
use crate::event::Identity;

/// Gathers what a breaker needs. See [`CircuitBreaker::builder`].
#[must_use = "a builder does nothing until `build`"]
#[derive(Clone)]
pub struct CircuitBreakerBuilder {
    name: String,
    service: String,
    config: Arc<BreakerConfig>,
    clock: Option<TimeSource>,
    enabled: bool,
    seed: Option<u64>,
}

impl CircuitBreakerBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            service: String::new(),
            config: Arc::default(),
            clock: None,
            enabled: true,
            seed: None,
        }
    }

    /// Names the service whose circuit it is; default empty.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = service.into();
        self
    }

    /// Sets the settings; default [`BreakerConfig::default`]. Many breakers may share one `Arc` of
    /// them.
    pub fn config(mut self, config: impl Into<Arc<BreakerConfig>>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets the clock: one of those [`TimeSource`] knows, or any [`Clock`](crate::Clock) in an `Arc`;
    /// default a [`MonotonicClock`].
    pub fn clock(mut self, clock: impl Into<TimeSource>) -> Self {
        self.clock = Some(clock.into());
        self
    }

    /// With false, builds a pass-through: same type, never refuses, judges and counts no calls.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets the seed of the jitter, for runs that must repeat; default a random one.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds the breaker, closed.
    ///
    /// # Errors
    /// The name is empty or a setting makes no sense.
    pub fn build(self) -> Result<CircuitBreaker, ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::new("name", &self.name, "any text but none"));
        }
        self.config.validate()?;
        let clock = self.clock.unwrap_or_else(|| MonotonicClock::new().into());
        // Every `RandomState` has its own keys, so replicas and circuits draw different jitter.
        let seed = self
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(&self.name));
        let of = Identity::of_breaker(&self.service, &self.name);
        Ok(CircuitBreaker {
            engine: Arc::new(Engine::new(of, self.config, clock, seed, self.enabled)),
        })
    }
}

impl fmt::Debug for CircuitBreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerBuilder")
            .field("name", &self.name)
            .field("service", &self.service)
            .field("config", &self.config)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}
