//! Why a registry did not do what it was asked.

use thiserror::Error;

use crate::config::ConfigError;

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
    /// The registry holds as many circuits as it may, and none of them may be removed.
    #[error("service {service} already has {capacity} circuits, the most allowed")]
    Full {
        /// The registry's service.
        service: String,
        /// The most circuits it may hold.
        capacity: usize,
    },
    /// There is no breaker of that name.
    #[error("service {service} has no circuit named {name}")]
    Unknown {
        /// The registry's service.
        service: String,
        /// The name asked for.
        name: String,
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
