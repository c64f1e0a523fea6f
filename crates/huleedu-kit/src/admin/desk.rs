//! What can be seen and done, whatever the events are kept in.

use fusebox_journal::JournalError;
use thiserror::Error;

use super::{
    journal::JournalDesk,
    model::{
        DeadDetail, DeadId, DeadQuery, DeadSummary, EventDetail, EventQuery, EventSummary,
        QueueStats, Requeued,
    },
    outbox::StoreDesk,
};
use crate::{
    service::ServiceId,
    store::{Store, StoreError},
};

/// Why a desk did not do what was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdminError {
    /// There is no such thing.
    #[error("{0} does not exist")]
    NotFound(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(String),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The journal failed.
    #[error("the journal failed")]
    Journal(#[source] JournalError),
}

impl From<sqlx::Error> for AdminError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a verification says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Rows read.
    pub rows: u64,
    /// What is wrong, and where.
    pub findings: Vec<String>,
}

/// An operator's desk.
#[derive(Debug, Clone)]
pub enum Desk {
    /// On a database.
    Store(StoreDesk),
    /// On a journal.
    Journal(JournalDesk),
}

impl Desk {
    /// A desk on `store`.
    pub fn new(service: ServiceId, store: Store) -> Self {
        Self::Store(StoreDesk::new(service, store))
    }

    /// How much waits, and what is wrong.
    ///
    /// # Errors
    /// When store or journal fails.
    pub async fn stats(&self) -> Result<QueueStats, AdminError> {
        match self {
            Self::Store(desk) => desk.stats().await,
            Self::Journal(desk) => desk.stats().await,
        }
    }

    /// Events that wait, in the order of admission.
    ///
    /// # Errors
    /// When store or journal fails.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<EventSummary>, AdminError> {
        match self {
            Self::Store(desk) => desk.events(query).await,
            Self::Journal(desk) => desk.events(query).await,
        }
    }

    /// One event that waits; one of an outbox also for an hour after it was sent.
    ///
    /// # Errors
    /// When there is none, or store or journal fails.
    pub async fn event(&self, position: i64) -> Result<EventDetail, AdminError> {
        match self {
            Self::Store(desk) => desk.event(position).await,
            Self::Journal(desk) => desk.event(position).await,
        }
    }

    /// How many events wait behind a place for the same topic, and the same key where one is given.
    ///
    /// # Errors
    /// When store or journal fails.
    pub async fn behind(
        &self,
        position: i64,
        topic: &str,
        key: Option<&str>,
    ) -> Result<u64, AdminError> {
        match self {
            Self::Store(desk) => desk.behind(position, topic, key).await,
            Self::Journal(desk) => desk.behind(position, topic, key).await,
        }
    }

    /// Dead letters, oldest first.
    ///
    /// # Errors
    /// When store or journal fails.
    pub async fn dead(&self, query: &DeadQuery) -> Result<Vec<DeadSummary>, AdminError> {
        match self {
            Self::Store(desk) => desk.dead(query).await,
            Self::Journal(desk) => desk.dead(query).await,
        }
    }

    /// One dead letter with all it has.
    ///
    /// # Errors
    /// When there is none, or store or journal fails.
    pub async fn dead_letter(&self, id: DeadId) -> Result<DeadDetail, AdminError> {
        match self {
            Self::Store(desk) => desk.dead_letter(id).await,
            Self::Journal(desk) => desk.dead_letter(id).await,
        }
    }

    /// Puts a dead letter among the events that wait, behind all of them: its old order is not restored.
    ///
    /// # Errors
    /// When there is none, there is no room, or store or journal fails.
    pub async fn requeue(&self, id: DeadId) -> Result<Requeued, AdminError> {
        match self {
            Self::Store(desk) => desk.requeue(id).await,
            Self::Journal(desk) => desk.requeue(id).await,
        }
    }

    /// Removes a dead letter for good.
    ///
    /// # Errors
    /// When there is none, or store or journal fails.
    pub async fn discard(&self, id: DeadId) -> Result<(), AdminError> {
        match self {
            Self::Store(desk) => desk.discard(id).await,
            Self::Journal(desk) => desk.discard(id).await,
        }
    }
}
