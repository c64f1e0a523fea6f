//! Kafka publishing that loses nothing: an idempotent producer behind a circuit, and a drainer that
//! feeds it from a durable backlog in order.
//!
//! ```text
//! publish ──► backlog (journal, outbox table)        safe here, the caller goes on
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
//! - [`EventBus`] is what a service publishes to; [`ResilientPublisher`] is the one that keeps events
//!   in a journal on disk, an outbox table another.
//! - [`Backlog`] is what makes an event safe.
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
mod codec;
mod drainer;
pub mod mock;
mod producer;
mod publisher;
mod receipt;
mod record;

pub use backlog::{
    Backlog, BacklogError, BacklogStats, DeadReason, JournalBacklog, UnreadableRecord,
};
pub use broker::{Attempt, Broker, Delivered, Delivery, ErrorClass, SendError, TroubleSink};
pub use bus::{EventBus, PublishError};
pub use drainer::{
    Blocked, Drainer, DrainerConfig, DrainerHandle, DrainerStats, PoisonPolicy, Resolution,
};
pub use producer::{ATTEMPT_HEADER, KafkaProducerConfig, MAYBE_DUPLICATE_HEADER, RdKafkaBroker};
pub use publisher::{
    Mode, PublisherConfig, PublisherStats, PublisherWorker, ResilientPublisher, WallClock, WhenFull,
};
pub use receipt::{Accepted, NotAcknowledged, Receipt};
pub use record::{Parked, Position, Record};
