//! A journal on disk as backlog.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fusebox_journal::{Burial, Entry, Journal, JournalError, Stored};
use uuid::Uuid;

use super::{Backlog, BacklogError, BacklogStats, DeadReason};
use crate::codec::{self, DecodeError, EncodeError};
use crate::publisher::WallClock;
use crate::record::{Parked, Position, Record};

/// About how many bytes are read at once.
const PAGE_BYTES: usize = 4 << 20;

/// How many records are taken from the journal's memory at once, which is done between two other things.
const RECENT: usize = 256;

/// The journal as the drainer sees it. Clones are the same journal.
///
/// Reading and burying block and are done on tokio's blocking threads; appending and settling are done
/// by the journal's own. A record that this program cannot read is buried with the code `_UNREADABLE`:
/// it must not hold up what it can read.
#[derive(Debug, Clone)]
pub struct JournalBacklog {
    journal: Journal,
    clock: WallClock,
    /// Records before this position were there when the journal was opened: an earlier process may
    /// have sent them without living to settle them.
    inherited: u64,
    /// Records are sent as soon as they are written.
    ahead: bool,
}

impl JournalBacklog {
    /// The backlog of `journal`, which has just been opened.
    pub fn new(journal: Journal, clock: WallClock) -> Self {
        let inherited = journal.next_position().0;
        Self {
            journal,
            clock,
            inherited,
            ahead: false,
        }
    }

    /// Shows records as soon as they are written, while the journal syncs them.
    pub(crate) fn ahead(mut self) -> Self {
        self.ahead = true;
        self
    }

    /// The journal behind it.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The time of admission of a record that is admitted now, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Records behind `after` that wait, as they lie in the journal. Unreadable ones are buried.
    pub(crate) async fn read(&self, after: u64, limit: usize) -> Result<Vec<Parked>, BacklogError> {
        let this = self.clone();
        let after = fusebox_journal::Position(after);
        // What was just appended is handed on at once: no thread has to be woken for it.
        let limit_now = limit.min(RECENT);
        let recent = if this.ahead {
            this.journal.peek_written(after, limit_now, PAGE_BYTES)
        } else {
            this.journal.peek_recent(after, limit_now, PAGE_BYTES)
        };
        let recent = recent.map_err(|error| BacklogError::new("read the journal", error))?;
        if let Some(page) = recent {
            let records: Result<Vec<_>, _> = page.iter().map(|s| this.parked(s)).collect();
            if let Ok(records) = records {
                return Ok(records);
            }
        }
        blocking("read the journal", move || {
            let page = this.journal.peek(after, limit, PAGE_BYTES)?;
            let mut records = Vec::with_capacity(page.len());
            for stored in page {
                match this.parked(&stored) {
                    Ok(parked) => records.push(parked),
                    Err(error) => this.bury_unreadable(&stored, &error)?,
                }
            }
            Ok(records)
        })
        .await
    }

    /// Settles records by their place in the journal.
    pub(crate) async fn settle_all(
        &self,
        positions: &[fusebox_journal::Position],
    ) -> Result<(), BacklogError> {
        let settled = self.journal.settle(positions).await;
        settled.map_err(|error| BacklogError::new("settle records", error))
    }

    /// Buries a record by its place in the journal.
    pub(crate) async fn bury_at(
        &self,
        position: fusebox_journal::Position,
        reason: &DeadReason,
    ) -> Result<(), BacklogError> {
        let (this, reason) = (self.clone(), reason.clone());
        blocking("bury a record", move || {
            this.journal.bury(position, &this.burial(&reason))
        })
        .await
    }

    fn parked(&self, stored: &Stored) -> Result<Parked, DecodeError> {
        Ok(Parked {
            position: to_kafka(stored.position),
            record: decode(&stored.entry)?,
            admitted_at_ms: stored.entry.admitted_at_ms,
            attempts: u32::from(stored.position.0 < self.inherited),
        })
    }

    fn bury_unreadable(&self, stored: &Stored, error: &DecodeError) -> Result<(), JournalError> {
        tracing::error!(
            position = %stored.position,
            event_id = %Uuid::from_bytes(stored.entry.id),
            %error,
            "record of the journal cannot be read"
        );
        let reason = DeadReason {
            code: "_UNREADABLE".to_owned(),
            text: error.to_string(),
            first: None,
            attempts: 0,
        };
        self.journal.bury(stored.position, &self.burial(&reason))
    }

    fn burial(&self, reason: &DeadReason) -> Burial {
        Burial {
            code: reason.code.clone(),
            reason: reason.text.clone(),
            first_reason: reason.first.clone(),
            attempts: reason.attempts,
            buried_at_ms: self.now_ms(),
        }
    }
}

/// The bytes of a record in a journal that are none of a version this program reads.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the record cannot be read")]
pub struct UnreadableRecord(#[source] DecodeError);

impl Record {
    /// The event in a record of a journal, for looking at a journal that this process does not drain.
    ///
    /// # Errors
    /// When this program cannot read it.
    pub fn from_journal(entry: &Entry) -> Result<Self, UnreadableRecord> {
        decode(entry).map_err(UnreadableRecord)
    }
}

fn decode(entry: &Entry) -> Result<Record, DecodeError> {
    let content = codec::decode(entry.data.clone())?;
    Ok(Record {
        event_id: Uuid::from_bytes(entry.id),
        topic: entry.label.to_string(),
        key: content.key,
        payload: content.payload,
        headers: content.headers,
    })
}

/// A record as the journal keeps it.
pub(crate) fn entry(record: &Record, admitted_at_ms: i64) -> Result<Entry, EncodeError> {
    Ok(Entry {
        id: *record.event_id.as_bytes(),
        label: Arc::from(record.topic.as_str()),
        admitted_at_ms,
        data: codec::encode(record.key.as_deref(), &record.headers, &record.payload)?,
    })
}

/// The journal counts from 1, so its order is ours.
pub(crate) fn to_kafka(position: fusebox_journal::Position) -> Position {
    Position(i64::try_from(position.0).unwrap_or(i64::MAX))
}

pub(crate) fn to_journal(position: Position) -> fusebox_journal::Position {
    fusebox_journal::Position(u64::try_from(position.0).unwrap_or(0))
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, BacklogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| BacklogError::new(what, error)),
        Err(error) => Err(BacklogError::new(what, error)),
    }
}

#[async_trait]
impl Backlog for JournalBacklog {
    async fn peek(&self, after: Position, limit: usize) -> Result<Vec<Parked>, BacklogError> {
        self.read(to_journal(after).0, limit).await
    }

    async fn settle(&self, positions: &[Position]) -> Result<(), BacklogError> {
        let positions: Vec<_> = positions.iter().map(|p| to_journal(*p)).collect();
        self.settle_all(&positions).await
    }

    async fn bury(&self, position: Position, reason: &DeadReason) -> Result<(), BacklogError> {
        self.bury_at(to_journal(position), reason).await
    }

    async fn stats(&self) -> Result<BacklogStats, BacklogError> {
        let journal = self.journal.clone();
        let stats = blocking("count records", move || Ok(journal.stats())).await?;
        let age = |admitted: i64| {
            let age = self.now_ms().saturating_sub(admitted);
            Duration::from_millis(u64::try_from(age).unwrap_or(0))
        };
        Ok(BacklogStats {
            waiting: stats.waiting,
            dead: stats.dead,
            oldest_age: stats.oldest_admitted_at_ms.map(age),
        })
    }

    fn appears_in_order(&self) -> bool {
        true
    }

    fn reads_beside_other_work(&self) -> bool {
        true
    }
}
