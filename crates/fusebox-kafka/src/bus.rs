//! Publishing as a service sees it: an event is safe, or it is not.

use async_trait::async_trait;

use crate::backlog::BacklogError;
use crate::record::{Accepted, Record};

/// Takes events for Kafka.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Makes the event durable; it reaches Kafka later, without the caller.
    ///
    /// # Errors
    /// [`PublishError`] when the event is not safe. After a [`PublishError::Backlog`] it may be
    /// safe nevertheless: publish again with the same event id.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the event was taken.
    async fn publish(&self, record: Record) -> Result<Accepted, PublishError>;
}

/// An event that was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The record is larger than Kafka takes.
    #[error("the event is {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most allowed.
        limit: usize,
    },
    /// The record cannot be published as it is.
    #[error("the event is not valid: {0}")]
    Invalid(&'static str),
    /// The backlog holds as much as it may.
    #[error("the backlog is full")]
    Full,
    /// The backlog failed; whether the event is safe is unknown.
    #[error("the event could not be made durable")]
    Backlog(#[from] BacklogError),
}

impl PublishError {
    /// Whether the same event may be taken later without anything being changed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full | Self::Backlog(_))
    }
}
