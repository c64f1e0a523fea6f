//! One store or journal under an operator's hand: through the process that owns it, or directly.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use fusebox_journal::{Entry, Inspection, Journal, JournalConfig, Position, Stored};
use fusebox_kafka::Record;
use huleedu_kit::{
    admin::{
        Body, Claim, DeadDetail, DeadId, DeadKind, DeadQuery, DeadSummary, Desk, EventDetail,
        EventQuery, EventSummary, QueueStats, Requeued,
    },
    store::{NoObserver, Store, StoreError, StoreOptions},
};
use reqwest::Method;

use super::{
    client::Client,
    places::{Place, StorePlace},
    show,
};

/// Longest page that is asked for at once.
const PAGE: usize = 500;

/// Access to one place.
#[derive(Debug)]
pub(crate) enum Hand {
    /// The process that owns it answers.
    Live(Client),
    /// Nobody owns it.
    Direct {
        desk: Desk,
        /// Held while something is changed, so that the service does not start in between.
        _claim: Option<Claim>,
    },
    /// A journal, looked at.
    Look(Box<Inspection>),
    /// A journal, owned.
    Own(Journal),
}

/// What the hand is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Look,
    Change,
}

impl Hand {
    /// Takes a place.
    pub(crate) async fn on(place: &Place, purpose: Purpose) -> anyhow::Result<Self> {
        match place {
            Place::Store(store) => Self::on_store(store, purpose).await,
            Place::Journal { dir, .. } if purpose == Purpose::Look => {
                let look = Journal::inspect(dir)
                    .with_context(|| format!("cannot look at the journal {}", dir.display()))?;
                Ok(Self::Look(Box::new(look)))
            }
            Place::Journal { dir, .. } => Ok(Self::Own(own(dir.clone()).await?)),
        }
    }

    async fn on_store(place: &StorePlace, purpose: Purpose) -> anyhow::Result<Self> {
        if let Some(socket) = &place.socket
            && let Some(owner) = socket.owner()?
        {
            return Ok(Self::Live(Client::new(socket, owner)?));
        }
        let claim = match &place.socket {
            Some(socket) if purpose == Purpose::Change => {
                let who = format!("an operator's command on {}", place.service);
                Some(socket.claim(&who).await?)
            }
            _ => None,
        };
        let store = attach(place, purpose).await?;
        Ok(Self::Direct {
            desk: Desk::new(place.service, store),
            _claim: claim,
        })
    }

    /// The process that owns the place; `None` when nobody does.
    pub(crate) fn owner(&self) -> Option<&str> {
        match self {
            Self::Live(client) => Some(client.owner()),
            Self::Look(look) => look.owner(),
            Self::Direct { .. } | Self::Own(_) => None,
        }
    }

    pub(crate) async fn stats(&self, place: &Place) -> anyhow::Result<QueueStats> {
        match self {
            Self::Live(client) => client.ask(Method::GET, "stats", &()).await,
            Self::Direct { desk, .. } => Ok(desk.stats().await?),
            Self::Look(look) => {
                let view = look.overview()?;
                let age = |at: i64| u64::try_from(show::now_ms().saturating_sub(at)).unwrap_or(0);
                Ok(QueueStats {
                    service: place.name().to_owned(),
                    process: None,
                    waiting: view.waiting,
                    waiting_by_topic: BTreeMap::new(),
                    limit: None,
                    oldest_age_ms: view.oldest_admitted_at_ms.map(age),
                    sent_kept: 0,
                    dead_sent: view.dead,
                    dead_received: BTreeMap::new(),
                    circuit: None,
                    delivered: None,
                })
            }
            Self::Own(_) => bail!("a journal is looked at for this"),
        }
    }

    /// Events that wait, page by page, until there are no more or `each` says stop.
    pub(crate) async fn events(
        &self,
        query: &EventQuery,
        mut each: impl FnMut(EventSummary) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut left = if query.limit == 0 {
            usize::MAX
        } else {
            query.limit
        };
        let mut query = query.clone();
        while left > 0 {
            query.limit = left.min(PAGE);
            let page = match self {
                Self::Live(client) => client.ask(Method::GET, "journal", &query).await?,
                Self::Direct { desk, .. } => desk.events(&query).await?,
                Self::Look(look) => peek(look, &query)?,
                Self::Own(_) => bail!("a journal is looked at for this"),
            };
            let Some(last) = page.last() else { break };
            query.after = last.position;
            left -= page.len().min(left);
            page.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    }

    pub(crate) async fn event(&self, id: &str) -> anyhow::Result<EventDetail> {
        let position: i64 = id
            .parse()
            .with_context(|| format!("`{id}` is no position; see `huleedu journal list`"))?;
        match self {
            Self::Live(client) => {
                let path = format!("journal/{position}");
                client.ask(Method::GET, &path, &()).await
            }
            Self::Direct { desk, .. } => Ok(desk.event(position).await?),
            Self::Look(look) => {
                let wanted = journal_position(position)?;
                let before = Position(wanted.0.saturating_sub(1));
                let found = look.peek(before, 1, usize::MAX)?.pop();
                let stored = found.filter(|stored| stored.position == wanted);
                stored.map(|s| detail(&s)).ok_or_else(|| {
                    anyhow!("event {position} does not exist, or does not wait any more")
                })
            }
            Self::Own(_) => bail!("a journal is looked at for this"),
        }
    }

    /// Dead letters, page by page.
    pub(crate) async fn dead(&self, query: &DeadQuery) -> anyhow::Result<Vec<DeadSummary>> {
        let mut left = if query.limit == 0 {
            usize::MAX
        } else {
            query.limit
        };
        let mut query = query.clone();
        let mut all = Vec::new();
        while left > 0 {
            query.limit = left.min(PAGE);
            let page = match self {
                Self::Live(client) => client.ask(Method::GET, "dead", &query).await?,
                Self::Direct { desk, .. } => desk.dead(&query).await?,
                Self::Look(look) => dead_of(look, &query)?,
                Self::Own(_) => bail!("a journal is looked at for this"),
            };
            let Some(last) = page.last() else { break };
            query.after = Some(last.id);
            left -= page.len().min(left);
            all.extend(page);
        }
        Ok(all)
    }

    pub(crate) async fn dead_letter(&self, id: DeadId) -> anyhow::Result<DeadDetail> {
        match self {
            Self::Live(client) => client.ask(Method::GET, &format!("dead/{id}"), &()).await,
            Self::Direct { desk, .. } => Ok(desk.dead_letter(id).await?),
            Self::Look(look) => {
                let letter = look.dead_letter(of_journal(id)?)?;
                let content = content(&letter.entry);
                Ok(DeadDetail {
                    summary: DeadSummary {
                        id,
                        event_id: Some(uuid(letter.entry.id)),
                        topic: letter.entry.label.to_string(),
                        code: letter.burial.code,
                        reason: letter.burial.reason,
                        attempts: letter.burial.attempts.into(),
                        bytes: letter.entry.data.len() as u64,
                        died_at_ms: letter.burial.buried_at_ms,
                    },
                    correlation_id: None,
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
            Self::Own(_) => bail!("a journal is looked at for this"),
        }
    }

    pub(crate) async fn requeue(&self, id: DeadId) -> anyhow::Result<Requeued> {
        match self {
            Self::Live(client) => {
                let path = format!("dead/{id}/requeue");
                client.ask(Method::POST, &path, &()).await
            }
            Self::Direct { desk, .. } => Ok(desk.requeue(id).await?),
            Self::Own(journal) => {
                let position = of_journal(id)?;
                let letter = journal.dead_letter(position)?;
                let new = journal.requeue(position)?;
                Ok(Requeued {
                    id,
                    position: i64::try_from(new.0).unwrap_or(i64::MAX),
                    event_id: uuid(letter.entry.id),
                    topic: letter.entry.label.to_string(),
                })
            }
            Self::Look(_) => bail!("a journal that is looked at is not changed"),
        }
    }

    pub(crate) async fn discard(&self, id: DeadId) -> anyhow::Result<()> {
        match self {
            Self::Live(client) => client.ask(Method::DELETE, &format!("dead/{id}"), &()).await,
            Self::Direct { desk, .. } => Ok(desk.discard(id).await?),
            Self::Own(journal) => Ok(journal.discard(of_journal(id)?)?),
            Self::Look(_) => bail!("a journal that is looked at is not changed"),
        }
    }
}

/// Opens a store that nobody owns.
pub(crate) async fn attach(place: &StorePlace, purpose: Purpose) -> anyhow::Result<Store> {
    let options = StoreOptions {
        url: place.url.clone(),
        max_connections: 2,
        outbox_limit: place.limit,
        observer: Arc::new(NoObserver),
    };
    Store::attach(place.service, options, purpose == Purpose::Change)
        .await
        .map_err(|error| match error {
            // Not its URL: that may hold a password.
            StoreError::Open(_) => anyhow!(error).context(format!(
                "the database of {} is not there or does not answer",
                place.service
            )),
            error => anyhow!(error).context(format!("the database of {}", place.service)),
        })
}

/// Opens a journal that nobody owns.
pub(crate) async fn own(dir: PathBuf) -> anyhow::Result<Journal> {
    let opened = tokio::task::spawn_blocking(move || {
        // Only a journal that is there: opening would make one.
        Journal::inspect(&dir)?;
        Journal::open(&dir, JournalConfig::default())
    });
    opened
        .await
        .context("the journal could not be opened")?
        .context(
            "the journal cannot be owned; while its service runs, that sends what waits and keeps the \
             dead letters: stop it first",
        )
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

fn summary(stored: &Stored) -> EventSummary {
    let entry = &stored.entry;
    EventSummary {
        position: i64::try_from(stored.position.0).unwrap_or(i64::MAX),
        event_id: uuid(entry.id),
        topic: entry.label.to_string(),
        key: content(entry).key,
        bytes: entry.data.len() as u64,
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

/// A page of a journal. The filters are applied here, so a page may need many reads.
fn peek(look: &Inspection, query: &EventQuery) -> anyhow::Result<Vec<EventSummary>> {
    let mut after = Position(u64::try_from(query.after.max(0)).unwrap_or(0));
    let mut page = Vec::new();
    while page.len() < query.limit {
        let read = look.peek(after, PAGE, 16 << 20)?;
        let Some(last) = read.last() else { break };
        after = last.position;
        let wanted = read.iter().map(summary).filter(|s| {
            query.topic.as_ref().is_none_or(|t| *t == s.topic)
                && query.key.as_ref().is_none_or(|k| Some(k) == s.key.as_ref())
        });
        page.extend(wanted.take(query.limit - page.len()));
    }
    Ok(page)
}

fn dead_of(look: &Inspection, query: &DeadQuery) -> anyhow::Result<Vec<DeadSummary>> {
    if query.kind == Some(DeadKind::Received) {
        return Ok(Vec::new());
    }
    let after = query.after.map_or(Ok(Position::START), of_journal)?;
    let letters = look.dead_letters(after, query.limit, |letter| {
        query.topic.as_ref().is_none_or(|t| **t == *letter.label)
            && query.code.as_ref().is_none_or(|c| **c == *letter.code)
    })?;
    let one = |letter: fusebox_journal::DeadSummary| DeadSummary {
        id: DeadId {
            kind: DeadKind::Sent,
            number: i64::try_from(letter.position.0).unwrap_or(i64::MAX),
        },
        event_id: Some(uuid(letter.id)),
        topic: letter.label.to_string(),
        code: letter.code.to_string(),
        reason: letter.code.to_string(),
        attempts: 0,
        bytes: letter.size,
        died_at_ms: letter.buried_at_ms,
    };
    Ok(letters.into_iter().map(one).collect())
}

fn of_journal(id: DeadId) -> anyhow::Result<Position> {
    if id.kind != DeadKind::Sent {
        bail!("a journal has only events to be sent; its dead letters are called sent-NUMBER");
    }
    journal_position(id.number)
}

fn journal_position(number: i64) -> anyhow::Result<Position> {
    let position = u64::try_from(number).ok().filter(|n| *n > 0);
    Ok(Position(position.context("positions begin at 1")?))
}

fn uuid(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).to_string()
}
