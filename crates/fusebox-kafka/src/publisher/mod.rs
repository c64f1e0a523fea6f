//! The publisher: one interface, four answers to the question when an event is safe.
//!
//! | room | subject |
//! |---|---|
//! | `config` | modes, limits, waits |
//! | `journal` | journal first |
//! | `held` | direct and memory |
//! | `bare` | a plain producer |
//! | `line` | who waits for room |
//! | `stats` | what it tells about itself |

mod bare;
mod config;
mod held;
mod journal;
mod line;
mod stats;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fusebox::{CircuitBreaker, State};
use fusebox_journal::Journal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::bare::Bare;
pub use self::config::{Mode, PublisherConfig, WallClock, WhenFull};
use self::held::Held;
use self::journal::JournalFirst;
use self::line::Line;
use self::stats::Counters;
pub use self::stats::PublisherStats;
use crate::backlog::{Backlog, JournalBacklog};
use crate::broker::Broker;
use crate::bus::{EventBus, PublishError};
use crate::drainer::{Drainer, DrainerHandle};
use crate::receipt::Accepted;
use crate::record::Record;

/// The name under which the circuit counts events that were kept while it was not closed.
const FALLBACK: &str = "journal";

/// Publishes events so that none is lost and those of one topic and key keep their order.
///
/// Clones are the same publisher. What it hands to Kafka it hands over through its
/// [`PublisherWorker`], which must be [run](PublisherWorker::run).
///
/// # Cancel safety
/// Dropping the future of [`publish`](EventBus::publish) leaves open whether the event was taken;
/// what was begun is completed without it.
#[derive(Clone)]
pub struct ResilientPublisher {
    inner: Arc<Inner>,
}

struct Inner {
    mode: Mode,
    path: Path,
    drainer: DrainerHandle,
    /// None for a publisher without circuit.
    breaker: Option<CircuitBreaker>,
    max_record_bytes: usize,
    clock: WallClock,
    counters: Counters,
}

enum Path {
    Journal(JournalFirst),
    Held(Arc<Held>),
    Bare(Bare),
}

/// The part of a publisher that works behind its callers.
#[must_use = "nothing is sent before it is run"]
pub struct PublisherWorker {
    drainer: Option<Drainer>,
    handle: DrainerHandle,
    held: Option<Arc<Held>>,
}

impl ResilientPublisher {
    /// Every event is written to `journal`, which has just been opened, and sent from there.
    pub fn journal_first(
        journal: Journal,
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
        config: PublisherConfig,
    ) -> (Self, PublisherWorker) {
        let backlog = JournalBacklog::new(journal, config.clock.clone()).ahead();
        let drainer = drainer(Arc::new(backlog.clone()), broker, &breaker, &config);
        // The drainer hears of an event while it is synced, so that the sync takes no time on the way.
        let handle = drainer.handle();
        backlog.journal().on_write(move || handle.wake());
        // And of what it could not have from memory then.
        let handle = drainer.handle();
        backlog.journal().on_append(move || handle.wake());
        let path = Path::Journal(JournalFirst::new(backlog, Line::new(config.when_full)));
        Self::assemble(
            Mode::JournalFirst,
            path,
            Some(drainer),
            Some(breaker),
            config,
        )
    }

    /// Events are sent to Kafka and awaited; `journal`, which has just been opened, takes them while
    /// Kafka does not.
    ///
    /// After a change to the journal, events go direct again when it is drained.
    pub fn direct(
        journal: Journal,
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
        config: PublisherConfig,
    ) -> (Self, PublisherWorker) {
        let backlog = JournalBacklog::new(journal, config.clock.clone());
        Self::holding(Mode::Direct, Some(backlog), broker, breaker, config)
    }

    /// Events are kept in memory only: **a crash or a stop loses those that Kafka has not acknowledged.**
    pub fn memory(
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
        config: PublisherConfig,
    ) -> (Self, PublisherWorker) {
        Self::holding(Mode::Memory, None, broker, breaker, config)
    }

    /// A plain producer under the same types: Kafka's answer is the caller's.
    pub fn bare(broker: Arc<dyn Broker>, config: PublisherConfig) -> (Self, PublisherWorker) {
        let path = Path::Bare(Bare::new(broker, config.bare_timeout));
        Self::assemble(Mode::Bare, path, None, None, config)
    }

    fn holding(
        mode: Mode,
        backlog: Option<JournalBacklog>,
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
        config: PublisherConfig,
    ) -> (Self, PublisherWorker) {
        let line = Line::new(config.when_full);
        let held = Held::new(backlog, breaker.clone(), line, config.clone());
        let backlog: Arc<dyn Backlog> = Arc::<Held>::clone(&held);
        let drainer = drainer(backlog, broker, &breaker, &config);
        Self::assemble(mode, Path::Held(held), Some(drainer), Some(breaker), config)
    }

    fn assemble(
        mode: Mode,
        path: Path,
        drainer: Option<Drainer>,
        breaker: Option<CircuitBreaker>,
        config: PublisherConfig,
    ) -> (Self, PublisherWorker) {
        let handle = drainer
            .as_ref()
            .map_or_else(DrainerHandle::idle, Drainer::handle);
        if let Some(breaker) = &breaker {
            breaker.declare_fallback(FALLBACK);
        }
        let worker = PublisherWorker {
            drainer,
            handle: handle.clone(),
            held: match &path {
                Path::Held(held) => Some(Arc::clone(held)),
                Path::Journal(_) | Path::Bare(_) => None,
            },
        };
        let inner = Inner {
            mode,
            path,
            drainer: handle,
            breaker,
            max_record_bytes: config.drainer.max_record_bytes,
            clock: config.clock,
            counters: Counters::default(),
        };
        let publisher = Self {
            inner: Arc::new(inner),
        };
        (publisher, worker)
    }

    /// When an event is safe.
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// The journal behind it, if there is one.
    pub fn journal(&self) -> Option<&Journal> {
        match &self.inner.path {
            Path::Journal(journal) => Some(journal.journal()),
            Path::Held(held) => held.journal(),
            Path::Bare(_) => None,
        }
    }

    /// Wakes and watches the drainer behind it.
    pub fn drainer(&self) -> &DrainerHandle {
        &self.inner.drainer
    }

    /// What it has done.
    pub fn stats(&self) -> PublisherStats {
        let (waiting, spilled) = match &self.inner.path {
            Path::Journal(journal) => (journal.line().length(), 0),
            Path::Held(held) => (held.line().length(), held.spilled()),
            Path::Bare(_) => (0, 0),
        };
        PublisherStats {
            spilled,
            ..self.inner.counters.stats(waiting)
        }
    }
}

fn drainer(
    backlog: Arc<dyn Backlog>,
    broker: Arc<dyn Broker>,
    breaker: &CircuitBreaker,
    config: &PublisherConfig,
) -> Drainer {
    Drainer::new(backlog, broker, breaker.clone(), config.drainer.clone())
}

impl Inner {
    fn check(&self, record: &Record) -> Result<(), PublishError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let topic = record.topic.as_str();
        if !(1..=249).contains(&topic.len()) || !topic.bytes().all(allowed) {
            return Err(PublishError::Invalid("its topic is no name of a topic"));
        }
        if matches!(topic, "." | "..") {
            return Err(PublishError::Invalid("its topic is no name of a topic"));
        }
        let unnamed = |(name, _): &(String, String)| name.is_empty() || name.contains('\0');
        if record.headers.iter().any(unnamed) {
            return Err(PublishError::Invalid(
                "a header's name is empty or has a NUL",
            ));
        }
        let (size, limit) = (record.wire_size(), self.max_record_bytes);
        if size > limit {
            return Err(PublishError::TooLarge { size, limit });
        }
        Ok(())
    }

    async fn publish(&self, record: &Record) -> Result<Accepted, PublishError> {
        self.check(record)?;
        match &self.path {
            Path::Journal(journal) => journal.publish(record, &self.drainer).await,
            Path::Held(held) => held.publish(record, &self.drainer).await,
            Path::Bare(bare) => bare.publish(record, self.clock.now_ms()).await,
        }
    }
}

#[async_trait]
impl EventBus for ResilientPublisher {
    async fn publish(&self, record: Record) -> Result<Accepted, PublishError> {
        let start = Instant::now();
        let result = self.inner.publish(&record).await;
        self.inner.counters.count(&result, start.elapsed());
        if let (Ok(_), Some(breaker)) = (&result, &self.inner.breaker)
            && breaker.state() != State::Closed
        {
            breaker.fallback(FALLBACK);
        }
        result
    }
}

impl PublisherWorker {
    /// Wakes and watches the drainer.
    pub fn handle(&self) -> DrainerHandle {
        self.handle.clone()
    }

    /// Sends until `shutdown` is cancelled; then feeds nothing more, waits a bounded time for what is
    /// under way ([`DrainerConfig::shutdown_timeout`](crate::DrainerConfig::shutdown_timeout)), and
    /// writes to the journal what only memory holds.
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: what was called safe stays so (but in memory mode), and callers
    /// who still wait are told that nothing is known.
    pub async fn run(self, shutdown: CancellationToken) {
        let Some(drainer) = self.drainer else {
            shutdown.cancelled().await;
            return;
        };
        let Some(held) = self.held else {
            drainer.run(shutdown).await;
            return;
        };
        let ended = CancellationToken::new();
        let drain = async {
            drainer.run(shutdown.clone()).await;
            ended.cancel();
        };
        let tend = held.tend(self.handle, shutdown.clone(), ended.clone());
        tokio::join!(drain, tend);
    }
}

impl fmt::Debug for ResilientPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResilientPublisher")
            .field("mode", &self.inner.mode)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PublisherWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherWorker")
            .field("drainer", &self.drainer)
            .finish_non_exhaustive()
    }
}
