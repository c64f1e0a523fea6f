//! The envelope in which every event travels, and how it is read and written.
//!
//! An event is read in two steps, so that a consumer can look at the outside first (is it a
//! duplicate, whose is it?) and needs no payload type for that: [`RawEnvelope::from_json`] keeps
//! the payload as it came, [`RawEnvelope::decode`] turns it into its type.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::events::Event;
use crate::headers;
use crate::ids::{CorrelationId, EventId};
use crate::topics::Topic;

/// The version of the envelope that this build writes and the greatest it reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Keys of the envelope's metadata that have a meaning.
pub mod metadata_keys {
    /// The W3C trace context of the publisher.
    pub const TRACEPARENT: &str = "traceparent";
    /// The vendor part of the W3C trace context.
    pub const TRACESTATE: &str = "tracestate";
    /// The message key, repeated for relays that see the envelope alone.
    pub const PARTITION_KEY: &str = "partition_key";
    /// The user for whom the event happened.
    pub const USER_ID: &str = "user_id";
}

/// An event with its outside: who sent what, when, for which request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventEnvelope<T> {
    /// The event's id; sent again it stays the same.
    pub event_id: EventId,
    /// What happened: the name of the topic.
    pub event_type: String,
    /// When it happened; sent again it stays the same.
    pub event_timestamp: Timestamp,
    /// The service that says so.
    pub source_service: String,
    /// The version of this envelope.
    #[serde(default = "schema_version")]
    pub schema_version: u32,
    /// The request it happened for.
    pub correlation_id: CorrelationId,
    /// Where the payload's schema is described.
    pub data_schema_uri: Option<String>,
    /// What happened, in detail.
    pub data: T,
    /// Trace context and routing hints; see [`metadata_keys`].
    pub metadata: Option<BTreeMap<String, Value>>,
}

/// An envelope whose payload is still the JSON text it came as.
pub type RawEnvelope = EventEnvelope<Box<RawValue>>;

fn schema_version() -> u32 {
    SCHEMA_VERSION
}

impl<T: Event> EventEnvelope<T> {
    /// Puts an event into a fresh envelope with a new id.
    pub fn new(
        source_service: impl Into<String>,
        correlation_id: CorrelationId,
        timestamp: Timestamp,
        data: T,
    ) -> Self {
        Self {
            event_id: EventId::random(),
            event_type: T::TOPIC.as_str().to_owned(),
            event_timestamp: timestamp,
            source_service: source_service.into(),
            schema_version: SCHEMA_VERSION,
            correlation_id,
            data_schema_uri: None,
            data,
            metadata: None,
        }
    }

    /// The topic on which this event travels.
    pub fn topic(&self) -> Topic {
        T::TOPIC
    }

    /// The message key: events with the same key on one topic keep their order.
    pub fn key(&self) -> String {
        self.data.key()
    }
}

impl<T> EventEnvelope<T> {
    /// The same envelope under a given id, for an id that was fixed beforehand.
    #[must_use]
    pub fn with_event_id(mut self, event_id: EventId) -> Self {
        self.event_id = event_id;
        self
    }

    /// The same envelope with one more entry in its metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata
            .get_or_insert_default()
            .insert(key.into(), value.into());
        self
    }

    /// The publisher's W3C trace context, when it sent one.
    pub fn traceparent(&self) -> Option<&str> {
        self.metadata_text(metadata_keys::TRACEPARENT)
    }

    /// The text under a key of the metadata.
    pub fn metadata_text(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(key)?.as_str()
    }

    /// The headers of the Kafka record that carries this envelope.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let correlation_id = self.correlation_id.to_string();
        let mut all = vec![
            (headers::EVENT_ID, self.event_id.to_string()),
            (headers::EVENT_TYPE, self.event_type.clone()),
            (headers::SOURCE_SERVICE, self.source_service.clone()),
            (headers::TRACE_ID, correlation_id.clone()),
            (headers::CORRELATION_ID, correlation_id),
        ];
        for name in [headers::TRACEPARENT, headers::TRACESTATE] {
            if let Some(value) = self.metadata_text(name) {
                all.push((name, value.to_owned()));
            }
        }
        all
    }

    /// The envelope as JSON text.
    ///
    /// # Errors
    /// When the payload is a type that JSON cannot hold; no event of this crate is.
    pub fn to_json(&self) -> Result<Vec<u8>, EncodeError>
    where
        T: Serialize,
    {
        serde_json::to_vec(self).map_err(|source| EncodeError {
            event_type: self.event_type.clone(),
            source,
        })
    }

    /// Reads an envelope with its payload in one step.
    ///
    /// # Errors
    /// When the bytes are not an envelope with such a payload, or its version is too new.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DecodeError>
    where
        T: DeserializeOwned,
    {
        let envelope: Self = serde_json::from_slice(bytes).map_err(DecodeError::Envelope)?;
        envelope.check_version()?;
        Ok(envelope)
    }

    fn check_version(&self) -> Result<(), DecodeError> {
        if self.schema_version == SCHEMA_VERSION {
            Ok(())
        } else {
            Err(DecodeError::Version {
                event_type: self.event_type.clone(),
                version: self.schema_version,
            })
        }
    }

    fn with_data<U>(self, data: U) -> EventEnvelope<U> {
        EventEnvelope {
            event_id: self.event_id,
            event_type: self.event_type,
            event_timestamp: self.event_timestamp,
            source_service: self.source_service,
            schema_version: self.schema_version,
            correlation_id: self.correlation_id,
            data_schema_uri: self.data_schema_uri,
            data,
            metadata: self.metadata,
        }
    }
}

impl RawEnvelope {
    /// Turns the payload into its type.
    ///
    /// The topic on which the event came decides the type, not `event_type`: that field is a
    /// convention some publishers do not keep.
    ///
    /// # Errors
    /// When the payload is not one of this type.
    pub fn decode<T: Event>(self) -> Result<EventEnvelope<T>, DecodeError> {
        match serde_json::from_str(self.data.get()) {
            Ok(data) => Ok(self.with_data(data)),
            Err(source) => Err(DecodeError::Payload {
                topic: T::TOPIC,
                event_id: self.event_id,
                source,
            }),
        }
    }
}

/// Bytes that are not the event they were taken for.
///
/// Such a message will never become readable: it belongs on a dead-letter topic at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The outside cannot be read.
    #[error("the message is not an event envelope")]
    Envelope(#[source] serde_json::Error),
    /// The envelope has a version this build does not read.
    #[error("event {event_type:?} has envelope version {version}, only {SCHEMA_VERSION} is known")]
    Version {
        /// The event's type.
        event_type: String,
        /// The version it has.
        version: u32,
    },
    /// The payload cannot be read.
    #[error("the payload of event {event_id} is none of topic {topic}")]
    Payload {
        /// The topic whose payload was expected.
        topic: Topic,
        /// The event.
        event_id: EventId,
        /// Why not.
        source: serde_json::Error,
    },
}

/// An event that cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("event {event_type:?} cannot be written as JSON")]
pub struct EncodeError {
    event_type: String,
    source: serde_json::Error,
}
