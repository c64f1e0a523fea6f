//! Kafka publishing that loses nothing: an idempotent producer behind a circuit, and a drainer that
//! feeds it from a durable backlog in order.
//!
//! ```text
//! publish ──► backlog (outbox table, journal)        safe here, the caller goes on
//!                │ peek, in the order of admission
//!                ▼
//!             drainer ──► circuit: is anything being delivered?
//!                │ enqueue, a bounded window, in order
//!                ▼
//!             broker (one idempotent producer) ──► Kafka
//!                │ report
//!                ▼
//!             settle, or bury with a reason          nothing leaves the backlog otherwise
//! ```
//!
//! - [`EventBus`] is what a service publishes to; [`Backlog`] is what makes an event safe.
//! - [`Drainer`] empties a backlog into a [`Broker`]; [`RdKafkaBroker`] is the real one.
//! - [`mock::EmbeddedBroker`] is a small cluster inside the process, for laptops and tests.
//!
//! Delivery is at least once. Duplicates come about only where the outcome of a delivery is unknown:
//! the process died between Kafka's answer and the settling, or the producer had to be replaced.
//! They carry the same event id.

mod backlog;
mod broker;
mod bus;
mod classify;
mod drainer;
pub mod mock;
mod producer;
mod record;

pub use backlog::{Backlog, BacklogError, BacklogStats, DeadReason};
pub use broker::{Broker, Delivered, Delivery, ErrorClass, SendError, TroubleSink};
pub use bus::{EventBus, PublishError};
pub use drainer::{Drainer, DrainerConfig, DrainerHandle, DrainerStats};
pub use producer::{KafkaProducerConfig, RdKafkaBroker};
pub use record::{Accepted, Parked, Position, Record};
