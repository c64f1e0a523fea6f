//! A small durable broker that speaks the Kafka protocol, for laptops, tests and fault injection.
//!
//! ```
//! use fusebox_devbroker::{DevBroker, DevBrokerConfig};
//!
//! let config = DevBrokerConfig::temporary().with_topics([("orders", 3)]);
//! let broker = DevBroker::start(config)?;
//! println!("bootstrap.servers = {}", broker.bootstrap_servers());
//! assert_eq!(broker.topics(), [("orders".to_owned(), 3)]);
//! broker.shutdown()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is for
//! - **Laptops**: a platform that needs Kafka runs without one. Records, topics and committed offsets
//!   are kept in a folder and survive `kill -9`; [`FsyncPolicy`] says what survives a loss of power.
//! - **Tests**: starts in milliseconds on a free port, groups form in a tenth of a second, an
//!   idempotent producer is kept to its sequence as by Kafka.
//! - **Fault injection**: [`Faults`] drops the answer to what was done, rejects, delays, cuts,
//!   refuses and freezes, by kind of request and by topic.
//!
//! # What it is not
//! It is one node without replicas, without users, passwords and encryption, and listens on loopback
//! addresses only. There are no transactions, no compaction, no static or new-style group membership.
//! Production belongs on Apache Kafka.
//!
//! What is spoken, what lies on the disk, and what a crash can leave of it is drawn in
//! `docs/design/devbroker.md`.

mod api;
mod broker;
mod config;
mod error;
mod faults;
mod group;
mod log;
mod server;
mod store;
mod topics;

pub use broker::DevBroker;
pub use config::{DevBrokerConfig, FsyncPolicy, NewTopic};
pub use error::{StartError, StoreError, TopicError};
pub use faults::{Effect, Fault, Faults, SetFault, When};
/// An error of the protocol, as a fault can answer it.
pub use kafka_protocol::ResponseError;
/// A kind of request.
pub use kafka_protocol::messages::ApiKey;
pub use log::RecoveryReport;
