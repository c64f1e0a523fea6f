//! One store or journal under an operator's hand: through the process that owns it, or directly.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use fusebox_journal::{Journal, JournalConfig};
use huleedu_kit::{
    ServiceId,
    admin::{
        AdminError, BlockedLane, Claim, DeadDetail, DeadId, DeadQuery, DeadSummary, Desk,
        EventDetail, EventQuery, EventSummary, JournalDesk, QueueStats, Requeued, Resolved,
    },
    store::{NoObserver, Store, StoreError, StoreOptions},
};
use reqwest::Method;

use super::{
    client::{Client, Gone},
    places::{Kept, Place},
};

/// Longest page that is asked for at once.
const PAGE: usize = 500;

/// Access to one place.
#[derive(Debug)]
pub(crate) enum Hand {
    /// The process that owns it answers.
    Live(Client),
    /// Nobody owns it, or the owner answers nobody.
    Direct {
        desk: Desk,
        owner: Option<String>,
        /// Held while something is changed, so that the service does not start in between.
        _claim: Option<Claim>,
    },
}

/// What somebody decided about a lane that is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Retry,
    Bury,
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
        let mut owner = None;
        if let Some(at) = &place.owner_at
            && let Some(live) = at.owner()?
        {
            if let Some(socket) = live.socket() {
                return Ok(Self::Live(Client::new(socket, live.to_string())?));
            }
            if purpose == Purpose::Change {
                bail!(
                    "{} is in use by {live}, which has no admin socket; stop it first",
                    place.name()
                );
            }
            owner = Some(live.to_string());
        }
        let claim = match &place.owner_at {
            Some(at) if purpose == Purpose::Change => {
                let who = format!("an operator's command on {}", place.name());
                Some(at.claim(&who).await?)
            }
            _ => None,
        };
        let desk = match &place.kept {
            Kept::Store { service, url } => {
                let store = attach(*service, url, place.limit, purpose).await?;
                Desk::new(*service, store)
            }
            Kept::Journal(dir) if purpose == Purpose::Look => {
                let look = Journal::inspect(dir)
                    .with_context(|| format!("cannot look at the journal {}", dir.display()))?;
                owner = owner.or_else(|| look.owner().map(str::to_owned));
                Desk::Journal(JournalDesk::looking(place.name(), look))
            }
            Kept::Journal(dir) => {
                Desk::Journal(JournalDesk::owning(place.name(), own(dir.clone()).await?))
            }
        };
        Ok(Self::Direct {
            desk,
            owner,
            _claim: claim,
        })
    }

    /// The process that owns the place; `None` when nobody does.
    pub(crate) fn owner(&self) -> Option<&str> {
        match self {
            Self::Live(client) => Some(client.owner()),
            Self::Direct { owner, .. } => owner.as_deref(),
        }
    }

    pub(crate) async fn stats(&self) -> anyhow::Result<QueueStats> {
        match self {
            Self::Live(client) => client.ask(Method::GET, "stats", &()).await,
            Self::Direct { desk, .. } => Ok(desk.stats().await?),
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
            };
            let Some(last) = page.last() else { break };
            query.after = last.position;
            left -= page.len().min(left);
            page.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    }

    pub(crate) async fn event(&self, id: &str) -> anyhow::Result<EventDetail> {
        let position = position(id)?;
        match self {
            Self::Live(client) => {
                let path = format!("journal/{position}");
                client.ask(Method::GET, &path, &()).await
            }
            Self::Direct { desk, .. } => desk.event(position).await.map_err(gone),
        }
    }

    /// Lanes that are held up; `None` when no process runs that could hold any up.
    pub(crate) async fn blocked(&self) -> anyhow::Result<Option<Vec<BlockedLane>>> {
        match self {
            Self::Live(client) => Ok(Some(client.ask(Method::GET, "blocked", &()).await?)),
            Self::Direct { .. } => Ok(None),
        }
    }

    /// Decides about one of them, and tells what comes of it.
    pub(crate) async fn resolve(&self, id: &str, decision: Decision) -> anyhow::Result<Resolved> {
        let position = position(id)?;
        let word = match decision {
            Decision::Retry => "retry",
            Decision::Bury => "bury",
        };
        match self {
            Self::Live(client) => {
                let path = format!("blocked/{position}/{word}");
                client.ask(Method::POST, &path, &()).await
            }
            Self::Direct { .. } => bail!(
                "nothing is held up while nobody sends: its service does not run, or answers nobody. When it \
                 starts, the event is tried again"
            ),
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
            Self::Direct { desk, .. } => desk.dead_letter(id).await.map_err(gone),
        }
    }

    pub(crate) async fn requeue(&self, id: DeadId) -> anyhow::Result<Requeued> {
        match self {
            Self::Live(client) => {
                let path = format!("dead/{id}/requeue");
                client.ask(Method::POST, &path, &()).await
            }
            Self::Direct { desk, .. } => Ok(desk.requeue(id).await?),
        }
    }

    pub(crate) async fn discard(&self, id: DeadId) -> anyhow::Result<()> {
        match self {
            Self::Live(client) => client.ask(Method::DELETE, &format!("dead/{id}"), &()).await,
            Self::Direct { desk, .. } => Ok(desk.discard(id).await?),
        }
    }
}

fn position(id: &str) -> anyhow::Result<i64> {
    id.parse()
        .with_context(|| format!("`{id}` is no position; see `huleedu journal list`"))
}

fn gone(error: AdminError) -> anyhow::Error {
    match error {
        AdminError::NotFound(_) => anyhow!(Gone(error.to_string())),
        error => error.into(),
    }
}

/// Opens a store that nobody owns.
pub(crate) async fn attach(
    service: ServiceId,
    url: &str,
    limit: u64,
    purpose: Purpose,
) -> anyhow::Result<Store> {
    let options = StoreOptions {
        url: url.to_owned(),
        max_connections: 2,
        outbox_limit: limit,
        observer: Arc::new(NoObserver),
    };
    Store::attach(service, options, purpose == Purpose::Change)
        .await
        .map_err(|error| match error {
            // Not its URL: that may hold a password.
            StoreError::Open(_) => anyhow!(error).context(format!(
                "the database of {service} is not there or does not answer"
            )),
            error => anyhow!(error).context(format!("the database of {service}")),
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
