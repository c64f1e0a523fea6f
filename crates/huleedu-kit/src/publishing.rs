//! The publishing side of a service: an outbox in its database, or a journal where it has no state of
//! its own to change.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use fusebox::CircuitBreaker;
use fusebox_journal::{Journal, JournalConfig, OpenError};
use fusebox_kafka::{
    Accepted, Broker, Drainer, DrainerConfig, DrainerHandle, EventBus, Mode, PublishError,
    PublisherConfig, PublisherWorker, Record, ResilientPublisher, WhenFull,
};
use tokio_util::sync::CancellationToken;

use crate::{
    settings::{JournalSettings, KafkaSettings, PublishMode},
    store::{Dialect, OutboxBacklog, OutboxBus, PublishObserver, Store},
};

/// Size of a segment of the journal; it is also what an empty one takes, twice.
const SEGMENT_BYTES: u64 = 4 << 20;

/// How often an outbox that several processes share is looked at: the one that commits an event need
/// not be the one that sends it.
const SHARED_POLL: Duration = Duration::from_millis(250);

/// What a service publishes with.
pub(crate) struct Publishing {
    /// Where events go.
    pub(crate) bus: Arc<dyn EventBus>,
    /// Wakes and watches what sends them.
    pub(crate) drainer: DrainerHandle,
    /// None when the events go through the outbox.
    pub(crate) publisher: Option<ResilientPublisher>,
    work: Work,
}

pub(crate) enum Work {
    Outbox(Drainer),
    Journal(PublisherWorker),
}

impl Publishing {
    /// Publishing through the outbox of `store`.
    pub(crate) fn outbox(
        settings: &KafkaSettings,
        store: &Store,
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
    ) -> Self {
        let mut config = DrainerConfig::default();
        settings.poison.apply_to(&mut config);
        settings.pace.apply_to(&mut config);
        let backlog = match store.dialect() {
            // One process has the file.
            Dialect::Sqlite => OutboxBacklog::new(store.clone()),
            Dialect::Postgres => {
                config.poll_every = SHARED_POLL;
                OutboxBacklog::shared(store.clone())
            }
        };
        let drainer = Drainer::new(Arc::new(backlog), broker, breaker.clone(), config);
        let handle = drainer.handle();
        tell_deliveries(&handle, Arc::clone(store.observer()));
        store.attach_drainer(handle.clone(), breaker);
        Self {
            bus: Arc::new(OutboxBus::new(store.clone())),
            drainer: handle,
            publisher: None,
            work: Work::Outbox(drainer),
        }
    }

    /// Publishing through a journal, or plainly when circuits are switched off.
    pub(crate) async fn journal(
        settings: &KafkaSettings,
        journal: &JournalSettings,
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
        observer: Arc<dyn PublishObserver>,
    ) -> Result<Self, OpenError> {
        let mut config = PublisherConfig::default();
        settings.poison.apply_to(&mut config.drainer);
        settings.pace.apply_to(&mut config.drainer);
        config.when_full = journal.full_wait.map_or(WhenFull::Refuse, WhenFull::Wait);
        config.direct_timeout = journal.direct_timeout;
        config.memory_records = usize::try_from(settings.fallback_queue_size).unwrap_or(usize::MAX);
        config.memory_bytes = usize::try_from(settings.fallback_queue_bytes).unwrap_or(usize::MAX);
        let quota = (settings.fallback_queue_size, settings.fallback_queue_bytes);
        let open = || open(&journal.dir, quota);
        let (publisher, worker) = match journal.mode {
            PublishMode::Memory => ResilientPublisher::memory(broker, breaker, config),
            PublishMode::Journal | PublishMode::Direct if !breaker.is_enabled() => {
                // Events that an earlier run left are sent all the same.
                let left = match Journal::inspect(&journal.dir) {
                    Err(OpenError::NoJournal { .. }) => None,
                    _ => Some(open().await?).filter(|journal| journal.stats().waiting > 0),
                };
                match left {
                    Some(left) => ResilientPublisher::journal_first(left, broker, breaker, config),
                    None => ResilientPublisher::bare(broker, config),
                }
            }
            PublishMode::Journal => {
                ResilientPublisher::journal_first(open().await?, broker, breaker, config)
            }
            PublishMode::Direct => {
                config.memory_records = config.memory_records.min(10_000);
                config.memory_bytes = config.memory_bytes.min(16 << 20);
                ResilientPublisher::direct(open().await?, broker, breaker, config)
            }
        };
        tracing::info!(mode = %publisher.mode(), "events are published");
        let drainer = worker.handle();
        tell_deliveries(&drainer, Arc::clone(&observer));
        let bus = ObservedBus {
            publisher: publisher.clone(),
            observer,
        };
        Ok(Self {
            bus: Arc::new(bus),
            drainer,
            publisher: Some(publisher),
            work: Work::Journal(worker),
        })
    }

    /// What must be run for events to be sent.
    pub(crate) fn into_work(self) -> Work {
        self.work
    }
}

impl Work {
    /// Sends until `stop` is cancelled, and then what can be sent in a bounded time.
    pub(crate) async fn run(self, stop: CancellationToken) {
        match self {
            Self::Outbox(drainer) => drainer.run(stop).await,
            Self::Journal(worker) => worker.run(stop).await,
        }
    }
}

fn tell_deliveries(drainer: &DrainerHandle, observer: Arc<dyn PublishObserver>) {
    drainer.on_delivered(move |record| observer.delivered(record.event_id.into(), &record.topic));
}

/// Opens the journal in `dir` with room for so many events and bytes.
async fn open(dir: &Path, (records, bytes): (u64, u64)) -> Result<Journal, OpenError> {
    let dir = dir.to_owned();
    let mut config = JournalConfig::default();
    config.segment_bytes = SEGMENT_BYTES;
    config.dead_segment_bytes = SEGMENT_BYTES;
    config.max_record_bytes = SEGMENT_BYTES / 2;
    config.max_records = records;
    config.max_bytes = bytes.max(2 * SEGMENT_BYTES);
    let path = dir.clone();
    match tokio::task::spawn_blocking(move || Journal::open(path, config)).await {
        Ok(opened) => opened,
        Err(error) => Err(OpenError::Io {
            what: "open the journal in",
            path: dir,
            source: std::io::Error::other(error),
        }),
    }
}

/// Tells the observer what the publisher was told.
struct ObservedBus {
    publisher: ResilientPublisher,
    observer: Arc<dyn PublishObserver>,
}

#[async_trait]
impl EventBus for ObservedBus {
    async fn publish(&self, record: Record) -> Result<Accepted, PublishError> {
        let (id, topic) = (record.event_id.into(), record.topic.clone());
        let accepted = self.publisher.publish(record).await?;
        self.observer.safe(id, &topic);
        if self.publisher.mode() == Mode::Bare {
            self.observer.delivered(id, &topic);
        }
        Ok(accepted)
    }
}
