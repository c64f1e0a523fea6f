//! An event on its way to Kafka, and its place in the order of admission.

use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

/// An event as Kafka gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The event's own id: the same on every try, so that consumers can tell a repetition.
    pub event_id: Uuid,
    /// The topic.
    pub topic: String,
    /// Events of one topic and key keep their order; without a key no order is promised.
    pub key: Option<String>,
    /// The value.
    pub payload: Bytes,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// Upper bound of what the record takes in a Kafka batch, in bytes.
    pub fn wire_size(&self) -> usize {
        // Record and batch framing of Kafka's format v2, generously, with the headers
        // the producer adds; each header has two lengths.
        const FRAMING: usize = 192;
        const PER_HEADER: usize = 10;
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + PER_HEADER);
        FRAMING
            + self.payload.len()
            + self.key.as_ref().map_or(0, String::len)
            + headers.sum::<usize>()
    }
}

/// A place in the order of admission: the higher, the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

impl Position {
    /// Before every position a backlog gives out.
    pub const START: Self = Self(i64::MIN);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record that waits in a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its place in the order.
    pub position: Position,
    /// The event.
    pub record: Record,
    /// When it was admitted, in milliseconds since the Unix epoch.
    pub admitted_at_ms: i64,
    /// Tries that earlier processes may have made; 1 also where nobody counted them.
    pub attempts: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_size_counts_every_part() {
        let mut record = Record {
            event_id: Uuid::nil(),
            topic: "t".into(),
            key: None,
            payload: Bytes::new(),
            headers: Vec::new(),
        };
        let bare = record.wire_size();
        record.payload = Bytes::from_static(b"12345");
        record.key = Some("key".into());
        record.headers.push(("ab".into(), "cd".into()));
        assert_eq!(record.wire_size(), bare + 5 + 3 + 4 + 10);
    }
}
