//! The durable queue a drainer empties: an outbox table or a journal.

mod journal;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

pub use self::journal::{JournalBacklog, UnreadableRecord};
pub(crate) use self::journal::{entry, to_kafka};
use crate::record::{Parked, Position};

/// A durable queue in the order of admission.
///
/// One drainer empties it. Every method must be safe to call again after a failure.
#[async_trait]
pub trait Backlog: Send + Sync {
    /// Records after `after` that are neither settled nor buried, ascending, at most `limit`. Fewer do
    /// not mean that there are no more; none does.
    ///
    /// A record may become visible after a later one (two transactions that overlap): the drainer
    /// comes back to look.
    ///
    /// # Errors
    /// When the queue cannot be read.
    async fn peek(&self, after: Position, limit: usize) -> Result<Vec<Parked>, BacklogError>;

    /// Marks records as delivered. Positions that are settled already are left alone.
    ///
    /// # Errors
    /// When that is not durable; the drainer tries again.
    async fn settle(&self, positions: &[Position]) -> Result<(), BacklogError>;

    /// Moves a record to the dead letters: durable there before it leaves the queue.
    ///
    /// # Errors
    /// When that is not durable; the drainer tries again.
    async fn bury(&self, position: Position, reason: &DeadReason) -> Result<(), BacklogError>;

    /// How much waits.
    ///
    /// # Errors
    /// When the queue cannot be read.
    async fn stats(&self) -> Result<BacklogStats, BacklogError>;

    /// Whether a record never becomes visible after a later one. The drainer then need not come back
    /// to look.
    fn appears_in_order(&self) -> bool {
        false
    }

    /// Whether what lies behind all that was read before may be read while other records are being
    /// settled, buried or counted. The drainer then need not wait with new records for a disk that syncs.
    fn reads_beside_other_work(&self) -> bool {
        false
    }

    /// Until when this process may send what it has read, where several processes share a backlog and
    /// one of them sends. `None`: nobody else does.
    ///
    /// The backlog prolongs it by itself, with [`peek`](Self::peek) and with [`stats`](Self::stats), which
    /// is called once a second. When it
    /// has passed, the drainer gives up its producer with all it holds, before another process begins.
    fn may_send_until(&self) -> Option<Instant> {
        None
    }

    /// The drainer has ended in order: another process may begin at once.
    async fn give_up(&self) {}
}

/// How much a backlog holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BacklogStats {
    /// Records that are neither settled nor buried.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Age of the oldest waiting record.
    pub oldest_age: Option<Duration>,
}

/// Why a record became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadReason {
    /// Kafka's name of the last error, such as `MSG_SIZE_TOO_LARGE`.
    pub code: String,
    /// The last error in words.
    pub text: String,
    /// The first error, when it was another one: code and words.
    pub first: Option<String>,
    /// How often this process handed the record to Kafka.
    pub attempts: u32,
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} (attempts: {})",
            self.code, self.text, self.attempts
        )?;
        match &self.first {
            Some(first) => write!(f, "; at first {first}"),
            None => Ok(()),
        }
    }
}

/// A backlog that could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the backlog could not {what}")]
pub struct BacklogError {
    what: &'static str,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BacklogError {
    /// An error of the operation `what` (a verb: "read", "settle") with its cause.
    pub fn new(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what,
            source: Some(source.into()),
        }
    }
}
