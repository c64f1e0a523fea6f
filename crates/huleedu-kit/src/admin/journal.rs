//! The desk on a journal: beside its owner by looking at the files, inside its owner, or owned by the
//! operator's command while its service is stopped.

use std::{collections::BTreeMap, fmt, sync::Arc};

use fusebox_journal::{
    DeadLetter, DeadSummary as JournalDead, Entry, Inspection, Journal, JournalError, Position,
    Stored,
};
use fusebox_kafka::{EventBus, PublishError, Record};
use huleedu_contracts::headers;
use uuid::Uuid;

use super::{
    desk::AdminError,
    model::{
        Body, DeadDetail, DeadId, DeadKind, DeadQuery, DeadSummary, EventDetail, EventQuery,
        EventSummary, QueueStats, Requeued,
    },
};
use crate::{consumer::is_of_delivery, store::now_ms};

/// Longest page.
const MOST: usize = 1000;
/// About how many bytes are read at once.
const BYTES: usize = 16 << 20;
/// Up to so many events that wait are counted by topic.
const COUNTED: u64 = 100_000;

/// An operator's desk on a journal.
#[derive(Clone)]
pub struct JournalDesk {
    name: String,
    source: Source,
    bus: Option<Arc<dyn EventBus>>,
}

/// How the journal is read.
#[derive(Debug, Clone)]
enum Source {
    Look(Arc<Inspection>),
    Own(Journal),
}

impl Source {
    fn peek(&self, after: Position, limit: usize) -> Result<Vec<Stored>, JournalError> {
        match self {
            Self::Look(look) => look.peek(after, limit, BYTES),
            Self::Own(journal) => journal.peek(after, limit, BYTES),
        }
    }

    fn dead_letters(
        &self,
        after: Position,
        limit: usize,
        filter: impl Fn(&JournalDead) -> bool,
    ) -> Result<Vec<JournalDead>, JournalError> {
        match self {
            Self::Look(look) => look.dead_letters(after, limit, filter),
            Self::Own(journal) => Ok(journal.dead_letters(after, limit, filter)),
        }
    }

    fn dead_letter(&self, position: Position) -> Result<DeadLetter, JournalError> {
        match self {
            Self::Look(look) => look.dead_letter(position),
            Self::Own(journal) => journal.dead_letter(position),
        }
    }

    /// Waiting events, admission of the oldest one, dead letters.
    fn numbers(&self) -> Result<(u64, Option<i64>, u64), JournalError> {
        match self {
            Self::Look(look) => {
                let view = look.overview()?;
                Ok((view.waiting, view.oldest_admitted_at_ms, view.dead))
            }
            Self::Own(journal) => {
                let stats = journal.stats();
                Ok((stats.waiting, stats.oldest_admitted_at_ms, stats.dead))
            }
        }
    }

    /// Calls `each` for every event that waits, in order.
    fn each(&self, after: Position, mut each: impl FnMut(&Stored)) -> Result<(), JournalError> {
        let mut after = after;
        loop {
            let page = self.peek(after, MOST)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.position;
            page.iter().for_each(&mut each);
        }
    }

    fn owned(&self) -> Result<&Journal, AdminError> {
        match self {
            Self::Own(journal) => Ok(journal),
            Self::Look(_) => Err(AdminError::Conflict(
                "a journal that is looked at is not changed".to_owned(),
            )),
        }
    }
}

impl JournalDesk {
    /// A desk that looks at the files, also beside a process that owns them.
    pub fn looking(name: impl Into<String>, look: Inspection) -> Self {
        Self {
            name: name.into(),
            source: Source::Look(Arc::new(look)),
            bus: None,
        }
    }

    /// A desk of whoever owns the journal while its service is stopped.
    pub fn owning(name: impl Into<String>, journal: Journal) -> Self {
        Self {
            name: name.into(),
            source: Source::Own(journal),
            bus: None,
        }
    }

    /// A desk inside the service: what is requeued goes the way of every event.
    pub(crate) fn live(name: impl Into<String>, journal: Journal, bus: Arc<dyn EventBus>) -> Self {
        Self {
            name: name.into(),
            source: Source::Own(journal),
            bus: Some(bus),
        }
    }

    pub(super) async fn stats(&self) -> Result<QueueStats, AdminError> {
        let (waiting, oldest, dead, by_topic) = self
            .blocking(|source| {
                let (waiting, oldest, dead) = source.numbers()?;
                let mut by_topic = BTreeMap::new();
                if waiting <= COUNTED {
                    source.each(Position::START, |stored| {
                        *by_topic.entry(stored.entry.label.to_string()).or_insert(0) += 1;
                    })?;
                }
                Ok((waiting, oldest, dead, by_topic))
            })
            .await?;
        let age = |at: i64| u64::try_from(now_ms().saturating_sub(at)).unwrap_or(0);
        Ok(QueueStats {
            service: self.name.clone(),
            process: None,
            sender: None,
            blocked: None,
            waiting,
            waiting_by_topic: by_topic,
            limit: None,
            oldest_age_ms: oldest.map(age),
            sent_kept: 0,
            dead_sent: dead,
            dead_received: BTreeMap::new(),
            circuit: None,
            delivered: None,
        })
    }

    /// The filters are applied here, so a page may need many reads.
    pub(super) async fn events(&self, query: &EventQuery) -> Result<Vec<EventSummary>, AdminError> {
        let query = query.clone();
        self.blocking(move |source| {
            let mut after = Position(u64::try_from(query.after.max(0)).unwrap_or(0));
            let most = query.limit.clamp(1, MOST);
            let mut page = Vec::new();
            while page.len() < most {
                let read = source.peek(after, MOST)?;
                let Some(last) = read.last() else { break };
                after = last.position;
                let wanted = read.iter().map(summary).filter(|s| {
                    query.topic.as_ref().is_none_or(|t| *t == s.topic)
                        && query.key.as_ref().is_none_or(|k| Some(k) == s.key.as_ref())
                });
                page.extend(wanted.take(most - page.len()));
            }
            Ok(page)
        })
        .await
    }

    pub(super) async fn event(&self, position: i64) -> Result<EventDetail, AdminError> {
        let missing = || {
            AdminError::NotFound(format!(
                "event {position} that waits (a journal keeps no others)"
            ))
        };
        let wanted = place(position).ok_or_else(missing)?;
        let before = Position(wanted.0.saturating_sub(1));
        let found = self.blocking(move |source| source.peek(before, 1)).await?;
        let stored = found.into_iter().find(|stored| stored.position == wanted);
        Ok(detail(&stored.ok_or_else(missing)?))
    }

    pub(super) async fn behind(
        &self,
        position: i64,
        topic: &str,
        key: Option<&str>,
    ) -> Result<u64, AdminError> {
        let after = place(position).unwrap_or(Position::START);
        let (topic, key) = (topic.to_owned(), key.map(str::to_owned));
        self.blocking(move |source| {
            let mut count = 0;
            source.each(after, |stored| {
                let same = *stored.entry.label == *topic
                    && (key.is_none() || content(&stored.entry).key == key);
                count += u64::from(same);
            })?;
            Ok(count)
        })
        .await
    }

    pub(super) async fn dead(&self, query: &DeadQuery) -> Result<Vec<DeadSummary>, AdminError> {
        if query.kind == Some(DeadKind::Received) {
            return Ok(Vec::new());
        }
        let after = match query.after {
            None => Position::START,
            Some(id) => of_journal(id)?,
        };
        let limit = if query.limit == 0 { 50 } else { query.limit }.min(MOST);
        let query = query.clone();
        self.blocking(move |source| {
            let letters = source.dead_letters(after, limit, |letter| {
                query.topic.as_ref().is_none_or(|t| **t == *letter.label)
                    && query.code.as_ref().is_none_or(|c| **c == *letter.code)
            })?;
            // Reason and tries are with the content.
            letters
                .iter()
                .map(|letter| Ok(letter_summary(&source.dead_letter(letter.position)?)))
                .collect()
        })
        .await
    }

    pub(super) async fn dead_letter(&self, id: DeadId) -> Result<DeadDetail, AdminError> {
        let letter = self.letter(id).await?;
        let content = content(&letter.entry);
        let correlation = content
            .headers
            .iter()
            .find(|(name, _)| name == headers::CORRELATION_ID);
        Ok(DeadDetail {
            summary: letter_summary(&letter),
            correlation_id: correlation.map(|(_, value)| value.clone()),
            key: content.key.map(Body::Text),
            partition: None,
            offset: None,
            event_at_ms: Some(letter.entry.admitted_at_ms),
            headers: content
                .headers
                .into_iter()
                .map(|(n, v)| (n, Body::Text(v)))
                .collect(),
            payload: content.payload,
        })
    }

    /// Inside the service the event is published again, with its id, and then the dead letter removed; a
    /// crash in between leaves both, which consumers tell by the id.
    pub(super) async fn requeue(&self, id: DeadId) -> Result<Requeued, AdminError> {
        let letter = self.letter(id).await?;
        let event_id = Uuid::from_bytes(letter.entry.id).to_string();
        let topic = letter.entry.label.to_string();
        let at = letter.position;
        let journal = self.source.owned()?.clone();
        let position = if let Some(bus) = &self.bus {
            let record = self.replayed(id, &letter)?;
            let accepted = bus.publish(record).await.map_err(refused)?;
            self.blocking(move |_| journal.discard(at)).await?;
            accepted.position.map(|position| position.0)
        } else {
            Some(number(self.blocking(move |_| journal.requeue(at)).await?))
        };
        tracing::warn!(dead_letter = %id, event_id, topic, position, "dead letter requeued by an operator");
        Ok(Requeued {
            id,
            position,
            event_id,
            topic,
        })
    }

    /// The event of a dead letter as it is sent again.
    fn replayed(&self, id: DeadId, letter: &DeadLetter) -> Result<Record, AdminError> {
        let mut record = Record::from_journal(&letter.entry).map_err(|error| {
            AdminError::Conflict(format!("this program does not know what it is: {error}"))
        })?;
        record
            .headers
            .retain(|(n, _)| n != headers::REPLAYED_FROM && !is_of_delivery(n));
        let from = format!("{}/{id}", self.name);
        record
            .headers
            .push((headers::REPLAYED_FROM.to_owned(), from));
        Ok(record)
    }

    pub(super) async fn discard(&self, id: DeadId) -> Result<(), AdminError> {
        let at = self.letter(id).await?.position;
        let journal = self.source.owned()?.clone();
        self.blocking(move |_| journal.discard(at)).await?;
        tracing::warn!(dead_letter = %id, "dead letter discarded by an operator");
        Ok(())
    }

    async fn letter(&self, id: DeadId) -> Result<DeadLetter, AdminError> {
        let position = of_journal(id)?;
        let found = self
            .blocking(move |source| source.dead_letter(position))
            .await;
        found.map_err(|error| match error {
            AdminError::Journal(JournalError::NotFound(_)) => {
                AdminError::NotFound(format!("dead letter {id}"))
            }
            error => error,
        })
    }

    /// The journal blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Source) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let source = self.source.clone();
        let done = tokio::task::spawn_blocking(move || work(&source)).await;
        done.map_err(|error| AdminError::Conflict(format!("it was not done: {error}")))?
            .map_err(AdminError::Journal)
    }
}

impl fmt::Debug for JournalDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalDesk")
            .field("name", &self.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn refused(error: PublishError) -> AdminError {
    AdminError::Conflict(match error {
        PublishError::Full => {
            "as many events wait for Kafka as may; try again when there are fewer".to_owned()
        }
        error => format!("it was not taken again: {}", crate::consumer::chain(&error)),
    })
}

/// Key, headers and payload of a record in a journal.
struct Content {
    key: Option<String>,
    headers: Vec<(String, String)>,
    payload: Body,
}

/// One that this program cannot read is shown as the bytes it is.
fn content(entry: &Entry) -> Content {
    match Record::from_journal(entry) {
        Ok(record) => Content {
            key: record.key,
            headers: record.headers,
            payload: Body::of(&record.payload),
        },
        Err(_) => Content {
            key: None,
            headers: Vec::new(),
            payload: Body::of(&entry.data),
        },
    }
}

/// Bytes of the payload, as far as the record can be read.
fn size(entry: &Entry) -> u64 {
    Record::from_journal(entry).map_or(entry.data.len(), |record| record.payload.len()) as u64
}

fn summary(stored: &Stored) -> EventSummary {
    let entry = &stored.entry;
    EventSummary {
        position: number(stored.position),
        event_id: Uuid::from_bytes(entry.id).to_string(),
        topic: entry.label.to_string(),
        key: content(entry).key,
        bytes: size(entry),
        admitted_at_ms: entry.admitted_at_ms,
        sent_at_ms: None,
    }
}

fn detail(stored: &Stored) -> EventDetail {
    let content = content(&stored.entry);
    EventDetail {
        summary: summary(stored),
        headers: content.headers,
        payload: content.payload,
    }
}

fn letter_summary(letter: &DeadLetter) -> DeadSummary {
    let burial = &letter.burial;
    let reason = match &burial.first_reason {
        Some(first) => format!("{}; at first {first}", burial.reason),
        None => burial.reason.clone(),
    };
    DeadSummary {
        id: DeadId {
            kind: DeadKind::Sent,
            number: number(letter.position),
        },
        event_id: Some(Uuid::from_bytes(letter.entry.id).to_string()),
        topic: letter.entry.label.to_string(),
        code: burial.code.clone(),
        reason,
        attempts: burial.attempts.into(),
        bytes: size(&letter.entry),
        died_at_ms: burial.buried_at_ms,
    }
}

fn of_journal(id: DeadId) -> Result<Position, AdminError> {
    let position = (id.kind == DeadKind::Sent).then(|| place(id.number));
    position.flatten().ok_or_else(|| {
        AdminError::NotFound(format!(
            "dead letter {id} (a journal has only events to be sent; its dead letters are called sent-NUMBER)"
        ))
    })
}

fn place(number: i64) -> Option<Position> {
    u64::try_from(number).ok().filter(|n| *n > 0).map(Position)
}

fn number(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}
