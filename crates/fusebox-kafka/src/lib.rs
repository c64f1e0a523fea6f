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
//! ```
//! use std::sync::Arc;
//! use fusebox::CircuitBreaker;
//! use fusebox_journal::{Journal, JournalConfig};
//! use fusebox_kafka::mock::EmbeddedBroker;
//! use fusebox_kafka::{
//!     EventBus, KafkaProducerConfig, PublisherConfig, RdKafkaBroker, Record, ResilientPublisher,
//! };
//! use tokio_util::sync::CancellationToken;
//! use uuid::Uuid;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let kafka = EmbeddedBroker::start(&[("orders", 3)])?; // in production: your cluster
//! let producer = RdKafkaBroker::new(KafkaProducerConfig::new(kafka.bootstrap_servers(), "shop"))?;
//! let circuit = CircuitBreaker::builder("shop.kafka_producer").build()?;
//! let journal = Journal::open(directory, JournalConfig::default())?;
//! let (publisher, worker) =
//!     ResilientPublisher::journal_first(journal, Arc::new(producer), circuit, PublisherConfig::default());
//! let stop = CancellationToken::new();
//! let working = tokio::spawn(worker.run(stop.clone()));
//!
//! kafka.outage()?; // Kafka is gone, and nobody who publishes notices
//! let event = Record {
//!     event_id: Uuid::from_u128(7), // the same on every try: consumers know a repetition by it
//!     topic: "orders".into(),
//!     key: Some("customer-1".into()), // what has one key stays in order
//!     payload: "ordered".into(),
//!     headers: Vec::new(),
//! };
//! let accepted = publisher.publish(event).await?; // synced to disk: whatever happens now, it will be sent
//!
//! kafka.heal()?;
//! let delivered = accepted.acknowledged().await?; // who wants to know waits for Kafka's answer
//! assert_eq!(delivered.offset, 0);
//!
//! stop.cancel(); // what Kafka does not get now goes out after the next start
//! working.await?;
//! # Ok(())
//! # }
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
mod finder;
pub mod mock;
mod partitions;
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
    Blocked, Drainer, DrainerConfig, DrainerHandle, DrainerStats, PaceCuts, PaceLimit, PaceNow,
    PoisonPolicy, Resolution,
};
pub use producer::{ATTEMPT_HEADER, KafkaProducerConfig, MAYBE_DUPLICATE_HEADER, RdKafkaBroker};
pub use publisher::{
    Mode, PublisherConfig, PublisherStats, PublisherWorker, ResilientPublisher, WallClock, WhenFull,
};
pub use receipt::{Accepted, NotAcknowledged, Receipt};
pub use record::{Parked, Position, Record};
