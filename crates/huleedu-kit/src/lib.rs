//! What every HuleEdu service is made of.
//!
//! A service is a thin crate of rules; everything that all nine need stands here once:
//!
//! | room | subject |
//! |---|---|
//! | [`service`] | which services exist: names, environment prefixes, ports, consumer groups |
//! | [`settings`] | values from the environment, with prefix, bounds, source and meaning |
//! | [`circuits`] | the file of circuit settings, and its changes while the service runs |
//! | [`context`] | correlation id and trace of the work under way |
//! | [`store`] | the database: migrations, transactions, inbox and outbox |
//! | [`consumer`] | the Kafka loop: at least once, in order per partition, idempotent by event id |
//! | [`http`] | the HTTP server: errors, extractors, metrics, limits, health |
//! | [`clients`] | typed clients of other services, each behind its circuit |
//! | [`providers`] | explicit wiring: registry, circuits, bus, clients from settings |
//! | [`runtime`] | start, supervise and stop one service |
//! | [`admin`] | what an operator may see and do, over a Unix socket |
//! | [`logging`] | structured logs |
//! | [`testing`] | what tests of services share |
//!
//! The kit knows no rule of any service, and no service knows another.

pub mod admin;
pub mod circuits;
pub mod clients;
pub mod consumer;
pub mod context;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod providers;
mod publishing;
pub mod runtime;
pub mod service;
pub mod settings;
pub mod store;
pub mod testing;

pub use context::CallContext;
pub use runtime::{RunningService, ServiceCore, ServiceInput, StartError};
pub use service::ServiceId;
