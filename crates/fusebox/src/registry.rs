//! The circuits of one service, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::breaker::CircuitBreaker;
use crate::clock::{Clock, MonotonicClock};
use crate::config::{BreakerConfig, ConfigError};
use crate::event::Event;
use crate::snapshot::Snapshot;

/// The most circuits a registry holds: each is a set of metric series.
const CAPACITY: usize = 1_000;

type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// The circuits of one service, by name. Clones are handles to the same registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    service: String,
    enabled: bool,
    clock: Arc<dyn Clock>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    breakers: BTreeMap<String, CircuitBreaker>,
    observers: Vec<Observer>,
}

impl Registry {
    /// An empty registry for `service`, on the process's monotonic clock.
    pub fn new(service: impl Into<String>) -> Self {
        Self::with_clock(service, Arc::new(MonotonicClock::new()))
    }

    /// An empty registry for `service`, on `clock`.
    pub fn with_clock(service: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self::build(service.into(), clock, true)
    }

    /// A registry whose breakers let every call pass and count none: what is wired when circuit
    /// breakers are switched off. Settings are still checked and names still clash.
    pub fn disabled(service: impl Into<String>) -> Self {
        Self::build(service.into(), Arc::new(MonotonicClock::new()), false)
    }

    fn build(service: String, clock: Arc<dyn Clock>, enabled: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                service,
                enabled,
                clock,
                entries: Mutex::default(),
            }),
        }
    }

    /// The service whose circuits these are.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// False for [`Registry::disabled`].
    pub fn is_enabled(&self) -> bool {
        self.inner.enabled
    }

    /// Builds a breaker and keeps it under `name`.
    ///
    /// # Errors
    /// The name is taken (the breaker that has it stays), the registry holds 1000 circuits
    /// already, or a setting makes no sense.
    pub fn register(
        &self,
        name: impl Into<String>,
        config: BreakerConfig,
    ) -> Result<CircuitBreaker, RegistryError> {
        let name = name.into();
        let mut entries = self.entries();
        if entries.breakers.contains_key(&name) {
            return Err(RegistryError::NameTaken {
                service: self.inner.service.clone(),
                name,
            });
        }
        if entries.breakers.len() >= CAPACITY {
            return Err(RegistryError::Full {
                service: self.inner.service.clone(),
                capacity: CAPACITY,
            });
        }
        let breaker = CircuitBreaker::builder(name.as_str())
            .service(self.inner.service.as_str())
            .config(config)
            .clock(Arc::clone(&self.inner.clock))
            .enabled(self.inner.enabled)
            .build()
            .map_err(|source| RegistryError::Config {
                name: name.clone(),
                source,
            })?;
        for observer in &entries.observers {
            breaker.observe(Arc::clone(observer));
        }
        entries.breakers.insert(name, breaker.clone());
        Ok(breaker)
    }

    /// The breaker of that name.
    pub fn get(&self, name: &str) -> Option<CircuitBreaker> {
        self.entries().breakers.get(name).cloned()
    }

    /// All breakers, sorted by name.
    pub fn breakers(&self) -> Vec<CircuitBreaker> {
        self.entries().breakers.values().cloned().collect()
    }

    /// The snapshots of all breakers, sorted by name. Each is consistent in itself; they are taken
    /// one after the other.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        // Outside the registry's lock: a snapshot may deliver events, whose observers may come back.
        self.breakers()
            .iter()
            .map(CircuitBreaker::snapshot)
            .collect()
    }

    /// Resets every breaker; see [`CircuitBreaker::reset`].
    pub fn reset_all(&self) {
        for breaker in self.breakers() {
            breaker.reset();
        }
    }

    /// Number of breakers.
    pub fn len(&self) -> usize {
        self.entries().breakers.len()
    }

    /// True when nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `observer` with every later event of every breaker, those registered later included.
    ///
    /// The rules of [`CircuitBreaker::on_event`] hold; events of different breakers may come at the
    /// same time.
    pub fn on_event(&self, observer: impl Fn(&Event) + Send + Sync + 'static) {
        let observer: Observer = Arc::new(observer);
        let mut entries = self.entries();
        for breaker in entries.breakers.values() {
            breaker.observe(Arc::clone(&observer));
        }
        entries.observers.push(observer);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every change is a single insertion, so a panic leaves nothing half done.
        self.inner
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("service", &self.inner.service)
            .field("enabled", &self.inner.enabled)
            .field("circuits", &self.len())
            .finish_non_exhaustive()
    }
}

/// A breaker could not be registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another breaker has the name.
    #[error("service {service} already has a circuit named {name}")]
    NameTaken {
        /// The registry's service.
        service: String,
        /// The name asked for.
        name: String,
    },
    /// The registry holds as many circuits as it may.
    #[error("service {service} already has {capacity} circuits, the most allowed")]
    Full {
        /// The registry's service.
        service: String,
        /// The most circuits it may hold.
        capacity: usize,
    },
    /// The settings make no sense.
    #[error("the settings of circuit {name} were refused")]
    Config {
        /// The name asked for.
        name: String,
        /// Which setting, and what is allowed.
        source: ConfigError,
    },
}
