//! Where policies come from: one registry, one set of layered settings, one budget per circuit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fusebox::{BreakerConfig, CircuitBreaker, ConfigError, Registry, RegistryError};
use thiserror::Error;

use crate::budget::RetryBudget;
use crate::context::{Ids, Names};
use crate::method::MethodMeta;
use crate::policy::{Active, Policy};
use crate::settings::{Settings, SettingsError};

/// Where the ids in force come from.
pub(crate) type IdSource = Arc<dyn Fn() -> Ids + Send + Sync>;

/// Makes the policies of one service. Clones are handles to the same.
///
/// Circuits live in the [`Registry`]: a circuit that is there already is shared, one that is not is
/// registered with the settings given here. Over a registry that is switched off every policy is a
/// pass-through: no circuit, no timeout, no retry, no span, as if the bare client had been wired.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{BreakerConfig, Registry};
/// use fusebox_resilient::{Resilience, Settings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new("batch_orchestrator");
/// let resilience = Resilience::builder(&registry)
///     .circuit("batch_conductor", BreakerConfig::default().with_failure_threshold(5))
///     .operation("batch_conductor.resolve", Settings::new().with_attempt_timeout(Duration::from_secs(3)))
///     .build()?;
/// let policy = resilience.policy("batch_conductor", "batch_conductor.resolve")?;
/// assert_eq!(policy.breaker().map(|b| b.name().to_owned()), Some("batch_conductor".to_owned()));
/// assert!(resilience.unused().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Resilience {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    layers: Layers,
    ids: IdSource,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Layers {
    all: Settings,
    breaker: BreakerConfig,
    circuits: BTreeMap<String, CircuitLayer>,
    operations: BTreeMap<String, Settings>,
}

#[derive(Default)]
struct CircuitLayer {
    breaker: Option<BreakerConfig>,
    settings: Settings,
}

#[derive(Default)]
struct Used {
    budgets: BTreeMap<String, RetryBudget>,
    operations: BTreeSet<String>,
}

impl Resilience {
    /// Policies with the standard settings.
    pub fn new(registry: &Registry) -> Self {
        Self::assemble(registry, Layers::default(), Arc::new(Ids::current))
    }

    /// Policies with other settings.
    pub fn builder(registry: &Registry) -> ResilienceBuilder {
        ResilienceBuilder {
            registry: registry.clone(),
            layers: Layers::default(),
            ids: Arc::new(Ids::current),
        }
    }

    fn assemble(registry: &Registry, layers: Layers, ids: IdSource) -> Self {
        Self {
            inner: Arc::new(Inner {
                registry: registry.clone(),
                layers,
                ids,
                used: Mutex::default(),
            }),
        }
    }

    /// The registry that holds the circuits.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The policy of a function: `circuit` guards it, `operation` names it in errors, spans and
    /// settings.
    ///
    /// # Errors
    /// The circuit cannot be registered, or the layers together make no sense.
    pub fn policy(&self, circuit: &str, operation: &str) -> Result<Policy, PolicyError> {
        self.make(circuit, operation, &Settings::default())
    }

    /// The policy of a method of the trait known as `client`; used by generated code.
    ///
    /// # Errors
    /// The circuit cannot be registered, or the layers together make no sense.
    pub fn method_policy(&self, client: &str, meta: &MethodMeta) -> Result<Policy, PolicyError> {
        let Some(circuit) = meta.circuit() else {
            return Ok(Policy::pass_through());
        };
        let operation = format!("{client}.{}", meta.name());
        self.make(circuit, &operation, &meta.settings())
    }

    /// The retry budgets of the circuits, by name; for metrics.
    pub fn budgets(&self) -> Vec<(String, RetryBudget)> {
        let used = self.used();
        used.budgets
            .iter()
            .map(|(name, budget)| (name.clone(), budget.clone()))
            .collect()
    }

    /// Names of circuits and operations that have settings but no policy so far, sorted.
    ///
    /// Asked when everything is wired, the answer is a list of misspelt names.
    pub fn unused(&self) -> Vec<String> {
        let layers = &self.inner.layers;
        let used = self.used();
        let circuits = layers
            .circuits
            .keys()
            .filter(|name| !used.budgets.contains_key(*name));
        let operations = layers
            .operations
            .keys()
            .filter(|name| !used.operations.contains(*name));
        let names: BTreeSet<&String> = circuits.chain(operations).collect();
        names.into_iter().cloned().collect()
    }

    fn make(
        &self,
        circuit: &str,
        operation: &str,
        attribute: &Settings,
    ) -> Result<Policy, PolicyError> {
        let inner = &*self.inner;
        let layers = &inner.layers;
        let none = Settings::default();
        let of_circuit = layers.circuits.get(circuit).map_or(&none, |c| &c.settings);
        let of_operation = layers.operations.get(operation).unwrap_or(&none);
        let settings = of_operation
            .over(attribute)
            .over(of_circuit)
            .over(&layers.all)
            .over(&Settings::standard());
        settings
            .validate()
            .map_err(|source| PolicyError::Settings {
                name: operation.to_owned(),
                source,
            })?;
        // Also when switched off: a name or a setting that is refused is refused in either case.
        let breaker = self.breaker(circuit)?;
        let budget = {
            let mut used = self.used();
            used.operations.insert(operation.to_owned());
            let own = used.budgets.entry(circuit.to_owned()).or_default();
            settings.budget.clone().unwrap_or_else(|| own.clone())
        };
        if !inner.registry.is_enabled() {
            return Ok(Policy::pass_through());
        }
        let names = Names {
            service: inner.registry.service().into(),
            circuit: circuit.into(),
            operation: operation.into(),
        };
        Ok(Policy::of(Active::new(
            names,
            breaker,
            budget,
            &settings,
            Arc::clone(&inner.ids),
        )))
    }

    fn breaker(&self, circuit: &str) -> Result<CircuitBreaker, RegistryError> {
        let registry = &self.inner.registry;
        if let Some(breaker) = registry.get(circuit) {
            return Ok(breaker);
        }
        let layers = &self.inner.layers;
        let config = layers
            .circuits
            .get(circuit)
            .and_then(|layer| layer.breaker.as_ref())
            .unwrap_or(&layers.breaker);
        match registry.register(circuit, config.clone()) {
            // Another thread was faster; its circuit is the one to share.
            Err(RegistryError::NameTaken { service, name }) => registry
                .get(circuit)
                .ok_or(RegistryError::NameTaken { service, name }),
            other => other,
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Every change is a single insertion, so a panic leaves nothing half done.
        self.inner
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Resilience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resilience")
            .field("registry", &self.inner.registry)
            .finish_non_exhaustive()
    }
}

/// Collects the settings of a [`Resilience`].
#[must_use = "a builder does nothing until `build`"]
pub struct ResilienceBuilder {
    registry: Registry,
    layers: Layers,
    ids: IdSource,
}

impl ResilienceBuilder {
    /// Settings of all operations.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.layers.all = settings;
        self
    }

    /// Settings of all circuits that are registered here and have none of their own.
    pub fn breaker(mut self, config: BreakerConfig) -> Self {
        self.layers.breaker = config;
        self
    }

    /// Settings of one circuit, in force unless it is registered already.
    pub fn circuit(mut self, circuit: impl Into<String>, config: BreakerConfig) -> Self {
        self.layer(circuit.into()).breaker = Some(config);
        self
    }

    /// Settings of all operations behind one circuit.
    pub fn circuit_settings(mut self, circuit: impl Into<String>, settings: Settings) -> Self {
        self.layer(circuit.into()).settings = settings;
        self
    }

    /// Settings of one operation (`client.method`); stronger than the method's attribute.
    pub fn operation(mut self, operation: impl Into<String>, settings: Settings) -> Self {
        self.layers.operations.insert(operation.into(), settings);
        self
    }

    /// Where the ids of the running work come from, when not from [`Ids::scope`].
    ///
    /// Asked only for errors and for spans that are recorded, inside the call's own span.
    pub fn ids(mut self, ids: impl Fn() -> Ids + Send + Sync + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Names the circuit or operation, the setting, its value and what is allowed.
    pub fn build(self) -> Result<Resilience, PolicyError> {
        let layers = &self.layers;
        let of_circuits = layers.circuits.iter().map(|(name, c)| (name, &c.settings));
        let everything = "all operations".to_owned();
        for (name, settings) in of_circuits
            .chain(&layers.operations)
            .chain([(&everything, &layers.all)])
        {
            settings
                .validate()
                .map_err(|source| PolicyError::Settings {
                    name: name.clone(),
                    source,
                })?;
        }
        let own = layers
            .circuits
            .iter()
            .filter_map(|(name, c)| Some((name, c.breaker.as_ref()?)));
        let all_circuits = "all circuits".to_owned();
        for (name, config) in own.chain([(&all_circuits, &layers.breaker)]) {
            config.validate().map_err(|source| PolicyError::Breaker {
                name: name.clone(),
                source,
            })?;
        }
        Ok(Resilience::assemble(&self.registry, self.layers, self.ids))
    }

    fn layer(&mut self, circuit: String) -> &mut CircuitLayer {
        self.layers.circuits.entry(circuit).or_default()
    }
}

impl fmt::Debug for ResilienceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResilienceBuilder")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// A policy could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The circuit could not be registered.
    #[error("the circuit of a protected call could not be registered")]
    Circuit(#[from] RegistryError),
    /// A setting of an operation makes no sense.
    #[error("the settings of {name} were refused")]
    Settings {
        /// The operation or circuit, or `all operations`.
        name: String,
        /// Which setting, and what is allowed.
        source: SettingsError,
    },
    /// A setting of a circuit makes no sense.
    #[error("the settings of circuit {name} were refused")]
    Breaker {
        /// The circuit, or `all circuits`.
        name: String,
        /// Which setting, and what is allowed.
        source: ConfigError,
    },
}
