//! A publisher as a service has it: journal first, one circuit, one producer.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use fusebox::{BreakerConfig, CircuitBreaker, TripRule};
use fusebox_journal::{Journal, JournalConfig};
use fusebox_kafka::{
    Attempt, Broker, Delivery, EventBus as _, KafkaProducerConfig, PublishError, PublisherConfig,
    RdKafkaBroker, Record, ResilientPublisher, SendError, TroubleSink,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::EventName;

/// Records that a publisher that is to be killed may have sent and not settled: one death repeats no more.
pub const WINDOW: usize = 16;

/// A publisher at work.
pub struct Publishing {
    /// Takes events.
    pub bus: ResilientPublisher,
    /// The circuit in front of Kafka.
    pub breaker: CircuitBreaker,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl fmt::Debug for Publishing {
    /// What to look at when nothing goes on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publishing")
            .field("circuit", &self.breaker.state())
            .field("drainer", &self.bus.drainer().stats())
            .field("journal", &self.bus.journal().map(Journal::stats))
            .finish_non_exhaustive()
    }
}

/// Settings of a publisher; change fields after [`Options::new`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Options {
    /// The producer.
    pub producer: KafkaProducerConfig,
    /// The publisher and its drainer.
    pub publisher: PublisherConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// Whether a try that may be a repetition says so. Only a control does not.
    pub marks_repetitions: bool,
}

impl Options {
    /// The defaults, but for waits that are shorter than production wants.
    pub fn new(bootstrap: &str) -> Self {
        let mut publisher = PublisherConfig::default();
        publisher.drainer.topic_pause_max = Duration::from_secs(2);
        publisher.drainer.shutdown_timeout = Duration::from_secs(2);
        let mut journal = JournalConfig::default();
        journal.reserve_bytes = 0;
        Self {
            producer: KafkaProducerConfig::new(bootstrap, "proof"),
            publisher,
            journal,
            marks_repetitions: true,
        }
    }
}

impl Publishing {
    /// Opens the journal in `folder` and begins. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the journal cannot be opened or a setting is refused.
    pub fn start(folder: &Path, options: Options) -> anyhow::Result<Self> {
        let breaker = BreakerConfig::default()
            .with_trip_rule(TripRule::Consecutive)
            .with_failure_threshold(3)
            .with_success_threshold(1)
            .with_first_break(Duration::from_millis(200))
            .with_recovery_timeout(Duration::from_secs(2));
        let breaker = CircuitBreaker::builder("kafka")
            .config(breaker)
            .build()
            .context("the circuit")?;
        let journal = Journal::open(folder, options.journal).context("the journal")?;
        let broker: Arc<dyn Broker> = Arc::new(RdKafkaBroker::new(options.producer)?);
        let broker = if options.marks_repetitions {
            broker
        } else {
            Arc::new(Unmarked(broker))
        };
        let (bus, worker) =
            ResilientPublisher::journal_first(journal, broker, breaker.clone(), options.publisher);
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone()));
        Ok(Self {
            bus,
            breaker,
            stop,
            task,
        })
    }

    /// Publishes an event until it is safe.
    ///
    /// # Errors
    /// When it can never be.
    pub async fn publish(&self, topic: &str, event: EventName) -> Result<(), PublishError> {
        publish(&self.bus, topic, event).await
    }

    /// Ends it, without waiting for what Kafka has not got, and closes the journal.
    ///
    /// # Panics
    /// When the drainer has, or the cursor cannot be saved.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the drainer does not panic");
        if let Some(journal) = self.bus.journal().cloned() {
            // A page that is just being read holds it open a moment longer than the drainer runs.
            let closing = tokio::task::spawn_blocking(move || journal.close());
            let closed = closing.await.expect("closing does not panic");
            closed.expect("the disk works");
        }
    }
}

/// A producer that keeps to itself which tries may be repetitions.
struct Unmarked(Arc<dyn Broker>);

#[async_trait]
impl Broker for Unmarked {
    fn enqueue(&self, record: &Record, attempt: Attempt) -> Result<Delivery, SendError> {
        let attempt = Attempt {
            maybe_duplicate: false,
            ..attempt
        };
        self.0.enqueue(record, attempt)
    }

    async fn probe(&self) -> Result<(), SendError> {
        self.0.probe().await
    }

    async fn has_lost_cluster(&self) -> bool {
        self.0.has_lost_cluster().await
    }

    fn rebuild(&self) -> Result<(), SendError> {
        self.0.rebuild()
    }

    fn report_trouble_to(&self, sink: TroubleSink) {
        self.0.report_trouble_to(sink);
    }
}

/// Publishes an event until it is safe.
///
/// # Errors
/// When it can never be.
pub async fn publish(
    bus: &ResilientPublisher,
    topic: &str,
    event: EventName,
) -> Result<(), PublishError> {
    let record = record(topic, event, 100);
    loop {
        match bus.publish(record.clone()).await {
            Ok(_receipt) => return Ok(()),
            Err(error) if error.is_transient() => tokio::task::yield_now().await,
            Err(error) => return Err(error),
        }
    }
}

/// The event as a record with a payload of so many bytes.
pub fn record(topic: &str, event: EventName, size: usize) -> Record {
    let event_id = Uuid::from_u128(event.id());
    Record {
        event_id,
        topic: topic.to_owned(),
        key: Some(format!("lane-{}", event.lane)),
        payload: Bytes::from(vec![b'x'; size]),
        headers: vec![("event_id".to_owned(), event_id.to_string())],
    }
}
