//! The member of a consumer group: a thread of its own that takes messages off Kafka and hands each to
//! its partition's worker.
//!
//! It has a thread because Kafka's client calls back in the middle of a rebalance and goes on when the
//! callback returns: there the workers of the partitions that go away are stopped and their offsets
//! told, before anybody else may have them. For the same reason closing the consumer may block for as
//! long as Kafka is away; neither a stop nor a kill of the service hangs on that.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fusebox::backoff::Backoff;
use huleedu_contracts::topics::Topic;
use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance},
    error::KafkaError,
};
use thiserror::Error;
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info, warn};

use super::{
    EventHandler, dead,
    incoming::Taken,
    lag::{Lag, lanes},
    lanes::{Lane, Lanes, WorkerEnded},
    watch::Watch,
    worker::Shared,
};
use crate::{metrics::ConsumerMetrics, store::Store};

/// How long an event in mid-flight may take when its partition goes to another member or the service
/// stops. The other member waits so long for the partition.
const GRACE: Duration = Duration::from_secs(3);
/// How long an orderly stop waits for workers and for the consumer to leave its group.
const CLOSE_LIMIT: Duration = Duration::from_secs(8);
/// How often finished offsets are told and paused partitions looked at.
const UPKEEP: Duration = Duration::from_millis(20);

/// How a group member is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// Kafka brokers.
    pub bootstrap_servers: String,
    /// Consumer group.
    pub group_id: String,
    /// What it listens to.
    pub topics: Vec<Topic>,
    /// First wait before a failed event is tried again. Default 100 ms.
    pub retry_min: Duration,
    /// Longest wait. Default 10 s.
    pub retry_max: Duration,
    /// How long one event is tried before it becomes a dead letter. Default 24 h: nothing else of its
    /// partition is applied meanwhile, but what it waits for may come back. It is counted by the member
    /// that has the partition, so a restart or a rebalance begins anew.
    pub give_up_after: Duration,
    /// Whether dead letters are also sent to the topic's `.DLQ`. Default true.
    pub dead_letter_topics: bool,
    /// How often the lag is looked at. Default 5 s.
    pub lag_every: Duration,
}

impl ConsumerOptions {
    /// Options with the defaults named at each field.
    pub fn new(
        bootstrap_servers: impl Into<String>,
        group_id: impl Into<String>,
        topics: &[Topic],
    ) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            group_id: group_id.into(),
            topics: topics.to_vec(),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            give_up_after: Duration::from_hours(24),
            dead_letter_topics: true,
            lag_every: Duration::from_secs(5),
        }
    }
}

/// Why a consumer did not start or could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// Kafka's client could not be made.
    #[error("the Kafka consumer of group {group} could not be started")]
    Start {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The system gave no thread.
    #[error("the Kafka consumer of group {group} got no thread")]
    Thread {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Kafka's client is finished for good.
    #[error("the Kafka consumer of group {group} cannot go on")]
    Fatal {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// A worker has died. Going on would commit past what it had not finished.
    #[error("the worker of {topic} partition {partition} has died")]
    Worker {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The member's thread has died.
    #[error("the thread of the Kafka consumer of group {group} has died")]
    Died {
        /// The group.
        group: String,
    },
}

/// Stops the workers of partitions that go away, before they go.
struct Context {
    lanes: Arc<Lanes>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "Kafka consumer reports");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(partitions) = rebalance else {
            return;
        };
        // Lost means that another member may have them already: nothing is worth waiting for.
        let lost = consumer.assignment_lost();
        let grace = if lost { Duration::ZERO } else { GRACE };
        let finished = self.lanes.stop(&lanes(partitions), grace);
        if !lost {
            // The client commits what it was told as part of giving the partitions up.
            store_offsets(consumer, &finished);
        }
        info!(
            partitions = partitions.count(),
            lost, "partitions given up, their workers have ended"
        );
        self.lanes.note_rebalance();
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            // A partition that was paused when it went and has come back is not paused any more.
            set_paused(
                consumer,
                &lanes(partitions).into_iter().collect::<Vec<_>>(),
                false,
            );
            info!(partitions = partitions.count(), "partitions assigned");
            self.lanes.note_rebalance();
        }
    }
}

/// Consumes until `shutdown`, then lets events under way end and commits.
///
/// # Errors
/// When the consumer cannot be made or cannot go on without skipping events; other trouble with Kafka
/// is waited out.
///
/// # Cancel safety
/// Dropping it stops at once; what was not committed comes again.
pub async fn run(
    options: ConsumerOptions,
    store: Store,
    handler: Arc<dyn EventHandler>,
    metrics: ConsumerMetrics,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError> {
    for topic in &options.topics {
        metrics.declare(topic.as_str());
    }
    let shared = Arc::new(Shared {
        store: store.clone(),
        handler,
        backoff: Backoff::new(options.retry_min, options.retry_max),
        give_up_after: options.give_up_after,
        dead_letter_topics: options.dead_letter_topics,
        group: options.group_id.clone(),
        metrics: metrics.clone(),
    });
    let count = dead::count(&store, &metrics, &options.topics, options.lag_every);
    let consuming = async {
        while let End::LostCluster = be_member(&options, &shared, &shutdown).await? {
            warn!("the consumer does not find Kafka any more and a new one does: replaced");
            metrics.replaced();
        }
        Ok(())
    };
    tokio::select! {
        result = consuming => result,
        never = count => match never {},
    }
}

/// Is one member of the group until it ends.
async fn be_member(
    options: &ConsumerOptions,
    shared: &Arc<Shared>,
    shutdown: &CancellationToken,
) -> Result<End, ConsumerError> {
    let group = options.group_id.clone();
    let (shared, runtime) = (Arc::clone(shared), Handle::current());
    let metrics = shared.metrics.clone();
    let lanes = Arc::new(Lanes::new(shared, runtime, Span::current()));
    let context = Context {
        lanes: Arc::clone(&lanes),
    };
    let consumer = connect(options, context).map_err(|source| ConsumerError::Start {
        group: group.clone(),
        source,
    })?;
    let stop = Stop {
        // A child: when this future is dropped, only this member ends.
        token: shutdown.child_token(),
        lanes: Arc::clone(&lanes),
    };
    let topic = options.topics.first().map_or("", |topic| topic.as_str());
    let member = Member {
        lag: Lag::new(metrics, options.lag_every),
        watch: Watch::new(&options.bootstrap_servers, topic),
        lanes,
        consumer,
        group: group.clone(),
        stop: stop.token.clone(),
    };
    let (done, mut ended) = oneshot::channel();
    let span = Span::current();
    std::thread::Builder::new()
        .name("kafka-consumer".to_owned())
        // Nobody waits any more after a kill.
        .spawn(move || span.in_scope(|| member.run(|result| drop(done.send(result)))))
        .map_err(|source| ConsumerError::Thread {
            group: group.clone(),
            source,
        })?;
    let died = || ConsumerError::Died { group };
    tokio::select! {
        result = &mut ended => return result.unwrap_or_else(|_| Err(died())),
        () = shutdown.cancelled() => {}
    }
    let Ok(result) = tokio::time::timeout(CLOSE_LIMIT, ended).await else {
        warn!("Kafka did not confirm the end of the consumer; its last events may come again");
        return Ok(End::Stopped);
    };
    result.unwrap_or_else(|_| Err(died()))
}

/// Why a member ended in order.
#[derive(Debug, Clone, Copy)]
enum End {
    Stopped,
    /// Kafka is there, and its client does not find it.
    LostCluster,
}

/// Ends the member when its future is dropped.
struct Stop {
    token: CancellationToken,
    lanes: Arc<Lanes>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        // After an orderly end there is nothing left of either.
        self.lanes.abort();
        self.token.cancel();
    }
}

fn connect(
    options: &ConsumerOptions,
    context: Context,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let consumer: BaseConsumer<Context> = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap_servers)
        .set("group.id", &options.group_id)
        .set("client.id", &options.group_id)
        // Events sent before the first join must not be lost.
        .set("auto.offset.reset", "earliest")
        // Offsets are stored when their events are finished, and committed in the background, when a
        // partition goes and at close.
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "500")
        .set("enable.auto.offset.store", "false")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("reconnect.backoff.max.ms", "1000")
        .set("fetch.wait.max.ms", "100")
        .set("allow.auto.create.topics", "true")
        .create_with_context(context)?;
    let topics: Vec<&str> = options.topics.iter().map(|t| t.as_str()).collect();
    consumer.subscribe(&topics)?;
    Ok(consumer)
}

/// What runs on the thread.
struct Member {
    lag: Lag,
    watch: Watch,
    lanes: Arc<Lanes>,
    consumer: BaseConsumer<Context>,
    group: String,
    stop: CancellationToken,
}

impl Member {
    fn run(mut self, tell: impl FnOnce(Result<End, ConsumerError>)) {
        let result = self.take();
        let finished = self.lanes.close(GRACE);
        store_offsets(&self.consumer, &finished);
        if let Ok(End::LostCluster) = result {
            // Nobody waits for a client that cannot ask anybody.
            tell(result);
            return;
        }
        // Dropping the consumer leaves the group and commits what was stored; it waits for Kafka.
        drop(self);
        tell(result);
    }

    fn take(&mut self) -> Result<End, ConsumerError> {
        let mut looked = Instant::now();
        while !self.stop.is_cancelled() {
            let wait = if self.lanes.any_paused() {
                UPKEEP
            } else {
                Duration::from_millis(100)
            };
            match self.consumer.poll(wait) {
                None => {}
                Some(Ok(message)) => {
                    self.watch.heard();
                    let over = self.lanes.dispatch(Taken::of(&message));
                    match over {
                        Ok(None) => {}
                        Ok(Some(lane)) => set_paused(&self.consumer, &[lane], true),
                        Err(WorkerEnded((topic, partition))) => {
                            return Err(ConsumerError::Worker { topic, partition });
                        }
                    }
                }
                Some(Err(source @ KafkaError::MessageConsumptionFatal(_))) => {
                    let group = self.group.clone();
                    return Err(ConsumerError::Fatal { group, source });
                }
                // The client reconnects by itself; there is nothing to do but to go on asking.
                Some(Err(error)) => warn!(%error, "receiving from Kafka failed"),
            }
            if looked.elapsed() >= UPKEEP {
                looked = Instant::now();
                store_offsets(&self.consumer, &self.lanes.to_store());
                set_paused(&self.consumer, &self.lanes.to_resume(), false);
                let rebalanced = self.lanes.take_rebalanced();
                self.lag
                    .tick(&self.consumer, rebalanced, || self.lanes.next());
                if self.watch.has_lost_cluster(&self.consumer) {
                    return Ok(End::LostCluster);
                }
            }
        }
        Ok(End::Stopped)
    }
}

fn store_offsets(consumer: &BaseConsumer<Context>, next: &[(Lane, i64)]) {
    for ((topic, partition), next) in next {
        // The client adds one to what it is told.
        if let Err(error) = consumer.store_offset(topic, *partition, next - 1) {
            // The partition has moved to another member, which will see the event again.
            debug!(%error, "offset not stored");
        }
    }
}

fn set_paused(consumer: &BaseConsumer<Context>, lanes: &[Lane], paused: bool) {
    if lanes.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::new();
    for (topic, partition) in lanes {
        list.add_partition(topic, *partition);
    }
    let result = if paused {
        consumer.pause(&list)
    } else {
        consumer.resume(&list)
    };
    if let Err(error) = result {
        debug!(%error, paused, "partition could not be paused or resumed");
    }
}
