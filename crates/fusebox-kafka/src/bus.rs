//! Publishing as a service sees it: an event is safe, or it is not.

use async_trait::async_trait;

use crate::backlog::{BacklogError, DeadReason};
use crate::broker::{ErrorClass, SendError};
use crate::receipt::Accepted;
use crate::record::Record;

/// Takes events for Kafka.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Makes the event safe; it reaches Kafka without the caller, who may
    /// [wait](Accepted::acknowledged) for that.
    ///
    /// An event that is published after the answer for another one of its topic and key comes behind
    /// it in Kafka.
    ///
    /// # Errors
    /// [`PublishError`] when the event is not safe. After [`PublishError::Backlog`] and
    /// [`PublishError::Kafka`] it may be safe nevertheless, or come to Kafka yet: publish again with the same
    /// event id. Two copies then carry no mark that one repeats the other; consumers tell by the id.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the event was taken, and harms no other event.
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
    /// As many events wait as may.
    #[error("as many events wait for Kafka as may")]
    Full,
    /// The disk has no room for another event.
    #[error("the disk has no room for another event")]
    NoSpace,
    /// The backlog failed; whether the event is safe is unknown.
    #[error("the event could not be made durable")]
    Backlog(#[from] BacklogError),
    /// Kafka did not take the event, and there is no backlog.
    #[error("Kafka did not take the event")]
    Kafka(#[from] SendError),
    /// Kafka refused the event for good; it is kept as a dead letter.
    #[error("Kafka refused the event for good: {0}")]
    Dead(DeadReason),
}

impl PublishError {
    /// Whether the same event may be taken later without anything being changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full | Self::NoSpace | Self::Backlog(_) => true,
            Self::Kafka(error) => error.class != ErrorClass::Message,
            Self::TooLarge { .. } | Self::Invalid(_) | Self::Dead(_) => false,
        }
    }
}
