//! A record as callers see it, and its place in the order.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A place in the order of admission: the higher, the later. The first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before every position.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a caller appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The caller's own id: the same on every try.
    pub id: [u8; 16],
    /// What kind of record it is, for lists of dead letters: at most 255 bytes.
    pub label: Arc<str>,
    /// When it was admitted, in milliseconds since the Unix epoch.
    pub admitted_at_ms: i64,
    /// The content.
    pub data: Bytes,
}

/// A record in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order.
    pub position: Position,
    /// What was appended.
    pub entry: Entry,
    /// The dead letter it was requeued from.
    pub requeued_from: Option<Position>,
}
