//! The member of a consumer group: takes messages off Kafka and hands each to its partition's
//! worker.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fusebox::backoff::Backoff;
use huleedu_contracts::topics::Topic;
use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    error::KafkaError,
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    EventHandler,
    incoming::Taken,
    worker::{self, Shared},
};
use crate::{metrics::ConsumerMetrics, store::Store};

/// A partition is paused when this many messages wait for its worker …
const PAUSE_AT: usize = 256;
/// … and goes on when this few are left.
const RESUME_AT: usize = 32;

/// How a group member is made.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Kafka brokers.
    pub bootstrap_servers: String,
    /// Consumer group.
    pub group_id: String,
    /// What it listens to.
    pub topics: Vec<Topic>,
    /// First wait before a failed event is tried again.
    pub retry_min: Duration,
    /// Longest wait.
    pub retry_max: Duration,
}

/// The consumer could not be made.
#[derive(Debug, Error)]
#[error("the Kafka consumer of group {group} could not be started")]
pub struct ConsumerStartError {
    group: String,
    #[source]
    source: KafkaError,
}

/// Counts revocations, so that workers of lost partitions are let go.
#[derive(Default)]
struct Context {
    revocations: Arc<AtomicU64>,
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
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Revoke(_)) {
            self.revocations.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            info!(partitions = partitions.count(), "partitions assigned");
        }
    }
}

/// Consumes until `shutdown`, then lets events under way end and commits.
///
/// # Errors
/// When the consumer cannot be made; later trouble with Kafka is waited out.
///
/// # Cancel safety
/// Dropping it stops at once; what was not committed comes again.
pub async fn run(
    options: ConsumerOptions,
    store: Store,
    handler: Arc<dyn EventHandler>,
    metrics: ConsumerMetrics,
    shutdown: CancellationToken,
) -> Result<(), ConsumerStartError> {
    let start_error = |source| ConsumerStartError {
        group: options.group_id.clone(),
        source,
    };
    let context = Context::default();
    let revocations = Arc::clone(&context.revocations);
    let consumer: StreamConsumer<Context> = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap_servers)
        .set("group.id", &options.group_id)
        .set("client.id", &options.group_id)
        // Events sent before the first join must not be lost.
        .set("auto.offset.reset", "earliest")
        // Offsets are stored by the workers and committed in the background and at close.
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "500")
        .set("enable.auto.offset.store", "false")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("reconnect.backoff.max.ms", "1000")
        .set("fetch.wait.max.ms", "100")
        .set("allow.auto.create.topics", "true")
        .create_with_context(context)
        .map_err(start_error)?;
    let topics: Vec<&str> = options.topics.iter().map(|t| t.as_str()).collect();
    for topic in &topics {
        metrics.declare(topic);
    }
    consumer.subscribe(&topics).map_err(start_error)?;
    let consumer = Closing(Some(Arc::new(consumer)));

    let shared = Arc::new(Shared {
        store,
        handler,
        backoff: Backoff::new(options.retry_min, options.retry_max),
        metrics,
        shutdown: shutdown.clone(),
    });
    let mut workers = Workers {
        shared,
        consumer: Arc::downgrade(consumer.get()),
        queues: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let mut seen_revocations = 0;
    loop {
        let message = tokio::select! {
            () = shutdown.cancelled() => break,
            message = consumer.get().recv() => message,
        };
        let now = revocations.load(Ordering::SeqCst);
        if now != seen_revocations {
            // Whoever owns a lost partition now will read its events again; ours end by themselves.
            workers.queues.clear();
            seen_revocations = now;
        }
        match message {
            Ok(message) => workers.dispatch(Taken::of(&message), consumer.get()),
            // librdkafka reconnects by itself; there is nothing to do but to go on asking.
            Err(error) => warn!(%error, "receiving from Kafka failed"),
        }
        while workers.tasks.try_join_next().is_some() {}
    }
    workers.queues.clear();
    while workers.tasks.join_next().await.is_some() {}
    // Leaves the group and commits what the workers have stored.
    if tokio::time::timeout(CLOSE_LIMIT, consumer.close())
        .await
        .is_err()
    {
        warn!("Kafka did not confirm the end of the consumer; its last events may come again");
    }
    Ok(())
}

/// How long an orderly stop waits for the consumer to leave its group.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A consumer that is closed on a thread of its own. Closing asks Kafka and blocks until it
/// answers, which it may never do; neither a stop nor a kill may hang on that.
struct Closing(Option<Arc<StreamConsumer<Context>>>);

impl Closing {
    fn get(&self) -> &Arc<StreamConsumer<Context>> {
        self.0
            .as_ref()
            .expect("only close and drop take it, and both end this value")
    }

    /// Closes and waits for it.
    async fn close(mut self) {
        if let Some(closed) = self.begin() {
            // The sender is dropped without a word when the thread could not be made.
            drop(closed.await);
        }
    }

    fn begin(&mut self) -> Option<oneshot::Receiver<()>> {
        let consumer = self.0.take()?;
        let (done, closed) = oneshot::channel();
        let close = move || {
            drop(consumer);
            // Nobody waits after a kill.
            done.send(()).ok();
        };
        if let Err(error) = std::thread::Builder::new()
            .name("kafka-close".to_owned())
            .spawn(close)
        {
            warn!(%error, "no thread to close the consumer on");
        }
        Some(closed)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        drop(self.begin());
    }
}

type Lane = (String, i32);

/// The queue of one partition's worker.
struct Queue {
    sender: mpsc::UnboundedSender<Taken>,
    load: Arc<Load>,
}

/// How much waits for a worker, and whether its partition is paused for that.
#[derive(Default)]
struct Load {
    waiting: AtomicUsize,
    paused: AtomicBool,
}

struct Workers {
    shared: Arc<Shared>,
    consumer: Weak<StreamConsumer<Context>>,
    queues: HashMap<Lane, Queue>,
    tasks: JoinSet<()>,
}

impl Workers {
    fn dispatch(&mut self, message: Taken, consumer: &StreamConsumer<Context>) {
        let lane = (message.topic.clone(), message.partition);
        if self
            .queues
            .get(&lane)
            .is_none_or(|queue| queue.sender.is_closed())
        {
            let queue = self.spawn(lane.clone());
            self.queues.insert(lane.clone(), queue);
        }
        let Some(queue) = self.queues.get(&lane) else {
            return;
        };
        let waiting = queue.load.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        if queue.sender.send(message).is_err() {
            // The worker only ends when the service stops; what it did not finish comes again.
            debug!(topic = %lane.0, partition = lane.1, "worker has ended");
            return;
        }
        if waiting >= PAUSE_AT && !queue.load.paused.swap(true, Ordering::SeqCst) {
            set_paused(consumer, &lane, true);
            // The worker may have caught up before it could see the flag.
            queue.load.resume_if_low(consumer, &lane);
        }
    }

    fn spawn(&mut self, lane: Lane) -> Queue {
        let (sender, receiver) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let (shared, consumer) = (Arc::clone(&self.shared), Weak::clone(&self.consumer));
        let own = Arc::clone(&load);
        self.tasks
            .spawn(worker::work(shared, receiver, move |message| {
                own.waiting.fetch_sub(1, Ordering::SeqCst);
                let Some(consumer) = consumer.upgrade() else {
                    return;
                };
                if let Err(error) =
                    consumer.store_offset(&message.topic, message.partition, message.offset)
                {
                    // The partition has moved to another member, which will see the event again.
                    debug!(%error, "offset not stored");
                }
                own.resume_if_low(&consumer, &lane);
            }));
        Queue { sender, load }
    }
}

impl Load {
    fn resume_if_low(&self, consumer: &StreamConsumer<Context>, lane: &Lane) {
        if self.waiting.load(Ordering::SeqCst) <= RESUME_AT
            && self.paused.swap(false, Ordering::SeqCst)
        {
            set_paused(consumer, lane, false);
        }
    }
}

fn set_paused(consumer: &StreamConsumer<Context>, lane: &Lane, paused: bool) {
    let mut list = TopicPartitionList::new();
    list.add_partition(&lane.0, lane.1);
    let result = if paused {
        consumer.pause(&list)
    } else {
        consumer.resume(&list)
    };
    if let Err(error) = result {
        debug!(%error, paused, "partition could not be paused or resumed");
    }
}
