//! Whether a member that hears nothing has lost its cluster, as librdkafka may after a cluster answered that it
//! has no brokers (its issue 5301): it would stand still for ever while Kafka is well.

use std::{
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use fusebox_kafka::KafkaProducerConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

/// How long nothing may come before the client is asked, and asked again.
const ASK_AFTER: Duration = Duration::from_secs(5);

/// How long a client that is connected may take to answer; the member's thread waits so long.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// How long a new client may take to find the cluster.
const FIND_LIMIT: Duration = Duration::from_secs(5);

/// How long one that had no connection may take to find it again; it tries at least once a second.
const FIND_AGAIN_LIMIT: Duration = Duration::from_secs(3);

pub(super) struct Watch {
    bootstrap_servers: String,
    topic: String,
    /// When it was known last that the client has its cluster, or that nobody has.
    known: Instant,
    /// Answers whether a new client finds the cluster.
    finder: Option<Receiver<bool>>,
}

impl Watch {
    /// `topic` is one that the member listens to.
    pub(super) fn new(bootstrap_servers: &str, topic: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            topic: topic.to_owned(),
            known: Instant::now(),
            finder: None,
        }
    }

    /// A message came.
    pub(super) fn heard(&mut self) {
        self.known = Instant::now();
        self.finder = None;
    }

    /// Whether a new client finds the cluster, and this one does not. To be called again and again. Blocks
    /// for up to a second when nothing has come for long, and for up to three before it says yes.
    pub(super) fn has_lost_cluster(
        &mut self,
        consumer: &BaseConsumer<impl ConsumerContext>,
    ) -> bool {
        if self.known.elapsed() < ASK_AFTER {
            return false;
        }
        let Some(finder) = &self.finder else {
            if self.hears(consumer, ANSWER_LIMIT) {
                self.known = Instant::now();
            } else {
                self.look();
            }
            return false;
        };
        let found = match finder.try_recv() {
            Err(TryRecvError::Empty) => return false,
            Ok(found) => found,
            Err(TryRecvError::Disconnected) => false,
        };
        self.finder = None;
        // The cluster may have come back in between.
        let lost = found && !self.hears(consumer, FIND_AGAIN_LIMIT);
        self.known = Instant::now();
        lost
    }

    fn hears(&self, consumer: &BaseConsumer<impl ConsumerContext>, limit: Duration) -> bool {
        let answer = consumer.fetch_metadata(Some(&self.topic), limit);
        answer.is_ok_and(|metadata| !metadata.brokers().is_empty())
    }

    /// Looks for the cluster with a new client, on a thread of its own.
    fn look(&mut self) {
        let (answer, finder) = mpsc::channel();
        let config = KafkaProducerConfig::new(&self.bootstrap_servers, "finder");
        let started = thread::Builder::new()
            .name("kafka-finder".to_owned())
            .spawn(move || answer.send(config.finds_cluster(FIND_LIMIT)).ok());
        if let Err(error) = started {
            tracing::debug!(%error, "no thread to look for the cluster");
        }
        // Without a thread there is nobody to answer, and it is asked again.
        self.finder = Some(finder);
    }
}
