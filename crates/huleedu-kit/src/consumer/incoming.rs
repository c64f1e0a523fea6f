//! One received event: where it was, what it says it is, and its bytes.

use huleedu_contracts::{
    envelope::{EventEnvelope, RawEnvelope},
    events::Event,
    headers,
    ids::EventId,
    topics::Topic,
};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use super::HandlerError;
use crate::context::CallContext;

/// A received event whose envelope could be read; its payload is decoded by the handler.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Incoming {
    /// Identity, for idempotence.
    pub event_id: EventId,
    /// Topic it came on.
    pub topic: Topic,
    /// Partition it came on.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// How often it has been tried before in this process.
    pub attempt: u32,
    /// Correlation and trace to work under.
    pub context: CallContext,
    envelope: RawEnvelope,
}

impl Incoming {
    /// Decodes the whole envelope with payload `T`.
    ///
    /// # Errors
    /// Permanent: the same bytes never become readable.
    pub fn decode<T: Event>(&self) -> Result<EventEnvelope<T>, HandlerError> {
        self.envelope
            .clone()
            .decode()
            .map_err(HandlerError::permanent)
    }

    /// Decodes only the payload.
    ///
    /// # Errors
    /// Permanent: the same bytes never become readable.
    pub fn data<T: Event>(&self) -> Result<T, HandlerError> {
        self.decode::<T>().map(|envelope| envelope.data)
    }

    /// The envelope with its payload still as JSON text.
    pub fn envelope(&self) -> &RawEnvelope {
        &self.envelope
    }
}

/// A message taken off the consumer, so that its buffer is free.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) payload: Vec<u8>,
    traceparent: Option<String>,
}

impl Taken {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        let traceparent = message.headers().and_then(|all| {
            all.iter()
                .find(|h| h.key == headers::TRACEPARENT)
                .and_then(|h| std::str::from_utf8(h.value?).ok())
                .map(str::to_owned)
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            payload: message.payload().unwrap_or_default().to_vec(),
            traceparent,
        }
    }

    /// Reads the envelope's head.
    pub(super) fn open(&self) -> Result<Incoming, String> {
        let topic = self.topic.parse::<Topic>().map_err(|e| e.to_string())?;
        let envelope = RawEnvelope::from_json(&self.payload).map_err(|e| super::chain(&e))?;
        let traceparent = self
            .traceparent
            .as_deref()
            .or_else(|| envelope.traceparent());
        Ok(Incoming {
            event_id: envelope.event_id,
            topic,
            partition: self.partition,
            offset: self.offset,
            attempt: 0,
            context: CallContext::from_parts(Some(envelope.correlation_id), traceparent),
            envelope,
        })
    }
}
