//! What the desk answers, as it goes over the socket and into `--json`.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use fusebox_kafka::DrainerHandle;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::service::ServiceId;

/// How much waits, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// The service, as on the command line.
    pub service: String,
    /// The process that answered; `None` when the store was opened directly.
    pub process: Option<u32>,
    /// Which of several processes on one database sends what waits; `None` where there is but one.
    pub sender: Option<String>,
    /// Events that Kafka refused and that hold up those behind them, as far as the process knows.
    pub blocked: Option<u64>,
    /// Events that are safe and that Kafka has not acknowledged.
    pub waiting: u64,
    /// The same by topic; empty when very many wait in a journal.
    pub waiting_by_topic: BTreeMap<String, u64>,
    /// How many may wait, as far as the process knows.
    pub limit: Option<u64>,
    /// Age of the oldest one.
    pub oldest_age_ms: Option<u64>,
    /// Acknowledged events that are still readable.
    pub sent_kept: u64,
    /// Dead letters: events that Kafka refused.
    pub dead_sent: u64,
    /// Dead letters: events that were received and given up, by topic.
    pub dead_received: BTreeMap<String, u64>,
    /// State of the circuit to Kafka, as far as the process knows.
    pub circuit: Option<String>,
    /// Events that Kafka acknowledged to this process.
    pub delivered: Option<u64>,
}

impl QueueStats {
    /// Of a service that keeps nothing on disk: what waits is in its memory.
    pub(super) fn of_memory(service: ServiceId, drainer: Option<&DrainerHandle>) -> Self {
        let stats = drainer.map(DrainerHandle::stats).unwrap_or_default();
        let age = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self {
            service: service.slug().to_owned(),
            process: None,
            sender: None,
            blocked: None,
            waiting: stats.waiting,
            waiting_by_topic: BTreeMap::new(),
            limit: None,
            oldest_age_ms: stats.oldest_age.map(age),
            sent_kept: 0,
            dead_sent: stats.dead,
            dead_received: BTreeMap::new(),
            circuit: None,
            delivered: None,
        }
    }
}

/// An event in the outbox, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSummary {
    /// Its place in the order of admission.
    pub position: i64,
    /// Its id.
    pub event_id: String,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Bytes of its payload.
    pub bytes: u64,
    /// When it was admitted, in Unix milliseconds.
    pub admitted_at_ms: i64,
    /// When Kafka acknowledged it, in Unix milliseconds; `None` while it waits.
    pub sent_at_ms: Option<i64>,
}

/// An event with all it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDetail {
    /// What it is.
    #[serde(flatten)]
    pub summary: EventSummary,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub payload: Body,
}

/// Bytes for people: as text where they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// They are text.
    Text(String),
    /// They are not: hexadecimal digits.
    Hex(String),
}

impl Body {
    /// The bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(crate::consumer::hex(bytes)),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Hex(digits) => write!(f, "(no text, hexadecimal) {digits}"),
        }
    }
}

/// Where a dead letter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadKind {
    /// This service wanted to send it and Kafka refused it.
    Sent,
    /// This service received it and gave it up.
    Received,
}

/// The name of a dead letter: `sent-17`, `received-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeadId {
    /// Where it comes from.
    pub kind: DeadKind,
    /// Its number there.
    pub number: i64,
}

impl fmt::Display for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeadKind::Sent => "sent",
            DeadKind::Received => "received",
        };
        write!(f, "{kind}-{}", self.number)
    }
}

/// A text that names no dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` names no dead letter; they are called sent-NUMBER or received-NUMBER")]
pub struct UnknownDeadId(String);

impl FromStr for DeadId {
    type Err = UnknownDeadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-').and_then(|(kind, number)| {
            let kind = match kind {
                "sent" => DeadKind::Sent,
                "received" => DeadKind::Received,
                _ => return None,
            };
            let number = number.parse().ok().filter(|n| *n > 0)?;
            Some(Self { kind, number })
        });
        parts.ok_or_else(|| UnknownDeadId(text.to_owned()))
    }
}

impl Serialize for DeadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeadId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A dead letter without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadSummary {
    /// Its name.
    pub id: DeadId,
    /// The event's id, where it could be read.
    pub event_id: Option<String>,
    /// The event's topic.
    pub topic: String,
    /// A word for the cause that does not change.
    pub code: String,
    /// The cause in words.
    pub reason: String,
    /// Tries at it.
    pub attempts: u64,
    /// Bytes of its payload.
    pub bytes: u64,
    /// When it was given up, in Unix milliseconds.
    pub died_at_ms: i64,
}

/// A dead letter with all it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadDetail {
    /// What it is.
    #[serde(flatten)]
    pub summary: DeadSummary,
    /// The request it happened for, where that could be read.
    pub correlation_id: Option<String>,
    /// Its key.
    pub key: Option<Body>,
    /// The partition on which it was received.
    pub partition: Option<i64>,
    /// Its offset there.
    pub offset: Option<i64>,
    /// When it was sent (received ones) or admitted (sent ones), in Unix milliseconds.
    pub event_at_ms: Option<i64>,
    /// Its headers.
    pub headers: Vec<(String, Body)>,
    /// Its bytes.
    pub payload: Body,
}

/// A dead letter that waits for Kafka again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requeued {
    /// Its name before; it is no dead letter any more.
    pub id: DeadId,
    /// Its new place in the order of admission: behind everything that waits. `None` when Kafka had it
    /// before it needed one.
    pub position: Option<i64>,
    /// The event's id: the same as before.
    pub event_id: String,
    /// Its topic.
    pub topic: String,
}

/// An event that Kafka refused and that holds up those behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedLane {
    /// Its place in the order of admission.
    pub position: i64,
    /// Its id.
    pub event_id: String,
    /// Its topic.
    pub topic: String,
    /// The key that is held up; `None`: the whole topic is.
    pub key: Option<String>,
    /// Kafka's name of the error.
    pub code: String,
    /// The error in words.
    pub reason: String,
    /// Tries at it.
    pub attempts: u64,
    /// When it was admitted, in Unix milliseconds.
    pub admitted_at_ms: i64,
    /// For how long this process holds the lane up, in milliseconds.
    pub held_ms: u64,
    /// Events that wait behind it.
    pub behind: u64,
}

/// What came of a decision about a [`BlockedLane`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Resolved {
    /// Kafka has it now, and those behind it go on.
    Sent {
        /// Where it is.
        partition: i32,
        /// Its place there.
        offset: i64,
    },
    /// It is a dead letter, and those behind it go on.
    Buried,
    /// Kafka refused it again; the lane is held up again.
    HeldAgain {
        /// Kafka's name of the error.
        code: String,
        /// The error in words.
        reason: String,
    },
    /// It will be tried, but nothing has come of it yet: Kafka may be away.
    Undecided,
}

/// Which events to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventQuery {
    /// Behind this position.
    pub after: i64,
    /// At most so many; a page is never longer than 1000.
    pub limit: usize,
    /// Of this topic alone.
    pub topic: Option<String>,
    /// Of this key alone.
    pub key: Option<String>,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self {
            after: i64::MIN,
            limit: 50,
            topic: None,
            key: None,
        }
    }
}

/// Which dead letters to list: all of [`DeadKind::Sent`] come before those of
/// [`DeadKind::Received`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadQuery {
    /// Behind this one.
    pub after: Option<DeadId>,
    /// At most so many; a page is never longer than 1000. 0 is 50.
    pub limit: usize,
    /// Of this kind alone.
    pub kind: Option<DeadKind>,
    /// Of this topic alone.
    pub topic: Option<String>,
    /// With this code alone.
    pub code: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letters_name_is_read_back_and_nonsense_is_refused() {
        for text in ["sent-17", "received-3"] {
            let id: DeadId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<DeadId>(&json).unwrap(), id);
        }
        for text in [
            "",
            "17",
            "sent-",
            "sent--1",
            "sent-0",
            "lost-1",
            "received-x",
        ] {
            let error = text.parse::<DeadId>().unwrap_err().to_string();
            assert!(error.contains("sent-NUMBER"), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_digits() {
        assert_eq!(Body::of(b"abc"), Body::Text("abc".to_owned()));
        assert_eq!(Body::of(&[0xff, 0x0a]), Body::Hex("ff0a".to_owned()));
    }
}
