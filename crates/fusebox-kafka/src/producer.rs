//! The real broker: one idempotent librdkafka producer.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;

use crate::broker::{Attempt, Broker, Delivered, Delivery, ErrorClass, SendError, TroubleSink};
use crate::classify::send_error;
use crate::finder;
use crate::partitions::{First, Partitions};
use crate::record::Record;

/// Header with the number of the try, `1` on the first.
pub const ATTEMPT_HEADER: &str = "attempt";

/// Header that is there, and `true`, when an earlier try may have reached Kafka.
pub const MAYBE_DUPLICATE_HEADER: &str = "maybe_duplicate";

/// How long the cluster may take for a sign of life.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a new client may take to find the cluster.
const FIND_LIMIT: Duration = Duration::from_secs(5);

/// How long one without a connection may take to find it again; it tries at least once in
/// `reconnect.backoff.max.ms`.
const FIND_AGAIN_LIMIT: Duration = Duration::from_secs(3);

/// Settings of a producer.
#[derive(Debug, Clone)]
pub struct KafkaProducerConfig {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The name the brokers log.
    pub client_id: String,
    /// How long a batch waits for company. Default: not at all. What a journal syncs together comes
    /// together, and while five requests are under way the next batch grows by itself.
    pub linger: Duration,
    /// Whether the producer ends with the first record that a broker refuses, as [`Broker`] demands of
    /// one that a drainer feeds. Default yes. Without, what is behind that record overtakes it: for a
    /// plain producer only, whose callers hear of each failure themselves.
    pub ends_when_refused: bool,
    /// Further librdkafka properties: security, above all. They win over ours, and those on which order
    /// hangs are refused.
    pub extra: Vec<(String, String)>,
}

/// What must be as this module sets it, or records are reordered.
const OURS: [&str; 13] = [
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "transactional.id",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "retries",
    "message.send.max.retries",
    "partitioner",
    "queuing.strategy",
];

impl KafkaProducerConfig {
    /// Settings with the default linger and nothing extra.
    pub fn new(bootstrap_servers: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            client_id: client_id.into(),
            linger: Duration::ZERO,
            ends_when_refused: true,
            extra: Vec::new(),
        }
    }

    /// Whether a new client with these settings hears of a broker within `limit`. Blocks. For whoever must
    /// know whether it is the cluster that is away, or a client that has lost it.
    pub fn finds_cluster(&self, limit: Duration) -> bool {
        let mut config = self.client_config();
        // It has nothing to produce, so it needs no id as a producer.
        config.remove("enable.gapless.guarantee");
        config.set("enable.idempotence", "false");
        finder::finds_cluster(&config, limit)
    }

    /// The properties as librdkafka gets them.
    fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", &self.client_id)
            .set("linger.ms", (self.linger.as_secs_f64() * 1e3).to_string())
            // Order and no duplicates as long as this producer lives.
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // A refused record is a gap in the numbers. Without this the producer would begin a new
            // series behind it.
            .set(
                "enable.gapless.guarantee",
                self.ends_when_refused.to_string(),
            )
            .set("max.in.flight.requests.per.connection", "5")
            // Never: a time-out inside would report queued messages before those in flight, and
            // give up the sequence that keeps an outage free of duplicates.
            .set("message.timeout.ms", "0")
            .set("socket.timeout.ms", "10000")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // A missing topic must show as that topic's fault before the circuit sees a stall.
            .set("topic.metadata.propagation.max.ms", "1500")
            .set("topic.metadata.refresh.interval.ms", "10000");
        for (name, value) in &self.extra {
            config.set(name, value);
        }
        config
    }
}

/// One idempotent producer: `acks=all`, five requests in flight, no time-out of its own.
///
/// Dropping it gives up what it still holds; the backlog has all of it.
pub struct RdKafkaBroker {
    config: KafkaProducerConfig,
    current: Mutex<Option<Current>>,
    sink: Arc<RwLock<Option<TroubleSink>>>,
}

/// The producer in use, and the switch that silences it when it is replaced.
struct Current {
    producer: Arc<ThreadedProducer<Context, Partitions>>,
    partitions: Arc<Partitions>,
    silenced: Arc<AtomicBool>,
}

impl RdKafkaBroker {
    /// Makes the producer. No connection is awaited.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub fn new(config: KafkaProducerConfig) -> Result<Self, SendError> {
        let broker = Self {
            config,
            current: Mutex::default(),
            sink: Arc::default(),
        };
        broker.rebuild()?;
        Ok(broker)
    }

    fn make(&self) -> Result<Current, SendError> {
        let mut extra = self.config.extra.iter();
        if let Some((name, value)) = extra.find(|(name, _)| OURS.contains(&name.as_str())) {
            return Err(invalid_config(format!(
                "{name}={value}: the order of events hangs on it, it cannot be set"
            )));
        }
        let silenced = Arc::new(AtomicBool::new(false));
        let partitions = Arc::<Partitions>::default();
        let context = Context {
            partitions: Arc::clone(&partitions),
            silenced: Arc::clone(&silenced),
            sink: Arc::clone(&self.sink),
        };
        let producer = self
            .config
            .client_config()
            .create_with_context(context)
            .map_err(|e| invalid_config(e.to_string()))?;
        Ok(Current {
            producer: Arc::new(producer),
            partitions,
            silenced,
        })
    }

    fn producer(&self) -> Result<Arc<ThreadedProducer<Context, Partitions>>, SendError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(current) => Ok(Arc::clone(&current.producer)),
            None => Err(no_producer()),
        }
    }
}

#[async_trait]
impl Broker for RdKafkaBroker {
    fn enqueue(&self, record: &Record, attempt: Attempt) -> Result<Delivery, SendError> {
        // The library would panic.
        if record.headers.iter().any(|(name, _)| name.contains('\0')) {
            return Err(invalid("a header's name has a NUL"));
        }
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref().ok_or_else(no_producer)?;
        let first = match &record.key {
            Some(key) => current
                .partitions
                .admit(&record.topic, key, Instant::now())
                .map_err(|()| first_under_way())?,
            None => None,
        };
        let (report, reported) = oneshot::channel();
        let opaque = Box::new(Waiting { report, first });
        let mut out = BaseRecord::<str, [u8], _>::with_opaque_to(&record.topic, opaque)
            .payload(&record.payload)
            .timestamp(attempt.admitted_at_ms);
        if let Some(key) = &record.key {
            out = out.key(key);
        }
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len() + 2);
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        headers = headers.insert(Header {
            key: ATTEMPT_HEADER,
            value: Some(&attempt.number.to_string()),
        });
        if attempt.maybe_duplicate {
            headers = headers.insert(Header {
                key: MAYBE_DUPLICATE_HEADER,
                value: Some("true"),
            });
        }
        out = out.headers(headers);
        if let Err((error, _record)) = current.producer.send(out) {
            if let Some(first) = first {
                current.partitions.ended(&record.topic, first);
            }
            let error = from_kafka(&error);
            // What it is finished for matters: nobody is to blame for a refusal.
            let fatal = current.producer.client().fatal_error();
            let fatal = fatal.filter(|_| error.class == ErrorClass::Fatal);
            return Err(fatal.map_or(error, |(code, text)| send_error(code, text)));
        }
        let given_up = || {
            send_error(
                RDKafkaErrorCode::BrokerDestroy,
                "the producer was given up before it answered",
            )
        };
        Ok(reported
            .map(move |report| report.unwrap_or_else(|_| Err(given_up())))
            .boxed())
    }

    async fn probe(&self) -> Result<(), SendError> {
        let producer = self.producer()?;
        let asked = tokio::task::spawn_blocking(move || {
            producer
                .client()
                .fetch_metadata(None, PROBE_TIMEOUT)
                .map(drop)
        });
        match asked.await {
            Ok(answer) => answer.map_err(|error| from_kafka(&error)),
            Err(error) => Err(SendError {
                class: ErrorClass::Unavailable,
                code: "_FAIL".to_owned(),
                text: format!("the question was not asked: {error}"),
            }),
        }
    }

    async fn has_lost_cluster(&self) -> bool {
        let Ok(producer) = self.producer() else {
            return false;
        };
        let config = self.config.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // The cluster may have come back between the first question and the last.
            !finder::hears(producer.client(), PROBE_TIMEOUT)
                && config.finds_cluster(FIND_LIMIT)
                && !finder::hears(producer.client(), FIND_AGAIN_LIMIT)
        });
        asked.await.unwrap_or(false)
    }

    fn rebuild(&self) -> Result<(), SendError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = current.take() {
            old.silenced.store(true, Ordering::Release);
            // From here on it sends nothing more; its queue is reported as purged.
            old.producer
                .purge(PurgeConfig::default().queue().inflight());
            give_up(old);
        }
        *current = Some(self.make()?);
        Ok(())
    }

    fn report_trouble_to(&self, sink: TroubleSink) {
        *self.sink.write().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    }
}

impl Drop for RdKafkaBroker {
    fn drop(&mut self) {
        let current = self
            .current
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(current) = current {
            current.silenced.store(true, Ordering::Release);
            give_up(current);
        }
    }
}

impl fmt::Debug for RdKafkaBroker {
    /// Leaves out the extra properties: they may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdKafkaBroker")
            .field("bootstrap_servers", &self.config.bootstrap_servers)
            .field("client_id", &self.config.client_id)
            .finish_non_exhaustive()
    }
}

/// Closing a producer joins its thread and waits for its last reports: not on a worker's time.
fn give_up(current: Current) {
    let closing = std::thread::Builder::new().name("kafka-close".to_owned());
    if let Err(error) = closing.spawn(move || drop(current)) {
        tracing::warn!(%error, "Kafka producer closed on the caller's thread");
    }
}

/// What librdkafka calls back on its polling thread.
struct Context {
    partitions: Arc<Partitions>,
    silenced: Arc<AtomicBool>,
    sink: Arc<RwLock<Option<TroubleSink>>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, text, "librdkafka");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(facility, text, "librdkafka");
            }
            _ => tracing::debug!(facility, text, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut error = SendError {
            text: reason.to_owned(),
            ..from_kafka(&error)
        };
        // The library tells the code of what was fatal in words only.
        if error.code == "_FATAL" && reason.contains("gap-less guarantee") {
            error = send_error(RDKafkaErrorCode::GaplessGuarantee, reason);
        }
        tracing::debug!(code = error.code, text = error.text, "librdkafka error");
        // One broker that cannot be reached is no trouble yet.
        let counts = error.code == "_ALL_BROKERS_DOWN"
            || matches!(error.class, ErrorClass::Configuration | ErrorClass::Fatal);
        if counts && !self.silenced.load(Ordering::Acquire) {
            let sink = self
                .sink
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some(sink) = sink {
                sink(error);
            }
        }
    }
}

/// What comes back with a report.
struct Waiting {
    report: oneshot::Sender<Result<Delivered, SendError>>,
    first: Option<First>,
}

impl ProducerContext<Partitions> for Context {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let (result, message) = match result {
            Ok(message) => {
                let (partition, offset) = (message.partition(), message.offset());
                self.partitions
                    .acknowledged(message.topic(), partition, Instant::now());
                (Ok(Delivered { partition, offset }), message)
            }
            Err((error, message)) => (Err(from_kafka(error)), message),
        };
        if let Some(first) = waiting.first {
            self.partitions.ended(message.topic(), first);
        }
        if waiting.report.send(result).is_err() {
            tracing::trace!("delivery report came after its drainer had gone");
        }
    }

    fn get_custom_partitioner(&self) -> Option<&Partitions> {
        Some(&self.partitions)
    }
}

fn from_kafka(error: &KafkaError) -> SendError {
    match error.rdkafka_error_code() {
        Some(code) => send_error(code, code.to_string()),
        // A topic with a NUL byte: nothing else has no code here.
        None => invalid(error.to_string()),
    }
}

/// A record that the library cannot even take.
fn invalid(text: impl Into<String>) -> SendError {
    SendError {
        class: ErrorClass::Message,
        code: "_INVALID_ARG".to_owned(),
        text: text.into(),
    }
}

fn invalid_config(text: String) -> SendError {
    SendError {
        class: ErrorClass::Configuration,
        code: "_INVALID_CONFIG".to_owned(),
        text,
    }
}

/// Nothing is wrong: it may be sent a round trip later.
fn first_under_way() -> SendError {
    SendError {
        class: ErrorClass::BackPressure,
        code: "_FIRST_UNDER_WAY".to_owned(),
        text: "the first record of this partition is not acknowledged yet".to_owned(),
    }
}

fn no_producer() -> SendError {
    SendError {
        class: ErrorClass::Fatal,
        code: "_NO_PRODUCER".to_owned(),
        text: "the last producer could not be replaced".to_owned(),
    }
}
