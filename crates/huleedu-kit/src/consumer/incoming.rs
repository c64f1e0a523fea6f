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
    /// Identity, for idempotence. It is the envelope's, never a header's: an event that comes by
    /// two ways has one identity.
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

/// A message taken off the consumer, so that its buffer is free: all of it, byte by byte, because
/// it may end as a dead letter.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// When it was sent, in Unix milliseconds, if its sender or Kafka said so.
    pub(super) sent_at: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) payload: Vec<u8>,
}

impl Taken {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|all| {
            all.iter()
                .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                .collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            sent_at: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            payload: message.payload().unwrap_or_default().to_vec(),
        }
    }

    /// Bytes it holds in memory.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, v)| name.len() + v.len());
        self.payload.len() + self.key.as_ref().map_or(0, Vec::len) + headers.sum::<usize>()
    }

    /// Reads the envelope's head.
    pub(super) fn open(&self) -> Result<Incoming, String> {
        let topic = self.topic.parse::<Topic>().map_err(|e| e.to_string())?;
        let envelope = RawEnvelope::from_json(&self.payload).map_err(|e| super::chain(&e))?;
        let header = self.headers.iter().find(|(n, _)| n == headers::TRACEPARENT);
        let traceparent = header
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
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
