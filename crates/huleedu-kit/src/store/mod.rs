//! The database of one service: SQLite on a laptop, PostgreSQL in production, one set of SQL.
//!
//! Portable SQL here means: `$1` placeholders; column types `TEXT`, `BIGINT`, `DOUBLE PRECISION`
//! and, in migrations, `{blob}` and `{serial}`; booleans are `BIGINT` 0/1; times are `BIGINT` Unix
//! milliseconds. That is also all that [`sqlx::Any`] can carry.
//!
//! A state change and the events it causes are written in one transaction ([`Tx`]): the event
//! goes to the table `outbox`, from which the drainer sends it; an event that was received is
//! noted in `inbox` in the same transaction, so that it is applied once. A transaction that is
//! dropped without [`Tx::commit`] leaves nothing.

mod inbox;
mod lease;
mod migrate;
mod outbox;
mod steady;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fusebox::{CircuitBreaker, State};
use fusebox_kafka::{DrainerHandle, Record};
use huleedu_contracts::{
    envelope::{EncodeError, EventEnvelope, metadata_keys},
    events::Event,
    ids::{CorrelationId, EventId},
};
use sqlx::{
    AnyConnection, AnyPool, ConnectOptions as _, Executor as _,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use thiserror::Error;
use tokio::sync::watch;

pub(crate) use inbox::read_dead_headers;
pub use migrate::Migration;
pub use outbox::{OutboxBacklog, OutboxBus};

use self::steady::SteadyClock;
use crate::{context::CallContext, service::ServiceId};

/// What can go wrong with the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// `DATABASE_URL` names no database that we can use.
    #[error("DATABASE_URL names no usable database; use sqlite:///path/file.db or postgres://…")]
    BadUrl(#[source] sqlx::Error),
    /// The database cannot be reached or refused to open.
    #[error("the database could not be opened")]
    Open(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration {version} ({name}) failed")]
    Migration {
        /// Its number.
        version: i64,
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database was written by a newer program.
    #[error(
        "the database has schema version {found}, this program knows {known}; use a newer program"
    )]
    TooNew {
        /// Version in the database.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The database was written by an older program, or by none of ours.
    #[error(
        "the database has schema version {found}, this program needs {needed}; start the service once, it \
         brings its database up to date"
    )]
    TooOld {
        /// Version of the common tables in the database; 0 when there are none.
        found: i64,
        /// Version needed here.
        needed: i64,
    },
    /// A statement failed.
    #[error("a database statement failed")]
    Sql(#[from] sqlx::Error),
    /// An event could not be written as JSON.
    #[error("an event could not be written as JSON")]
    Encode(#[from] EncodeError),
    /// The headers of an event could not be written as JSON.
    #[error("the headers of an event could not be written or read as JSON")]
    Json(#[from] serde_json::Error),
    /// Too many events wait for Kafka.
    #[error("{waiting} events wait for Kafka, {limit} are allowed")]
    OutboxFull {
        /// How many wait.
        waiting: u64,
        /// How many may (`KAFKA_FALLBACK_QUEUE_SIZE`).
        limit: u64,
    },
    /// The events that wait for Kafka take too much room.
    #[error("events of {bytes} bytes wait for Kafka, {limit} are allowed")]
    OutboxBytesFull {
        /// Bytes of their payloads.
        bytes: u64,
        /// How many may wait (`KAFKA_FALLBACK_QUEUE_BYTES`).
        limit: u64,
    },
    /// A value in the database is not what this program writes.
    #[error("the database holds a value that cannot be read: {0}")]
    Corrupt(String),
}

/// Which database is behind a [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file on this machine.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// Told about every event that is safe, for audits and tests.
pub trait PublishObserver: Send + Sync + std::fmt::Debug {
    /// The transaction that holds this event has been committed: the publisher was told "safe".
    fn safe(&self, event_id: EventId, topic: &str);
    /// Kafka has acknowledged this event.
    fn delivered(&self, event_id: EventId, topic: &str);
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl PublishObserver for NoObserver {
    fn safe(&self, _: EventId, _: &str) {}
    fn delivered(&self, _: EventId, _: &str) {}
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `sqlite:…` or `postgres:…`.
    pub url: String,
    /// Most connections at once.
    pub max_connections: u32,
    /// Most events that may wait for Kafka.
    pub outbox_limit: u64,
    /// Told about events.
    pub observer: Arc<dyn PublishObserver>,
}

/// A service's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    dialect: Dialect,
    service: ServiceId,
    outbox_limit: u64,
    observer: Arc<dyn PublishObserver>,
    drainer: watch::Sender<Option<Attached>>,
    outbox: Arc<OutboxState>,
    clock: Arc<SteadyClock>,
}

/// The drainer behind the outbox, and its circuit.
#[derive(Debug)]
struct Attached {
    drainer: DrainerHandle,
    breaker: CircuitBreaker,
}

/// The byte quota of the outbox, and how often it or the other one refused.
#[derive(Debug)]
struct OutboxState {
    bytes_limit: AtomicU64,
    refused: AtomicU64,
}

/// The name under which the circuit counts events that were kept while it was not closed.
const FALLBACK: &str = "outbox";

/// Lock number of the outbox in PostgreSQL: any constant that nothing else uses.
const OUTBOX_LOCK: i64 = 0x6875_6c65_6f75_7462;

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// When the URL is bad, the database cannot be opened or a migration fails.
    pub async fn open(
        service: ServiceId,
        options: StoreOptions,
        migrations: &[Migration],
    ) -> Result<Self, StoreError> {
        let (pool, dialect) = connect(&options, Access::Own).await?;
        migrate::run(&pool, dialect, migrations).await?;
        Ok(Self::of(service, options, pool, dialect))
    }

    /// Opens a service's database from outside, as it is: nothing is made and no schema is changed.
    ///
    /// # Errors
    /// When the URL is bad, the database is not there or its common tables are not of this program's
    /// version.
    pub async fn attach(
        service: ServiceId,
        options: StoreOptions,
        writes: bool,
    ) -> Result<Self, StoreError> {
        let access = if writes { Access::Write } else { Access::Read };
        let (pool, dialect) = connect(&options, access).await?;
        migrate::check(&pool, dialect).await?;
        Ok(Self::of(service, options, pool, dialect))
    }

    fn of(service: ServiceId, options: StoreOptions, pool: AnyPool, dialect: Dialect) -> Self {
        Self {
            pool,
            dialect,
            service,
            outbox_limit: options.outbox_limit,
            observer: options.observer,
            drainer: watch::Sender::new(None),
            outbox: Arc::new(OutboxState {
                bytes_limit: AtomicU64::new(u64::MAX),
                refused: AtomicU64::new(0),
            }),
            clock: Arc::new(SteadyClock::start()),
        }
    }

    /// For reads outside a transaction. While holding a [`Tx`], read through it instead.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Begins a transaction that may write. In SQLite it holds the one write lock at once, so keep
    /// network calls out of it.
    ///
    /// # Errors
    /// When the database does not answer.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = match self.dialect {
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await?,
            Dialect::Postgres => self.pool.begin().await?,
        };
        Ok(Tx {
            inner,
            store: self.clone(),
            published: Vec::new(),
            locked: false,
        })
    }

    /// Answers whether the database works, for health checks.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Who is told about events.
    pub(crate) fn observer(&self) -> &Arc<dyn PublishObserver> {
        &self.observer
    }

    /// From now on commits that publish wake this drainer, and count as fallbacks while its circuit is
    /// not closed.
    pub(crate) fn attach_drainer(&self, drainer: DrainerHandle, breaker: CircuitBreaker) {
        breaker.declare_fallback(FALLBACK);
        self.drainer
            .send_replace(Some(Attached { drainer, breaker }));
    }

    /// Most bytes of events that may wait for Kafka.
    pub fn limit_outbox_bytes(&self, bytes: u64) {
        self.outbox.bytes_limit.store(bytes, Ordering::Relaxed);
    }

    /// Which of several processes on this database sends what waits in its outbox; `None` when none does
    /// now, and for SQLite, whose file belongs to one process.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outbox_sender(&self) -> Result<Option<String>, StoreError> {
        match self.dialect {
            Dialect::Sqlite => Ok(None),
            Dialect::Postgres => lease::sender(self).await,
        }
    }

    /// Events that were refused because too many wait.
    pub(crate) fn outbox_refused(&self) -> u64 {
        self.outbox.refused.load(Ordering::Relaxed)
    }

    fn wake_drainer(&self, events: usize) {
        if let Some(attached) = self.drainer.borrow().as_ref() {
            attached.drainer.wake();
            if attached.breaker.state() != State::Closed {
                for _ in 0..events {
                    attached.breaker.fallback(FALLBACK);
                }
            }
        }
    }
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Make the database and change its schema.
    Own,
    /// Change what is in it.
    Write,
    /// Look.
    Read,
}

/// The file of an SQLite URL; `None` for a database that is in no file of its own.
pub(crate) fn sqlite_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    (!path.is_empty() && path != ":memory:").then(|| path.into())
}

/// Whether a database in a file was closed in order, so that nobody has it open: then it has no log
/// beside it, and reading it need not make one.
fn is_closed(url: &str) -> bool {
    sqlite_file(url).is_some_and(|file| {
        let mut log = file.into_os_string();
        log.push("-wal");
        !Path::new(&log).exists()
    })
}

async fn connect(options: &StoreOptions, access: Access) -> Result<(AnyPool, Dialect), StoreError> {
    sqlx::any::install_default_drivers();
    let dialect = if options.url.starts_with("sqlite:") {
        Dialect::Sqlite
    } else {
        Dialect::Postgres
    };
    let mode = match access {
        // A missing file is made, not an error.
        Access::Own => "rwc",
        Access::Write => "rw",
        Access::Read if is_closed(&options.url) => "ro&immutable=true",
        Access::Read => "ro",
    };
    let url = match dialect {
        Dialect::Sqlite if !options.url.contains('?') => format!("{}?mode={mode}", options.url),
        _ => options.url.clone(),
    };
    let connect = AnyConnectOptions::from_str(&url)
        .map_err(StoreError::BadUrl)?
        .disable_statement_logging();
    let pool = AnyPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(Duration::from_secs(30))
        .after_connect(move |conn, _| {
            Box::pin(async move {
                match (dialect, access) {
                    // FULL: a commit that returned survives a power loss.
                    (Dialect::Sqlite, Access::Own) => {
                        conn.execute(
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                             PRAGMA busy_timeout = 20000; PRAGMA foreign_keys = ON;",
                        )
                        .await?;
                    }
                    (Dialect::Sqlite, Access::Write | Access::Read) => {
                        conn.execute(
                            "PRAGMA synchronous = FULL; PRAGMA busy_timeout = 20000; \
                             PRAGMA foreign_keys = ON;",
                        )
                        .await?;
                    }
                    (Dialect::Postgres, Access::Read) => {
                        conn.execute("SET default_transaction_read_only = on")
                            .await?;
                    }
                    (Dialect::Postgres, Access::Own | Access::Write) => {}
                }
                Ok(())
            })
        })
        .connect_with(connect)
        .await
        .map_err(StoreError::Open)?;
    Ok((pool, dialect))
}

/// A transaction of a [`Store`]. Dropped without commit, nothing of it remains.
#[derive(Debug)]
pub struct Tx {
    inner: sqlx::Transaction<'static, sqlx::Any>,
    store: Store,
    published: Vec<(EventId, String)>,
    locked: bool,
}

impl Tx {
    /// The connection to run statements on.
    pub fn conn(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Publishes `data` when this transaction commits. The envelope's id and time are made here and
    /// never again: every resend carries the same.
    ///
    /// # Errors
    /// When the event cannot be stored, or too many events wait for Kafka already.
    pub async fn publish<T: Event>(&mut self, data: T) -> Result<EventId, StoreError> {
        let record = record_of(self.store.service, data)?;
        let event_id = EventId::from(record.event_id);
        self.enqueue(&record).await?;
        Ok(event_id)
    }

    /// Puts a ready-made record into the outbox.
    pub(crate) async fn enqueue(&mut self, record: &Record) -> Result<i64, StoreError> {
        if self.store.dialect == Dialect::Postgres && !self.locked {
            // Positions must become visible in ascending order, or the drainer would step over a
            // slower transaction's row. SQLite has one writer anyway.
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(OUTBOX_LOCK)
                .execute(&mut *self.inner)
                .await?;
            self.locked = true;
        }
        if self.published.is_empty() {
            // Once per transaction: a large transaction may overshoot the limit by its own size,
            // rather than never fit.
            let bytes = self.store.outbox.bytes_limit.load(Ordering::Relaxed);
            let room = outbox::check_room(&mut self.inner, self.store.outbox_limit, bytes).await;
            if room.is_err() {
                self.store.outbox.refused.fetch_add(1, Ordering::Relaxed);
            }
            room?;
        }
        let position = outbox::insert(&mut self.inner, record).await?;
        self.published
            .push((record.event_id.into(), record.topic.clone()));
        Ok(position)
    }

    /// Notes that `event_id` has been applied by this service; `false` when it had been before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_applied(&mut self, event_id: EventId) -> Result<bool, StoreError> {
        inbox::insert(&mut self.inner, event_id).await
    }

    /// Commits. From here on the events are safe.
    ///
    /// # Errors
    /// When the commit fails; then it is unknown whether it happened, and doing the work again is
    /// right, because inbox and unique keys make that harmless.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self {
            inner,
            store,
            published,
            ..
        } = self;
        inner.commit().await?;
        for (event_id, topic) in &published {
            store.observer.safe(*event_id, topic);
        }
        if !published.is_empty() {
            store.wake_drainer(published.len());
        }
        Ok(())
    }
}

impl Store {
    /// Whether `event_id` has been applied already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn was_applied(&self, event_id: EventId) -> Result<bool, StoreError> {
        inbox::contains(&self.pool, event_id).await
    }

    /// Forgets events that were applied more than `retention` ago, the oldest first and at most `most`;
    /// answers how many. One that is delivered again after that is applied again, so a clock that is set ahead
    /// while the process runs makes nothing forgotten sooner.
    ///
    /// # Errors
    /// When the database fails.
    ///
    /// # Cancel safety
    /// Dropped, it has forgotten all of them or none.
    pub async fn forget_applied(&self, retention: Duration, most: u32) -> Result<u64, StoreError> {
        let horizon = self.clock.now_ms().saturating_sub(millis(retention));
        inbox::forget(&self.pool, self.dialect, horizon, most).await
    }

    /// How long ago the oldest event was applied that is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_applied_age(&self) -> Result<Option<Duration>, StoreError> {
        let oldest = inbox::oldest(&self.pool).await?;
        Ok(oldest.map(|at| {
            let age = u64::try_from(now_ms().saturating_sub(at)).unwrap_or(0);
            Duration::from_millis(age)
        }))
    }

    /// Keeps a received event that is given up, with its cause, where an operator finds it, and
    /// publishes `copy` in the same transaction. Done again for the same message it changes nothing.
    ///
    /// # Errors
    /// When the database fails, or too many events wait for Kafka; then neither is kept.
    pub async fn bury(
        &self,
        event: &DeadEvent<'_>,
        copy: Option<&Record>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if inbox::bury(tx.conn(), event).await?
            && let Some(copy) = copy
        {
            tx.enqueue(copy).await?;
        }
        tx.commit().await
    }

    /// How many dead events there are, by topic.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_dead_events(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        inbox::count_dead(&self.pool).await
    }
}

/// A received event that is given up.
#[derive(Debug, Clone, Copy)]
pub struct DeadEvent<'a> {
    /// Its id, when it could be read.
    pub event_id: Option<EventId>,
    /// The request it happened for, when it could be read.
    pub correlation_id: Option<CorrelationId>,
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When it was sent, in Unix milliseconds.
    pub sent_at: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(String, Vec<u8>)],
    /// The bytes as received.
    pub payload: &'a [u8],
    /// A word for the cause that does not change.
    pub code: &'a str,
    /// The cause in words.
    pub reason: &'a str,
    /// Tries at it.
    pub attempts: u32,
}

/// The record that carries `data`, with an envelope made now for the work under way.
///
/// # Errors
/// When the payload cannot be written as JSON.
pub fn record_of<T: Event>(service: ServiceId, data: T) -> Result<Record, StoreError> {
    let context = CallContext::current();
    let key = data.key();
    let envelope = EventEnvelope::new(
        service.name(),
        context.correlation_id,
        jiff::Timestamp::now(),
        data,
    )
    .with_metadata(metadata_keys::TRACEPARENT, context.trace.to_string())
    .with_metadata(metadata_keys::PARTITION_KEY, key.clone());
    let headers = envelope.headers().into_iter();
    Ok(Record {
        event_id: envelope.event_id.as_uuid(),
        topic: T::TOPIC.as_str().to_owned(),
        key: Some(key),
        payload: envelope.to_json()?.into(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    })
}

/// A time in whole milliseconds, as columns hold it.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Now, in Unix milliseconds.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
