//! The Kafka loop of a service: at least once, in order per partition, idempotent by event id.
//!
//! Each partition has a worker of its own that takes its events one by one. An event is decoded,
//! looked up in the inbox, handed to the [`EventHandler`], and only then its offset is stored for
//! committing. The handler applies it inside one transaction of its store, begun through
//! [`UnitOfWork::begin`], which notes the event id in the same transaction. So a crash at any point
//! leads to a second delivery, and a second delivery to nothing.
//!
//! | handler's answer | what happens |
//! |---|---|
//! | `Ok` | offset stored |
//! | [`HandlerError::Retry`] | same event again after a growing, jittered wait (or the circuit's own); nothing of this partition overtakes it, other partitions go on; given up after `EVENT_GIVE_UP_SECONDS` |
//! | [`HandlerError::Permanent`] | given up |
//! | panic | like `Retry`, given up at the third |
//!
//! *Given up* means a dead letter: event, origin and cause go into `dead_events`, and a copy through
//! the outbox to the topic's `.DLQ`, in one transaction; then the offset is stored. Nothing is ever
//! skipped by committing past it.
//!
//! | room | subject |
//! |---|---|
//! | `group` | the member: a thread that takes messages, and what happens in a rebalance |
//! | `lanes` | partitions and their workers, back-pressure |
//! | `worker` | one partition's work: try, wait, give up |
//! | `dead` | dead letters |
//! | `lag` | how far behind |
//! | `watch` | whether the client has lost its cluster |
//! | `forget` | how long applied events are remembered |
//!
//! An applied event is remembered for `INBOX_RETENTION_SECONDS`; one that is delivered again after that is
//! applied again (`docs/design/publishing.md`).
//!
//! A worker that falls behind has its partition paused, so that memory stays bounded. When a partition
//! goes to another member, its worker is stopped first: an event in mid-flight has a few seconds to
//! end, then it is dropped and leaves nothing, and the offsets of what is finished are committed before
//! the other member begins.

mod dead;
mod forget;
mod group;
mod incoming;
mod lag;
mod lanes;
mod watch;
mod worker;

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

pub(crate) use dead::{hex, is_of_delivery, text_headers};
pub(crate) use forget::{ForgetMetrics, run as forget};
pub use group::{ConsumerError, ConsumerOptions, run};
pub use incoming::Incoming;
pub(crate) use worker::chain;

use crate::store::{Store, StoreError, Tx};

/// Why an event was not applied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// It may work later: a dependency is away, the database is busy.
    #[error("the event cannot be applied now")]
    Retry {
        /// When to try again, if the dependency said so.
        after: Option<Duration>,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It can never work: the payload is broken or breaks a rule.
    #[error("the event can never be applied")]
    Permanent {
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl HandlerError {
    /// An error that later tries may overcome.
    pub fn retry(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Retry {
            after: None,
            source: source.into(),
        }
    }

    /// An error that no later try can overcome.
    pub fn permanent(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Permanent {
            source: source.into(),
        }
    }
}

impl From<StoreError> for HandlerError {
    fn from(error: StoreError) -> Self {
        Self::retry(error)
    }
}

impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        Self::retry(StoreError::from(error))
    }
}

impl From<fusebox_http::HttpError> for HandlerError {
    /// What is transient is tried again when the other side said, the rest is permanent.
    fn from(error: fusebox_http::HttpError) -> Self {
        if error.is_transient() {
            Self::Retry {
                after: error.retry_after(),
                source: Box::new(error),
            }
        } else {
            Self::permanent(error)
        }
    }
}

/// The rules of one service for the events it consumes.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Applies one event. Network calls come first, then `unit.begin()`, changes and commit.
    ///
    /// # Errors
    /// See the table of this module.
    ///
    /// # Cancel safety
    /// May be dropped at any await when the service is killed; whatever is not committed is redone.
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError>;
}

/// The one transaction in which an event is applied.
#[derive(Debug)]
pub struct UnitOfWork {
    store: Store,
    event_id: huleedu_contracts::ids::EventId,
}

impl UnitOfWork {
    pub(crate) fn new(store: Store, event_id: huleedu_contracts::ids::EventId) -> Self {
        Self { store, event_id }
    }

    /// Begins the transaction and notes the event in the inbox; `None` when it was applied before,
    /// and then the handler returns `Ok(())`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<Option<Tx>, HandlerError> {
        let mut tx = self.store.begin().await?;
        Ok(tx.note_applied(self.event_id).await?.then_some(tx))
    }

    /// The store, for reads before the transaction.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
