//! What the drainer needs of a Kafka producer.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::classify;
use crate::record::Record;

/// The report on one record that was handed to the producer.
///
/// It ends with Kafka's answer, however long that takes. Dropping it does not call the record back.
pub type Delivery = BoxFuture<'static, Result<Delivered, SendError>>;

/// Receives troubles that concern the connection as a whole rather than one record.
pub type TroubleSink = Arc<dyn Fn(SendError) + Send + Sync>;

/// A producer that keeps the order of the calls on the wire.
///
/// It ends with the first record that the cluster refuses ([`ErrorClass::Message`],
/// [`ErrorClass::Retriable`]): nothing of the same partition that was handed over behind that record is
/// appended any more, whether it is on the wire already or not, and every report of it says so. Only
/// [`rebuild`](Self::rebuild) makes it take records again. So no refusal lets a record be overtaken.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Hands a record over without waiting. The order of calls is the order on the wire.
    ///
    /// # Errors
    /// When the producer did not take the record; then no report will come. That is no refusal of the
    /// cluster's: the producer goes on.
    fn enqueue(&self, record: &Record, attempt: Attempt) -> Result<Delivery, SendError>;

    /// Asks the cluster for a sign of life.
    ///
    /// # Errors
    /// When none came.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    async fn probe(&self) -> Result<(), SendError>;

    /// Whether the cluster can be reached, and this producer does not reach it any more: what it holds would
    /// wait for ever, and only [`rebuild`](Self::rebuild) helps. Asked when nothing comes back of what is
    /// under way. One that is not sure says no.
    ///
    /// A producer to which that cannot happen need not implement it.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    async fn has_lost_cluster(&self) -> bool {
        false
    }

    /// Gives the producer up, with all it holds, and makes a new one.
    ///
    /// Afterwards nothing that was handed over earlier is sent any more.
    ///
    /// # Errors
    /// When no new producer could be made; the old one is given up all the same.
    fn rebuild(&self) -> Result<(), SendError>;

    /// Names the receiver of troubles: all brokers down, authentication, a fatal producer.
    ///
    /// The sink must return at once. A later sink takes the place of an earlier one. A broker that
    /// has nothing to report need not implement it.
    fn report_trouble_to(&self, sink: TroubleSink) {
        drop(sink);
    }
}

/// One try at a record: what may differ from try to try, and what must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The first try is 1; those of earlier processes count as far as they are known.
    pub number: u32,
    /// Whether an earlier try may have reached Kafka without our hearing of it.
    pub maybe_duplicate: bool,
    /// When the event was admitted, in milliseconds since the Unix epoch: the record's time in Kafka,
    /// the same on every try.
    pub admitted_at_ms: i64,
}

/// Where Kafka put a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

/// A record, or a question, that Kafka did not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Kafka answered {code}: {text}")]
pub struct SendError {
    /// Whose fault it is, and so what to do.
    pub class: ErrorClass,
    /// Kafka's name of the error, such as `MSG_SIZE_TOO_LARGE`; local ones begin with `_`.
    pub code: String,
    /// The error in words.
    pub text: String,
}

impl SendError {
    /// Whether Kafka may have the record in spite of the error.
    ///
    /// Judged by the code alone, and generously: *no* is only said where it is certain.
    pub fn may_be_persisted(&self) -> bool {
        classify::may_be_persisted(&self.code)
    }
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The cluster cannot be reached or does not answer. The circuit's business; keep the record.
    Unavailable,
    /// Our own producer is full. Wait; nobody is at fault.
    BackPressure,
    /// The topic is unknown or closed to us. Pause it; the other topics go on.
    Topic,
    /// The record itself is refused. Try it alone once, then bury it.
    Message,
    /// Credentials or settings are wrong. The circuit's business; keep everything.
    Configuration,
    /// The producer is finished. Rebuild it and begin again with the oldest record.
    Fatal,
    /// Try again later; the code is not held against anybody.
    Retriable,
}
