//! Fusebox for operators: a Prometheus collector over every circuit of a registry.
//!
//! Register a [`BreakerCollector`] in the program's `prometheus_client` registry and answer scrapes
//! with [`encode`]. Breakers count by themselves; the collector reads them when it is scraped, so a
//! call pays nothing for being exported.
//!
//! ```
//! use fusebox::{BreakerConfig, Registry};
//! use fusebox_telemetry::BreakerCollector;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let circuits = Registry::new("spellchecker");
//! circuits.register("content_client", BreakerConfig::default())?;
//!
//! let mut metrics = prometheus_client::registry::Registry::default();
//! metrics.register_collector(Box::new(BreakerCollector::new([circuits])));
//!
//! let (content_type, body) = fusebox_telemetry::encode(&metrics, None);
//! assert!(content_type.starts_with("text/plain"));
//! assert!(body.contains("circuit_breaker_state{"));
//! # Ok(())
//! # }
//! ```

mod collector;
mod exposition;

pub use collector::BreakerCollector;
pub use exposition::encode;
