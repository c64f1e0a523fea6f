//! The wire format of HuleEdu: what its services say to each other over Kafka and HTTP.
//!
//! Services never import one another; a type that two of them share lives here and nowhere else.
//! This crate holds data and its rules only: no I/O, no clock, no service logic.
//!
//! - [`ids`] and [`bounds`]: names and numbers that are checked when they are read;
//! - [`topics`], [`headers`] and [`envelope`]: how an event travels;
//! - [`events`]: what the events say;
//! - [`error`]: how a failure is told, with its code and HTTP status;
//! - [`status`] and [`domain`]: the enumerations, as the strings the wire knows;
//! - [`api`]: bodies of HTTP requests and responses that two services share.
//!
//! The rules of compatibility are in `docs/design/wire-format.md`; every format is pinned by a
//! file under `tests/golden`.

mod macros;

pub mod api;
pub mod bounds;
pub mod domain;
pub mod envelope;
pub mod error;
pub mod events;
pub mod headers;
pub mod ids;
pub mod metadata;
pub mod status;
pub mod topics;

pub use envelope::{DecodeError, EncodeError, EventEnvelope, RawEnvelope};
pub use error::{ErrorBody, ErrorCode, ErrorDetail};
pub use events::{Event, EventName};
pub use topics::Topic;

/// A text that is not one of the names an enumeration of the wire knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a known {what}")]
pub struct UnknownName {
    what: &'static str,
    value: String,
}

impl UnknownName {
    /// How much of a refused text is kept for the message, in characters.
    const KEPT: usize = 64;

    pub(crate) fn new(what: &'static str, value: &str) -> Self {
        Self {
            what,
            value: value.chars().take(Self::KEPT).collect(),
        }
    }

    /// The enumeration that was asked, for example `BatchStatus`.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The refused text, cut after 64 characters.
    pub fn value(&self) -> &str {
        &self.value
    }
}
